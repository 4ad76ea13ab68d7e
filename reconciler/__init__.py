"""Finds stuck tenants, and drives them on."""
