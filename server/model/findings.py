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
        tenant_id: For a finding about an engine, "engine:" and its id; for one about a herd, the
            id of one of its tenants.
        company_name: "" if it is about no tenant.
        revision: The tenant's revision when it was judged; 0 if it is about no tenant.
        stuck_since: Since when it has been so; None if nobody can know (damage).
        fingerprint: What it has in common with other tenants' findings; "" for nothing.
        tenants: How many tenants it is about.
        herd_id: The id of the finding that stands for its herd; "" if it belongs to none.
        ended_at: When it was over; None while it is not.
        ended_as: HEALED (the reconciler's order brought the tenant to its end), MENDED (a person's
            did), CLEARED (by itself) or ENDED (the tenant was cancelled or removed, or another
            finding took its place); "" while it is not over.
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
    """One sweep.

    Attributes:
        observed: How many tenants it examined.
        acted: How many it acted on: gave an order, called a person, corrected a stored state.
        findings: How many new findings it had.
        skipped_passes: How many passes were skipped since the last sweep that was recorded, because
            one was still running.
    """

    id: str
    started_at: datetime
    finished_at: datetime
    observed: int
    acted: int
    findings: int
    skipped_passes: int = 0
