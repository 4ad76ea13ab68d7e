"""Sets the schema up, and refuses one that it does not know.

An empty database is set up when a server starts. Any revision other than the one for which this
version was built is refused, with the command that puts it right, because guessing would damage
records. A released migration is never changed: there are databases at its revision.

Alembic is imported only if there is something to change: a server that finds its schema as it
should be starts without it.
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
# In place of a revision: everything was moved to another database, and this one is over.
MOVED = "moved"
# A busy host takes seconds to set up a database.
_PATIENCE = "12s"
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_MIGRATIONS = Path(__file__).parent / "migrations"
# For use within PostgreSQL's statements. SQLite has no such function before 3.44, and needs none.
FOUND = "(SELECT string_agg(version_num, ', ' ORDER BY version_num) FROM alembic_version)"


def upgrade(connection: Connection) -> str:
    """Bring the schema to this version's revision.

    Args:
        connection: In a transaction; the caller commits.

    Returns:
        The revision it has now.

    Raises:
        SchemaMismatch: the database is from a newer version.
        StoreUnavailable: the database is empty, and its encoding can't hold every name.
    """
    from alembic import command  # noqa: PLC0415 - see the module's docstring

    found = current(connection)
    if not _is_known(found):
        raise SchemaMismatch(told(found))
    if connection.dialect.name == "postgresql":
        if found is None:
            _demand_every_letter(connection)
        # Another process may be doing the same; it is waited for, longer than for a forgotten lock.
        wait = f"SELECT set_config('lock_timeout', '{_PATIENCE}', true)"
        connection.exec_driver_sql(wait)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    return current(connection) or ""


def prepare(connection: Connection) -> None:
    """Set up an empty database; check one that is not empty.

    Args:
        connection: In a transaction; the caller commits.

    Raises:
        SchemaMismatch: its revision is not this version's.
        StoreUnavailable: it is empty, and its encoding can't hold every name.
    """
    found = current(connection)
    if found is None and is_empty(connection):
        upgrade(connection)
        return
    if found is None:
        # Another server may have set it up between the two looks: tables and revision come at once.
        found = current(connection)
    if found != head():
        raise SchemaMismatch(told(found))


def demand(found: str | None) -> None:
    """Refuse to go on with a database whose schema has changed since it was opened.

    A process that was suspended or forgotten while another version upgraded the database would
    write rows of an outdated shape.

    Args:
        found: The revision that the database has now.

    Raises:
        OtherSchema: it is not this version's; the message says what to do.
    """
    if found == MOVED:
        raise OtherSchema(f"{remedy(found)} Stop this process, and start it again with that.")
    if found != _HEAD:
        raise OtherSchema(
            f"The database has schema {found or 'none'} by now, this version needs {_HEAD}: it was "
            "upgraded or restored while this process was running. Stop this process, and start "
            "the version whose `provisioner db check` says that the schema fits."
        )


def try_to_write(connection: Connection) -> None:
    """Write something that changes nothing, so that a full or read-only disk is noticed.

    Args:
        connection: In a transaction; the caller commits.

    Raises:
        StoreUnavailable: PostgreSQL takes no writes now, or none from this user.
        sqlalchemy.exc.SQLAlchemyError: SQLite's own refusal, here or at the commit.
    """
    if connection.dialect.name == "sqlite":
        # A number that is free for us to use, and that we do not: its page is written all the same.
        number = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        connection.exec_driver_sql(f"PRAGMA user_version = {int(number)}")
    elif connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() != "off":
        raise StoreUnavailable(f"PostgreSQL takes no writes. {READ_ONLY}")
    else:
        _demand_rights(connection)


def _demand_rights(connection: Connection) -> None:
    """Refuse a user who may not change all tables: an upgrade's belong to the user who ran it."""
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
    """Return the revision of the database, or None if it has none.

    More than one, which only damage can bring about, are returned together, and no version knows
    that.
    """
    if not inspect(connection).has_table("alembic_version"):
        return None
    revisions = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return ", ".join(sorted(revisions)) or None


def head() -> str:
    """Return the revision for which this version was built."""
    return _HEAD


def remedy(found: str | None) -> str:
    """Return what to do about a database whose schema is not this version's.

    Args:
        found: Its revision; None if it has none.
    """
    if found == MOVED:
        return (
            "Everything in it was moved to another database (provisioner db move): name that one "
            "in PROVISIONER_DATABASE_URL."
        )
    if _is_known(found):
        return "Stop every server, back the database up, then run: provisioner db upgrade"
    return (
        "It was upgraded by a newer version. Start that version, or restore a backup made before "
        "the upgrade."
    )


def told(found: str | None) -> str:
    """Return what is wrong with a database of another schema, and what to do about it.

    Args:
        found: Its revision; None if it has none.
    """
    if found == MOVED:
        return remedy(found)
    has = f"The database has schema {found or 'none'}, this version needs {head()}."
    return f"{has} {remedy(found)}"


def _demand_every_letter(connection: Connection) -> None:
    """Refuse an encoding that can't hold every name; SQL_ASCII, which keeps any bytes, can."""
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
