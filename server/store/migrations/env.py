"""Alembic's entry: runs the migrations on the connection that `server.store.schema` hands in."""

from __future__ import annotations

from alembic import context

from server.store.tables import METADATA

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA,
    # SQLite can't alter most things in place.
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
