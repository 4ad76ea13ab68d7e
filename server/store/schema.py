"""Sets the schema up, and refuses one it does not know.

An empty database is set up when a server starts. Any other revision than the one this
version was built for is refused with the command that mends it, since guessing would
damage records.

Alembic is imported only where there is something to change: a server that finds its schema
as it should be starts without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from server.errors import SchemaMismatch

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

# The last of the migrations; a test compares it.
_HEAD = "0001"
_MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(connection: Connection) -> str:
    """Bring the schema to this version's revision.

    Args:
        connection: In a transaction; the caller commits.

    Returns:
        The revision it has now.

    Raises:
        SchemaMismatch: if the database is of a newer version.
    """
    from alembic import command  # noqa: PLC0415 - see the module's docstring

    found = current(connection)
    known = {script.revision for script in _scripts().walk_revisions()}
    if found is not None and found not in known:
        raise SchemaMismatch(
            f"The database has schema {found}, which this version does not know: it was "
            "upgraded by a newer version. Start that version, or restore a backup made "
            "before the upgrade."
        )
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return current(connection) or ""


def prepare(connection: Connection) -> None:
    """Set an empty database up; check one that is not.

    Raises:
        SchemaMismatch: if it has another revision than this version's.
    """
    found = current(connection)
    if found is None and is_empty(connection):
        upgrade(connection)
        return
    if found is None:
        # Another server may have set it up between the two looks: tables and revision came at once.
        found = current(connection)
    if found != head():
        raise SchemaMismatch(
            f"The database has schema {found or 'none'}, this version needs {head()}. "
            "Back it up, then run: provisioner db upgrade"
        )


def is_empty(connection: Connection) -> bool:
    """Tell whether a database holds no table at all."""
    return not inspect(connection).get_table_names()


def current(connection: Connection) -> str | None:
    """Return the revision of the database, or None if it has none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revisions = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return ", ".join(sorted(revisions)) or None


def head() -> str:
    """Return the revision this version was built for."""
    return _HEAD


def _config() -> Config:
    from alembic.config import Config  # noqa: PLC0415 - see the module's docstring

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see the module's docstring

    return ScriptDirectory.from_config(_config())
