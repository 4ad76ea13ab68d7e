"""Ends findings whose tenants have come to rest, and tells the people who were called for them."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from reconciler.found import healed_message
from reconciler.remedies import RemedyOutcome
from server.model.actor import RECONCILER_NAME
from server.model.states import TenantState

if TYPE_CHECKING:
    from datetime import datetime

    from server.store.database import Database
    from server.store.healing import OpenFinding
    from server.store.operations import OutboxRow

# Outcomes after which only a person's order can have brought the tenant to its end.
_HANDED_OVER = frozenset(
    {
        RemedyOutcome.OPERATOR_CALLED.value,
        RemedyOutcome.REFUSED.value,
        RemedyOutcome.ERROR.value,
    }
)


async def write_off(database: Database, *, notify: bool, now: datetime) -> int:
    """End findings whose tenants have come to rest; up to 500 findings in one call.

    Args:
        database: The store of tenants and findings.
        notify: Whether to write messages about those that were healed or mended.
        now: The time to use as the end if a tenant's run has none.

    Returns:
        How many tenants were healed.

    Raises:
        StoreUnavailable: the database can't be read or written.
    """
    healed = 0
    by_tenant = groupby(
        sorted(await database.healing.settled(), key=lambda each: each.tenant_id),
        key=lambda each: each.tenant_id,
    )
    for _, of_tenant in by_tenant:
        findings = list(of_tenant)
        ended_as = _ended_as(findings)
        at = max(findings[0].run_ended_at or now, findings[-1].found_at or now)
        told = notify and ended_as in {"HEALED", "MENDED"}
        ended = await database.healing.end(
            [finding.id for finding in findings],
            ended_as=ended_as,
            at=at,
            messages=[_healed(findings, ended_as, at)]
            if told and findings[0].herd_id is None
            else [],
        )
        healed += ended and ended_as == "HEALED"
    return healed


def _ended_as(findings: list[OpenFinding]) -> str:
    """Return how a tenant came to rest: by us, by a person we had called, or by itself."""
    if findings[0].state != TenantState.COMPLETED.value:
        return "ENDED"
    if findings[0].run_actor == RECONCILER_NAME:
        return "HEALED"
    if any(each.outcome in _HANDED_OVER or each.cause == "HELD" for each in findings):
        return "MENDED"
    return "CLEARED"


def _healed(findings: list[OpenFinding], ended_as: str, at: datetime) -> OutboxRow:
    first = findings[0]
    return healed_message(
        first.id,
        at,
        since=first.found_at or at,
        tenant_id=first.tenant_id,
        company_name=first.company_name,
        cause=first.cause,
        ended_as=ended_as,
    )
