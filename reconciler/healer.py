"""The reconciler as a server sees it: sweeps when asked, and reports on its own sweeps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from server.healing import FindingSeen, SweepDone, SweepSeen, Watch

if TYPE_CHECKING:
    from reconciler.drift import DriftCheck
    from reconciler.found import Found, SweepReport
    from reconciler.schedule import Schedule
    from reconciler.sweep import Sweeper
    from server.model.records import Tenant


class LocalHealer:
    """The sweeper of this process, for its server.

    Attributes:
        sweeper: Runs the sweeps.
        schedule: Set if the process also sweeps by itself; None if it does not.
    """

    def __init__(self, sweeper: Sweeper, drift: DriftCheck | None = None) -> None:
        """Take what sweeps; nothing is swept before somebody asks.

        Args:
            sweeper: Runs the sweeps.
            drift: Ends findings about drift; None if this process looks for none.
        """
        self.sweeper = sweeper
        self._drift = drift
        self.schedule: Schedule | None = None

    async def sweep(self, *, dry_run: bool) -> SweepDone:
        """Run one sweep now, after one that may be under way.

        Args:
            dry_run: Only report what would be done; write nothing at all.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """
        return as_done(await self.sweeper.sweep(dry_run=dry_run))

    async def seen_clean(self, tenant: Tenant) -> None:
        """End the findings about a finished tenant that is as it should be.

        Args:
            tenant: As it was read before the check: if it has changed since, nothing is ended.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """
        if self._drift is not None:
            await self._drift.seen_clean(tenant)

    def watch(self) -> Watch | None:
        """Return the health of this process's sweeps; None if it does not sweep by itself."""
        return None if self.schedule is None else self.schedule.watch(datetime.now(UTC))


def as_done(report: SweepReport) -> SweepDone:
    """Return a report as the values that the server knows."""
    return SweepDone(
        sweep=SweepSeen(
            id=report.id,
            started_at=report.started_at,
            finished_at=report.finished_at,
            observed=report.observed,
            acted=report.acted,
            findings=report.recorded,
        ),
        findings=tuple(_seen(found) for found in report.findings),
        handed_over=report.handed_over,
        healed=report.healed,
        dry_run=report.dry_run,
    )


def _seen(found: Found) -> FindingSeen:
    return FindingSeen(
        id=found.id,
        tenant_id=found.tenant_id,
        company_name=found.company_name,
        revision=found.revision,
        cause=found.finding.cause.value,
        severity=found.severity.value,
        message=found.message,
        evidence=dict(found.finding.evidence),
        verdict=found.verdict.value,
        outcome=found.carried.outcome.value,
        stuck_since=found.stuck_since,
        found_at=found.found_at,
        fingerprint=found.fingerprint,
        tenants=found.tenants,
        herd_id=found.herd_id or "",
        not_before=found.not_before,
        detail=found.carried.detail,
    )
