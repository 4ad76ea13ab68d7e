"""Messages of the contract with something in them, as short as tests want them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from provisioner.v1 import provisioning_pb2, tenant_pb2

if TYPE_CHECKING:
    from provisioner.v1.provisioning_pb2 import LogEntry
    from provisioner.v1.tenant_pb2 import StepError, StepStatus, TenantState, TenantStatus

TENANT = "01900000-0000-7000-8000-000000000001"
RUN = "01900000-0000-7000-8000-00000000000a"
EPOCH = datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC)
TITLES = (
    "engine_check",
    "platform_setup",
    "company",
    "chart_of_accounts",
    "warehouses",
    "settings",
    "customer",
    "pos_profile",
    "pos_session",
    "post_sale_updates",
)


def moment(seconds: float = 0) -> Timestamp:
    """A time some seconds after the day of the tests began."""
    time = Timestamp()
    time.FromDatetime(EPOCH + timedelta(seconds=seconds))
    return time


def entries(first: int, last: int, *, run_id: str = RUN) -> list[LogEntry]:
    """Log entries with the cursors `first` to `last`."""
    return [entry(cursor, run_id=run_id) for cursor in range(first, last + 1)]


def entry(
    cursor: int,
    message: str = "",
    *,
    level: provisioning_pb2.LogLevel.ValueType = provisioning_pb2.LOG_LEVEL_INFO,
    step_key: str = "step_2_company",
    run_id: str = RUN,
) -> LogEntry:
    """One log entry."""
    return provisioning_pb2.LogEntry(
        cursor=cursor,
        time=moment(cursor),
        level=level,
        run_id=run_id,
        step_key=step_key,
        message=message or f"line {cursor}",
        fields={"event": "test", "tenant": TENANT},
    )


def steps(done: int, total: int = 10, *, running: bool = True) -> list[StepStatus]:
    """`total` steps of which the first `done` are done and the next one is running."""
    result = []
    for position, title in enumerate(TITLES[:total]):
        step = tenant_pb2.StepStatus(
            key=f"step_{position}_{title}",
            title=title.replace("_", " ").capitalize(),
            required=True,
            state=tenant_pb2.STEP_STATE_PENDING,
        )
        if position < done:
            step.state = tenant_pb2.STEP_STATE_COMPLETED
            step.attempts = 1
        elif position == done and running:
            step.state = tenant_pb2.STEP_STATE_RUNNING
            step.attempts = 1
        result.append(step)
    return result


def status(
    done: int = 3,
    state: TenantState.ValueType = tenant_pb2.TENANT_STATE_IN_PROGRESS,
    *,
    errors: tuple[StepError, ...] = (),
    name: str = "Acme Ltd",
) -> TenantStatus:
    """A tenant with ten steps of which `done` are done."""
    in_motion = state == tenant_pb2.TENANT_STATE_IN_PROGRESS
    rows = steps(done, running=in_motion)
    return tenant_pb2.TenantStatus(
        tenant_id=TENANT,
        run_id=RUN,
        revision=done + 1,
        state=state,
        current_step=rows[done].key if done < len(rows) else "",
        progress_percent=done * 10.0,
        steps_completed=done,
        total_steps=10,
        steps=rows,
        errors=errors,
        spec=tenant_pb2.TenantSpec(company_name=name, country_code="KE"),
    )


def completed() -> TenantStatus:
    """A tenant that is done."""
    return status(10, tenant_pb2.TENANT_STATE_COMPLETED)


def error(
    code: str = "ENGINE_REFUSED", message: str = "Not allowed.", step: str = "step_2_company"
) -> StepError:
    """One error of a step."""
    return tenant_pb2.StepError(
        step_key=step, code=code, message=message, occurred_at=moment(seconds=5)
    )


def failed() -> TenantStatus:
    """A tenant whose third step failed."""
    result = status(2, tenant_pb2.TENANT_STATE_FAILED, errors=(error(),))
    result.steps[2].state = tenant_pb2.STEP_STATE_FAILED
    result.steps[2].attempts = 5
    return result


def partial() -> TenantStatus:
    """A tenant whose last but one step failed, which it can live without."""
    return status(8, tenant_pb2.TENANT_STATE_PARTIAL, errors=(error("TILL_USER_UNKNOWN", step=""),))


def held() -> TenantStatus:
    """A tenant under way that only a person may move."""
    result = status(3, errors=(error("COMPANY_NOT_OURS"),))
    result.hold.reason = "company is not ours"
    result.hold.by = "run"
    return result


def held_while_removed() -> TenantStatus:
    """A held tenant whose removal is under way."""
    result = held()
    result.state = tenant_pb2.TENANT_STATE_DEPROVISIONING
    return result


def stalled() -> TenantStatus:
    """A tenant under way that does not move."""
    return status(3, errors=(error("STALLED", step=""),))
