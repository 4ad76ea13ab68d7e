"""What a sweep found and did, as values; and how a finding is stored and reported."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.remedies import RemedyOutcome
from server.model.actor import RECONCILER_NAME
from server.model.causes import Cause, Severity
from server.model.findings import NOTICED_AT
from server.model.identifiers import new_id
from server.store.operations import FindingRow, OutboxRow, SweepOperation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from reconciler.judge import Finding, Verdict
    from reconciler.remedies import Carried
    from server.model.fingerprint import Failure
    from server.model.identifiers import TenantId
    from server.store.handed_over import HandedOver

# A finding's id is made from tenant, revision and cause, so that two reconcilers that find the
# same thing at the same moment record it once.
_FINDINGS = uuid.UUID("6d0c1f43-7a4e-5c0e-9b57-1f0a3b1f5a51")

# These are not results yet: a later sweep acts, and then records.
_NOT_RECORDED = frozenset(
    {
        RemedyOutcome.FASTER,
        RemedyOutcome.LATER,
        RemedyOutcome.DRY_RUN,
        RemedyOutcome.AWAITS_CANARY,
    }
)

# Who holds tenants without a person; a hold by a person needs no message to people.
_OWN_HOLDS = frozenset({"run", RECONCILER_NAME})

NEEDS_PERSON = "needs_person"
HEALED = "healed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One finding of a sweep, with its verdict and what came of that.

    Attributes:
        tenant_id: For a finding about an engine, "engine:" and its id.
        company_name: "" if it is about no tenant, or the rows could not be read.
        revision: The tenant's revision when it was judged; 0 likewise.
        stuck_since: Since when it has been so; None if nobody can know (damage).
        failure: What it has in common with other tenants' findings, or None.
        not_before: When the tenant will be re-driven, if it is too early now.
        herd_id: The id of the finding for the herd it belongs to, or None.
        tenants: How many tenants it is about.
        own_id: Its id, if that is not made from tenant, revision and cause; "" if it is.
    """

    tenant_id: TenantId
    company_name: str = ""
    revision: int
    finding: Finding
    verdict: Verdict
    carried: Carried
    stuck_since: datetime | None
    not_before: datetime | None
    found_at: datetime
    failure: Failure | None = None
    herd_id: str | None = None
    tenants: int = 1
    own_id: str = ""

    @property
    def id(self) -> str:
        """Its id: the same for the same tenant, revision and cause."""
        if self.own_id:
            return self.own_id
        name = f"{self.tenant_id}:{self.revision}:{self.finding.cause.value}"
        return str(uuid.uuid5(_FINDINGS, name))

    @property
    def is_herd(self) -> bool:
        """Whether it stands for many tenants."""
        return self.finding.cause is Cause.HERD

    @property
    def fingerprint(self) -> str:
        """What it has in common with other tenants' findings; "" for none."""
        return "" if self.failure is None else self.failure.fingerprint

    @property
    def is_final(self) -> bool:
        """Whether it is a result to be recorded, and not something that a later sweep will do."""
        return self.not_before is None and self.carried.outcome not in _NOT_RECORDED

    @property
    def severity(self) -> Severity:
        """Whether somebody has to act; if the order was refused, a person has to."""
        if self.carried.outcome is RemedyOutcome.REFUSED:
            return Severity.PERSON
        return self.finding.severity

    @property
    def message(self) -> str:
        """What is wrong, in plain words, and why the order was refused if it was."""
        if self.carried.outcome is RemedyOutcome.REFUSED:
            return f"{self.finding.message} {self.carried.detail}"
        return self.finding.message


def as_first_seen(found: Found, waiting: Mapping[str, Found]) -> Found:
    """Return a finding with the times of the sweep that saw it first.

    A tenant that waits for a canary, or for a later sweep's turn to give orders, is recorded only
    when it is moved. Until then it was stuck, and known to be.

    Args:
        found: The finding as this sweep sees it.
        waiting: The findings that the last sweep left to a later one, by id.
    """
    first = waiting.get(found.id)
    if first is None:
        return found
    evidence = found.finding.evidence
    noticed_at = first.finding.evidence.get(NOTICED_AT, first.found_at.isoformat())
    finding = replace(found.finding, evidence={**evidence, NOTICED_AT: noticed_at})
    return replace(found, finding=finding, stuck_since=first.stuck_since)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What one sweep saw and did.

    Attributes:
        observed: How many tenants were examined.
        acted: How many tenants were acted on: an order given, a person called, or a stored
            state corrected.
        findings: All findings, including those known before.
        recorded: How many of them were new and are now in the database.
        healed: How many tenants were seen to be healed.
        handed_over: Tenants that were already waiting for a person; listed by a dry run.
    """

    id: str
    started_at: datetime
    finished_at: datetime
    dry_run: bool
    observed: int
    acted: int
    findings: tuple[Found, ...]
    recorded: int
    healed: int = 0
    handed_over: tuple[HandedOver, ...] = field(default=())

    @property
    def duration_seconds(self) -> float:
        """How long it took."""
        return (self.finished_at - self.started_at).total_seconds()


def herd_finding_id(fingerprint: str, opened_at: datetime) -> str:
    """Return the id of the one finding of a herd.

    Args:
        fingerprint: The herd's.
        opened_at: When it was opened: a herd that is over and comes back has another finding.
    """
    return str(uuid.uuid5(_FINDINGS, f"herd:{fingerprint}:{opened_at.isoformat()}"))


def row_of(found: Found) -> FindingRow:
    """Return the row in which a finding is stored; a corrected stored state is over at once."""
    # A stored state that was corrected is settled at once; nothing is driven for it.
    corrected = found.carried.outcome is RemedyOutcome.STATE_CORRECTED
    return FindingRow(
        id=found.id,
        tenant_id=found.tenant_id,
        revision=found.revision,
        cause=found.finding.cause.value,
        severity=found.severity.value,
        message=found.message,
        evidence=found.finding.evidence,
        verdict=found.verdict.value,
        outcome=found.carried.outcome.value,
        stuck_since=found.stuck_since,
        found_at=found.found_at,
        fingerprint=found.fingerprint,
        herd_id=found.herd_id,
        tenants=found.tenants,
        ended_at=found.found_at if corrected else None,
        ended_as="HEALED" if corrected else None,
    )


def call_of(found: Found) -> OutboxRow | None:
    """Return the message that calls a person for a finding.

    Returns:
        None if nobody is needed, another finding stands for this one, or a person holds the tenant
        and so knows of it.
    """
    if found.severity is not Severity.PERSON or found.herd_id is not None:
        return None
    evidence = found.finding.evidence
    if found.finding.cause is Cause.HELD and evidence.get("held_by", "") not in _OWN_HOLDS:
        return None
    return message(
        NEEDS_PERSON,
        found.id,
        found.found_at,
        tenant_id=found.tenant_id,
        company_name=found.company_name,
        cause=found.finding.cause.value,
        message=found.message,
        tenants=found.tenants,
        fingerprint=found.fingerprint,
        stuck_since=found.stuck_since.isoformat() if found.stuck_since else None,
        command=f"provisioner diagnose {found.tenant_id}",
    )


def recording(
    found: Found, told: OutboxRow | None, *, observed: int, finished_at: datetime
) -> SweepOperation:
    """Return the operation that records a single finding, with the message about it.

    Args:
        found: A finding that does not come from judging a stuck tenant.
        told: The message; None if nobody is to be told.
        observed: How many tenants were examined.
        finished_at: When the look ended.
    """
    return SweepOperation(
        id=new_id(found.found_at),
        started_at=found.found_at,
        finished_at=finished_at,
        observed=observed,
        acted=0,
        skipped_passes=0,
        findings=(row_of(found),),
        outbox=() if told is None else (told,),
    )


def healed_message(
    finding_id: str,
    at: datetime,
    *,
    since: datetime,
    **facts: Any,  # Any: JSON values
) -> OutboxRow:
    """Return the message that a finding is over.

    Args:
        finding_id: The id of the finding.
        at: When it was over.
        since: When it was found.
        facts: Further fields of the message.
    """
    return message(
        HEALED,
        finding_id,
        at,
        **facts,
        noticed_at=since.isoformat(),
        healed_at=at.isoformat(),
        seconds=round((at - since).total_seconds(), 3),
    )


def message(kind: str, subject: str, at: datetime, **facts: Any) -> OutboxRow:  # Any: JSON values
    """Return a message for the webhook; the same subject and kind make the same message.

    Args:
        kind: `NEEDS_PERSON` or `HEALED`.
        subject: The id of the finding it is about.
        at: When it happened.
        facts: Further fields of the body, in JSON's values; they must not be id, kind or at.
    """
    own_id = str(uuid.uuid5(_FINDINGS, f"{kind}:{subject}"))
    body = {"id": own_id, "kind": kind, "at": at.isoformat(), **facts}
    return OutboxRow(id=own_id, kind=kind, body=body, created_at=at)
