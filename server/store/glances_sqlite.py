"""Looks at tenants in an SQLite file: point reads on the event loop (`server.store.glances`).

They use a connection of their own in autocommit: in WAL mode it waits for nobody, and the hop to
a thread would take longer than the read. As long as no other connection commits anything
(https://www.sqlite.org/pragma.html#pragma_data_version), marks found before need no read. Many
callers are answered together, a moment later.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any

from server.store import glances
from server.store.crowd import Crowd
from server.store.found import gate_of
from server.store.glances import (
    GATE_COLUMNS,
    JOINS,
    MOST_FRESH,
    STEP_COLUMNS,
    columns,
    live_of,
    taken,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable

    from server.model.identifiers import TenantId
    from server.store.found import Gate, Live
    from server.store.reads import Reads
    from server.store.sqlite_file import SqliteFile

# How many reads to make before others get their turn: half a millisecond's worth.
_AT_A_TIME = 8

_SQLITE_GATE = (
    f"SELECT {', '.join(column.name for column in GATE_COLUMNS)} FROM engines WHERE site = ?"  # noqa: S608 - our own names
)


class SqliteGlances:
    """Looks at an SQLite file, on the event loop."""

    def __init__(self, file: SqliteFile, reads: Reads) -> None:
        self._file = file
        self._reads = reads
        self._connection: sqlite3.Connection | None = None
        self._version: tuple[int] | None = None
        # Marks found since the last commit.
        self._fresh: dict[TenantId, int] = {}
        # The row of the last mark: a caller that has no answer for that mark asks for it next.
        self._seen: tuple[TenantId, tuple[Any, ...]] | None = None  # Any: what the columns hold
        # Gates read in this iteration of the event loop, for a batch of new tenants.
        self._gates: dict[str, Gate | None] = {}
        self._crowd = Crowd(lambda: glances.MOMENT_SECONDS)

    async def mark(self, tenant_id: TenantId) -> Hashable | None:
        """Return the mark of a tenant's rows; None if there is no such tenant.

        If they can't be read for a moment, the mark equals no other, so that its caller reads them.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        moment = self._crowd.moment()
        if moment is not None:
            await moment
        return self._mark(tenant_id)

    def _mark(self, tenant_id: TenantId) -> Hashable | None:
        try:
            connection = self._opened()
            # This number changes with every commit by any other connection, in any process.
            version = connection.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._version = version
                self._fresh.clear()
            mark = self._fresh.get(tenant_id)
            if mark is not None:
                return mark
            row = self._row(tenant_id)
        except sqlite3.Error:
            # The file is locked for a moment, or JSON can't hold a value: the slow way can wait,
            # and reads damage. The mark returned equals no other.
            return object()
        if row is None:
            return None
        if len(self._fresh) >= MOST_FRESH:
            self._fresh.clear()
        # A hash rather than the row, because thousands are kept.
        mark = self._fresh[tenant_id] = hash(row)
        self._seen = tenant_id, row
        return mark

    async def marks(self, tenant_ids: Collection[TenantId]) -> dict[TenantId, Hashable]:
        """Return the marks of many tenants, and let others have their turn in between.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        found: dict[TenantId, Hashable] = {}
        for number, tenant_id in enumerate(tenant_ids, start=1):
            mark = self._mark(tenant_id)
            if mark is not None:
                found[tenant_id] = mark
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        return found

    async def live(self, tenant_id: TenantId) -> Live | None:
        """Return the rows themselves; None if there is no such tenant.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        seen, self._seen = self._seen, None
        try:
            if seen is not None and seen[0] == tenant_id and self._is_current():
                return live_of(seen[1])
            row = self._row(tenant_id)
            return None if row is None else live_of(row)
        except (sqlite3.Error, ValueError):
            return await self._reads.live(tenant_id)

    async def gate(self, site: str) -> Gate | None:
        """Return a site's gate, or None; calls in one iteration of the event loop share a read.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        if site in self._gates:
            return self._gates[site]
        try:
            row = self._opened().execute(_SQLITE_GATE, (site,)).fetchone()
            gate = None if row is None else gate_of(taken(iter(row), GATE_COLUMNS))
        except (sqlite3.Error, ValueError):
            return await self._reads.gate(site)
        if not self._gates:
            asyncio.get_running_loop().call_soon(self._gates.clear)
        self._gates[site] = gate
        return gate

    def there(self, there: bool) -> None:  # noqa: FBT001 - what a listener hears
        """Do nothing: a file answers or fails by itself."""

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _is_current(self) -> bool:
        version = self._opened().execute("PRAGMA data_version").fetchone()
        return bool(version == self._version)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._file.demand()
            self._connection = _connected(str(self._file.path))
        return self._connection

    def _row(self, tenant_id: str) -> tuple[Any, ...] | None:  # Any: what the columns hold
        row: tuple[Any, ...] | None = self._opened().execute(_SQLITE, (tenant_id,)).fetchone()
        return row


def _connected(path: str) -> sqlite3.Connection:
    # No timeout: waiting would hold up everybody.
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _sqlite_query() -> str:
    step = ", ".join(f"s.{column.name}" for column in STEP_COLUMNS)
    steps = f"(SELECT json_group_array(json_array({step})) FROM steps s WHERE s.run_id = t.run_id)"  # noqa: S608 - our own names
    return f"SELECT {columns()}, {steps} FROM {JOINS} WHERE t.id = ?"  # noqa: S608 - our own names


_SQLITE = _sqlite_query()
