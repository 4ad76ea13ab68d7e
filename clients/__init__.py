"""Callers of the service: the typed client and the command line."""
