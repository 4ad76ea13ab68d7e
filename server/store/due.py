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

# How many more runs to read than asked for, to choose from, if other processes choose too.
_SPREAD = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class DueAsked:
    """Which runs are looked for.

    Attributes:
        now: The current time.
        worker_id: The worker that asks. A run that names it, but that it does not drive, is
            stale.
        alone: Whether no other process can be driving (SQLite with the lock held), so that every
            other worker is dead.
        sites: The sites that take work now; runs of other sites wait.
        driving: The ids of the runs that the caller already drives.
        horizon: A due time further ahead than this is due now: the clock was set back.
        limit: The most runs to return.
        tenants: If given, only runs of these tenants.
        begun: Whether to return only runs that have begun and whose wait is over or whose worker
            is gone, in the order in which they were ordered.
        left: Whether to include runs that are under way but driven by nobody. To find them, all
            runs that are under way are read, including the caller's own.
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
    """Return open runs that may be claimed, those that have been due longest first.

    Args:
        connection: For reading. The statements need not see one state of the database: a claim is
            fenced.
        asked: Which runs are looked for.

    Returns:
        At most `asked.limit` runs. If other processes look too, they are picked from a few more, so
        that not all processes claim the same ones.
    """
    me, now = asked.worker_id, asked.now
    others = set() if asked.alone else await living_workers(connection, now) - {me}
    wanted = asked.limit if not others else asked.limit * (1 + len(others)) + _SPREAD
    query = _query(asked, others).limit(wanted + len(asked.driving))
    rows = [row for row in await _all(connection, query) if row["id"] not in asked.driving]
    if not asked.alone and any(_is_of_another(row, me) for row in rows):
        # That worker seems dead; or it started after the first look, and is driving them.
        others = await living_workers(connection, now) - {me}
        rows = [row for row in rows if not (_is_of_another(row, me) and row["worker_id"] in others)]
    return [due_run_of(row) for row in _spread(rows[:wanted], asked.limit)]


def _query(asked: DueAsked, others: Collection[str]) -> Select[Any]:
    run, now = RUNS.c, asked.now
    # A queued run waits for nothing: if its time is ahead, it is from another host's clock.
    due = or_(run.state == "QUEUED", run.due_at <= now, run.due_at > now + asked.horizon)
    # A run that stands in line for a site's slot is called up when its turn comes (`slot_line`).
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
        # A run that a worker handed back when it stopped is queued again.
        query = query.where(or_(run.state != "QUEUED", run.started_at.is_not(None)))
    return query


async def living_workers(connection: AsyncConnection, now: datetime) -> set[str]:
    """Return the ids of the workers whose lease is not over: one per process that drives.

    Args:
        connection: For reading.
        now: The time by the reader's clock, which counts on SQLite (`Worker.is_alive`).
    """
    rows = await _all(connection, select_workers(connection).where(WORKERS.c.stopped_at.is_(None)))
    return {worker.id for worker in map(values.worker, rows) if worker.is_alive(now)}


def _is_of_another(row: RowMapping, worker_id: WorkerId) -> bool:
    return row["state"] == RunState.RUNNING.value and row["worker_id"] not in {None, worker_id}


def _spread(rows: Sequence[RowMapping], limit: int) -> Sequence[RowMapping]:
    """Pick from a few more rows than wanted, in order, because several processes look at once.

    All of them see the same runs first. If each picks different ones, few claims are in vain; if
    two claim the same run, fencing lets one have it (docs/decisions/0011).
    """
    if len(rows) <= limit:
        return rows
    picked = sorted(random.sample(range(len(rows)), limit))
    return [rows[index] for index in picked]


async def _all(connection: AsyncConnection, query: Any) -> Sequence[RowMapping]:
    return (await connection.execute(query)).mappings().all()
