"""Turns model values into messages and back; nothing is judged here.

Rows damaged from outside must not keep a caller from seeing the rest: in text, what UTF-8 can't
encode is replaced, and numbers beyond their field's range are cut to it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from provisioner.v1 import listing_pb2, provisioning_pb2, tenant_pb2
from server.model.states import StepState
from server.validation import RawSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from google.protobuf.duration_pb2 import Duration

    from server.model.listing import TenantSummary
    from server.model.records import Hold, LogEntry, Step, StepError, WaitingFor
    from server.model.spec import TenantSpec
    from server.queries import Status

_INT32_MAX = 2**31 - 1

_TENANT_STATES = {
    name.removeprefix("TENANT_STATE_"): value for name, value in tenant_pb2.TenantState.items()
}
_STEP_STATES = {
    name.removeprefix("STEP_STATE_"): value for name, value in tenant_pb2.StepState.items()
}
_LOG_LEVELS = {
    name.removeprefix("LOG_LEVEL_"): value for name, value in provisioning_pb2.LogLevel.items()
}


def raw_spec(spec: tenant_pb2.TenantSpec) -> RawSpec:
    """Return a spec as it was sent; a field that was not sent is None."""
    return RawSpec(
        company_name=spec.company_name,
        country_code=spec.country_code if spec.HasField("country_code") else None,
        currency=spec.currency if spec.HasField("currency") else None,
        chart_template=spec.chart_template if spec.HasField("chart_template") else None,
        include_demo_data=spec.include_demo_data if spec.HasField("include_demo_data") else None,
        pos_store_enabled=spec.pos_store_enabled if spec.HasField("pos_store_enabled") else None,
        till_user=spec.till_user if spec.HasField("till_user") else None,
        engine_id=spec.engine_id if spec.HasField("engine_id") else None,
        payment_methods=tuple(spec.payment_methods),
        opening_amount=spec.opening_amount if spec.HasField("opening_amount") else None,
    )


def tenant_status(status: Status) -> tenant_pb2.TenantStatus:
    """Return a tenant's status as a message; made for who may see the tenant."""
    tenant, standing = status.tenant, status.standing
    return tenant_pb2.TenantStatus(
        tenant_id=text_of(tenant.id),
        run_id="" if status.run is None else text_of(status.run.id),
        revision=tenant.revision,
        last_cursor=tenant.log_seq,
        state=_TENANT_STATES[standing.state],
        current_step=text_of(standing.current_step),
        progress_percent=standing.progress_percent,
        steps_completed=standing.steps_completed,
        total_steps=standing.total_steps,
        steps=[_step(step, status.titles) for step in status.steps],
        errors=[_error(error) for error in status.errors],
        waiting_for=None if status.waiting_for is None else _waiting_for(status.waiting_for),
        hold=None if status.hold is None else hold_of(status.hold),
        started_at=time_of(status.started_at),
        completed_at=time_of(status.completed_at),
        estimated_completion_at=time_of(status.eta),
        spec=spec_of(tenant.spec),
        next_command=text_of(status.next_command),
    )


def tenant_summary(tenant: TenantSummary) -> listing_pb2.TenantSummary:
    """Return one tenant of a list as a message."""
    return listing_pb2.TenantSummary(
        tenant_id=text_of(tenant.id),
        company_name=text_of(tenant.company_name),
        engine_id=text_of(tenant.engine_id),
        state=_TENANT_STATES[tenant.state or "UNSPECIFIED"],
        current_step=text_of(tenant.current_step),
        progress_percent=tenant.progress_percent,
        steps_completed=int32_of(tenant.steps_completed),
        total_steps=int32_of(tenant.total_steps),
        error_code=text_of(tenant.error_code),
        hold=None if tenant.hold is None else hold_of(tenant.hold),
        revision=tenant.revision,
        run_id=text_of(tenant.run_id),
        created_at=time_of(tenant.created_at),
        state_since=time_of(tenant.state_since),
        unsettled_since=time_of(tenant.unsettled_since),
        updated_at=time_of(tenant.updated_at),
        waiting_for=None if tenant.waiting_for is None else _waiting_for(tenant.waiting_for),
    )


def span(duration: Duration) -> timedelta:
    """Return a time span as it was sent; one beyond what Python can hold is the longest it can."""
    try:
        return timedelta(seconds=duration.seconds, microseconds=duration.nanos // 1000)
    except OverflowError:
        return timedelta.max if duration.seconds > 0 else timedelta.min


def hold_of(hold: Hold) -> tenant_pb2.Hold:
    """Return a hold as a message."""
    return tenant_pb2.Hold(
        reason=text_of(hold.reason), by=text_of(hold.by), since=time_of(hold.since)
    )


def log_page(entries: Sequence[LogEntry]) -> provisioning_pb2.StreamLogsResponse:
    """Return a page of a log as a message; the page must have at least one entry."""
    return provisioning_pb2.StreamLogsResponse(
        entries=[_log_entry(entry) for entry in entries], cursor=entries[-1].cursor
    )


def _step(step: Step, titles: Mapping[str, str]) -> tenant_pb2.StepStatus:
    return tenant_pb2.StepStatus(
        key=text_of(step.key),
        state=_STEP_STATES[step.state],
        adopted=step.adopted,
        attempts=int32_of(step.tries),
        # A step that was broken off by a cancelled run is PENDING again, but has begun once; the
        # record keeps that time for whoever looks up what the step sent.
        started_at=None if step.state is StepState.PENDING else time_of(step.started_at),
        completed_at=time_of(step.completed_at),
        title=text_of(titles.get(step.key, step.key)),
        required=step.required,
        note=text_of(step.note),
    )


def _error(error: StepError) -> tenant_pb2.StepError:
    return tenant_pb2.StepError(
        step_key=text_of(error.step_key),
        code=text_of(error.code),
        message=text_of(error.message),
        occurred_at=time_of(error.occurred_at),
    )


def _waiting_for(waiting: WaitingFor) -> tenant_pb2.WaitingFor:
    return tenant_pb2.WaitingFor(
        code=waiting.code, message=text_of(waiting.message), until=time_of(waiting.until)
    )


def spec_of(spec: TenantSpec) -> tenant_pb2.TenantSpec:
    """Return a spec with all its defaults as a message."""
    return tenant_pb2.TenantSpec(
        company_name=text_of(spec.company_name),
        country_code=text_of(spec.country_code),
        currency=text_of(spec.currency),
        chart_template=text_of(spec.chart_template),
        include_demo_data=spec.include_demo_data,
        pos_store_enabled=spec.pos_store_enabled,
        till_user=None if spec.till_user is None else text_of(spec.till_user),
        engine_id=text_of(spec.engine_id),
        payment_methods=[text_of(method) for method in spec.payment_methods],
        opening_amount=spec.opening_amount,
    )


def _log_entry(entry: LogEntry) -> provisioning_pb2.LogEntry:
    return provisioning_pb2.LogEntry(
        cursor=entry.cursor,
        time=time_of(entry.time),
        level=_LOG_LEVELS[entry.level],
        run_id=text_of(entry.run_id),
        step_key=text_of(entry.step_key),
        attempt=int32_of(entry.attempt),
        message=text_of(entry.message),
        fields={text_of(key): text_of(value) for key, value in entry.fields.items()},
    )


def text_of(text: str | None) -> str:
    """Return text that a message can hold, with lone surrogates replaced; "" for None."""
    if not text or text.isascii():
        return text or ""
    return text.encode("utf-8", "replace").decode()


def int32_of(number: int | None) -> int:
    """Return a number within the range of its field, from 0; 0 for None."""
    return min(max(number or 0, 0), _INT32_MAX)


def time_of(time: datetime | None) -> Timestamp | None:
    """Return a time, which must have a zone, as a Timestamp; None for None."""
    if time is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp
