"""Says what changed between two looks at a tenant, one line for each change. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from clients.cli import render
from clients.cli.wire_text import plain, tenant_word
from provisioner.v1 import tenant_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.v1.tenant_pb2 import StepStatus, TenantStatus


def lines(before: TenantStatus | None, after: TenantStatus) -> Iterator[Text]:
    """Return what is new in `after`, one line each.

    Args:
        before: The last look; None if there was none, and everything is new.
        after: This look, at the same tenant.
    """
    seen = before or tenant_pb2.TenantStatus()
    here = f"[{after.steps_completed}/{after.total_steps}] "
    if seen.run_id != after.run_id and before is not None:
        yield Text(f"{here}run {plain(after.run_id) or '(lost)'} took over")
    for line in (*_steps(seen, after), *_reasons(seen, after)):
        yield Text.assemble(here, line)
    if seen.state != after.state:
        yield Text(f"{here}{tenant_word(after.state)}: {render.progress(after)}")


def is_another_try(step: StepStatus) -> bool:
    """Tell whether the step is under way for the second time or more."""
    return step.state == tenant_pb2.STEP_STATE_RUNNING and step.attempts > 1


def _steps(seen: TenantStatus, after: TenantStatus) -> Iterator[Text]:
    known = {step.key: step for step in seen.steps}
    for step in after.steps:
        old = known.get(step.key)
        if _looks(old) == _looks(step) or (old is None and _untouched(step)):
            continue
        _, word, style = render.step_look(step, after)
        tries = f", try {step.attempts}" if is_another_try(step) else ""
        note = f" ({plain(step.note)})" if step.note else ""
        yield Text.assemble(f"{plain(step.key)}: ", (word, style), f"{tries}{note}")


def _reasons(seen: TenantStatus, after: TenantStatus) -> Iterator[Text]:
    # If only `until` is new, it is the same wait: the service moves it at every look.
    waits = (after.waiting_for.code, after.waiting_for.message)
    if after.HasField("waiting_for") and waits != (
        seen.waiting_for.code,
        seen.waiting_for.message,
    ):
        yield Text(f"waiting, {render.waiting(after)}", style="yellow")
    if after.HasField("hold") and after.hold != seen.hold:
        yield Text(f"held {render.hold(after)}", style="red")
    for error in after.errors:
        if error not in seen.errors:
            yield Text(f"error, {render.error(error)}", style="red")


def _looks(step: StepStatus | None) -> tuple[object, ...]:
    if step is None:
        return ()
    return (step.state, step.adopted, step.attempts if is_another_try(step) else 0)


def _untouched(step: StepStatus) -> bool:
    return step.state == tenant_pb2.STEP_STATE_PENDING
