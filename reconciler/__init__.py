"""Finds tenants that stopped short, and drives them on."""
