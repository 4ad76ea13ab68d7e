"""Sets the schema up, and refuses one it does not know.

An empty database is set up when a server starts. Any other revision than the one this
version was built for is refused with the command that mends it, since guessing would
damage records. A migration that was released is never changed: databases are at it.

Alembic is imported only where there is something to change: a server that finds its schema
as it should be starts without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from server.errors import SchemaMismatch, StoreUnavailable
from server.store.failures import READ_ONLY, OtherSchema
from server.store.tables import METADATA

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection

# The last of the migrations; a test compares it.
_HEAD = "0002"
# A host at work takes seconds to set a database up.
_PATIENCE = "12s"
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_MIGRATIONS = Path(__file__).parent / "migrations"
# Within PostgreSQL's statements. SQLite has no such function before 3.44, nor needs one.
FOUND = "(SELECT string_agg(version_num, ', ' ORDER BY version_num) FROM alembic_version)"


def upgrade(connection: Connection) -> str:
    """Bring the schema to this version's revision.

    Args:
        connection: In a transaction; the caller commits.

    Returns:
        The revision it has now.

    Raises:
        SchemaMismatch: if the database is of a newer version.
        StoreUnavailable: if an empty one could not hold every name.
    """
    from alembic import command  # noqa: PLC0415 - see the module's docstring

    found = current(connection)
    if not _is_known(found):
        raise SchemaMismatch(_told(found))
    if connection.dialect.name == "postgresql":
        if found is None:
            _demand_every_letter(connection)
        # Who does the same at this moment is waited for, longer than for anybody's forgotten lock.
        wait = f"SELECT set_config('lock_timeout', '{_PATIENCE}', true)"
        connection.exec_driver_sql(wait)
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
        raise SchemaMismatch(_told(found))


def demand(found: str | None) -> None:
    """Refuse to go on with a database that has another schema than when it was opened.

    A process that was suspended, or forgotten, while another version upgraded it would write
    rows of a shape that is over.

    Args:
        found: The revision it has now.

    Raises:
        OtherSchema: with what to do.
    """
    if found != _HEAD:
        raise OtherSchema(
            f"The database has schema {found or 'none'} by now, this version needs {_HEAD}: it was "
            "upgraded or restored while this process was running. Stop this process, and start "
            "the version whose `provisioner db check` says that the schema fits."
        )


def try_to_write(connection: Connection) -> None:
    """Write something that changes nothing, so that a full disk or a read-only one shows.

    Raises:
        StoreUnavailable: PostgreSQL takes no writes now, or none of this user's.
        sqlalchemy.exc.SQLAlchemyError: SQLite's own refusal, here or at the commit.
    """
    if connection.dialect.name == "sqlite":
        # A number that is ours to use, and that we do not: its page goes to the disk all the same.
        number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        connection.exec_driver_sql(f"PRAGMA user_version = {int(number)}")
    elif connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() != "off":
        raise StoreUnavailable(f"PostgreSQL takes no writes. {READ_ONLY}")
    else:
        _demand_rights(connection)


def _demand_rights(connection: Connection) -> None:
    """Refuse a user that may not change all tables: those an upgrade made are their maker's."""
    names = ", ".join(f"('{name}')" for name in METADATA.tables)
    asked = " AND ".join(f"has_table_privilege(name, '{right}')" for right in _RIGHTS)
    query = f"SELECT name FROM (VALUES {names}) AS ours (name) WHERE NOT ({asked}) ORDER BY name"  # noqa: S608 - our own names
    if lacking := connection.execute(text(query)).scalars().all():
        raise StoreUnavailable(
            f"The user in PROVISIONER_DATABASE_URL may not read and change {', '.join(lacking)}. "
            f"Let the tables' owner: GRANT {', '.join(_RIGHTS)} ON ALL TABLES IN SCHEMA public TO "
            "that user"
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


def remedy(found: str | None) -> str:
    """Say what to do about a database that has another schema than this version's."""
    if _is_known(found):
        return "Stop every server, back the database up, then run: provisioner db upgrade"
    return (
        "It was upgraded by a newer version. Start that version, or restore a backup made before "
        "the upgrade."
    )


def _told(found: str | None) -> str:
    has = f"The database has schema {found or 'none'}, this version needs {head()}."
    return f"{has} {remedy(found)}"


def _demand_every_letter(connection: Connection) -> None:
    """Refuse to set up what could not hold every name; bytes (SQL_ASCII) can."""
    encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
    if encoding not in {"UTF8", "SQL_ASCII"}:
        raise StoreUnavailable(
            f"The database's encoding {encoding} has no room for all letters. Make one with "
            "ENCODING 'UTF8' TEMPLATE template0."
        )


def _is_known(found: str | None) -> bool:
    return found is None or found in {each.revision for each in _scripts().walk_revisions()}


def _config() -> Config:
    from alembic.config import Config  # noqa: PLC0415 - see the module's docstring

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - see the module's docstring

    return ScriptDirectory.from_config(_config())
