"""Sweeps and findings as they are stored and shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# In the evidence: when a sweep first saw a tenant that it left to a later sweep.
NOTICED_AT = "noticed_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingSeen:
    """One finding; its words are shown as they are stored.

    Attributes:
        not_before: When the tenant will be re-driven, if it is too early now.
        detail: Why it is waiting, or why the order was refused.
    """

    id: str
    tenant_id: str
    company_name: str
    revision: int
    cause: str
    severity: str
    message: str
    evidence: Mapping[str, str]
    verdict: str
    outcome: str
    stuck_since: datetime | None
    found_at: datetime
    fingerprint: str = ""
    tenants: int = 1
    herd_id: str = ""
    ended_at: datetime | None = None
    ended_as: str = ""
    not_before: datetime | None = None
    detail: str = ""

    @property
    def noticed_at(self) -> datetime:
        """When a sweep first saw it, which is before it was recorded if its turn came later."""
        try:
            told = datetime.fromisoformat(self.evidence.get(NOTICED_AT, ""))
        except ValueError:
            return self.found_at
        # A row that was changed by hand may contain any time.
        return self.found_at if told.tzinfo is None else min(told, self.found_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSeen:
    """One sweep; `findings` is how many new ones it had."""

    id: str
    started_at: datetime
    finished_at: datetime
    observed: int
    acted: int
    findings: int
    skipped_passes: int = 0
