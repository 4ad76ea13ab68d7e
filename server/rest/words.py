"""The legacy words: what the old clients read, made from a tenant's status.

Pure functions. Shell scripts cut these texts with `grep` and echo them unquoted, so the status
object is flat and has one `"status":"`, and no text in it has a character that would cut it short
or that a shell would expand.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC
from enum import unique
from typing import TYPE_CHECKING

from server.model.states import StepState, TenantState, Word

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from server.model.blueprint import StepType
    from server.model.records import Step
    from server.queries import Status


@unique
class LegacyStatus(Word):
    """The five spellings that the old clients know."""

    NOT_STARTED = "NOT_STARTED"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    PARTIAL = "PARTIAL"


_STATUS_OF = {
    TenantState.PENDING: LegacyStatus.NOT_STARTED,
    TenantState.IN_PROGRESS: LegacyStatus.IN_PROGRESS,
    TenantState.COMPLETED: LegacyStatus.COMPLETED,
    TenantState.PARTIAL: LegacyStatus.PARTIAL,
    TenantState.FAILED: LegacyStatus.FAILED,
    TenantState.CANCELLED: LegacyStatus.FAILED,
    TenantState.DEPROVISIONING: LegacyStatus.IN_PROGRESS,
    TenantState.DEPROVISIONED: LegacyStatus.NOT_STARTED,
}

# The states that the old server stored; clients may still send them in a filter.
_STORED_SPELLINGS = {
    "PROVISIONING": LegacyStatus.IN_PROGRESS,
    "PROVISIONED": LegacyStatus.COMPLETED,
    "NOT_PROVISIONED": LegacyStatus.NOT_STARTED,
}

# What the old server called ACTIVE: nobody works with a tenant that is gone.
IN_USE = frozenset(TenantState) - {TenantState.DEPROVISIONED}

# Scripts cut out `"errors":[` ... `]` with grep, so no text may have a bracket. Unquoted, the shell
# expands `*`, `?` and `[`. Quotes and backslashes would be escaped, which cuts a value short.
_UNFIT = str.maketrans(
    {"[": "(", "]": ")", "{": "(", "}": ")", "*": "x", "?": ".", '"': "'", "\\": "/", "`": "'"}
)

# Without I, L, O and U, which are easily misread.
_CODE_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CODE_LENGTH = 5

# The only step that a run without demo data leaves out, and that clients may skip.
DEMO_STEP = "step_6_items"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusObject:
    """The status as the old clients read it: their fields, in their order."""

    status: LegacyStatus
    current_step: str | None
    progress: float
    steps_completed: int
    total_steps: int
    errors: tuple[tuple[str, str], ...] = ()
    started_at: datetime | None = None
    completed_at: datetime | None = None

    def as_json(self) -> dict[str, object]:
        """Return the status object as it is sent."""
        return {
            "status": self.status.value,
            "current_step": self.current_step,
            "progress": self.progress,
            "steps_completed": self.steps_completed,
            "total_steps": self.total_steps,
            "errors": [{"step": step, "error": error} for step, error in self.errors],
            "estimated_completion": None,
            "started_at": time_text(self.started_at),
            "completed_at": time_text(self.completed_at),
        }


NO_RECORD = StatusObject(
    status=LegacyStatus.NOT_STARTED,
    current_step=None,
    progress=0,
    steps_completed=0,
    total_steps=0,
)


def legacy_status(state: TenantState | None, *, held: bool) -> LegacyStatus:
    """Return the old clients' word for a state; a held tenant that is not in motion is FAILED.

    A removed tenant is never FAILED: nothing of it is left, and only Start, which the old page
    offers for NOT_STARTED, begins it again. Continue and Retry, which the page offers for FAILED,
    are refused.

    Args:
        state: The state; None if the stored word is not one of ours.
        held: Whether only a person may move the tenant.
    """
    word = LegacyStatus.FAILED if state is None else _STATUS_OF[state]
    if state is TenantState.DEPROVISIONED:
        return word
    if held and word is not LegacyStatus.IN_PROGRESS:
        return LegacyStatus.FAILED
    return word


def parse_status(text: str) -> LegacyStatus | None:
    """Return the status that a client means; the old server's stored spellings count, too."""
    spelled = text.strip().upper()
    return LegacyStatus.parse(spelled) or _STORED_SPELLINGS.get(spelled)


def status_object(status: Status) -> StatusObject:
    """Return where a tenant stands, in the old clients' words."""
    standing = status.standing
    word = legacy_status(standing.state, held=status.hold is not None)
    if word is LegacyStatus.NOT_STARTED:
        return StatusObject(
            status=word,
            current_step=None,
            progress=0,
            steps_completed=0,
            total_steps=standing.total_steps if _will_run(status) else 0,
            errors=() if status.hold is None else _errors(status, word),
        )
    return StatusObject(
        status=word,
        current_step=standing.current_step or None,
        progress=standing.progress_percent,
        steps_completed=standing.steps_completed,
        total_steps=standing.total_steps,
        errors=_errors(status, word),
        started_at=status.started_at,
        completed_at=status.completed_at,
    )


def _will_run(status: Status) -> bool:
    """Tell whether Start would open a first run: not if the tenant is gone or lives elsewhere."""
    return status.standing.state is TenantState.PENDING and bool(status.tenant.site)


def _errors(status: Status, word: LegacyStatus) -> tuple[tuple[str, str], ...]:
    """Return what is wrong; if the tenant has stopped, never nothing: the page shows a box."""
    if word is LegacyStatus.COMPLETED:
        return ()
    blamed = status.standing.current_step
    found = tuple((error.step_key or blamed, plain(f"{error.message}")) for error in status.errors)
    if found or word is LegacyStatus.IN_PROGRESS:
        return found
    said = "Cancelled by a person's order. Continue goes on with it."
    if status.standing.state is not TenantState.CANCELLED:
        said = "The tenant has stopped and no reason was recorded. Continue resumes it."
    return ((blamed, said),)


def log_lines(status: Status, step_types: Sequence[StepType]) -> list[dict[str, object]]:
    """Return a line for each step that has something to tell, in step order.

    Args:
        status: Where the tenant stands.
        step_types: Every step of its blueprint; a demo step that is not part of the run is listed
            as skipped once its turn is over.
    """
    if not status.steps or status.standing.record_lost:
        return [line for step in status.steps if (line := _line(step, status)) is not None]
    by_key = {step.key: step for step in status.steps}
    known = [kind.key for kind in step_types if kind.key in by_key or kind.demo_only]
    lines: list[dict[str, object]] = []
    before: Step | None = None
    for key in [*known, *(key for key in by_key if key not in known)]:
        step = by_key.get(key)
        if step is None:
            if before is not None and before.completed_at is not None:
                lines.append(_not_requested(key, before.completed_at))
            continue
        before = step
        if (line := _line(step, status)) is not None:
            lines.append(line)
    return lines


def _line(step: Step, status: Status) -> dict[str, object] | None:
    title = status.titles.get(step.key, step.key)
    blamed = next((error for error in status.errors if error.step_key == step.key), None)
    error: str | None = None
    if step.state is StepState.COMPLETED:
        word = "exists" if step.adopted else "completed"
        message = f"{title}: was there already" if step.adopted else f"{title}: done"
    elif step.state is StepState.SKIPPED:
        word, message = "skipped", f"{title}: skipped"
    elif step.state is StepState.FAILED or (
        blamed is not None and status.standing.state is not TenantState.IN_PROGRESS
    ):
        word, message = "failed", f"{title}: failed"
        error = step.error_message or (blamed.message if blamed else "No message was recorded.")
    elif step.state is StepState.RUNNING:
        word, message = "in_progress", f"{title}: under way"
    else:
        return None
    if step.note and error is None:
        message = f"{title}: {step.note}"
    return {
        "step": step.key,
        "status": word,
        "message": plain(message),
        "error": None if error is None else plain(error),
        "completed_at": time_text(step.completed_at),
        "duration_ms": _milliseconds(step.started_at, step.completed_at),
    }


def _not_requested(key: str, at: datetime) -> dict[str, object]:
    return {
        "step": key,
        "status": "skipped",
        "message": "Demo items not requested",
        "error": None,
        "completed_at": time_text(at),
        "duration_ms": 0,
    }


def _milliseconds(begin: datetime | None, end: datetime | None) -> float | None:
    if begin is None or end is None:
        return None
    return round(max((end - begin).total_seconds(), 0.0) * 1000, 1)


def time_text(time: datetime | None) -> str | None:
    """Return a time in UTC, with six digits of a second and `Z`; None for None."""
    if time is None:
        return None
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def plain(text: str) -> str:
    """Return a text that no shell script trips over: one line, no brackets, no double quotes."""
    # Control characters first: `split` does not take them for blanks, and a terminal obeys them.
    visible = "".join(char if char.isprintable() else " " for char in text)
    return " ".join(visible.translate(_UNFIT).split())


def tenant_code(tenant_id: str, country_code: str, created_at: datetime) -> str:
    """Return a tenant's code for people, such as TEN-KE-26-4H8ZP; the id is what counts.

    It is computed, not stored, so that a tenant that was started by gRPC also has one.
    """
    number = int.from_bytes(hashlib.sha256(tenant_id.encode()).digest()[:4], "big")
    letters = ""
    for _ in range(_CODE_LENGTH):
        number, index = divmod(number, len(_CODE_LETTERS))
        letters += _CODE_LETTERS[index]
    return f"TEN-{country_code.upper()[:2]}-{created_at.astimezone(UTC):%y}-{letters}"
