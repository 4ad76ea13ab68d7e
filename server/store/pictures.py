"""Reads all that is stored about one tenant and its surroundings, for a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, func, literal_column, or_, select

from server.store import values
from server.store.claims import record_of
from server.store.conditions import OPEN, OPEN_SITE
from server.store.found import Binding, Live, binding_of, gate_of, select_gates, select_workers
from server.store.snapshot import snapshot
from server.store.tables import (
    ATTEMPTS,
    BINDINGS,
    ENGINES,
    FINDINGS,
    RESOURCES,
    RUNS,
    STEPS,
    TENANTS,
    WORKERS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from server.model.ownership import Resource
    from server.model.records import Attempt

# Enough to show how the last tries went; a run has a few dozen at most.
_MOST_ATTEMPTS = 200
_MOST_FINDINGS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPicture:
    """What is stored about one tenant, read at one moment.

    Attributes:
        attempts: The attempts of the last run, the newest last; at most the latest 200.
        findings: What sweeps found lately, the newest first; at most five, as rows.
        ahead: How many open runs of the tenant's site are due before its own; 0 unless that one is
            queued or waiting.
        workers_alive: How many workers have a lease that is not over.
    """

    live: Live
    attempts: tuple[Attempt, ...]
    resources: tuple[Resource, ...]
    binding: Binding | None
    findings: tuple[Mapping[str, Any], ...]
    ahead: int
    workers_alive: int


async def read_picture(engine: AsyncEngine, tenant_id: str, now: datetime) -> StoredPicture | None:
    """Read everything about a tenant in one snapshot; None if there is no such tenant.

    Args:
        engine: The connections for reading.
        tenant_id: The tenant.
        now: The time by the reader's clock, to tell which workers are alive.

    Raises:
        StoreUnavailable: the database can't be read.
    """
    async with snapshot(engine) as connection:
        tenant = await _one(connection, select(TENANTS).where(TENANTS.c.id == tenant_id))
        if tenant is None:
            return None
        run = await _one(connection, select(RUNS).where(RUNS.c.id == tenant["run_id"]))
        steps = await _all(connection, select(STEPS).where(STEPS.c.run_id == tenant["run_id"]))
        gate = await _one(
            connection, select_gates(connection).where(ENGINES.c.site == tenant["site"])
        )
        bound = await _one(connection, select(BINDINGS).where(BINDINGS.c.tenant_id == tenant_id))
        attempts = await _all(
            connection,
            select(ATTEMPTS)
            .where(ATTEMPTS.c.run_id == tenant["run_id"])
            .order_by(ATTEMPTS.c.id.desc())
            .limit(_MOST_ATTEMPTS),
        )
        resources = await _all(
            connection, select(RESOURCES).where(RESOURCES.c.tenant_id == tenant_id)
        )
        findings = await _all(
            connection,
            select(FINDINGS)
            .where(FINDINGS.c.tenant_id == tenant_id)
            .order_by(FINDINGS.c.found_at.desc(), FINDINGS.c.id)
            .limit(_MOST_FINDINGS),
        )
        mine = None if run is None else run["worker_id"]
        workers = await _all(
            connection,
            select_workers(connection).where(
                or_(WORKERS.c.stopped_at.is_(None), WORKERS.c.id == mine)
            ),
        )
        ahead = await _ahead(connection, tenant, run)
    worker = next((row for row in workers if row["id"] == mine), None)
    return StoredPicture(
        live=Live(
            record=record_of(tenant, run, steps),
            gate=None if gate is None else gate_of(gate),
            worker=None if worker is None else values.worker(worker),
            deadline_at=None if run is None else run["deadline_at"],
        ),
        attempts=tuple(values.attempt(row) for row in reversed(attempts)),
        resources=tuple(values.resource(row) for row in resources),
        binding=None if bound is None else binding_of(bound),
        findings=tuple(dict(row) for row in findings),
        ahead=ahead,
        workers_alive=sum(values.worker(row).is_alive(now) for row in workers),
    )


async def _ahead(connection: AsyncConnection, tenant: RowMapping, run: RowMapping | None) -> int:
    """Count the open runs of the site that are due earlier: the queue ahead of this one."""
    if run is None or run["state"] not in {"QUEUED", "WAITING"} or run["due_at"] is None:
        return 0
    query = (
        select(func.count())
        .select_from(RUNS)
        .where(
            literal_column(OPEN),
            literal_column(OPEN_SITE, Text) == tenant["site"],
            RUNS.c.due_at < run["due_at"],
            RUNS.c.id != run["id"],
        )
    )
    return int((await connection.execute(query)).scalar() or 0)


async def _one(connection: AsyncConnection, query: Any) -> RowMapping | None:  # Any: a select
    return (await connection.execute(query)).mappings().first()


async def _all(connection: AsyncConnection, query: Any) -> Sequence[RowMapping]:  # Any: a select
    return (await connection.execute(query)).mappings().all()
