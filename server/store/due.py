"""Which open runs a worker may claim: short reads."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, and_, literal_column, not_, or_, select

from server.model.states import RunState, WaitingCode
from server.store import values
from server.store.conditions import OPEN, OPEN_SITE
from server.store.found import DueRun, due_run_of, select_workers
from server.store.tables import RUNS, WORKERS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import RowMapping, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from server.model.identifiers import WorkerId

# Runs read beyond those asked for, to choose from, where other processes choose too.
_SPREAD = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DueAsked:
    """Which runs are looked for.

    Attributes:
        now: The time.
        worker_id: Who asks; a run of its own that it does not drive is stale.
        alone: Whether no other process can be driving (SQLite with the lock held): then
            every other worker is dead.
        sites: Sites that take work now; the runs of others wait.
        driving: Runs the caller drives already.
        horizon: A due time further ahead is due now: the clock was set back.
        limit: Longest list.
        tenants: Only runs of these tenants, or None for all.
        begun: Only those that began, and whose wait is over or whose worker is gone, who was
            ordered first in front.
        left: Also those that are under way and driven by nobody: all that are under way are
            read for them, the caller's own among them.
    """

    now: datetime
    worker_id: WorkerId
    alone: bool
    sites: Collection[str]
    driving: Collection[str]
    horizon: timedelta
    limit: int
    tenants: Collection[str] | None = None
    begun: bool = False
    left: bool = True


async def read_due(connection: AsyncConnection, asked: DueAsked) -> list[DueRun]:
    """Return open runs that may be claimed, the longest due first."""
    me, now = asked.worker_id, asked.now
    others = set() if asked.alone else await living_workers(connection, now) - {me}
    wanted = asked.limit if not others else asked.limit * (1 + len(others)) + _SPREAD
    query = _query(asked, others).limit(wanted + len(asked.driving))
    rows = [row for row in await _all(connection, query) if row["id"] not in asked.driving]
    if not asked.alone and any(_is_of_another(row, me) for row in rows):
        # Dead, it seems. Or it began to live after the first look: then it drives them.
        others = await living_workers(connection, now) - {me}
        rows = [row for row in rows if not (_is_of_another(row, me) and row["worker_id"] in others)]
    return [due_run_of(row) for row in _spread(rows[:wanted], asked.limit)]


def _query(asked: DueAsked, others: Collection[str]) -> Select[Any]:
    run, now = RUNS.c, asked.now
    # A queued run waits for nothing: a time ahead is another host's clock.
    due = or_(run.state == "QUEUED", run.due_at <= now, run.due_at > now + asked.horizon)
    # Who stands in line for a site's slot is called up by its turn (`slot_line`).
    in_line = run.waiting_code.is_not_distinct_from(WaitingCode.SITE_SLOT.value)
    under_way = run.state == "RUNNING"
    due = and_(~under_way, due, not_(in_line))
    if asked.left:
        # Nobody drives a run whose worker is not alive.
        nobodys = or_(run.worker_id.is_(None), run.worker_id.not_in(others))
        due = or_(due, and_(under_way, nobodys))
    query = (
        select(
            *(run.id, run.tenant_id, run.site, run.created_at, run.state, run.worker_id, run.token)
        )
        .where(literal_column(OPEN), literal_column(OPEN_SITE, Text).in_(asked.sites), due)
        .order_by(run.created_at if asked.begun else run.due_at, run.id)
    )
    if asked.tenants is not None:
        query = query.where(run.tenant_id.in_(asked.tenants))
    if asked.begun:
        # One that a worker handed back as it stopped is queued again.
        query = query.where(or_(run.state != "QUEUED", run.started_at.is_not(None)))
    return query


async def living_workers(connection: AsyncConnection, now: datetime) -> set[str]:
    """Return the workers whose lease lasts; there are as many as processes that drive."""
    rows = await _all(connection, select_workers(connection).where(WORKERS.c.stopped_at.is_(None)))
    return {worker.id for worker in map(values.worker, rows) if worker.is_alive(now)}


def _is_of_another(row: RowMapping, worker_id: WorkerId) -> bool:
    return row["state"] == RunState.RUNNING.value and row["worker_id"] not in {None, worker_id}


def _spread(rows: Sequence[RowMapping], limit: int) -> Sequence[RowMapping]:
    """Pick from a few more rows than wanted, in order, where several processes look at once.

    All of them see the same runs first. Each claims others, so that few claims are in vain;
    of two that claim one run, fencing lets one have it (docs/decisions/0011).
    """
    if len(rows) <= limit:
        return rows
    picked = sorted(random.sample(range(len(rows)), limit))
    return [rows[index] for index in picked]


async def _all(connection: AsyncConnection, query: Any) -> Sequence[RowMapping]:
    return (await connection.execute(query)).mappings().all()
