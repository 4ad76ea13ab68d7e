"""Reads what sweeps found: pages, and all of a period."""

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

# Findings taken at a time on the event loop: some milliseconds.
_AT_A_TIME = 100
# By how much a clock is set while a sweep is under way.
_CLOCK_SET = timedelta(hours=1)
_FAR = datetime(9999, 1, 1, tzinfo=UTC)


# Not about how a tenant stands still: each is over by itself.
_ALONE = ("DRIFT", "ENGINE_SHUT", "HERD", "SWEEP_ERROR")
_SPENT = "HEALING_BUDGET_SPENT"
_SPENT_ON = ("PASSING_ERROR", "STEP_NOT_DONE", "STEP_RECORD_LOST")


class HealingHistory:
    """What sweeps found, as it is stored."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def sweeps(self, *, after: tuple[datetime, str] | None, limit: int) -> list[SweepSeen]:
        """Return sweeps that found something, the latest first."""
        # Their ids begin with the time at which they did.
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
        """Return findings, the latest first."""
        query = _findings()
        if after is not None:
            # One range of an index, which an OR would not be: all later ones would be read.
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
        """Return the findings of tenants that were found or ended in a period."""
        # Each by an index of its own, which an OR would not be.
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
            # Thousands, and others are answered between two parts of them.
            few = {"yield_per": _AT_A_TIME}
            rows = (await connection.stream(query, execution_options=few)).mappings()
            async for part in rows.partitions():
                seen.extend(map(_finding, part))
                # The driver may have more of them at hand, and would not wait for anything.
                await asyncio.sleep(0)
        return seen

    async def _all(self, query: Any) -> list[RowMapping]:  # Any: a select
        async with snapshot(self._engine) as connection:
            return list((await connection.execute(query)).mappings().all())


def _new_of(page: Sequence[RowMapping]) -> Any:  # Any: a select
    """Count the findings of some sweeps.

    No index has the sweep of a finding. It was made between the sweep's begin and end, by a
    clock that may have been set meanwhile.
    """
    # A time that is none, or none of ours, is of a row that was changed by hand.
    times = [row[name] or EPOCH for row in page for name in ("started_at", "finished_at")]
    begin = max(min(times, default=EPOCH), EPOCH) - _CLOCK_SET
    end = min(max(times, default=EPOCH), _FAR) + _CLOCK_SET
    return (
        select(FINDINGS.c.sweep_id, func.count())
        .where(
            # Bytes name none, and no query takes them among texts.
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
    """Tell whether a later finding says how the tenant of a finding stands still now.

    Each look at a tenant says all that keeps it, and all it said ends at once, when the tenant
    comes to rest: until then one that was driven on five times has six of them or more.
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
                # Its message has the error that the budget was spent on.
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
