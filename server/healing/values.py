"""What is known about sweeps and findings, and the one who makes sweeps, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from server.model.findings import FindingSeen, SweepSeen
    from server.model.records import Tenant
    from server.store.healing import HandedOver


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepDone:
    """A sweep that was ordered, with all it found."""

    sweep: SweepSeen
    findings: tuple[FindingSeen, ...]
    handed_over: tuple[HandedOver, ...] = field(default=())
    healed: int = 0
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """How a process's reconciler is.

    Attributes:
        age_seconds: Since the last full sweep ended; before the first, since it was started.
        stale_after_seconds: A sweep that is older means that something is wrong.
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
        """Whether sweeps come as they should."""
        return self.age_seconds <= self.stale_after_seconds


class Healer(Protocol):
    """Makes sweeps; the reconciler as the server sees it."""

    async def sweep(self, *, dry_run: bool) -> SweepDone:
        """Make one sweep now.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """

    async def seen_clean(self, tenant: Tenant) -> None:
        """Hear that a finished tenant was looked at and is as it should be.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """

    def watch(self) -> Watch | None:
        """Say how the sweeps of this process come; None where it makes none by itself."""
