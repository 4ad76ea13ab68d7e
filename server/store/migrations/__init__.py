"""Alembic's migrations, run by `server.store.schema`."""
