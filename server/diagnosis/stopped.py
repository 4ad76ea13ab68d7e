"""Why a tenant stopped short: a lost record, the steps that failed, a spent budget."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from server.diagnosis import remedies
from server.diagnosis.causes import DiagnosedCause, Evidence
from server.diagnosis.engine_side import engine_evidence, made_and_lost, what_the_engine_adds
from server.model.budget import HEALING_PAUSES_SECONDS
from server.model.causes import PERSON_CODES, Severity
from server.model.records import FOR_OPERATORS
from server.model.states import DONE_STEP_STATES, ErrorClass, StepState, TenantState

if TYPE_CHECKING:
    from datetime import datetime

    from server.diagnosis.causes import Remedy
    from server.diagnosis.picture import Picture
    from server.model.records import Attempt, Step

_WORKER_LOST = "WORKER_LOST"
_REFERENCE = "REFERENCE_MISSING"
_FINAL = "FINAL_CHECK_FAILED"


def causes_of_stop(picture: Picture) -> list[DiagnosedCause]:
    """Return why a tenant that is PARTIAL or FAILED stopped; most likely first.

    Also for a removal that stopped; the caller then replaces the remedies.
    """
    found = _of_the_record(picture)
    standing = picture.status.standing
    # A removal replaces the remedies itself, because Continue is refused there.
    if picture.status.hold is not None and standing.state is not TenantState.DEPROVISIONING:
        return [_while_held(picture, cause) for cause in found]
    if _budget_spent(picture) and any(cause.severity is not Severity.PERSON for cause in found):
        found.insert(0, _spent(picture, found[0]))
    return found


def after_vanished(picture: Picture) -> Remedy:
    """Return what a person does about a Company that is gone, given what the engine holds now."""
    seen = picture.engine.step(remedies.COMPANY_STEP)
    there = None if seen is None or seen.done is None else seen.code != remedies.VANISHED
    return remedies.after_vanished(picture.status.tenant, there=there)


def _while_held(picture: Picture, cause: DiagnosedCause) -> DiagnosedCause:
    """Replace a remedy that says it goes on by itself: no reconciler touches a held tenant."""
    if cause.severity is Severity.PERSON:
        return cause
    return replace(
        cause,
        severity=Severity.PERSON,
        remedy=remedies.continue_(
            picture.status.tenant,
            "Nothing goes on by itself while it is held. Settle the hold's reason, then continue: "
            "that lifts the hold and drives it on.",
        ),
    )


def _of_the_record(picture: Picture) -> list[DiagnosedCause]:
    if picture.status.standing.record_lost or picture.status.run is None:
        return [_record_lost(picture)]
    failed = [step for step in picture.status.steps if step.state is StepState.FAILED]
    # The final check fails because other steps did, so those are the cause.
    looks = {kind.key for kind in picture.step_types if kind.last}
    decisive = [step for step in failed if step.key not in looks] or failed
    if not decisive:
        return [_not_done(picture)]
    by_weight = sorted(decisive, key=lambda step: (not step.required, step.position))
    return [_failed(picture, step) for step in by_weight]


def step_of(picture: Picture, key: str) -> Step | None:
    """Return a step's row, or None."""
    return next((step for step in picture.status.steps if step.key == key), None)


def attempt_evidence(picture: Picture, step_key: str) -> tuple[Evidence, ...]:
    """Return how a step's last tries went, and the engine's last answer.

    Args:
        picture: The whole picture; it says whether names of other tenants may be told.
        step_key: The step; one without a row or attempts has no evidence.
    """
    tried = [each for each in picture.stored.attempts if each.step_key == step_key]
    step = step_of(picture, step_key)
    facts: list[Evidence] = []
    if step is not None:
        facts.append(
            Evidence(
                source="steps",
                fact=(
                    f"{step.key} is {step.state}: {step.tries} tries, {step.races} races, "
                    f"{step.losses} lost workers, class {step.error_class or 'none'}"
                ),
                at=step.error_at,
            )
        )
    if tried:
        facts.append(_attempt(tried[-1]))
        facts += _last_answer(tried, names_others=picture.names_others)
    return tuple(facts)


def lost_evidence(picture: Picture) -> tuple[Evidence, ...]:
    """Return what is left of a lost record."""
    status, stored = picture.status, picture.stored
    run, kept = status.run, len(status.steps)
    expected = status.standing.total_steps if run is None else run.total_steps
    facts = [
        Evidence(
            source="steps",
            fact=f"{kept} of {expected} rows of its last run are there",
            at=status.tenant.updated_at,
        )
    ]
    if run is None:
        facts.append(Evidence(source="runs", fact="the run it names is not there"))
    else:
        facts.append(
            Evidence(source="runs", fact=f"its last run ended {run.state}", at=run.finished_at)
        )
    if stored.resources:
        facts.append(
            Evidence(
                source="resources",
                fact=f"{len(stored.resources)} documents of it are on record",
            )
        )
    if status.tenant.first_completed_at is not None:
        facts.append(
            Evidence(
                source="tenants",
                fact="it was COMPLETED once: a live shop",
                at=status.tenant.first_completed_at,
            )
        )
    return tuple(facts)


def _record_lost(picture: Picture) -> DiagnosedCause:
    tenant = picture.status.tenant
    return DiagnosedCause(
        code="STEP_RECORD_LOST",
        severity=Severity.MOVING,
        message=(
            "Its step record was lost: rows that had been written are gone, so status shows "
            f"{picture.status.standing.state} with few or no steps."
            + (
                what_the_engine_adds(picture)
                or " Most of its documents probably exist at the engine."
            )
        ),
        evidence=(*lost_evidence(picture), *engine_evidence(picture)),
        remedy=remedies.continue_(
            tenant,
            "A reconciler rebuilds it by itself. By hand: continue. Every step is probed, what "
            "is ours is taken over, the rest is made.",
            alone=True,
        ),
    )


def _failed(picture: Picture, step: Step) -> DiagnosedCause:
    tenant, code = picture.status.tenant, step.error_code or "STEP_NOT_DONE"
    title = picture.status.titles.get(step.key, step.key)
    permanent = code != _WORKER_LOST and (
        step.error_class is ErrorClass.PERMANENT or code in PERSON_CODES
    )
    said = step.error_message or "No message was recorded."
    evidence = (*attempt_evidence(picture, step.key), *engine_evidence(picture, step.key))
    if permanent:
        return DiagnosedCause(
            code=code,
            severity=Severity.PERSON,
            message=f"{title} stopped at an error that trying again does not cure: {said}",
            step_key=step.key,
            evidence=evidence,
            remedy=_after_permanent(picture, code),
        )
    due = _next_drive(picture)
    again = f" It will be driven on automatically at {due:%H:%M:%S} UTC." if due else ""
    return DiagnosedCause(
        code=code,
        severity=Severity.MAY_CLEAR,
        message=f"{title} stopped at an error that may have passed: {said}",
        step_key=step.key,
        evidence=evidence,
        remedy=remedies.after_passing(tenant, code, again),
    )


def _after_permanent(picture: Picture, code: str) -> Remedy:
    tenant = picture.status.tenant
    if code == _REFERENCE and (lost := made_and_lost(picture)):
        return remedies.retry(
            tenant,
            f"The engine lacks what an earlier step made: {', '.join(lost[0].missing)}. Continue "
            "would take that step as done; a retry checks it again, and makes what is missing.",
            step_key=lost[0].key if len(lost) == 1 else "",
        )
    if code == _FINAL and any(step.by_hand for step in picture.engine.steps):
        # A retry would stop at it, and a shop that is PARTIAL, and works, would be FAILED.
        if made_and_lost(picture):
            return remedies.verify(
                tenant,
                "Correct in ERPNext what differs: a retry would stop at it. Then look again, and "
                f"have the rest made: provisioner retry {tenant.id}",
            )
        return remedies.continue_(
            tenant,
            "Correct in ERPNext what differs: a retry would stop at it. Then continue, which "
            "repeats the final check.",
        )
    if code != remedies.VANISHED:
        return remedies.after_permanent(tenant, code)
    return after_vanished(picture)


def _not_done(picture: Picture) -> DiagnosedCause:
    undone = [step for step in picture.status.steps if step.state not in DONE_STEP_STATES]
    names = ", ".join(step.key for step in undone) or picture.status.standing.current_step
    run = picture.status.run
    return DiagnosedCause(
        code="STEP_NOT_DONE",
        severity=Severity.MOVING,
        message=f"Its run was closed without {names}, and no error says why.",
        step_key=undone[0].key if undone else "",
        evidence=(
            *(Evidence(source="steps", fact=f"{step.key} is {step.state}") for step in undone),
            Evidence(
                source="runs",
                fact="its last run ended" if run is None else f"its last run ended {run.state}",
                at=None if run is None else run.finished_at,
            ),
            *engine_evidence(picture),
        ),
        remedy=remedies.continue_(
            picture.status.tenant,
            "A reconciler drives it on by itself. By hand: continue.",
            alone=True,
        ),
    )


def _spent(picture: Picture, first: DiagnosedCause) -> DiagnosedCause:
    tenant = picture.status.tenant
    return DiagnosedCause(
        code="HEALING_BUDGET_SPENT",
        severity=Severity.PERSON,
        message=(
            f"The reconciler drove it on {tenant.heal_count} times and it stands still again, "
            "so it waits for a person."
        ),
        step_key=first.step_key,
        evidence=(
            Evidence(
                source="tenants", fact=f"heal_count is {tenant.heal_count}", at=tenant.healed_at
            ),
            *first.evidence,
        ),
        remedy=remedies.continue_(
            tenant, f"Find out why, then continue; that restores the budget. {first.message}"
        ),
    )


def _budget_spent(picture: Picture) -> bool:
    return picture.status.tenant.heal_count >= len(HEALING_PAUSES_SECONDS)


def _next_drive(picture: Picture) -> datetime | None:
    """Return the earliest time a reconciler drives it on; None if that is at once."""
    tenant, run = picture.status.tenant, picture.status.run
    if _budget_spent(picture):
        return None
    pause = HEALING_PAUSES_SECONDS[max(tenant.heal_count, 0)]
    finished = None if run is None else run.finished_at
    since = max((at for at in (tenant.healed_at, finished) if at is not None), default=None)
    if since is None or not pause or since > picture.now:
        return None
    due = since + timedelta(seconds=pause)
    return due if due > picture.now else None


def _attempt(attempt: Attempt) -> Evidence:
    outcome = attempt.outcome or "still under way"
    message = f": {attempt.message}" if attempt.message else ""
    return Evidence(
        source="attempts",
        fact=f"attempt {attempt.number} of {attempt.step_key} ended {outcome}{message}",
        at=attempt.ended_at or attempt.started_at,
    )


def _last_answer(tried: list[Attempt], *, names_others: bool) -> list[Evidence]:
    """Return the engine's last answer, as it is on record."""
    for attempt in reversed(tried):
        told = [
            f"{key} {value}"
            for key in ("engine_message", "exc_type", "status")
            if (value := attempt.evidence.get(key))
        ]
        facts = [f"the engine's last answer: {', '.join(told)}"] if told else []
        in_full = attempt.evidence.get(FOR_OPERATORS, "") if names_others else ""
        if in_full and in_full != attempt.message:
            facts.append(f"with the names of others: {in_full}")
        if facts:
            return [Evidence(source="attempts", fact=fact, at=attempt.ended_at) for fact in facts]
    return []
