"""Turns messages of the contract into lines for people. Pure: nothing is printed here."""

from __future__ import annotations

from math import floor
from typing import TYPE_CHECKING

from rich.text import Text

from clients.cli import standing
from clients.cli.pasting import pasted
from clients.cli.wire_text import (
    clock_time,
    full_time,
    level_word,
    plain,
    step_word,
    tenant_word,
)
from provisioner.v1 import provisioning_pb2, tenant_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.v1.provisioning_pb2 import LogEntry
    from provisioner.v1.tenant_pb2 import StepError, StepStatus, TenantStatus

_STATE_PHRASES = {
    tenant_pb2.TENANT_STATE_PENDING: "known, but no run was opened yet",
    tenant_pb2.TENANT_STATE_IN_PROGRESS: "under way",
    tenant_pb2.TENANT_STATE_COMPLETED: "every step is done",
    tenant_pb2.TENANT_STATE_PARTIAL: "usable, but an optional step is not done",
    tenant_pb2.TENANT_STATE_FAILED: "stopped, a required step is not done",
    tenant_pb2.TENANT_STATE_CANCELLED: "stopped by a person's order",
    tenant_pb2.TENANT_STATE_DEPROVISIONING: "being removed",
    tenant_pb2.TENANT_STATE_DEPROVISIONED: "removed",
}
STATE_STYLES = {
    tenant_pb2.TENANT_STATE_IN_PROGRESS: "cyan",
    tenant_pb2.TENANT_STATE_COMPLETED: "green",
    tenant_pb2.TENANT_STATE_PARTIAL: "yellow",
    tenant_pb2.TENANT_STATE_FAILED: "red",
}
_LEVEL_STYLES = {
    provisioning_pb2.LOG_LEVEL_DEBUG: "dim",
    provisioning_pb2.LOG_LEVEL_WARNING: "yellow",
    provisioning_pb2.LOG_LEVEL_ERROR: "red",
}
# Mark, word and style of a step.
_STEP_LOOKS = {
    tenant_pb2.STEP_STATE_PENDING: ("·", "pending", "dim"),
    tenant_pb2.STEP_STATE_RUNNING: ("▸", "running", "cyan"),
    tenant_pb2.STEP_STATE_COMPLETED: ("✓", "done", "green"),
    tenant_pb2.STEP_STATE_FAILED: ("✗", "failed", "red"),
    tenant_pb2.STEP_STATE_SKIPPED: ("-", "skipped", "dim"),
}
_CANCELLED = tenant_pb2.TENANT_STATE_CANCELLED
_ADOPTED = ("=", "adopted", "green")
_WAITING = ("…", "waiting", "yellow")
# A cancelled run ends between two tries; its step does not run any more.
_STOPPED = ("·", "stopped", "yellow")


def status_lines(status: TenantStatus) -> Iterator[Text]:
    """Show where a tenant stands, why, and what comes next."""
    yield _labelled("Tenant", Text(_name(status), style="bold"), plain(status.tenant_id))
    yield _labelled(
        "State",
        Text(tenant_word(status.state), style=STATE_STYLES.get(status.state, "")),
        _STATE_PHRASES.get(status.state, ""),
    )
    yield _labelled("Progress", Text(progress(status)))
    if status.HasField("estimated_completion_at"):
        yield _labelled("Expected", Text(f"done by {full_time(status.estimated_completion_at)}"))
    yield from _step_table(status)
    if status.HasField("waiting_for"):
        yield _labelled("Waiting", Text(waiting(status), style="yellow"))
    if status.HasField("hold"):
        yield _labelled("Held", Text(hold(status), style="red"))
    for step_error in status.errors:
        yield _labelled("Error", Text(error(step_error), style="red"))
    if standing.lacks_reason(status):
        yield _labelled("Error", Text(defect(status), style="red"))
    yield from _next_lines(status)


def progress(status: TenantStatus) -> str:
    """Return "7 of 10 steps, 70 %"."""
    # Rounded down, so that 100 % means that all is done.
    percent = floor(status.progress_percent)
    return f"{status.steps_completed} of {status.total_steps} steps, {percent} %"


def waiting(status: TenantStatus) -> str:
    """Return what the run waits for, and until when."""
    waits = status.waiting_for
    until = f" (until {full_time(waits.until)})" if waits.HasField("until") else ""
    return f"{plain(waits.code)}: {plain(waits.message)}{until}"


def hold(status: TenantStatus) -> str:
    """Return why only a person may move the tenant."""
    since = f" since {full_time(status.hold.since)}" if status.hold.HasField("since") else ""
    return f"by {plain(status.hold.by)}{since}: {plain(status.hold.reason)}"


def error(step_error: StepError) -> str:
    """Return "step_2_company — CODE: message (time)"."""
    where = plain(step_error.step_key) or "tenant"
    at = f" ({full_time(step_error.occurred_at)})" if step_error.HasField("occurred_at") else ""
    return f"{where} — {plain(step_error.code)}: {plain(step_error.message)}{at}"


def defect(status: TenantStatus) -> str:
    """Say that the service broke a promise: no tenant stands still without a reason."""
    held = " and held" if status.HasField("hold") else ""
    return (
        f"The service says {tenant_word(status.state)}{held} and gives no reason."
        " That is a defect: please report it, with this output."
    )


def step_look(step: StepStatus, status: TenantStatus) -> tuple[str, str, str]:
    """Return mark, word and style of a step.

    Args:
        step: The step.
        status: The status it is in, which tells whether it waits or was stopped.
    """
    if step.state == tenant_pb2.STEP_STATE_COMPLETED and step.adopted:
        return _ADOPTED
    if step.key == status.current_step and status.HasField("waiting_for"):
        return _WAITING
    if step.state == tenant_pb2.STEP_STATE_RUNNING and status.state == _CANCELLED:
        return _STOPPED
    return _STEP_LOOKS.get(step.state, ("?", step_word(step.state), ""))


def log_line(entry: LogEntry) -> Text:
    """Return "HH:MM:SS LEVEL step message", the time in UTC."""
    return Text.assemble(
        (clock_time(entry.time), "dim"),
        " ",
        (f"{level_word(entry.level):<7}", _LEVEL_STYLES.get(entry.level, "")),
        " ",
        (plain(entry.step_key) or "-", "cyan"),
        " ",
        plain(entry.message),
    )


def _name(status: TenantStatus) -> str:
    return plain(status.spec.company_name) or "(company not known)"


def _labelled(label: str, *parts: Text | str) -> Text:
    return Text.assemble((f"{label:<9} ", "dim"), Text("  ").join(Text.assemble(p) for p in parts))


def _step_table(status: TenantStatus) -> Iterator[Text]:
    key_width = max((len(plain(step.key)) for step in status.steps), default=0)
    title_width = max((len(plain(step.title)) for step in status.steps), default=0)
    for step in status.steps:
        mark, word, style = step_look(step, status)
        tries = "" if step.state == tenant_pb2.STEP_STATE_SKIPPED else _tries(step.attempts)
        note = f"  {plain(step.note)}" if step.note else ""
        optional = "" if step.required else "  optional"
        row = (
            f"{plain(step.key):<{key_width}}  {plain(step.title):<{title_width}}  {tries:<8}"
            f"{optional}{note}"
        )
        yield Text.assemble((f"  {mark} {word:<8} ", style), row.rstrip())


def _tries(count: int) -> str:
    return {0: "", 1: "1 try"}.get(count, f"{count} tries")


def _next_lines(status: TenantStatus) -> Iterator[Text]:
    command = standing.next_command(status)
    if command:
        yield _labelled("Next", Text(plain(pasted(command)), style="bold"))
