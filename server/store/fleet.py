"""Reads how the sites stand: open runs by state, and how long steps took of late."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import func, literal_column, select

from server.model.states import AttemptOutcome
from server.store.reads import OPEN, UNSETTLED
from server.store.snapshot import snapshot
from server.store.tables import ATTEMPTS, RUNS, TENANTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine

# The newest attempts of all sites: enough for a median of each step, and a bounded read
# however long the history is.
_MEASURED = 5000
_DONE = (AttemptOutcome.APPLIED.value, AttemptOutcome.ADOPTED.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLoad:
    """What a site has to do, and how long it took for what it did.

    Attributes:
        open_runs: How many by state, such as "QUEUED".
        step_seconds: Of the attempts that did a step, by its key.
    """

    open_runs: Mapping[str, int] = field(default_factory=dict)
    step_seconds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


async def read_loads(engine: AsyncEngine) -> dict[str, SiteLoad]:
    """Return the load of every site that has any, by site.

    Raises:
        StoreUnavailable: if the database can't be read now.
    """
    open_runs = (
        select(RUNS.c.site, RUNS.c.state, func.count().label("runs"))
        .where(literal_column(OPEN))
        .group_by(RUNS.c.site, RUNS.c.state)
    )
    newest = (
        select(
            ATTEMPTS.c.run_id,
            ATTEMPTS.c.step_key,
            ATTEMPTS.c.outcome,
            ATTEMPTS.c.started_at,
            ATTEMPTS.c.ended_at,
        )
        .order_by(ATTEMPTS.c.id.desc())
        .limit(_MEASURED)
        .subquery()
    )
    measured = (
        select(RUNS.c.site, newest.c.step_key, newest.c.started_at, newest.c.ended_at)
        .join(RUNS, RUNS.c.id == newest.c.run_id)
        .where(newest.c.outcome.in_(_DONE), newest.c.ended_at.is_not(None))
    )
    runs: defaultdict[str, dict[str, int]] = defaultdict(dict)
    seconds: defaultdict[str, defaultdict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    async with snapshot(engine) as connection:
        for site, state, count in (await connection.execute(open_runs)).all():
            runs[site][state] = count
        for site, key, began, ended in (await connection.execute(measured)).all():
            seconds[site][key].append((ended - began).total_seconds())
    return {
        site: SiteLoad(
            open_runs=runs.get(site, {}),
            step_seconds={key: tuple(each) for key, each in seconds.get(site, {}).items()},
        )
        for site in runs.keys() | seconds.keys()
    }


async def count_held(engine: AsyncEngine, site: str) -> int:
    """Return how many tenants of a site are held, of those that are not settled.

    Raises:
        StoreUnavailable: if the database can't be read now.
    """
    query = (
        select(func.count())
        .select_from(TENANTS)
        .where(literal_column(UNSETTLED), TENANTS.c.site == site, TENANTS.c.hold_since.is_not(None))
    )
    async with snapshot(engine) as connection:
        return int((await connection.execute(query)).scalar_one())
