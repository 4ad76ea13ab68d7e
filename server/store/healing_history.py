"""Reads what sweeps found: page by page, or all of a period."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, literal, literal_column, or_, select, tuple_, union

from server.model.findings import FindingSeen, SweepSeen
from server.store import values
from server.store.found import EPOCH
from server.store.snapshot import snapshot
from server.store.tables import FINDINGS, SWEEPS, TENANTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import RowMapping
    from sqlalchemy.ext.asyncio import AsyncEngine

# How many findings to take at a time on the event loop: some milliseconds' worth.
_AT_A_TIME = 100
# The most by which a clock may be set while a sweep is under way.
_CLOCK_SET = timedelta(hours=1)
_FAR = datetime(9999, 1, 1, tzinfo=UTC)


# Causes that do not say how a tenant is stuck: each finding is over by itself.
_ALONE = ("DRIFT", "ENGINE_SHUT", "HERD", "SWEEP_ERROR")
_SPENT = "HEALING_BUDGET_SPENT"
_SPENT_ON = ("PASSING_ERROR", "STEP_NOT_DONE", "STEP_RECORD_LOST")


class HealingHistory:
    """What sweeps found, as it is stored.

    Every method raises `StoreUnavailable` if the database can't be read.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def sweeps(self, *, after: tuple[datetime, str] | None, limit: int) -> list[SweepSeen]:
        """Return a page of the sweeps that found something, the latest first.

        Args:
            after: Time and id of the last sweep of the page before; None for the first page.
            limit: The most sweeps to return.
        """
        # A sweep's id begins with the time at which the sweep began.
        query = select(SWEEPS).order_by(SWEEPS.c.id.desc()).limit(limit)
        if after is not None:
            query = query.where(SWEEPS.c.id < after[1])
        async with snapshot(self._engine) as connection:
            page = (await connection.execute(query)).mappings().all()
            found = {row[0]: row[1] for row in await connection.execute(_new_of(page))}
        return [
            SweepSeen(
                id=values.words(row["id"]),
                started_at=row["started_at"] or EPOCH,
                finished_at=row["finished_at"] or EPOCH,
                observed=values.whole(row["observed"]),
                acted=values.whole(row["acted"]),
                findings=found.get(row["id"], 0),
                skipped_passes=values.whole(row["skipped_passes"]),
            )
            for row in page
        ]

    async def findings(
        self,
        *,
        after: tuple[datetime, str] | None,
        limit: int,
        tenant_id: str,
        open_only: bool,
        person_only: bool,
        include_members: bool,
    ) -> list[FindingSeen]:
        """Return a page of findings, the latest first.

        Args:
            after: Time and id of the last finding of the page before; None for the first page.
            limit: The most findings to return.
            tenant_id: If not empty, only findings of this tenant.
            open_only: Whether to leave out findings that are over, or that a later one replaces.
            person_only: Whether to leave out findings for which nobody has to act.
            include_members: Whether to include findings that belong to a herd.
        """
        query = _findings()
        if after is not None:
            # A single range of an index; with an OR, all later findings would be read.
            at, own_id = literal(after[0], FINDINGS.c.found_at.type), after[1]
            query = query.where(tuple_(FINDINGS.c.found_at, FINDINGS.c.id) < tuple_(at, own_id))
        if tenant_id:
            query = query.where(FINDINGS.c.tenant_id == tenant_id)
        if open_only:
            query = query.where(literal_column("findings.ended_at IS NULL"), ~_superseded())
        if person_only:
            query = query.where(FINDINGS.c.severity == "PERSON")
        if not include_members:
            query = query.where(FINDINGS.c.herd_id.is_(None))
        query = query.order_by(FINDINGS.c.found_at.desc(), FINDINGS.c.id.desc()).limit(limit)
        return [_finding(row) for row in await self._all(query)]

    async def findings_of(
        self, begins_at: datetime, ends_at: datetime, *, limit: int
    ) -> list[FindingSeen]:
        """Return the findings of tenants that were found or ended in a period.

        Args:
            begins_at: The start of the period.
            ends_at: Its end.
            limit: The most findings to return.
        """
        # Each part has its own index, which an OR would not use.
        then = union(
            *(
                select(FINDINGS.c.id).where(time >= begins_at, time < ends_at)
                for time in (FINDINGS.c.found_at, FINDINGS.c.ended_at)
            )
        )
        query = (
            _findings()
            .where(FINDINGS.c.id.in_(then), FINDINGS.c.cause != "HERD")
            .order_by(FINDINGS.c.found_at.desc(), FINDINGS.c.id.desc())
            .limit(limit)
        )
        seen: list[FindingSeen] = []
        async with snapshot(self._engine) as connection:
            # There may be thousands, so others are answered between two parts of them.
            few = {"yield_per": _AT_A_TIME}
            rows = (await connection.stream(query, execution_options=few)).mappings()
            async for part in rows.partitions():
                seen.extend(map(_finding, part))
                # The driver may have more of them at hand, and then never lets others in.
                await asyncio.sleep(0)
        return seen

    async def _all(self, query: Any) -> list[RowMapping]:  # Any: a select
        async with snapshot(self._engine) as connection:
            return list((await connection.execute(query)).mappings().all())


def _new_of(page: Sequence[RowMapping]) -> Any:  # Any: a select
    """Count the findings of some sweeps.

    No index has a finding's sweep. But it was made between the sweep's start and end, by a clock
    that may have been set meanwhile.
    """
    # A time that can't be read or is out of range is from a row that was changed by hand.
    times = [row[name] or EPOCH for row in page for name in ("started_at", "finished_at")]
    begin = max(min(times, default=EPOCH), EPOCH) - _CLOCK_SET
    end = min(max(times, default=EPOCH), _FAR) + _CLOCK_SET
    return (
        select(FINDINGS.c.sweep_id, func.count())
        .where(
            # Bytes are no sweep's id, and no query takes them as text.
            FINDINGS.c.sweep_id.in_([row["id"] for row in page if isinstance(row["id"], str)]),
            FINDINGS.c.found_at.between(begin, end),
        )
        .group_by(FINDINGS.c.sweep_id)
    )


def _findings() -> Any:  # Any: a select
    return select(FINDINGS, TENANTS.c.company_name).outerjoin(
        TENANTS, TENANTS.c.id == FINDINGS.c.tenant_id
    )


def _superseded() -> Any:  # Any: an EXISTS
    """Tell whether a later finding says how the tenant of a finding is stuck now.

    Each look at a tenant records everything that keeps it stuck, and all these findings end
    together when the tenant settles: until then, one that was driven on five times has six or
    more.
    """
    later = FINDINGS.alias("later")
    return (
        select(literal_column("1"))
        .where(
            later.c.tenant_id == FINDINGS.c.tenant_id,
            literal_column("later.ended_at IS NULL"),
            FINDINGS.c.cause.not_in(_ALONE),
            later.c.cause.not_in(_ALONE),
            or_(
                later.c.revision > FINDINGS.c.revision,
                # Its message includes the error on which the budget was spent.
                and_(
                    later.c.revision == FINDINGS.c.revision,
                    later.c.cause == _SPENT,
                    FINDINGS.c.cause.in_(_SPENT_ON),
                ),
            ),
        )
        .exists()
    )


def _finding(row: RowMapping) -> FindingSeen:
    return FindingSeen(
        id=values.words(row["id"]),
        tenant_id=values.words(row["tenant_id"]),
        company_name=values.words(row["company_name"]),
        revision=values.whole(row["revision"]),
        cause=values.words(row["cause"]),
        severity=values.words(row["severity"]),
        message=values.words(row["message"]),
        evidence={key: str(value) for key, value in values.json_object(row["evidence"]).items()},
        verdict=values.words(row["verdict"]),
        outcome=values.words(row["outcome"]),
        stuck_since=row["stuck_since"],
        found_at=row["found_at"] or EPOCH,
        fingerprint=values.words(row["fingerprint"]),
        tenants=values.whole(row["tenants"]),
        herd_id=values.words(row["herd_id"]),
        ended_at=row["ended_at"],
        ended_as=values.words(row["ended_as"]),
    )
