"""Drift: checks a few finished tenants after each sweep, and reports what was changed by hand.

Reads only. Whatever differs is a finding for a person, and so is a spec that can no longer be
read, because then nobody can say what differs. Nothing is driven, and no till is opened. The
finding ends when a later check finds everything as it should be. A site that has work to do, or
whose gate is shut, is left alone. Each check is claimed in the database first, so that several
reconcilers together do it once (docs/decisions/0043).
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from reconciler.found import Found, call_of, healed_message, recording
from reconciler.judge import Finding, Verdict
from reconciler.remedies import Carried, RemedyOutcome
from server.errors import ProvisionerError, StoreUnavailable
from server.executor.quarantine import may_be_out
from server.model.causes import Cause, Severity
from server.model.states import GateState
from server.model.unreadable import SPEC_UNREADABLE
from server.probing import Stand

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from server.model.identifiers import TenantId
    from server.model.records import Tenant
    from server.probing import Prober, StepLook, Survey
    from server.store.database import Database
    from server.store.drift import DueLook, OpenDrift
    from server.store.found import Gate

_log = structlog.get_logger(__name__)

_FINDINGS = uuid.UUID("c1f8a0de-3a0f-5b86-9a8e-7d1d2b6f0e43")

# When to check again if a check had no result, or found something: what a person has fixed
# must not be shown as drift for a week.
_SOON = timedelta(hours=1)
# For all checks of one sweep together: the next sweep must not wait for a slow site.
_SECONDS = 20.0
# How many differences a message and its evidence name; a command shows all of them.
_MOST_NAMED = 5
_MAX_TEXT = 400

_WRONG = frozenset({Stand.MISSING, Stand.FOREIGN, Stand.DIFFERENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The result of one sweep's checks.

    Attributes:
        looked_at: How many tenants were checked.
        findings: The findings that are new.
        ended: How many findings are over.
    """

    looked_at: int = 0
    findings: tuple[Found, ...] = ()
    ended: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The result of checking one tenant; without a finding it is as it should be."""

    finding: Finding | None


class DriftCheck:
    """Checks finished tenants: a few per sweep, those that waited longest first."""

    def __init__(
        self,
        database: Database,
        prober: Prober,
        *,
        sites: Collection[str],
        now: Callable[[], datetime],
        limit: int = 2,
        period: timedelta = timedelta(days=7),
        notify: bool = False,
        seconds: float = _SECONDS,
    ) -> None:
        """Take the parts that a check needs.

        Args:
            database: The store of tenants and findings.
            prober: Examines a tenant at its engine.
            sites: The sites that this process can ask.
            now: The clock.
            limit: The most checks in one sweep; 0 for none.
            period: The time from one check of a tenant to the next.
            notify: Whether to write messages for the webhook.
            seconds: The longest that all checks of a sweep may take together.
        """
        self._database = database
        self._prober = prober
        self._sites = sorted(sites)
        self._now = now
        self._limit = limit
        self._period = period
        self._soon = min(_SOON, period)
        self._notify = notify
        self._seconds = seconds

    async def check(self) -> Checked:
        """Check the tenants that are due, as far as limit and time allow.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """
        if not self._limit:
            return Checked()
        looked_at = ended = 0
        findings: list[Found] = []
        try:
            async with asyncio.timeout(self._seconds):
                for look in await self._due():
                    claimed = self._now() + self._soon
                    if not await self._database.drift.claim(look, until=claimed):
                        continue
                    seen = await self._look(look)
                    if seen is None:
                        continue
                    looked_at += 1
                    found, over = await self._conclude(look, seen, claimed)
                    findings.extend(found)
                    ended += over
        except TimeoutError:
            # The tenant being checked stays claimed, and is checked once the claim is over.
            _log.warning("drift.cut", seconds=self._seconds, looked_at=looked_at)
        if looked_at:
            _log.info("drift.checked", looked_at=looked_at, found=len(findings))
        return Checked(looked_at=looked_at, findings=tuple(findings), ended=ended)

    async def seen_clean(self, tenant: Tenant) -> int:
        """End the findings about a tenant that a person's Verify found to be as it should be.

        Args:
            tenant: As it was read before the check: if it has changed since, nothing is ended.

        Returns:
            How many findings are over.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """
        drift = self._database.drift
        known = await drift.open_drifts(tenant.id)
        if not known or not await drift.is_at(tenant.id, tenant.revision):
            return 0
        return await self._end(tenant.id, tenant.spec.company_name, known)

    async def _due(self) -> list[DueLook]:
        gates = await self._database.reads.gates()
        looks: list[DueLook] = []
        for site in self._sites:
            # First those that were found to differ and have had a run since.
            due = await self._database.drift.repaired(site, claimed=self._soon, limit=self._limit)
            due += await self._database.drift.due(
                site, now=self._now(), period=self._period, limit=self._limit
            )
            if due and not await self._is_busy(site, gates.get(site)):
                looks.extend(due)
        first = {each.tenant_id: each for each in sorted(looks, key=lambda each: each.due_at)}
        return list(first.values())[: self._limit]

    async def _is_busy(self, site: str, gate: Gate | None) -> bool:
        """Tell whether a site is shut, spared, or has tenants to make, which come first."""
        if gate is not None:
            now = self._now()
            until = gate.slot_until(now)
            # Neither counts if it ends further ahead than any does: a clock was set back since.
            taken = until is not None and may_be_out(until, now)
            if gate.state is not GateState.UP or gate.paused(now) or taken:
                return True
        return bool(await self._database.reads.slot_line(site, driving=(), limit=1))

    async def _look(self, look: DueLook) -> _Seen | None:
        """Check one tenant; return None if there was no result: it is checked again soon."""
        try:
            survey = await self._prober.tenant(look.tenant_id)
            return _Seen(finding=None if survey.clean else finding_of(look, survey))
        except StoreUnavailable:
            raise
        except ProvisionerError as error:
            if error.code == SPEC_UNREADABLE:
                return _Seen(finding=_unreadable(error))
            _log.info("drift.not_looked", tenant=look.tenant_id, why=str(error)[:_MAX_TEXT])
        except Exception:  # noqa: BLE001 - one poisoned tenant must not stop the sweep
            _log.exception("drift.failed", tenant=look.tenant_id)
        return None

    async def _conclude(
        self, look: DueLook, seen: _Seen, claimed: datetime
    ) -> tuple[list[Found], int]:
        """Record what a check found; return what is new, and how many findings are over."""
        drift = self._database.drift
        if not await drift.is_at(look.tenant_id, look.revision):
            return [], 0  # an order came meanwhile: the tenant was not at rest when it was seen
        known = await drift.open_drifts(look.tenant_id)
        finding = seen.finding
        if finding is None:
            ended = await self._end(look.tenant_id, look.company_name, known)
            await drift.put_off(look.tenant_id, claimed=claimed, until=self._now() + self._period)
            return [], ended
        if known:
            if known[0].message != finding.message:
                await drift.renew(known[0].id, message=finding.message, evidence=finding.evidence)
            return [], 0
        found = Found(
            tenant_id=look.tenant_id,
            company_name=look.company_name,
            revision=look.revision,
            finding=finding,
            verdict=Verdict.CALL_OPERATOR,
            carried=Carried(outcome=RemedyOutcome.OPERATOR_CALLED),
            stuck_since=None,
            not_before=None,
            found_at=self._now(),
            # From the claim and not from the revision: what is corrected and changed by hand
            # once more is a new finding, although the tenant's revision is the same.
            own_id=str(uuid.uuid5(_FINDINGS, f"{look.tenant_id}:{claimed.isoformat()}")),
        )
        await self._record(found)
        return [found], 0

    async def _end(self, tenant_id: TenantId, company_name: str, known: Sequence[OpenDrift]) -> int:
        if not known:
            return 0
        at = self._now()
        told = healed_message(
            known[0].id,
            at,
            since=known[0].found_at,
            tenant_id=tenant_id,
            company_name=company_name,
            cause=Cause.DRIFT.value,
            ended_as="MENDED",
        )
        return await self._database.healing.end(
            [each.id for each in known],
            ended_as="MENDED",
            at=at,
            messages=[told] if self._notify else [],
        )

    async def _record(self, found: Found) -> None:
        call = call_of(found) if self._notify else None
        await self._database.submit(recording(found, call, observed=1, finished_at=self._now()))


def finding_of(look: DueLook, survey: Survey) -> Finding:
    """Return how a finished tenant differs from what it needs; the first difference is evidence.

    Args:
        look: The tenant that was checked.
        survey: The result, which is not clean.
    """
    wrong = [step for step in survey.steps if step.stand in _WRONG]
    said = [text for step in wrong for text in _texts(step)]
    more = f" (and {len(said) - _MOST_NAMED} more)" if len(said) > _MOST_NAMED else ""
    one = look.tenant_id
    remedy = f"See all of it with: provisioner verify {one}. "
    if any(step.code for step in wrong):
        remedy += "Correct in ERPNext what differs there."
    else:
        remedy += f"A run makes what is missing, only on order: provisioner retry {one}"
    return Finding(
        cause=Cause.DRIFT,
        severity=Severity.PERSON,
        message=(
            "Something of this finished tenant was deleted or changed at the site: "
            f"{'; '.join(said[:_MOST_NAMED])[:_MAX_TEXT]}{more}. {remedy}"
        ),
        evidence=_evidence(wrong) | {"differences": str(len(said))},
    )


def _unreadable(error: ProvisionerError) -> Finding:
    """Return that nobody knows what a finished tenant needs: its row is damaged, not its site."""
    return Finding(
        cause=Cause.DRIFT,
        severity=Severity.PERSON,
        message=str(error),
        evidence={"code": error.code},
    )


def _texts(step: StepLook) -> list[str]:
    """Return one text per difference, or the step's own words if it names none."""
    each = [f"{step.key}: {difference}" for difference in (*step.differences, *step.missing)]
    return each or [f"{step.key}: {step.message or step.code}".rstrip(".")]


def _evidence(wrong: list[StepLook]) -> dict[str, str]:
    if not wrong:
        return {}
    step = wrong[0]
    facts = {"step": step.key, "stand": step.stand.value, "code": step.code}
    for difference in (*step.differences, *step.missing)[:1]:
        facts |= {
            "document": f"{difference.doctype} {difference.name}",
            "field": difference.field,
            "have": difference.have,
            "want": difference.want,
        }
    return {key: value[:_MAX_TEXT] for key, value in facts.items()}
