"""Developer commands; never imported by the product."""
