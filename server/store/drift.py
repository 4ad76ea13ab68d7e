"""Which finished tenants are due for a check of what their site still has, and who does it.

`tenants.verify_at` says when the next look is due; for a tenant that has never been looked at,
the time at which it was finished counts. A reconciler first moves that time on, by an update that
names the value it saw, so that several reconcilers together look once. The tenant's revision
stays the same, because the tenant does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Text, cast, literal_column, select, update

from server.model.calendar import moved
from server.store import rows
from server.store.conditions import STATE_OF_FOUND
from server.store.failures import refusals
from server.store.found import EPOCH
from server.store.snapshot import snapshot
from server.store.tables import FINDINGS, RUNS, TENANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    from sqlalchemy import ColumnElement, Connection, RowMapping, Select
    from sqlalchemy.ext.asyncio import AsyncEngine

    from server.model.identifiers import TenantId

T = TypeVar("T")

# Literal text, because otherwise SQLite would not use the partial indexes.
_NEVER_VERIFIED = "state = 'COMPLETED' AND verify_at IS NULL"
_VERIFIED = "state = 'COMPLETED' AND verify_at IS NOT NULL"
_OPEN = "ended_at IS NULL"
# As a text: a damaged time reads as None, and would equal nothing that was read.
_MARK = cast(TENANTS.c.verify_at, Text)
# How many open drifts of one site a sweep asks about.
_MOST_OPEN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DueLook:
    """A finished tenant whose look is due.

    Attributes:
        seen: Its `verify_at`; None if nobody has looked yet, or if it can't be read.
        mark: The same as it is stored, damaged or not, by which a claim names what it saw.
        due_at: Since when the look is due.
    """

    tenant_id: TenantId
    company_name: str
    revision: int
    seen: datetime | None
    mark: str | None
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDrift:
    """A drift that was found and is not over yet: a finding with the cause DRIFT."""

    id: str
    message: str
    cause: str
    found_at: datetime


class DriftStore:
    """The reconcilers' list of finished tenants to look at.

    Every method raises `StoreUnavailable` if the database can't be read or written.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        in_transaction: Callable[[Callable[[Connection], Any]], Any],  # Any: as `Database`'s
    ) -> None:
        self._engine = engine
        self._in_transaction = in_transaction

    async def due(
        self, site: str, *, now: datetime, period: timedelta, limit: int
    ) -> list[DueLook]:
        """Return the tenants of a site whose look is due, those that waited longest first.

        A time further ahead than one period is due too: the clock was set back, or the period was
        made shorter.

        Args:
            site: The site.
            now: The current time.
            period: The time from one look at a tenant to the next.
            limit: The most tenants to return.
        """
        queries = [
            _looks(_NEVER_VERIFIED, site, TENANTS.c.state_since <= now - period)
            .order_by(TENANTS.c.state_since, TENANTS.c.id)
            .limit(limit),
            _looks(_VERIFIED, site, TENANTS.c.verify_at <= now)
            .order_by(TENANTS.c.verify_at, TENANTS.c.id)
            .limit(limit),
            _looks(_VERIFIED, site, TENANTS.c.verify_at > now + period)
            .order_by(TENANTS.c.verify_at, TENANTS.c.id)
            .limit(limit),
        ]
        found: list[RowMapping] = []
        async with snapshot(self._engine) as connection:
            for query in queries:
                found.extend((await connection.execute(query)).mappings())
        looks = [
            DueLook(
                tenant_id=row["id"],
                company_name=row["company_name"],
                revision=row["revision"],
                seen=row["verify_at"],
                mark=row["mark"],
                due_at=row["verify_at"] or moved(row["state_since"] or EPOCH, period),
            )
            for row in found
        ]
        return sorted(looks, key=lambda each: (each.due_at, each.tenant_id))[:limit]

    async def claim(self, look: DueLook, *, until: datetime) -> bool:
        """Claim a look that is due, so that nobody else takes it before `until`.

        Args:
            look: As `due` or `repaired` returned it.
            until: When the next look is due if this one has no result; it also names the claim
                (`put_off`).

        Returns:
            False if another reconciler was faster, or the tenant has changed.
        """
        same = _MARK.is_not_distinct_from(look.mark)

        def take(connection: Connection) -> bool:
            taken = connection.execute(
                update(TENANTS)
                .where(
                    TENANTS.c.id == look.tenant_id,
                    TENANTS.c.state == "COMPLETED",
                    TENANTS.c.revision == look.revision,
                    same,
                )
                .values(verify_at=until)
            )
            return taken.rowcount == 1

        return await self._write(take)

    async def put_off(self, tenant_id: TenantId, *, claimed: datetime, until: datetime) -> None:
        """Store when the next look is due, unless another reconciler has claimed the tenant since.

        Args:
            tenant_id: The tenant.
            claimed: Until when this reconciler had claimed it.
            until: When the next look is due.
        """
        await self._write(
            lambda connection: connection.execute(
                update(TENANTS)
                .where(TENANTS.c.id == tenant_id, TENANTS.c.verify_at == claimed)
                .values(verify_at=until)
            )
        )

    async def repaired(self, site: str, *, claimed: timedelta, limit: int) -> list[DueLook]:
        """Return tenants with an open drift that have had a run since they were looked at.

        Args:
            site: The site.
            claimed: How far ahead of a look the tenant's next one was put.
            limit: The most tenants to return.
        """
        query = (
            select(
                TENANTS.c.id,
                TENANTS.c.company_name,
                TENANTS.c.revision,
                TENANTS.c.verify_at,
                _MARK.label("mark"),
                RUNS.c.finished_at,
            )
            .join(FINDINGS, FINDINGS.c.tenant_id == TENANTS.c.id)
            .join(RUNS, RUNS.c.id == TENANTS.c.run_id)
            .where(
                literal_column(f"findings.{_OPEN}"),
                FINDINGS.c.cause == "DRIFT",
                literal_column(STATE_OF_FOUND, Text) == "COMPLETED",
                TENANTS.c.site == site,
                TENANTS.c.hold_reason.is_(None),
                RUNS.c.finished_at > FINDINGS.c.found_at,
            )
            .order_by(FINDINGS.c.found_at, TENANTS.c.id)
            .limit(_MOST_OPEN)
        )
        async with snapshot(self._engine) as connection:
            found = (await connection.execute(query)).mappings().all()
        return [
            DueLook(
                tenant_id=row["id"],
                company_name=row["company_name"],
                revision=row["revision"],
                seen=row["verify_at"],
                mark=row["mark"],
                # Before all those that are due by time alone.
                due_at=datetime.min.replace(tzinfo=UTC),
            )
            for row in found
            if row["verify_at"] is None or _since(row, moved(row["verify_at"], -claimed))
        ][:limit]

    async def is_at(self, tenant_id: TenantId, revision: int) -> bool:
        """Tell whether a tenant is finished and still at a revision."""
        query = select(TENANTS.c.id).where(
            TENANTS.c.id == tenant_id,
            TENANTS.c.state == "COMPLETED",
            TENANTS.c.revision == revision,
        )
        async with snapshot(self._engine) as connection:
            return (await connection.execute(query)).first() is not None

    async def open_drifts(self, tenant_id: TenantId) -> list[OpenDrift]:
        """Return the drifts of a tenant that were found and are not over yet."""
        query = (
            select(FINDINGS.c.id, FINDINGS.c.message, FINDINGS.c.cause, FINDINGS.c.found_at)
            .where(
                literal_column(_OPEN),
                FINDINGS.c.tenant_id == tenant_id,
                FINDINGS.c.cause == "DRIFT",
            )
            .order_by(FINDINGS.c.found_at, FINDINGS.c.id)
        )
        async with snapshot(self._engine) as connection:
            found = (await connection.execute(query)).mappings().all()
        return [OpenDrift(**row) for row in found]

    async def renew(self, finding_id: str, *, message: str, evidence: Mapping[str, str]) -> None:
        """Update a finding to what a later look saw.

        Args:
            finding_id: The finding; it keeps its time, and nobody is told again.
            message: What is wrong now, in plain words.
            evidence: The facts of that look; they replace the earlier ones.
        """
        await self._write(
            lambda connection: connection.execute(
                update(FINDINGS)
                .where(FINDINGS.c.id == finding_id)
                .values(message=message, evidence=rows.dump(evidence))
            )
        )

    async def _write(self, work: Callable[[Connection], T]) -> T:
        with refusals():
            result: T = await self._in_transaction(work)
        return result


def _since(row: RowMapping, looked_at: datetime) -> bool:
    """Tell whether a tenant's run ended after a look; one whose end can't be read did not."""
    return row["finished_at"] is not None and row["finished_at"] >= looked_at


def _looks(of: str, site: str, due: ColumnElement[bool]) -> Select[Any]:  # Any: rows of tenants
    return select(
        TENANTS.c.id,
        TENANTS.c.company_name,
        TENANTS.c.revision,
        TENANTS.c.verify_at,
        _MARK.label("mark"),
        TENANTS.c.state_since,
    ).where(literal_column(of), TENANTS.c.site == site, TENANTS.c.hold_reason.is_(None), due)
