"""Reads how the sites are doing: open runs by state, and how long steps took lately."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, func, literal_column, select

from server.model.states import AttemptOutcome
from server.store.conditions import HELD, OPEN, OPEN_SITE, UNSETTLED_OF_HELD
from server.store.snapshot import snapshot
from server.store.tables import ATTEMPTS, RUNS, TENANTS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.ext.asyncio import AsyncEngine

# The newest runs of each site, read from an index: enough for a median of each step, and a bounded
# read however long the history is. Per site, so that a busier site does not crowd others out.
_MEASURED_RUNS = 200
# The most attempts that so many runs have, including retries.
_MEASURED = 5000
_DONE = (AttemptOutcome.APPLIED.value, AttemptOutcome.ADOPTED.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLoad:
    """What a site has to do, and how long its steps took.

    Attributes:
        open_runs: How many runs are open, by state, such as "QUEUED".
        step_seconds: How long each attempt that did a step took, by the step's key, in no order:
            those of the site's newest 200 runs.
    """

    open_runs: Mapping[str, int] = field(default_factory=dict)
    step_seconds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


async def read_loads(engine: AsyncEngine, sites: Collection[str]) -> dict[str, SiteLoad]:
    """Return the load of some sites, by site; also of one that has no run.

    Raises:
        StoreUnavailable: the database can't be read.
    """
    site_of: ColumnElement[str] = literal_column(OPEN_SITE, Text)
    open_runs = (
        select(site_of, RUNS.c.state, func.count().label("runs"))
        .where(literal_column(OPEN))
        .group_by(site_of, RUNS.c.state)
    )
    runs: defaultdict[str, dict[str, int]] = defaultdict(dict)
    seconds: dict[str, defaultdict[str, list[float]]] = {}
    async with snapshot(engine) as connection:
        for site, state, count in (await connection.execute(open_runs)).all():
            runs[site][state] = count
        for site in sites:
            seconds[site] = defaultdict(list)
            for key, began, ended in (await connection.execute(measured(site))).all():
                # A time that was damaged from outside reads as None.
                if began is not None and ended is not None:
                    seconds[site][key].append((ended - began).total_seconds())
    return {
        site: SiteLoad(
            open_runs=runs.get(site, {}),
            step_seconds={key: tuple(each) for key, each in seconds[site].items()},
        )
        for site in seconds
    }


async def count_held(engine: AsyncEngine, site: str) -> int:
    """Return how many of a site's unsettled tenants are held.

    Raises:
        StoreUnavailable: the database can't be read.
    """
    query = (
        select(func.count())
        .select_from(TENANTS)
        .where(literal_column(HELD), literal_column(UNSETTLED_OF_HELD), TENANTS.c.site == site)
    )
    async with snapshot(engine) as connection:
        return int((await connection.execute(query)).scalar_one())


def measured(site: str) -> Select[Any]:  # Any: a row of three columns
    """Return a query for step key, start and end of a site's newest attempts that did a step.

    At most 5000, those of the site's newest 200 runs.
    """
    newest = (
        select(RUNS.c.id)
        .where(RUNS.c.site == site)
        .order_by(RUNS.c.id.desc())
        .limit(_MEASURED_RUNS)
        .subquery()
    )
    return (
        select(ATTEMPTS.c.step_key, ATTEMPTS.c.started_at, ATTEMPTS.c.ended_at)
        .join(newest, newest.c.id == ATTEMPTS.c.run_id)
        .where(ATTEMPTS.c.outcome.in_(_DONE), ATTEMPTS.c.ended_at.is_not(None))
        .limit(_MEASURED)
    )
