"""Which runs stand in a site's line for its slot, and how many it drives: short reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Integer, Text, bindparam, func, literal_column, select

from server.model.states import RunState, WaitingCode
from server.store.columns import UtcTime
from server.store.conditions import OPEN, OPEN_SITE
from server.store.tables import RUNS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection

_OPEN: ColumnElement[bool] = literal_column(OPEN)
_SITE: ColumnElement[str] = literal_column(OPEN_SITE, Text)


async def read_line(
    connection: AsyncConnection,
    site: str,
    *,
    driving: Collection[str],
    limit: int,
    before: datetime | None,
) -> Sequence[RowMapping]:
    """Return the runs that gave their place back while they wait for a site's slot.

    They are in the order in which they were ordered: a tenant that is nearly done does not wait
    behind all those that are beginning, and nobody can be overtaken for ever.

    Args:
        connection: For reading.
        site: The site.
        driving: The ids of runs that the caller drives, which are left out.
        limit: The most runs to return.
        before: If given, only runs ordered before this time.
    """
    values = {"of_site": site, "driving": list(driving), "most": limit, "before": before}
    query = _LINE if before is None else _LINE_BEFORE
    return (await connection.execute(query, values)).mappings().all()


async def read_lines(connection: AsyncConnection) -> set[str]:
    """Return the sites with a slot for which some run waits that gave its place back."""
    return set((await connection.execute(_LINES)).scalars())


# Built once: each time a line moves, it is asked who stands first.
_LINE = (
    select(RUNS.c.id, RUNS.c.tenant_id, RUNS.c.site, RUNS.c.created_at, RUNS.c.token)
    .where(
        _OPEN,
        bindparam("of_site", type_=Text) == _SITE,
        RUNS.c.state == RunState.WAITING.value,
        RUNS.c.waiting_code == WaitingCode.SITE_SLOT.value,
        RUNS.c.id.not_in(bindparam("driving", type_=Text, expanding=True)),
    )
    .order_by(RUNS.c.created_at, RUNS.c.id)
    .limit(bindparam("most", type_=Integer))
)
_LINE_BEFORE = _LINE.where(RUNS.c.created_at < bindparam("before", type_=UtcTime()))


_LINES = (
    select(_SITE)
    .where(
        _OPEN,
        RUNS.c.state == RunState.WAITING.value,
        RUNS.c.waiting_code == WaitingCode.SITE_SLOT.value,
    )
    .distinct()
)


async def read_driven(
    connection: AsyncConnection, sites: Collection[str], workers: Collection[str]
) -> dict[str, int]:
    """Count the runs that some workers drive now, by site; sites without any are left out.

    Args:
        connection: For reading.
        sites: The sites to count for.
        workers: The ids of the workers whose runs count, dead or alive.
    """
    query = (
        select(_SITE, func.count())
        .where(
            _OPEN,
            RUNS.c.state == RunState.RUNNING.value,
            _SITE.in_(sites),
            RUNS.c.worker_id.in_(workers),
        )
        .group_by(_SITE)
    )
    return {row[0]: row[1] for row in await connection.execute(query)}
