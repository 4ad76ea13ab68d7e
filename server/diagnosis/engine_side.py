"""What the engine really holds, compared with the record."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.diagnosis import remedies
from server.diagnosis.causes import DiagnosedCause, Evidence
from server.diagnosis.picture import Asked
from server.model.causes import Severity
from server.model.states import DONE_STEP_STATES, TenantState

if TYPE_CHECKING:
    from server.diagnosis.causes import Remedy
    from server.diagnosis.picture import Picture, StepSeen

# How much of what the engine holds a cause shows; Verify shows the rest.
_MOST_FACTS = 12


def engine_evidence(picture: Picture, step_key: str = "") -> tuple[Evidence, ...]:
    """Return what the engine holds, step by step, beside what the record says.

    Args:
        picture: The whole picture.
        step_key: Only this step; "" for every step that has something to say.
    """
    look = picture.engine
    if look.asked is not Asked.ANSWERED:
        return (Evidence(source="engine", fact=look.says, at=picture.now),)
    seen = [step for step in look.steps if not step_key or step.key == step_key]
    facts = [fact for step in seen if (fact := _fact(picture, step))]
    return tuple(
        Evidence(source="engine", fact=fact, at=picture.now) for fact in facts[:_MOST_FACTS]
    )


def engine_causes(picture: Picture) -> list[DiagnosedCause]:
    """Return what the engine lacks although the tenant's record says it is done.

    Returns:
        At most one cause; none unless the tenant is COMPLETED and its engine answered.
    """
    if picture.engine.asked is not Asked.ANSWERED:
        return []
    if picture.status.standing.state is not TenantState.COMPLETED:
        return []
    # A till may be closed at night: what is only done once is not expected to last.
    once = {kind.key for kind in picture.step_types if kind.once}
    lacking = [
        step
        for step in picture.engine.steps
        if step.done is False and not step.skipped and step.key not in once and _done(picture, step)
    ]
    if not lacking:
        return []
    gone = next((step for step in lacking if step.code == remedies.VANISHED), None)
    if gone is not None:
        return [_company_gone(picture, gone)]
    what = "; ".join(", ".join(step.missing) or step.key for step in lacking)
    return [
        DiagnosedCause(
            code="ENGINE_DIFFERS",
            severity=Severity.PERSON,
            message=(
                f"It is COMPLETED, but the engine lacks some of what its record says: {what}. "
                "Somebody deleted or changed it there."
            ),
            step_key=lacking[0].key,
            evidence=engine_evidence(picture),
            remedy=_of_what_lacks(picture, lacking),
        )
    ]


def _company_gone(picture: Picture, step: StepSeen) -> DiagnosedCause:
    return DiagnosedCause(
        code=remedies.VANISHED,
        severity=Severity.PERSON,
        message=f"It is COMPLETED, but its Company is gone: {', '.join(step.missing) or step.key}",
        step_key=step.key,
        evidence=engine_evidence(picture),
        remedy=remedies.after_vanished_shop(picture.status.tenant),
    )


def _of_what_lacks(picture: Picture, lacking: list[StepSeen]) -> Remedy:
    """Return a retry that makes what is missing, unless it would stop at a conflict.

    A run that stops would make a working shop FAILED and fix nothing.
    """
    tenant = picture.status.tenant
    if any(step.by_hand for step in lacking):
        return remedies.verify(
            tenant,
            "Find out who changed it and why, and correct in ERPNext what differs: a retry would "
            "stop at it, and this working tenant would be FAILED. Then look again.",
        )
    return remedies.retry(
        tenant,
        "Find out who changed it and why. A retry makes what is missing again.",
        step_key="" if len(lacking) > 1 else lacking[0].key,
    )


def made_and_lost(picture: Picture) -> list[StepSeen]:
    """Return the steps recorded as done whose missing documents a run would make again.

    Returns:
        None of them if the engine did not answer, and none that only a person can put right.
    """
    once = {kind.key for kind in picture.step_types if kind.once}
    return [
        step
        for step in picture.engine.steps
        if step.done is False
        and not (step.skipped or step.code or step.by_hand)
        and step.key not in once
        and _done(picture, step)
    ]


def what_the_engine_adds(picture: Picture) -> str:
    """Return one sentence on how much of the tenant the engine holds, or "".

    Returns:
        With a blank in front, to follow another sentence; "" if the engine did not answer.
    """
    if picture.engine.asked is not Asked.ANSWERED or not picture.engine.steps:
        return ""
    done = sum(step.done is True or bool(step.skipped) for step in picture.engine.steps)
    return f" The engine was asked: {done} of {len(picture.engine.steps)} steps are done there."


def _fact(picture: Picture, step: StepSeen) -> str:
    record = "done" if _done(picture, step) else "not done"
    if step.error:
        return f"{step.key}: the record says {record}; the engine could not be read: {step.error}"
    if step.skipped:
        return ""
    if step.done:
        held = f" ({', '.join(step.holds)})" if step.holds else ""
        return f"{step.key}: the record says {record}, the engine has all of it{held}"
    missing = f" ({'; '.join(step.missing)})" if step.missing else ""
    held = f"; it has {', '.join(step.holds)}" if step.holds else ""
    return f"{step.key}: the record says {record}, the engine lacks some of it{missing}{held}"


def _done(picture: Picture, step: StepSeen) -> bool:
    return any(
        row.key == step.key and row.state in DONE_STEP_STATES for row in picture.status.steps
    )
