"""The queries: short reads, each in one snapshot, that return model values.

A row damaged from outside can still be read: an unknown state reads as None (a step's as
PENDING), and an unreadable text as empty.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    literal,
    literal_column,
    select,
    tuple_,
    type_coerce,
)
from sqlalchemy.types import NullType

from server.model.naming import fold_name
from server.store import values
from server.store.claims import read_claims, read_shared_names, record_of, run_ids_of
from server.store.conditions import HELD, UNSETTLED, UNSETTLED_OF_HELD
from server.store.due import living_workers, read_due
from server.store.found import (
    Binding,
    Gate,
    KnownRequest,
    Live,
    LogTail,
    SweepMark,
    binding_of,
    due_run_of,
    gate_of,
    select_gates,
    select_workers,
)
from server.store.lines import read_driven, read_line, read_lines
from server.store.log_entries import read_log_ends, read_log_page, read_log_tail
from server.store.shared import Shared
from server.store.snapshot import snapshot, statement
from server.store.tables import (
    ATTEMPTS,
    BINDINGS,
    ENGINES,
    FINDINGS,
    REQUESTS,
    RESOURCES,
    RUNS,
    STEPS,
    SWEEPS,
    TENANTS,
    WORKERS,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from sqlalchemy import RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from server.model.identifiers import TenantId, WorkerId
    from server.model.ownership import Resource
    from server.model.records import Attempt, Cancellation, LogEntry, Record, Run, Worker
    from server.store.at_once import AtOnce
    from server.store.claims import Claim
    from server.store.due import DueAsked
    from server.store.found import DueRun


class Reads:
    """The queries of one store.

    Every method raises `StoreUnavailable` if the database can't be read.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        at_once: AtOnce | None = None,
        *,
        one_statement: AsyncEngine | None = None,
    ) -> None:
        """Take the engine, and the faster ways to read little, if there are any.

        Args:
            engine: The connections for all reads.
            at_once: Reads a few rows by their keys on the event loop.
            one_statement: Connections in autocommit: a single statement sees one state anyway.
        """
        self._engine = engine
        self._at_once = at_once
        self._one_statement = one_statement
        self._gates = Shared(self._read_gates)

    def _snapshot(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return snapshot(self._engine)

    def _glimpse(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a snapshot to read a few rows by their keys or by the index of open runs."""
        return self._snapshot() if self._at_once is None else self._at_once.snapshot()

    def _single(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Open a connection for glimpses that need no snapshot: no BEGIN, no ROLLBACK."""
        if self._one_statement is None:
            return self._glimpse()
        return statement(self._one_statement)

    async def live(self, tenant_id: TenantId) -> Live | None:
        """Return a tenant with all that decides its standing, read in one snapshot, or None."""
        async with self._glimpse() as connection:
            tenant = await _one(connection, select(TENANTS).where(TENANTS.c.id == tenant_id))
            if tenant is None:
                return None
            run = await _one(connection, select(RUNS).where(RUNS.c.id == tenant["run_id"]))
            steps = await _all(connection, select(STEPS).where(STEPS.c.run_id == tenant["run_id"]))
            gate = await _one(
                connection, select_gates(connection).where(ENGINES.c.site == tenant["site"])
            )
            worker = None
            if run is not None and run["worker_id"] is not None:
                worker = await _one(
                    connection, select_workers(connection).where(WORKERS.c.id == run["worker_id"])
                )
        return Live(
            record=record_of(tenant, run, steps),
            gate=None if gate is None else gate_of(gate),
            worker=None if worker is None else values.worker(worker),
            deadline_at=None if run is None else run["deadline_at"],
        )

    async def records(self, tenant_ids: Collection[str]) -> list[Record]:
        """Return the records of some tenants in the order given; unknown ids are left out.

        A sweep names the tenants in the order in which they go; PostgreSQL returns rows as they
        lie in its file.
        """
        async with self._snapshot() as connection:
            tenants = await _all(connection, select(TENANTS).where(TENANTS.c.id.in_(tenant_ids)))
            run_ids = run_ids_of(tenants)
            runs: Sequence[RowMapping] = ()
            steps: Sequence[RowMapping] = ()
            if run_ids:
                runs = await _all(connection, select(RUNS).where(RUNS.c.id.in_(run_ids)))
                steps = await _all(connection, select(STEPS).where(STEPS.c.run_id.in_(run_ids)))
        by_id = {run["id"]: run for run in runs}
        asked = {tenant_id: number for number, tenant_id in enumerate(tenant_ids)}
        steps_of: defaultdict[str, list[RowMapping]] = defaultdict(list)
        for step in steps:
            steps_of[step["run_id"]].append(step)
        return [
            record_of(tenant, by_id.get(tenant["run_id"]), steps_of[tenant["run_id"]])
            for tenant in sorted(tenants, key=lambda tenant: asked[tenant["id"]])
        ]

    async def unsettled(
        self, now: datetime, *, after: SweepMark | None, limit: int
    ) -> list[SweepMark]:
        """Return a page of tenants that a sweep must look at: those never put off, then by time.

        These are two ranges of one index, so that tenants put off to a later time cost nothing.

        Args:
            now: The current time; a `look_at` up to it is due.
            after: The last mark of the page before; None for the first page.
            limit: The most tenants on a page.
        """
        when = type_coerce(TENANTS.c.look_at, NullType())
        standing = select(when, TENANTS.c.id).where(literal_column(UNSETTLED))
        put_off = standing.where(TENANTS.c.look_at <= now).order_by(TENANTS.c.look_at, TENANTS.c.id)
        marks: list[SweepMark] = []
        async with self._snapshot() as connection:
            if after is None or after.look_at is None:
                never = standing.where(
                    TENANTS.c.look_at.is_(None), TENANTS.c.id > ("" if after is None else after.id)
                )
                # Ordered by `look_at` too, although all are equal: only the index of the unsettled
                # has that order. By `id` alone PostgreSQL reads every tenant, because it expects
                # the unsettled to be scattered among all of them (11 times as long at a million as
                # at ten thousand).
                never = never.order_by(TENANTS.c.look_at, TENANTS.c.id)
                rows = await connection.execute(never.limit(limit))
                marks = [SweepMark(*row) for row in rows]
            else:
                here = literal(after.look_at, NullType())
                put_off = put_off.where(tuple_(when, TENANTS.c.id) > tuple_(here, after.id))
            if len(marks) < limit:
                rows = await connection.execute(put_off.limit(limit - len(marks)))
                marks += [SweepMark(*row) for row in rows]
        return marks

    async def next_tenants(self, *, after: str, limit: int) -> list[TenantId]:
        """Return a page of the ids of all tenants, in order, whatever their state.

        Args:
            after: The last id of the page before; "" for the first page.
            limit: The most ids on a page.
        """
        query = select(TENANTS.c.id).where(TENANTS.c.id > after).order_by(TENANTS.c.id).limit(limit)
        async with self._snapshot() as connection:
            return list((await connection.execute(query)).scalars())

    async def request(self, caller: str, method: str, request_id: str) -> KnownRequest | None:
        """Return what is remembered of a repeated order, or None if the order is new.

        Args:
            caller: As in `RequestKey`, and so the others.
            method: The method that was called.
            request_id: The order's id.
        """
        query = select(REQUESTS.c.body_hash, REQUESTS.c.tenant_id).where(
            REQUESTS.c.caller == caller,
            REQUESTS.c.method == method,
            REQUESTS.c.request_id == request_id,
        )
        async with self._single() as connection:
            row = await _one(connection, query)
        if row is None:
            return None
        return KnownRequest(body_hash=row["body_hash"], tenant_id=row["tenant_id"])

    async def binding(self, tenant_id: str) -> Binding | None:
        """Return a tenant's binding, or None."""
        async with self._single() as connection:
            row = await _one(connection, select(BINDINGS).where(BINDINGS.c.tenant_id == tenant_id))
        return None if row is None else binding_of(row)

    async def bound_to(self, site: str, company_name: str) -> Binding | None:
        """Return the binding of a company name at a site, compared as the engine does, or None."""
        query = select(BINDINGS).where(
            BINDINGS.c.site == site, BINDINGS.c.company_fold == fold_name(company_name)
        )
        async with self._single() as connection:
            row = await _one(connection, query)
        return None if row is None else binding_of(row)

    async def bound_abbreviation(self, site: str, abbreviation: str) -> Binding | None:
        """Return the binding of an abbreviation at a site, compared as the engine does, or None."""
        query = select(BINDINGS).where(
            BINDINGS.c.site == site, BINDINGS.c.abbreviation_fold == fold_name(abbreviation)
        )
        async with self._snapshot() as connection:
            row = await _one(connection, query)
        return None if row is None else binding_of(row)

    async def resources(self, tenant_id: str) -> list[Resource]:
        """Return a tenant's documents, shared ones and removed ones too, in no order."""
        async with self._single() as connection:
            rows = await _all(
                connection, select(RESOURCES).where(RESOURCES.c.tenant_id == tenant_id)
            )
        return [values.resource(row) for row in rows]

    async def claims(self, tenant_ids: Collection[str], *, passed_step: str) -> dict[str, Claim]:
        """Return what is needed to claim these tenants' runs, by tenant (`read_claims`)."""
        async with self._glimpse() as connection:
            return await read_claims(connection, tenant_ids, passed_step=passed_step)

    async def shared_names(self, names: Collection[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return which of these pairs of site and company name more than one tenant has.

        Tenants whose Company was removed do not count.
        """
        async with self._single() as connection:
            return await read_shared_names(connection, names)

    async def attempts(self, run_id: str) -> list[Attempt]:
        """Return the attempts of a run, in order."""
        query = select(ATTEMPTS).where(ATTEMPTS.c.run_id == run_id).order_by(ATTEMPTS.c.id)
        async with self._snapshot() as connection:
            return [values.attempt(row) for row in await _all(connection, query)]

    async def due_runs(self, asked: DueAsked) -> list[DueRun]:
        """Return open runs that may be claimed, those due longest first (`server.store.due`)."""
        async with self._single() as connection:
            return await read_due(connection, asked)

    async def slot_line(
        self, site: str, *, driving: Collection[str], limit: int, before: datetime | None = None
    ) -> list[DueRun]:
        """Return the runs in line for a site's slot, those ordered first first (`read_line`)."""
        async with self._single() as connection:
            rows = await read_line(connection, site, driving=driving, limit=limit, before=before)
        return [due_run_of(row) for row in rows]

    async def lines(self) -> set[str]:
        """Return the sites that have such a line (`slot_line`)."""
        async with self._single() as connection:
            return await read_lines(connection)

    async def driven_elsewhere(
        self, now: datetime, sites: Collection[str], *, worker_id: WorkerId
    ) -> dict[str, int]:
        """Count the runs that other living workers drive now, by site.

        Nobody drives the runs that a dead worker left RUNNING: a process that counted them would
        wait for them for ever.
        """
        async with self._glimpse() as connection:
            others = await living_workers(connection, now) - {worker_id}
            return await read_driven(connection, sites, others)

    async def vanished_companies(
        self, site: str, *, since: datetime | None, limit: int
    ) -> list[str]:
        """Return the missing Companies of a site's tenants that are held for that.

        Args:
            site: The site.
            since: If given, only tenants held since this time.
            limit: The most names to return.
        """
        query = select(TENANTS.c.company_name).where(
            literal_column(HELD),
            literal_column(UNSETTLED_OF_HELD),
            TENANTS.c.site == site,
            TENANTS.c.error_code == "COMPANY_VANISHED",
        )
        if since is not None:
            query = query.where(TENANTS.c.hold_since > since)
        async with self._snapshot() as connection:
            return list((await connection.execute(query.limit(limit))).scalars())

    async def cancellations(self, run_ids: Collection[str]) -> dict[str, Cancellation]:
        """Return the orders to cancel any of these runs, by run; runs without one are left out."""
        query = select(RUNS).where(RUNS.c.id.in_(run_ids), RUNS.c.cancelled_at.is_not(None))
        async with self._single() as connection:
            found = [values.run(row) for row in await _all(connection, query)]
        return {run.id: run.cancellation for run in found if run.cancellation is not None}

    async def run(self, run_id: str) -> Run | None:
        """Return a run, or None."""
        async with self._single() as connection:
            row = await _one(connection, select(RUNS).where(RUNS.c.id == run_id))
        return None if row is None else values.run(row)

    async def gates(self) -> dict[str, Gate]:
        """Return every site's gate, by site."""
        if self._one_statement is None:
            return await self._read_gates()
        return dict(await self._gates.read())

    async def _read_gates(self) -> dict[str, Gate]:
        async with self._single() as connection:
            rows = await _all(connection, select_gates(connection))
        return {row["site"]: gate_of(row) for row in rows}

    async def gate(self, site: str) -> Gate | None:
        """Return a site's gate, or None."""
        async with self._glimpse() as connection:
            row = await _one(connection, select_gates(connection).where(ENGINES.c.site == site))
        return None if row is None else gate_of(row)

    async def worker(self, worker_id: str) -> Worker | None:
        """Return a worker, or None."""
        async with self._snapshot() as connection:
            row = await _one(
                connection, select_workers(connection).where(WORKERS.c.id == worker_id)
            )
        return None if row is None else values.worker(row)

    async def living_workers(self, now: datetime) -> set[str]:
        """Return the ids of the workers whose lease is not over, whether they drive or not."""
        async with self._snapshot() as connection:
            return await living_workers(connection, now)

    async def log_page(self, tenant_id: str, *, after: int, limit: int) -> list[LogEntry]:
        """Return a page of a tenant's log, in order.

        Args:
            tenant_id: The tenant.
            after: The cursor after which the page begins.
            limit: The most entries on a page.
        """
        async with self._snapshot() as connection:
            return await read_log_page(connection, tenant_id, after=after, limit=limit)

    async def log_tail(self, tenant_id: str) -> LogTail | None:
        """Return the first and last cursor of a tenant's log, or None for an unknown tenant."""
        async with self._snapshot() as connection:
            return await read_log_tail(connection, tenant_id)

    async def log_ends(self, tenant_ids: Collection[str]) -> dict[str, tuple[int, bool]]:
        """Return the last cursor of many tenants, and whether each is in motion, by tenant.

        Unknown tenants are left out.
        """
        async with self._snapshot() as connection:
            return await read_log_ends(connection, list(tenant_ids))

    async def known_finding(self, tenant_id: str, revision: int, cause: str) -> bool:
        """Tell whether a sweep has already recorded this cause for this revision."""
        query = (
            select(FINDINGS.c.id)
            .where(
                FINDINGS.c.tenant_id == tenant_id,
                FINDINGS.c.revision == revision,
                FINDINGS.c.cause == cause,
            )
            .limit(1)
        )
        async with self._snapshot() as connection:
            return (await connection.execute(query)).first() is not None

    async def findings(self, *, limit: int, tenant_id: str = "") -> list[dict[str, Any]]:
        """Return the latest findings of one tenant (of all, if it is ""), newest first, as rows."""
        query = select(FINDINGS).order_by(FINDINGS.c.found_at.desc(), FINDINGS.c.id).limit(limit)
        if tenant_id:
            query = query.where(FINDINGS.c.tenant_id == tenant_id)
        async with self._snapshot() as connection:
            return [dict(row) for row in await _all(connection, query)]

    async def sweeps(self, *, limit: int) -> list[dict[str, Any]]:
        """Return the latest sweeps that found something, newest first: as rows."""
        # A sweep's id begins with the time at which the sweep began.
        query = select(SWEEPS).order_by(SWEEPS.c.id.desc()).limit(limit)
        async with self._snapshot() as connection:
            return [dict(row) for row in await _all(connection, query)]


async def _one(connection: AsyncConnection, query: Any) -> RowMapping | None:
    return (await connection.execute(query)).mappings().first()


async def _all(connection: AsyncConnection, query: Any) -> Sequence[RowMapping]:
    return (await connection.execute(query)).mappings().all()
