"""Looks at tenants in PostgreSQL: one query at a time for all callers (`server.store.glances`).

All calls that wait share the next look, never the one under way; a caller that asks alone looks
for itself. If nothing had been committed since the look before, the next look asks only whether
that is still so. The rows themselves are read in the same way: one statement, and so one
snapshot, for all callers that wait.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from server.errors import StoreUnavailable
from server.store import glances, postgres
from server.store.failures import detail, is_full, is_locked
from server.store.glances import JOINS, MOST_FRESH, STEP_COLUMNS, columns, live_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence
    from typing import TypeVar

    from sqlalchemy import URL
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from server.model.identifiers import TenantId
    from server.store.found import Gate, Live
    from server.store.reads import Reads

    T = TypeVar("T")

# A server that hangs does not answer at all.
_ANSWER_SECONDS = 15.0
_NOT_NOW = "The database can't be read now"
# When to ask again for a connection that was refused: each refusal costs PostgreSQL a process.
_FULL_SECONDS = 1.0
# `xmin` changes with every change of a row, whoever makes it. For the gate its values are compared
# instead, because its row also holds the slot.
_POSTGRES = f"""
SELECT t.id, concat_ws(' ', t.xmin, r.xmin, w.xmin, e.gate, e.gate_code, e.gate_message,
    e.next_probe_at, e.paused_until, s.count, s.sum), pg_current_snapshot()::text
FROM {JOINS} LEFT JOIN LATERAL (
    SELECT count(*), sum(xmin::text::bigint) FROM steps WHERE run_id = t.run_id
) s ON true
WHERE t.id = ANY($1::text[])
"""  # noqa: S608 - our own names


def _postgres_rows() -> str:
    step = ", ".join(f"s.{column.name}" for column in STEP_COLUMNS)
    steps = (
        f"(SELECT coalesce(json_agg(json_build_array({step})), '[]') FROM steps s "  # noqa: S608 - our own names
        "WHERE s.run_id = t.run_id)::text"
    )
    return (
        f"SELECT {columns()}, {steps}, clock_timestamp() FROM {JOINS} "  # noqa: S608 - our own names
        "WHERE t.id = ANY($1::text[])"
    )


_POSTGRES_ROWS = _postgres_rows()

# Equal snapshots see equal rows: each transaction that commits a change has a number of its own.
_SNAPSHOT = "SELECT pg_current_snapshot()::text"

# Planning the query takes four times as long as running it, so its plan is kept. It must always go
# by the keys: a plan made while the tables are small would read them whole, and still do so after
# they have grown.
_PLAN_ONCE = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off"


class PostgresGlances:
    """Looks at PostgreSQL: one query at a time, for all callers that wait."""

    def __init__(self, url: URL, reads: Reads, *, spare: AsyncEngine) -> None:
        """Take the parts.

        Args:
            url: The database's URL.
            reads: Reads what looks do not.
            spare: The readers' connections, one of which is borrowed for a look if PostgreSQL
                gives no further connection.
        """
        self._engine = postgres.engine(url, connections=1, settings=postgres.READERS)
        self._spare = spare
        # When to try again for a connection of our own, by the loop's clock.
        self._full_until = 0.0
        # Behind a pooler a statement must be prepared and run on one connection.
        self._in_transaction = postgres.is_pooled(url)
        self._reads = reads
        self._connection: AsyncConnection | None = None
        # The driver's own connection, whose answers need no translation.
        self._driver: Any = None
        self._ask_snapshot: Any = None
        # Marks found by looks with the same snapshot as the last one, and that snapshot; and
        # whether nobody is writing, so that it is worth asking for.
        self._fresh: dict[str, str] = {}
        self._seen = ""
        self._quiet = False
        # Callers that wait, each with its own future: one that leaves takes nobody along.
        self._waiting: list[tuple[TenantId, asyncio.Future[Hashable | None]]] = []
        # Callers that wait for rows.
        self._reading: list[tuple[TenantId, asyncio.Future[Sequence[Any] | None]]] = []
        self._task: asyncio.Task[None] | None = None
        # Whether a caller that asked alone is looking; whether others came meanwhile.
        self._alone = self._several = False
        # When the next look may be taken, by the loop's clock.
        self._not_before = 0.0
        self._there = True

    async def mark(self, tenant_id: TenantId) -> Hashable | None:
        """Return the mark of a tenant's rows; None if there is no such tenant.

        `xmin`, the number of the transaction that wrote a row, stands for the row
        (https://www.postgresql.org/docs/current/ddl-system-columns.html).

        Raises:
            StoreUnavailable: the database can't be read.
        """
        if not self._may_look_alone():
            return await self._asked(tenant_id)
        try:
            return await self._look_alone(tenant_id)
        except Exception as error:
            if is_locked(error):
                # It has waited long enough.
                raise StoreUnavailable(f"{_NOT_NOW}: {detail(error)}") from error
            # The connection may have been lost long ago: look once more.
            return await self._asked(tenant_id)

    async def marks(self, tenant_ids: Collection[TenantId]) -> dict[TenantId, Hashable]:
        """Return the marks of many tenants; unknown ones are left out.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        asked = {tenant_id: self._asked(tenant_id) for tenant_id in tenant_ids}
        marks = {tenant_id: await future for tenant_id, future in asked.items()}
        return {tenant_id: mark for tenant_id, mark in marks.items() if mark is not None}

    async def live(self, tenant_id: TenantId) -> Live | None:
        """Return the rows themselves; None if there is no such tenant.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        if self._in_transaction:
            return await self._reads.live(tenant_id)
        future: asyncio.Future[Sequence[Any] | None] = asyncio.get_running_loop().create_future()
        self._reading.append((tenant_id, future))
        self._see_to_it()
        row = await future
        return None if row is None else live_of(row)

    async def gate(self, site: str) -> Gate | None:
        """Return a site's gate, or None; runs that ask at the same moment share one read.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        return (await self._reads.gates()).get(site)

    def there(self, there: bool) -> None:  # noqa: FBT001 - what a listener hears
        """Tell callers that wait at once if no answer will come."""
        self._there = there
        if not there:
            postgres.cut(self._engine)

    async def close(self) -> None:
        """Close the connection, after the look under way."""
        async with postgres.goodbye(self._engine):
            if self._task is not None:
                await asyncio.wait({self._task})
            await self._drop()
            await self._engine.dispose()

    def _asked(self, tenant_id: TenantId) -> asyncio.Future[Hashable | None]:
        future: asyncio.Future[Hashable | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((tenant_id, future))
        self._see_to_it()
        return future

    def _is_looking(self) -> bool:
        return self._alone or (self._task is not None and not self._task.done())

    def _may_look_alone(self) -> bool:
        connected = self._driver is not None and not self._is_looking()
        return connected and asyncio.get_running_loop().time() >= self._not_before

    async def _look_alone(self, tenant_id: TenantId) -> Hashable | None:
        """Look without a task, whose extra iteration of the loop would cost a tenth of the call.

        A caller that leaves meanwhile leaves a query on the connection whose answer nobody waits
        for; so the connection is cut, and the next look makes a new one.
        """
        driver, self._alone = self._driver, True
        try:
            return (await self._fetch([tenant_id])).get(tenant_id)
        except BaseException:
            driver.terminate()
            raise
        finally:
            self._alone = False
            # The caller that looked and those that wait now count as several, like those of a look.
            self._several = bool(self._waiting)
            if self._waiting or self._reading:
                self._see_to_it()

    def _see_to_it(self) -> None:
        if not self._is_looking():
            self._task = asyncio.create_task(self._run(), name="glances")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting or self._reading:
            if (pause := self._not_before - loop.time()) > 0:
                await asyncio.sleep(pause)
            looking, self._waiting = self._waiting, []
            await self._answer(looking, self._fetch)
            several, self._several = self._several or len(looking) > 1, False
            self._not_before = loop.time() + glances.MOMENT_SECONDS if several else 0.0
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
        loop = asyncio.get_running_loop()
        if loop.time() < self._full_until:
            return await self._borrowed(tenant_ids, fetch)
        try:
            return await fetch(tenant_ids)
        except Exception as error:
            await self._drop()
            if is_full(error):
                self._full_until = loop.time() + _FULL_SECONDS
                return await self._borrowed(tenant_ids, fetch)
            if not self._there or is_locked(error):
                raise
            # The connection may have been lost long ago: once more.
            return await fetch(tenant_ids)

    async def _borrowed(
        self,
        tenant_ids: Sequence[TenantId],
        fetch: Callable[[Sequence[TenantId]], Awaitable[Mapping[str, T]]],
    ) -> Mapping[str, T]:
        """Look on a connection for reading, and give it back: it may be the only one there is."""
        async with self._spare.connect() as connection:
            self._driver = (await connection.get_raw_connection()).driver_connection
            try:
                return await fetch(tenant_ids)
            finally:
                await self._drop()

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
        if self._quiet and len(self._fresh) < MOST_FRESH:
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
            future.set_exception(StoreUnavailable(f"{_NOT_NOW}: {why}"))
            # Retrieved here, since nobody may be waiting any more.
            future.exception()
