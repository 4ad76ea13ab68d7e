"""Answers calls about what sweeps found and what became of it, and orders sweeps."""

from __future__ import annotations

import asyncio
from datetime import UTC
from typing import TYPE_CHECKING

from provisioner.v1 import diagnosis_pb2, fleet_pb2, healing_pb2
from server.errors import InvalidInput, Refused, Violation
from server.healing.report import as_markdown
from server.limits import MAX_FINDINGS
from server.rpc.answering import Answering
from server.rpc.diagnosing import SEVERITIES
from server.rpc.messages import int32_of, text_of, time_of

if TYPE_CHECKING:
    from datetime import datetime

    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

    from server.healing import Case, FindingSeen, Healer, History, Report, Spread, SweepSeen, Watch
    from server.model.actor import Actor
    from server.rpc.identity import Context
    from server.store.handed_over import HandedOver


class Healing(Answering):
    """The part of the fleet's service that heals, and reports on it."""

    _healer: Healer | None
    _history: History

    async def Sweep(
        self, request: fleet_pb2.SweepRequest, context: Context
    ) -> fleet_pb2.SweepResponse:
        """Make one sweep now."""

        async def sweep(_actor: Actor) -> fleet_pb2.SweepResponse:
            if self._healer is None:
                raise Refused(
                    "This server was built without a reconciler. Sweep with: provisioner "
                    "reconcile --once",
                    code="NO_RECONCILER",
                )
            done = await self._healer.sweep(dry_run=request.dry_run)
            return fleet_pb2.SweepResponse(
                sweep=_sweep(done.sweep),
                findings=[_finding(each) for each in done.findings[:MAX_FINDINGS]],
                handed_over=[_handed_over(each) for each in done.handed_over[:MAX_FINDINGS]],
                healed=done.healed,
                dry_run=done.dry_run,
            )

        return await self._answer(context, "Sweep", sweep)

    async def ListSweeps(
        self, request: fleet_pb2.ListSweepsRequest, context: Context
    ) -> fleet_pb2.ListSweepsResponse:
        """Return a page of sweeps, and how the reconciler is doing."""

        async def page(actor: Actor) -> fleet_pb2.ListSweepsResponse:
            found = await self._history.sweeps(
                actor, page_size=request.page_size, page_token=request.page_token
            )
            watch = None if self._healer is None else self._healer.watch()
            return fleet_pb2.ListSweepsResponse(
                sweeps=[_sweep(each) for each in found.sweeps],
                next_page_token=found.next_page_token,
                watch=None if watch is None else _watch(watch),
            )

        return await self._answer(context, "ListSweeps", page)

    async def ListFindings(
        self, request: fleet_pb2.ListFindingsRequest, context: Context
    ) -> fleet_pb2.ListFindingsResponse:
        """Return a page of findings."""

        async def page(actor: Actor) -> fleet_pb2.ListFindingsResponse:
            found = await self._history.findings(
                actor,
                page_size=request.page_size,
                page_token=request.page_token,
                tenant_id=request.tenant_id,
                open_only=request.open_only,
                person_only=request.person_only,
                include_members=request.include_members,
            )
            return fleet_pb2.ListFindingsResponse(
                findings=[_finding(each) for each in found.findings],
                next_page_token=found.next_page_token,
            )

        return await self._answer(context, "ListFindings", page)

    async def GetHealingReport(
        self, request: fleet_pb2.GetHealingReportRequest, context: Context
    ) -> fleet_pb2.GetHealingReportResponse:
        """Report what had stopped, and what became of it."""

        async def make(actor: Actor) -> fleet_pb2.GetHealingReportResponse:
            made = await self._history.report(
                actor,
                begins_at=_asked_time(request, "begins_at"),
                ends_at=_asked_time(request, "ends_at"),
            )
            # In a thread, as for making the report, so that others are answered meanwhile.
            said = await asyncio.to_thread(report_message, made)
            return fleet_pb2.GetHealingReportResponse(report=said)

        return await self._answer(context, "GetHealingReport", make)


def _asked_time(request: Message, field: str) -> datetime | None:
    """Return the time in a field, in UTC; None if it is unset.

    Raises:
        InvalidInput: the time is not in the years 1 to 9999.
    """
    if not request.HasField(field):
        return None
    stamp: Timestamp = getattr(request, field)
    try:
        return stamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidInput(
            (
                Violation(
                    field=field,
                    description=(
                        "is not a time from the year 1 to 9999. Send one such as "
                        "2026-03-01T08:15:00Z."
                    ),
                ),
            )
        ) from None


def report_message(made: Report) -> healing_pb2.HealingReport:
    """Return a report as a message, with at most `MAX_FINDINGS` of its cases.

    It also writes the report as Markdown, which takes long enough to be done in a thread.
    """
    return healing_pb2.HealingReport(
        begins_at=time_of(made.begins_at),
        ends_at=time_of(made.ends_at),
        outcomes=made.outcomes,
        causes=[
            healing_pb2.CauseTotal(
                cause=total.cause,
                cases=total.cases,
                healed=total.healed,
                handed_over=total.handed_over,
            )
            for total in made.causes
        ],
        time_to_notice=_spread(made.time_to_notice),
        time_to_heal=_spread(made.time_to_heal),
        cases=[_case(case) for case in made.cases[:MAX_FINDINGS]],
        truncated=made.truncated or len(made.cases) > MAX_FINDINGS,
        markdown=text_of(as_markdown(made)),
    )


def _sweep(sweep: SweepSeen) -> healing_pb2.SweepRecord:
    return healing_pb2.SweepRecord(
        sweep_id=text_of(sweep.id),
        started_at=time_of(sweep.started_at),
        finished_at=time_of(sweep.finished_at),
        observed=int32_of(sweep.observed),
        acted=int32_of(sweep.acted),
        findings=int32_of(sweep.findings),
        skipped_passes=int32_of(sweep.skipped_passes),
    )


def _finding(finding: FindingSeen) -> healing_pb2.Finding:
    return healing_pb2.Finding(
        finding_id=text_of(finding.id),
        tenant_id=text_of(finding.tenant_id),
        company_name=text_of(finding.company_name),
        revision=finding.revision,
        cause=text_of(finding.cause),
        severity=SEVERITIES.get(finding.severity, diagnosis_pb2.SEVERITY_UNSPECIFIED),
        message=text_of(finding.message),
        evidence={text_of(key): text_of(value) for key, value in finding.evidence.items()},
        verdict=text_of(finding.verdict),
        outcome=text_of(finding.outcome),
        stuck_since=time_of(finding.stuck_since),
        found_at=time_of(finding.found_at),
        not_before=time_of(finding.not_before),
        fingerprint=text_of(finding.fingerprint),
        tenants=int32_of(finding.tenants),
        herd_id=text_of(finding.herd_id),
        ended_at=time_of(finding.ended_at),
        ended_as=text_of(finding.ended_as),
        detail=text_of(finding.detail),
    )


def _handed_over(tenant: HandedOver) -> healing_pb2.HandedOver:
    return healing_pb2.HandedOver(
        tenant_id=text_of(tenant.tenant_id),
        company_name=text_of(tenant.company_name),
        state=text_of(tenant.state),
        error_code=text_of(tenant.error_code),
        held=tenant.held,
        reason=text_of(tenant.reason),
        since=time_of(tenant.since),
        command=text_of(f"provisioner diagnose {tenant.tenant_id}"),
    )


def _watch(watch: Watch) -> healing_pb2.SweepWatch:
    return healing_pb2.SweepWatch(
        last_full_sweep_at=time_of(watch.last_full_sweep_at),
        age_seconds=round(watch.age_seconds, 3),
        interval_seconds=watch.interval_seconds,
        healthy=watch.healthy,
        full=watch.full,
        failed=watch.failed,
        cut=watch.cut,
        skipped=watch.skipped,
        last_error=text_of(watch.last_error),
    )


def _case(case: Case) -> healing_pb2.HealingCase:
    return healing_pb2.HealingCase(
        tenant_id=text_of(case.tenant_id),
        company_name=text_of(case.company_name),
        cause=text_of(case.cause),
        message=text_of(case.message),
        stuck_since=time_of(case.stuck_since),
        noticed_at=time_of(case.noticed_at),
        remedy=text_of(case.remedy),
        orders=int32_of(case.orders),
        outcome=text_of(case.outcome),
        ended_at=time_of(case.ended_at),
        seconds_to_notice=case.seconds_to_notice,
        seconds_to_heal=case.seconds_to_heal,
    )


def _spread(times: Spread) -> healing_pb2.Spread:
    return healing_pb2.Spread(
        count=times.count, p50=times.p50, p90=times.p90, p99=times.p99, max=times.max
    )
