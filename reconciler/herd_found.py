"""What the one finding of a herd says, which stands for all of its tenants."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.found import Found
from reconciler.judge import Finding, Verdict
from reconciler.remedies import Carried, RemedyOutcome
from server.model.causes import Cause, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.herd import Decision
    from reconciler.observation import Observation
    from server.model.fingerprint import Failure
    from server.store.herd_row import Herd

# How many tenants it names.
_SAMPLE = 5


def herd_finding(
    herd: Herd, failure: Failure, tenants: Sequence[Observation], decision: Decision
) -> Found:
    """Return the finding that stands for tenants of which one is driven on first.

    Args:
        herd: The herd.
        failure: What their errors have in common.
        tenants: The tenants that a sweep found at it.
        decision: Why, and which goes first.
    """
    first = next((seen for seen in tenants if seen.tenant_id == herd.canary_tenant_id), tenants[0])
    return Found(
        tenant_id=first.tenant_id,
        company_name=first.company_name,
        revision=first.revision,
        finding=Finding(
            cause=Cause.HERD,
            severity=Severity.MAY_CLEAR,
            message=(
                f"Many tenants stand still at one error: {described(failure)} One of "
                f"them ({first.tenant_id}) is driven on first; the others follow once it comes "
                "through."
            ),
            evidence=_evidence(failure, [seen.tenant_id for seen in tenants], decision.why),
        ),
        verdict=Verdict.DRIVE_ON,
        carried=Carried(outcome=RemedyOutcome.ORDERED),
        # Nobody knows since when a record has been damaged.
        stuck_since=None
        if failure.code == Cause.STEP_RECORD_LOST.value
        else min(seen.stuck_since for seen in tenants),
        not_before=None,
        found_at=herd.opened_at,
        failure=failure,
        tenants=herd.tenants,
        own_id=herd.finding_id,
    )


def shared_finding(herd: Herd, members: Sequence[Found]) -> Found:
    """Return the finding that stands for findings for which no tenant is driven on."""
    first = members[0]
    worst = max((found.severity for found in members), key=list(Severity).index)
    failure = first.failure
    return replace(
        first,
        finding=Finding(
            cause=Cause.HERD,
            severity=worst,
            message=(
                f"Many tenants have one cause, {first.finding.cause.value}: "
                f"{described(failure)} {first.finding.message}"
            ),
            evidence=_evidence(failure, [found.tenant_id for found in members], "one cause"),
        ),
        stuck_since=min(
            (found.stuck_since for found in members if found.stuck_since is not None), default=None
        ),
        tenants=herd.tenants,
        herd_id=None,
        own_id=herd.finding_id,
    )


def described(failure: Failure | None) -> str:
    """Return an error as a sentence: where, its code, and what it says; "" if there is none."""
    if failure is None:
        return ""
    where = f"{failure.step_key} " if failure.step_key else ""
    what = f": {failure.message}" if failure.message else ""
    return f"{where}{failure.code}{what}.".replace("..", ".")


def _evidence(failure: Failure | None, tenants: Sequence[str], why: str) -> dict[str, str]:
    more = f" and {len(tenants) - _SAMPLE} more" if len(tenants) > _SAMPLE else ""
    return {
        "step": "" if failure is None else failure.step_key,
        "code": "" if failure is None else failure.code,
        "message": "" if failure is None else failure.message,
        "tenants": ", ".join(tenants[:_SAMPLE]) + more,
        "why": why,
    }
