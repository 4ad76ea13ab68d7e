"""One short look at a tenant, to tell whether anything about where it stands has changed.

A look gives a mark: equal marks mean equal rows, of tenant, run, steps, worker and gate,
whoever changed them, with our code or by SQL. So an answer may be kept as long as its
mark stays, and is never older than the call it answers (docs/decisions/0040).

SQLite: a point read on the event loop itself, on a connection of its own in autocommit:
in WAL it waits for nobody, and the hop to a thread would take longer than the read. While
no other connection commits anything at all, marks found before need no read. Many who
ask are answered together, a moment later.
PostgreSQL: all calls that wait share the next look, never the one under way. Where nothing
was committed since the look before, it is asked only whether that is still so. The rows
themselves are read likewise: one statement, and so one snapshot, for all who wait.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from typing import TYPE_CHECKING, Any, Protocol

from server.errors import StoreUnavailable
from server.store import postgres, values
from server.store.claims import record_of
from server.store.columns import UtcTime
from server.store.crowd import Crowd
from server.store.failures import detail
from server.store.found import Live, gate_of
from server.store.tables import ENGINES, RUNS, STEPS, TENANTS, WORKERS

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Collection,
        Hashable,
        Iterator,
        Mapping,
        Sequence,
    )
    from typing import TypeVar

    from sqlalchemy import URL, Column
    from sqlalchemy.ext.asyncio import AsyncConnection

    from server.model.identifiers import TenantId
    from server.store.found import Gate
    from server.store.reads import Reads

    T = TypeVar("T")

# A server that hangs answers nothing at all.
_ANSWER_SECONDS = 15.0
# After a look for several, who comes within this time is answered with the next one: on
# PostgreSQL a look takes as much from the loop as two calls, and on both gRPC is woken up
# less. Who asks alone never waits.
_MOMENT_SECONDS = 0.00125
# As many marks as answers are kept (`server.queries.board`).
_MOST_FRESH = 4096
# Half a millisecond of reads, before others get their turn.
_AT_A_TIME = 8


class Glances(Protocol):
    """Looks at tenants."""

    async def mark(self, tenant_id: TenantId) -> Hashable | None:
        """Return the mark of a tenant's rows, not older than this call; None: no such tenant.

        Raises:
            StoreUnavailable: the database can't be read now.
        """

    async def marks(self, tenant_ids: Collection[TenantId]) -> dict[TenantId, Hashable]:
        """Return the marks of many tenants; unknown ones are left out."""

    async def live(self, tenant_id: TenantId) -> Live | None:
        """Return the rows themselves, not older than this call."""

    async def gate(self, site: str) -> Gate | None:
        """Return a site's gate, not older than the turn of the event loop that asks.

        Raises:
            StoreUnavailable: the database can't be read now.
        """

    def there(self, there: bool) -> None:  # noqa: FBT001 - what a listener hears
        """Hear that the database went away, or came back: nobody is left waiting for it."""

    async def close(self) -> None:
        """Close the connection."""


# The slot changes with every request to the site, and no status shows it.
_GATE = [column for column in ENGINES.columns if not column.name.startswith("slot_")]
_PARTS: tuple[tuple[str, Sequence[Column[Any]]], ...] = (
    ("t", list(TENANTS.columns)),
    ("r", list(RUNS.columns)),
    ("w", list(WORKERS.columns)),
    ("e", _GATE),
)
_JOINS = (
    "tenants t LEFT JOIN runs r ON r.id = t.run_id LEFT JOIN workers w ON w.id = r.worker_id "
    "LEFT JOIN engines e ON e.site = t.site"
)
_STEPS = list(STEPS.columns)
_SQLITE_GATE = f"SELECT {', '.join(column.name for column in _GATE)} FROM engines WHERE site = ?"  # noqa: S608 - our own names


class SqliteGlances:
    """Looks at an SQLite file, on the event loop."""

    def __init__(self, url: URL, reads: Reads) -> None:
        self._path = url.database or ""
        self._reads = reads
        self._connection: sqlite3.Connection | None = None
        self._version: tuple[int] | None = None
        # Marks found since the last commit.
        self._fresh: dict[TenantId, int] = {}
        # The row of the last mark: who has no answer of that mark asks for it next.
        self._seen: tuple[TenantId, tuple[Any, ...]] | None = None  # Any: what the columns hold
        # Read in this turn of the event loop: a batch of new tenants is answered in one.
        self._gates: dict[str, Gate | None] = {}
        self._crowd = Crowd(lambda: _MOMENT_SECONDS)

    async def mark(self, tenant_id: TenantId) -> Hashable | None:
        """Return the mark of a tenant's rows; None: no such tenant."""
        moment = self._crowd.moment()
        if moment is not None:
            await moment
        return self._mark(tenant_id)

    def _mark(self, tenant_id: TenantId) -> Hashable | None:
        try:
            connection = self._opened()
            # Another number after every commit by any other connection, whosever it is.
            version = connection.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._version = version
                self._fresh.clear()
            mark = self._fresh.get(tenant_id)
            if mark is not None:
                return mark
            row = self._row(tenant_id)
        except sqlite3.Error:
            # Locked for a moment, or a value that JSON can't hold: the slow way can wait,
            # and reads damage. Equal to no other mark.
            return object()
        if row is None:
            return None
        if len(self._fresh) >= _MOST_FRESH:
            self._fresh.clear()
        # A hash, not the row: thousands are kept.
        mark = self._fresh[tenant_id] = hash(row)
        self._seen = tenant_id, row
        return mark

    async def marks(self, tenant_ids: Collection[TenantId]) -> dict[TenantId, Hashable]:
        """Return the marks of many tenants, letting others in between."""
        found: dict[TenantId, Hashable] = {}
        for number, tenant_id in enumerate(tenant_ids, start=1):
            mark = self._mark(tenant_id)
            if mark is not None:
                found[tenant_id] = mark
            if number % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        return found

    async def live(self, tenant_id: TenantId) -> Live | None:
        """Return the rows themselves."""
        seen, self._seen = self._seen, None
        try:
            if seen is not None and seen[0] == tenant_id and self._is_current():
                return _live(seen[1])
            row = self._row(tenant_id)
            return None if row is None else _live(row)
        except (sqlite3.Error, ValueError):
            return await self._reads.live(tenant_id)

    async def gate(self, site: str) -> Gate | None:
        """Return a site's gate."""
        if site in self._gates:
            return self._gates[site]
        try:
            row = self._opened().execute(_SQLITE_GATE, (site,)).fetchone()
            gate = None if row is None else gate_of(_taken(iter(row), _GATE))
        except (sqlite3.Error, ValueError):
            return await self._reads.gate(site)
        if not self._gates:
            asyncio.get_running_loop().call_soon(self._gates.clear)
        self._gates[site] = gate
        return gate

    def there(self, there: bool) -> None:  # noqa: FBT001 - what a listener hears
        """Do nothing: a file answers, or fails by itself."""

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()

    def _is_current(self) -> bool:
        version = self._opened().execute("PRAGMA data_version").fetchone()
        return bool(version == self._version)

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _connected(self._path)
        return self._connection

    def _row(self, tenant_id: str) -> tuple[Any, ...] | None:  # Any: what the columns hold
        row: tuple[Any, ...] | None = self._opened().execute(_SQLITE, (tenant_id,)).fetchone()
        return row


def _connected(path: str) -> sqlite3.Connection:
    # No waiting: it would hold up everybody.
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _columns() -> str:
    return ", ".join(f"{part}.{column.name}" for part, of in _PARTS for column in of)


def _sqlite_query() -> str:
    step = ", ".join(f"s.{column.name}" for column in _STEPS)
    steps = f"(SELECT json_group_array(json_array({step})) FROM steps s WHERE s.run_id = t.run_id)"  # noqa: S608 - our own names
    return f"SELECT {_columns()}, {steps} FROM {_JOINS} WHERE t.id = ?"  # noqa: S608 - our own names


_SQLITE = _sqlite_query()


def _live(row: Sequence[Any]) -> Live:  # Any: what the columns hold
    rest = iter(row)
    tenant, run, worker, gate = (_taken(rest, of) for _, of in _PARTS)
    steps = [_taken(iter(step), _STEPS) for step in json.loads(next(rest))]
    # By the clock that hosts share, where they do.
    worker["read_at"] = gate["read_at"] = next(rest, None)
    has_run = run["id"] is not None
    return Live(
        record=record_of(tenant, run if has_run else None, steps),
        gate=None if gate["site"] is None else gate_of(gate),
        worker=None if worker["id"] is None else values.worker(worker),
        deadline_at=run["deadline_at"] if has_run else None,
    )


def _taken(rest: Iterator[Any], columns: Sequence[Column[Any]]) -> Any:
    """Take the next columns of a row; what was not asked for is None."""
    found: dict[str, Any] = {}
    for column in columns:
        value = next(rest)
        if value is not None and isinstance(column.type, UtcTime):
            value = column.type.process_result_value(value, _NO_DIALECT)
        found[column.name] = value
    # The functions that take a row take it by the names of its columns.
    return _Lenient(found)


class _Lenient(dict[str, Any]):
    def __missing__(self, _name: str) -> None:
        return None


# What is read needs no dialect; only what is written does.
_NO_DIALECT: Any = None

# `xmin` changes with every change of a row, by whomsoever. The gate by its words: its row
# holds the slot, too.
_POSTGRES = f"""
SELECT t.id, concat_ws(' ', t.xmin, r.xmin, w.xmin, e.gate, e.gate_code, e.gate_message,
    e.next_probe_at, s.count, s.sum), pg_current_snapshot()::text
FROM {_JOINS} LEFT JOIN LATERAL (
    SELECT count(*), sum(xmin::text::bigint) FROM steps WHERE run_id = t.run_id
) s ON true
WHERE t.id = ANY($1::text[])
"""  # noqa: S608 - our own names


def _postgres_rows() -> str:
    step = ", ".join(f"s.{column.name}" for column in _STEPS)
    steps = (
        f"(SELECT coalesce(json_agg(json_build_array({step})), '[]') FROM steps s "  # noqa: S608 - our own names
        "WHERE s.run_id = t.run_id)::text"
    )
    return (
        f"SELECT {_columns()}, {steps}, clock_timestamp() FROM {_JOINS} "  # noqa: S608 - our own names
        "WHERE t.id = ANY($1::text[])"
    )


_POSTGRES_ROWS = _postgres_rows()

# Equal texts see equal rows: who commits a change has a number, and each number counts up.
_SNAPSHOT = "SELECT pg_current_snapshot()::text"

# To plan the query takes four times as long as to run it. By its keys always: a plan made
# while the tables are small would read them whole, and be kept while they grow.
_PLAN_ONCE = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off"


class PostgresGlances:
    """Looks at a PostgreSQL: one query at a time, for all who wait."""

    def __init__(self, url: URL, reads: Reads) -> None:
        self._engine = postgres.engine(url, connections=1)
        # Behind a pooler a statement must be prepared and run on one connection.
        self._in_transaction = postgres.is_pooled(url)
        self._reads = reads
        self._connection: AsyncConnection | None = None
        # The driver's own, whose answers need no translation.
        self._driver: Any = None
        self._ask_snapshot: Any = None
        # Marks found by looks that saw the same as the last one, and what that was; whether
        # nobody writes, so that it is worth asking for.
        self._fresh: dict[str, str] = {}
        self._seen = ""
        self._quiet = False
        # Who waits, each with a future of his own: he may leave, and takes nobody along.
        self._waiting: list[tuple[TenantId, asyncio.Future[Hashable | None]]] = []
        # Who waits for rows.
        self._reading: list[tuple[TenantId, asyncio.Future[Sequence[Any] | None]]] = []
        self._task: asyncio.Task[None] | None = None
        # When the next look may be taken, in the loop's time.
        self._not_before = 0.0
        self._there = True

    async def mark(self, tenant_id: TenantId) -> Hashable | None:
        """Return the mark of a tenant's rows; None: no such tenant."""
        return await self._asked(tenant_id)

    async def marks(self, tenant_ids: Collection[TenantId]) -> dict[TenantId, Hashable]:
        """Return the marks of many tenants."""
        asked = {tenant_id: self._asked(tenant_id) for tenant_id in tenant_ids}
        marks = {tenant_id: await future for tenant_id, future in asked.items()}
        return {tenant_id: mark for tenant_id, mark in marks.items() if mark is not None}

    async def live(self, tenant_id: TenantId) -> Live | None:
        """Return the rows themselves."""
        if self._in_transaction:
            return await self._reads.live(tenant_id)
        future: asyncio.Future[Sequence[Any] | None] = asyncio.get_running_loop().create_future()
        self._reading.append((tenant_id, future))
        self._see_to_it()
        row = await future
        return None if row is None else _live(row)

    async def gate(self, site: str) -> Gate | None:
        """Return a site's gate: a batch of runs asks in one moment, and shares one read."""
        return (await self._reads.gates()).get(site)

    def there(self, there: bool) -> None:  # noqa: FBT001 - what a listener hears
        """Let those who wait hear at once that no answer comes."""
        self._there = there
        if not there:
            postgres.cut(self._engine)

    async def close(self) -> None:
        """Close the connection, after the look under way."""
        if self._task is not None:
            await asyncio.wait({self._task})
        await self._drop()
        await self._engine.dispose()

    def _asked(self, tenant_id: TenantId) -> asyncio.Future[Hashable | None]:
        future: asyncio.Future[Hashable | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((tenant_id, future))
        self._see_to_it()
        return future

    def _see_to_it(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="glances")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting or self._reading:
            if (pause := self._not_before - loop.time()) > 0:
                await asyncio.sleep(pause)
            looking, self._waiting = self._waiting, []
            await self._answer(looking, self._fetch)
            self._not_before = loop.time() + _MOMENT_SECONDS if len(looking) > 1 else 0.0
            reading, self._reading = self._reading, []
            await self._answer(reading, self._fetch_rows)

    async def _answer(
        self,
        asked: Sequence[tuple[TenantId, asyncio.Future[T | None]]],
        fetch: Callable[[Sequence[TenantId]], Awaitable[Mapping[str, T]]],
    ) -> None:
        waiting = [(tenant_id, future) for tenant_id, future in asked if not future.done()]
        if not waiting:
            return
        try:
            found = await self._look(list({tenant_id for tenant_id, _ in waiting}), fetch)
        except Exception as error:  # noqa: BLE001 - the driver's own; those who wait get it
            _fail([future for _, future in waiting], detail(error))
            return
        for tenant_id, future in waiting:
            if not future.done():
                future.set_result(found.get(tenant_id))

    async def _look(
        self,
        tenant_ids: Sequence[TenantId],
        fetch: Callable[[Sequence[TenantId]], Awaitable[Mapping[str, T]]],
    ) -> Mapping[str, T]:
        try:
            return await fetch(tenant_ids)
        except Exception:
            await self._drop()
            if not self._there:
                raise
            # The connection may have been lost long ago: once more.
            return await fetch(tenant_ids)

    async def _fetch_rows(self, tenant_ids: Sequence[TenantId]) -> dict[str, Sequence[Any]]:
        driver = self._driver or await self._connected()
        rows = await driver.fetch(_POSTGRES_ROWS, tenant_ids, timeout=_ANSWER_SECONDS)
        return {row[0]: tuple(row) for row in rows}

    async def _fetch(self, tenant_ids: Sequence[TenantId]) -> dict[str, str]:
        driver = self._driver or await self._connected()
        if self._in_transaction:
            async with driver.transaction(readonly=True):
                rows = await driver.fetch(_POSTGRES, tenant_ids, timeout=_ANSWER_SECONDS)
            return {row[0]: row[1] for row in rows}
        fresh = self._fresh
        if self._quiet and all(tenant_id in fresh for tenant_id in tenant_ids):
            if await self._ask_snapshot.fetchval(timeout=_ANSWER_SECONDS) == self._seen:
                return fresh
            self._quiet = False
        rows = await driver.fetch(_POSTGRES, tenant_ids, timeout=_ANSWER_SECONDS)
        marks = {row[0]: row[1] for row in rows}
        if rows:
            self._keep(marks, rows[0][2])
        return marks

    def _keep(self, marks: dict[str, str], seen: str) -> None:
        self._quiet = seen == self._seen
        self._seen = seen
        if self._quiet and len(self._fresh) < _MOST_FRESH:
            self._fresh.update(marks)
        else:
            self._fresh = marks

    async def _connected(self) -> Any:  # Any: the driver's connection
        self._connection = await self._engine.connect()
        driver: Any = (await self._connection.get_raw_connection()).driver_connection
        if not self._in_transaction:
            await driver.execute(_PLAN_ONCE)
            self._ask_snapshot = await driver.prepare(_SNAPSHOT)
        self._driver = driver
        return driver

    async def _drop(self) -> None:
        connection, self._connection, self._driver = self._connection, None, None
        # The next connection may lead to another server.
        self._quiet, self._seen, self._fresh = False, "", {}
        if connection is not None:
            await connection.invalidate()
            await connection.close()


def _fail(waiting: Sequence[asyncio.Future[Any]], why: str) -> None:
    for future in waiting:
        if not future.done():
            future.set_exception(StoreUnavailable(f"The database can't be read now: {why}"))
            # Nobody may be waiting any more.
            future.exception()
