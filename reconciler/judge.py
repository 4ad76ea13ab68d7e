"""Says what is wrong with one tenant and what should be done: observation in, verdict out.

Pure and total: no clock, no database, no network, and an answer for any word a row may hold. It
never has a run opened for a tenant that is in motion, cancelled, held or over its healing budget
(promise 8). It sees only what is in the database. What is in the engine is found out by the run
that a verdict opens, and that run decides what may be made again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum, unique
from typing import TYPE_CHECKING

from server.model.budget import HEALING_PAUSES_SECONDS
from server.model.causes import PERSON_CODES, Cause, Severity
from server.model.states import (
    OPEN_RUN_STATES,
    ErrorClass,
    GateState,
    RunState,
    TenantState,
    WaitingCode,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from reconciler.observation import FailedStep, Observation

# A living worker gives a sign within one lease, and its successor within another; after three
# leases nobody is coming (promise 3).
QUIET_LEASES = 3

WORKER_LOST = "WORKER_LOST"

_HANDS_OFF = frozenset(
    {TenantState.CANCELLED, TenantState.DEPROVISIONING, TenantState.DEPROVISIONED}
)
_ENGINE_WAITS = frozenset({WaitingCode.ENGINE_DOWN, WaitingCode.ENGINE_MISCONFIGURED})


@unique
class Verdict(Enum):
    """What should be done about a tenant now."""

    NOTHING_YET = "NOTHING_YET"
    DRIVE_ON = "DRIVE_ON"
    REBUILD_RECORD = "REBUILD_RECORD"
    WAIT_FOR_ENGINE = "WAIT_FOR_ENGINE"
    CALL_OPERATOR = "CALL_OPERATOR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An observation with its cause.

    Attributes:
        message: What is wrong, in plain words; the same for the same tenant, revision and
            verdict, because it becomes the reason of an order that any reconciler may repeat.
        evidence: The facts it was judged by, as texts; words from damaged rows are cut.
    """

    cause: Cause
    severity: Severity
    message: str
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What should be done, and why: the first finding is the reason.

    Attributes:
        findings: Empty if nothing is wrong.
        not_before: When the tenant should be re-driven, if it is too early now.
    """

    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    not_before: datetime | None = None


NOTHING = Judgement(verdict=Verdict.NOTHING_YET)


def judge(seen: Observation) -> Judgement:
    """Judge what should be done about a tenant.

    Args:
        seen: What the database says about it.

    Returns:
        A judgement, for any observation.
    """
    state = seen.standing.state
    if not _HANDS_OFF.isdisjoint({seen.stored, state}):
        return NOTHING
    if seen.held:
        # It is never moved, but nobody must forget that it is waiting for a person.
        return Judgement(verdict=Verdict.NOTHING_YET, findings=(_held(seen),))
    if seen.damage and state is not TenantState.COMPLETED:
        # No order can be written, or no worker finds the run: it would wait for ever.
        finding = _finding(seen, Cause.ROW_DAMAGED, Severity.PERSON, seen.damage)
        return Judgement(verdict=Verdict.NOTHING_YET, findings=(finding,))
    if state is TenantState.IN_PROGRESS and not (seen.record_lost and _is_abandoned(seen)):
        return _judge_in_motion(seen)
    if seen.record_lost:
        return _move(seen, Verdict.REBUILD_RECORD, _record_lost(seen))
    return _judge_at_rest(seen)


def _judge_at_rest(seen: Observation) -> Judgement:
    if seen.standing.state is TenantState.PENDING:
        return NOTHING
    if seen.standing.state is TenantState.COMPLETED:
        return _judge_finished(seen)
    return _judge_stopped(seen)


def _judge_in_motion(seen: Observation) -> Judgement:
    """Never move a tenant in motion, but report one that nobody seems to drive."""
    findings = list(_difference(seen, Severity.MAY_CLEAR))
    if not seen.engine_configured and _is_abandoned(seen):
        # Living workers do not help: none of them asks for runs of that site.
        severity = Severity.PERSON if seen.other_site else Severity.MAY_CLEAR
        findings.append(_finding(seen, Cause.ENGINE_NOT_CONFIGURED, severity, _why_no_engine(seen)))
    elif not seen.record_lost and _is_abandoned(seen) and not _is_queueing(seen):
        findings.append(
            _finding(
                seen,
                Cause.NO_WORKER,
                Severity.MAY_CLEAR,
                "The run is open and no live worker drives it. The next server that runs "
                "takes it over by itself; check that one is up.",
            )
        )
    elif _is_stalled(seen):
        findings.append(
            _finding(
                seen,
                Cause.STALLED,
                Severity.PERSON,
                "Its worker is alive, but the attempt under way is long past its deadline. "
                "Restart that server: the run is taken over and nothing is made twice.",
            )
        )
    return Judgement(verdict=Verdict.NOTHING_YET, findings=tuple(findings))


def _judge_finished(seen: Observation) -> Judgement:
    """Correct the stored state from the steps; a live shop is not driven because of it."""
    if not seen.state_differs:
        return NOTHING
    return Judgement(
        verdict=Verdict.REBUILD_RECORD, findings=tuple(_difference(seen, Severity.MOVING))
    )


def _judge_stopped(seen: Observation) -> Judgement:
    differs = _difference(seen, Severity.MOVING)
    decisive = [step for step in seen.failed if not step.last] or list(seen.failed)
    steps = ", ".join(
        f"{_plain(step.key)} ({_plain(step.code) or 'no error was recorded'})" for step in decisive
    )
    if _is_mended(seen, decisive):
        finding = _finding(
            seen,
            Cause.PERMANENT_ERROR,
            Severity.MOVING,
            f"It stopped at an error that a person had to fix: {steps}. Another tenant that stood "
            "still at the same error has come through since.",
        )
        return _move(seen, Verdict.DRIVE_ON, finding, *differs)
    if any(_needs_person(step) for step in decisive):
        # A second call would only repeat the first, unless the stored state was changed since.
        if seen.operator_called and not differs:
            return NOTHING
        finding = _finding(
            seen,
            Cause.PERMANENT_ERROR,
            Severity.PERSON,
            f"It stopped at an error that trying again does not cure: {steps}.",
        )
        return Judgement(verdict=Verdict.CALL_OPERATOR, findings=(finding, *differs))
    if decisive:
        finding = _finding(
            seen,
            Cause.PASSING_ERROR,
            Severity.MOVING,
            f"It stopped at an error that may have passed: {steps}.",
        )
    else:
        finding = _finding(
            seen,
            Cause.STEP_NOT_DONE,
            Severity.MOVING,
            f"The run was closed before {_plain(seen.standing.current_step) or 'its end'}, and no "
            "error says why.",
        )
    return _move(seen, Verdict.DRIVE_ON, finding, *differs)


def _move(seen: Observation, verdict: Verdict, *findings: Finding) -> Judgement:
    """Have a run opened, if that is allowed and due."""
    spent = seen.heal_count >= len(HEALING_PAUSES_SECONDS)
    if spent and seen.operator_called:
        return NOTHING
    waits = _engine_waits(seen, findings[0])
    if waits is not None:
        # This uses no budget: an outage is not the tenant's fault (promise 6).
        return Judgement(verdict=Verdict.WAIT_FOR_ENGINE, findings=(waits,))
    if spent:
        spent_finding = _finding(
            seen,
            Cause.HEALING_BUDGET_SPENT,
            Severity.PERSON,
            f"It was driven on {seen.heal_count} times and has stopped again. "
            f"{findings[0].message}",
        )
        return Judgement(verdict=Verdict.CALL_OPERATOR, findings=(spent_finding, *findings))
    due_at = _due_at(seen, verdict)
    if due_at > seen.observed_at:
        later = tuple(replace(finding, severity=Severity.MAY_CLEAR) for finding in findings)
        return Judgement(verdict=Verdict.NOTHING_YET, findings=later, not_before=due_at)
    return Judgement(verdict=verdict, findings=findings)


def _engine_waits(seen: Observation, reason: Finding) -> Finding | None:
    if not seen.engine_configured:
        cause, severity = Cause.ENGINE_NOT_CONFIGURED, Severity.PERSON
        message = _why_no_engine(seen)
    elif seen.gate is not GateState.UP:
        cause, severity = Cause.ENGINE_NOT_UP, Severity.MAY_CLEAR
        message = f"It will be driven on once its engine takes work; the gate is {seen.gate}."
    else:
        return None
    finding = _finding(seen, cause, severity, f"{message} {reason.message}")
    return replace(finding, evidence={**finding.evidence, "underlying": reason.cause.value})


def _why_no_engine(seen: Observation) -> str:
    if seen.other_site:
        return seen.other_site
    return "Its engine is not configured here. Add it to PROVISIONER_ENGINES_FILE and start again."


def _due_at(seen: Observation, verdict: Verdict) -> datetime:
    """Return when the next drive is due, according to the budget's pauses."""
    now = seen.observed_at
    pause = HEALING_PAUSES_SECONDS[max(seen.heal_count, 0)]
    stopped_at = None if seen.run is None else seen.run.finished_at
    since = max((at for at in (seen.healed_at, stopped_at) if at is not None), default=now)
    # A time in the future means that the clock was set back: do not wait for it.
    due_at = now if since > now or not pause else since + timedelta(seconds=pause)
    # Damage has happened since look_at was set; a stop had happened before.
    if verdict is Verdict.DRIVE_ON and seen.look_at is not None and not _is_put_off_by_damage(seen):
        due_at = max(due_at, seen.look_at)
    return due_at


def _is_put_off_by_damage(seen: Observation) -> bool:
    """Tell whether `look_at` puts the tenant off longer than any pause although nobody was called.

    A person is called only for an error that needs one, or for a spent budget (see `_move`).
    """
    called = seen.operator_called and any(_needs_person(step) for step in seen.failed)
    if seen.look_at is None or called:
        return False
    return seen.look_at - seen.observed_at > timedelta(seconds=max(HEALING_PAUSES_SECONDS))


def _needs_person(step: FailedStep) -> bool:
    if step.code == WORKER_LOST:
        return False
    return step.error_class is ErrorClass.PERMANENT or step.code in PERSON_CODES


def _is_mended(seen: Observation, decisive: Sequence[FailedStep]) -> bool:
    """Tell whether an error for a person was fixed, as another tenant has got past it since.

    Who a Company belongs to, and where it went, concerns each tenant alone.
    """
    if seen.mended_at is None or seen.mended_at <= seen.stopped_at:
        return False
    return any(_needs_person(step) for step in decisive) and not any(
        step.code in PERSON_CODES for step in decisive
    )


def _is_abandoned(seen: Observation) -> bool:
    """Tell whether an open run has neither a living worker nor a reason to wait."""
    run = seen.run
    if run is None or run.state not in OPEN_RUN_STATES:
        return False
    if run.state is RunState.RUNNING:
        return not run.worker_alive and _is_quiet(seen)
    if run.waiting_until is not None and not _is_quiet(seen, run.waiting_until):
        return False
    if run.waiting_code in _ENGINE_WAITS and seen.gate is not GateState.UP:
        return False
    return _is_quiet(seen)


def _is_queueing(seen: Observation) -> bool:
    if seen.gate is not GateState.UP:
        # Whoever drove it, the run is taken up once the site's prober opens the gate.
        return seen.servers_alive
    running = seen.run is not None and seen.run.state is RunState.RUNNING
    return seen.workers_alive and not running


def _is_stalled(seen: Observation) -> bool:
    run = seen.run
    if run is None or run.state is not RunState.RUNNING or run.deadline_at is None:
        return False
    return run.worker_alive and _is_quiet(seen) and _is_quiet(seen, run.deadline_at)


def _is_quiet(seen: Observation, since: datetime | None = None) -> bool:
    """Tell whether nothing has happened for three leases (after an outage, since its end)."""
    patience = timedelta(seconds=QUIET_LEASES * seen.lease_seconds)
    if since is not None:
        return seen.observed_at - since > patience
    # A sign that lies further in the future than our patience does not count: the clock was set
    # back since, or the row is damaged, and the tenant would be stuck unseen until that time.
    return all(
        abs(seen.observed_at - sign) > patience
        # While the database was away, or the host suspended, no worker could give a sign of life.
        for sign in (seen.stuck_since, seen.gate_since, seen.database_back)
        if sign is not None
    )


def _held(seen: Observation) -> Finding:
    finding = _finding(
        seen,
        Cause.HELD,
        Severity.PERSON,
        f"It is held by {_plain(seen.hold_by) or 'somebody'}: "
        f"{_plain(seen.hold_reason, 300).rstrip('. ') or 'no reason given'}. "
        "Only a person moves it.",
    )
    return replace(finding, evidence={**finding.evidence, "held_by": _plain(seen.hold_by)})


def _record_lost(seen: Observation) -> Finding:
    if seen.run is None:
        lost = "The record of its run is gone"
    else:
        lost = f"Its step record holds {seen.steps_found} of {seen.steps_expected} steps"
    return _finding(
        seen,
        Cause.STEP_RECORD_LOST,
        Severity.MOVING,
        f"{lost}: it was damaged from outside. What the engine holds is looked up; what is ours is "
        "taken over, and the rest is made.",
    )


def _difference(seen: Observation, severity: Severity) -> tuple[Finding, ...]:
    if not seen.state_differs or seen.record_lost:
        return ()
    finding = _finding(
        seen,
        Cause.STATE_DIFFERS,
        severity,
        f"Its stored state is {seen.stored or 'a word that is none of ours'}, its rows say "
        f"{seen.standing.state}: it was changed from outside. The rows are right.",
    )
    return (finding,)


def _finding(seen: Observation, cause: Cause, severity: Severity, message: str) -> Finding:
    return Finding(cause=cause, severity=severity, message=message, evidence=_evidence(seen))


def _evidence(seen: Observation) -> dict[str, str]:
    evidence = {
        "stored_state": seen.stored.value if seen.stored else "unknown word",
        "derived_state": seen.standing.state.value,
        "steps": f"{seen.steps_found} of {seen.steps_expected}",
        "steps_done": str(seen.standing.steps_completed),
        "heal_count": str(seen.heal_count),
        "gate": seen.gate.value,
    }
    if seen.run is not None:
        evidence |= {
            "run": seen.run.id,
            "run_state": seen.run.state.value if seen.run.state else "unknown word",
            "ordered": f"{seen.run.order.value} by {_plain(seen.run.actor)}",
        }
    if seen.failed:
        evidence["failed"] = ", ".join(
            f"{_plain(step.key)}: {step.error_class or 'unknown class'} {_plain(step.code)}"
            for step in seen.failed
        )
    if seen.first_completed_at is not None:
        evidence["first_completed_at"] = seen.first_completed_at.isoformat()
    return evidence


def _plain(text: str, most: int = 60) -> str:
    """Reduce a word from a row that may be damaged to what a reason may contain."""
    return "".join(character for character in text if character.isprintable())[:most]
