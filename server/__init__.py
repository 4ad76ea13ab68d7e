"""The service: what is known about tenants, and the work that builds them."""
