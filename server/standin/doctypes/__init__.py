"""The doctypes, by what they belong to; `catalogue.py` puts them together."""
