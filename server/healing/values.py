"""Sweeps and findings as values, and the interface of whatever runs sweeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from server.model.findings import FindingSeen, SweepSeen
    from server.model.records import Tenant
    from server.store.handed_over import HandedOver


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepDone:
    """A sweep that was ordered, with all it found.

    Attributes:
        findings: All findings, including those known before; `sweep.findings` counts the new ones.
        handed_over: Tenants that were already waiting for a person; listed by a dry run.
        healed: How many tenants were seen to be healed.
    """

    sweep: SweepSeen
    findings: tuple[FindingSeen, ...]
    handed_over: tuple[HandedOver, ...] = field(default=())
    healed: int = 0
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The health of a process's reconciler.

    Attributes:
        last_full_sweep_at: When the last complete sweep ended, by the wall clock; None before it.
        age_seconds: How long ago the last complete sweep ended; before the first, how long ago it
            started.
        interval_seconds: The time from the start of one sweep to that of the next.
        stale_after_seconds: If the last sweep is older than this, something is wrong.
        full: How many sweeps completed since the process started.
        failed: How many raised an error.
        cut: How many exceeded their time limit.
        skipped: How many were skipped because one was still running.
        last_error: The error of the last sweep that failed or was cut off; "" once one has
            completed.
    """

    last_full_sweep_at: datetime | None
    age_seconds: float
    interval_seconds: float
    stale_after_seconds: float
    full: int
    failed: int
    cut: int
    skipped: int
    last_error: str

    @property
    def healthy(self) -> bool:
        """Whether sweeps complete on schedule."""
        return self.age_seconds <= self.stale_after_seconds


class Healer(Protocol):
    """Runs sweeps: the reconciler, as the server sees it."""

    async def sweep(self, *, dry_run: bool) -> SweepDone:
        """Run one sweep now, after one that may be under way.

        Args:
            dry_run: Whether only to report what would be done.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """

    async def seen_clean(self, tenant: Tenant) -> None:
        """Take note that a finished tenant was checked and is as it should be.

        Args:
            tenant: As it was read before the check: if it has changed since, nothing is noted.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """

    def watch(self) -> Watch | None:
        """Return the health of this process's sweeps; None if it runs none by itself."""
