"""Why a tenant in motion is not done yet: what it is doing, or waiting for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.diagnosis import remedies
from server.diagnosis.causes import DiagnosedCause, Evidence
from server.diagnosis.engine_side import engine_evidence
from server.diagnosis.stopped import attempt_evidence, lost_evidence, step_of
from server.model.causes import Severity
from server.model.states import OPEN_RUN_STATES, GateState, WaitingCode
from server.queries import STALLED

if TYPE_CHECKING:
    from server.diagnosis.picture import Picture
    from server.model.records import Run, WaitingFor

_CLOSED_GATE = frozenset({WaitingCode.ENGINE_DOWN, WaitingCode.ENGINE_MISCONFIGURED})


def causes_in_motion(picture: Picture) -> list[DiagnosedCause]:
    """Return why a tenant with an open run is not done yet; most likely first."""
    run = picture.status.run
    if run is None or run.state not in OPEN_RUN_STATES:
        return []
    found: list[DiagnosedCause] = []
    stalled = next((error for error in picture.status.errors if error.code == STALLED), None)
    waiting = picture.status.waiting_for
    if stalled is not None:
        found.append(_stalled(picture, run, stalled.message))
    elif waiting is not None:
        cause = _waiting(picture, run, waiting)
        found += [] if cause is None else [cause]
    else:
        found.append(_running(picture, run))
    if picture.status.standing.record_lost:
        found.append(_rebuilding(picture))
    return found


def _stalled(picture: Picture, run: Run, message: str) -> DiagnosedCause:
    worker = picture.stored.live.worker
    deadline = picture.stored.live.deadline_at
    facts = [Evidence(source="runs", fact=f"the run is {run.state}", at=run.started_at)]
    if worker is not None:
        facts.append(
            Evidence(
                source="workers", fact=f"last heartbeat of {worker.id}", at=worker.heartbeat_at
            )
        )
    if deadline is not None:
        facts.append(Evidence(source="attempts", fact="the attempt's deadline", at=deadline))
    alive = picture.stored.workers_alive
    facts.append(Evidence(source="workers", fact=f"{alive} workers are alive"))
    return DiagnosedCause(
        code=STALLED,
        severity=Severity.PERSON,
        message=message,
        step_key=picture.status.standing.current_step,
        evidence=(*facts, *attempt_evidence(picture, picture.status.standing.current_step)),
        remedy=remedies.nothing(
            "Start a server, or restart the one that hangs: provisioner serve. The run is taken "
            "over, the engine is probed, and nothing is made twice."
        ),
    )


def _running(picture: Picture, run: Run) -> DiagnosedCause:
    tenant, step_key = picture.status.tenant, picture.status.standing.current_step
    deadline = picture.stored.live.deadline_at
    title = picture.status.titles.get(step_key, step_key)
    last = next((each for each in reversed(picture.stored.attempts) if each.outcome is None), None)
    facts = [Evidence(source="runs", fact=f"the run is {run.state}", at=run.started_at)]
    if last is not None:
        facts.append(
            Evidence(
                source="attempts",
                fact=f"attempt {last.number} of {last.step_key} is under way since",
                at=last.started_at,
            )
        )
    if deadline is not None:
        facts.append(Evidence(source="attempts", fact="it must end by", at=deadline))
    return DiagnosedCause(
        code="STEP_RUNNING",
        severity=Severity.MOVING,
        message=f"It moves: {title} is under way.",
        step_key=step_key,
        evidence=(*facts, *engine_evidence(picture)),
        remedy=remedies.watch(tenant, "Nothing: watch it."),
    )


def _waiting(picture: Picture, run: Run, waiting: WaitingFor) -> DiagnosedCause | None:
    gate = picture.stored.live.gate
    if waiting.code in _CLOSED_GATE and gate is not None and gate.state is not GateState.UP:
        return None  # said of the whole site already
    if waiting.code is WaitingCode.RETRY:
        return _trying_again(picture, waiting)
    if waiting.code is WaitingCode.WORKER:
        return _queued(picture, run)
    severity = Severity.MOVING if waiting.code is WaitingCode.SITE_SLOT else Severity.MAY_CLEAR
    facts = [Evidence(source="runs", fact=f"it waits for {waiting.code}", at=run.due_at)]
    if gate is not None and gate.slot_tenant_id:
        held_for = (
            f"{gate.slot_doctype} {gate.slot_name!r} of tenant {gate.slot_tenant_id}"
            if picture.names_others
            else f"a {gate.slot_doctype} of another tenant"
        )
        facts.append(
            Evidence(
                source="engines",
                fact=f"the site's slot is held for {held_for}",
                at=gate.slot_sent_at,
            )
        )
    return DiagnosedCause(
        code=waiting.code.value,
        severity=severity,
        message=waiting.message,
        step_key=picture.status.standing.current_step,
        evidence=tuple(facts),
        remedy=remedies.watch(picture.status.tenant, "Nothing: its turn comes by itself."),
    )


def _trying_again(picture: Picture, waiting: WaitingFor) -> DiagnosedCause:
    step_key = picture.status.standing.current_step
    step = step_of(picture, step_key)
    code = step.error_code if step is not None and step.error_code else waiting.code.value
    return DiagnosedCause(
        code=code,
        severity=Severity.MAY_CLEAR,
        message=waiting.message,
        step_key=step_key,
        evidence=(
            Evidence(source="runs", fact="it is tried again then", at=waiting.until),
            *attempt_evidence(picture, step_key),
            *engine_evidence(picture),
        ),
        remedy=remedies.watch(
            picture.status.tenant, "Nothing: it is tried again by itself, at most a few times."
        ),
    )


def _queued(picture: Picture, run: Run) -> DiagnosedCause:
    tenant, alive = picture.status.tenant, picture.stored.workers_alive
    facts = (
        Evidence(source="runs", fact=f"the run is {run.state}, due since", at=run.due_at),
        Evidence(source="runs", fact=f"{picture.stored.ahead} runs of its site are due before it"),
        Evidence(source="workers", fact=f"{alive} workers are alive"),
    )
    if alive:
        return DiagnosedCause(
            code=WaitingCode.WORKER.value,
            severity=Severity.MOVING,
            message="It is queued; a live worker takes it up when it has room.",
            evidence=facts,
            remedy=remedies.watch(tenant, "Nothing: its turn comes by itself."),
        )
    return DiagnosedCause(
        code="NO_WORKER",
        severity=Severity.PERSON,
        message="It is queued, and there is no live worker to take it up.",
        evidence=facts,
        remedy=remedies.nothing(
            "Start a server that reaches this database and has this engine: provisioner serve"
        ),
    )


def _rebuilding(picture: Picture) -> DiagnosedCause:
    return DiagnosedCause(
        code="STEP_RECORD_LOST",
        severity=Severity.MOVING,
        message=(
            "Step rows of the open run are missing: they were damaged from outside. The worker "
            "that takes the run up makes them again and probes each step."
        ),
        evidence=lost_evidence(picture),
        remedy=remedies.watch(picture.status.tenant, "Nothing: it is rebuilt by itself."),
    )
