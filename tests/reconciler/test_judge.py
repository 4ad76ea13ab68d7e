"""The judge: a table of cases, and what it must never do, for any observation."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.judge import Verdict, judge
from reconciler.observation import NEVER, FailedStep, LastRun, Observation
from reconciler.remedies import opens_run
from server.model.budget import HEALING_PAUSES_SECONDS
from server.model.causes import Cause, Severity
from server.model.derive import Standing
from server.model.identifiers import RunId, TenantId
from server.model.states import (
    OPEN_RUN_STATES,
    ErrorClass,
    GateState,
    Order,
    RunState,
    TenantState,
    WaitingCode,
)
from server.validation import validate_reason

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)
AHEAD = NOW + timedelta(days=30)
MOVING = {Verdict.DRIVE_ON, Verdict.REBUILD_RECORD}
ENDED = {TenantState.CANCELLED, TenantState.DEPROVISIONING, TenantState.DEPROVISIONED}


def standing(state: TenantState, *, lost: bool = False, done: int = 4) -> Standing:
    return Standing(
        state=state,
        current_step="" if state is TenantState.COMPLETED else "step_4_warehouses",
        steps_completed=done,
        total_steps=10,
        errors=(),
        record_lost=lost,
    )


RUN = LastRun(id=RunId("r1"), state=RunState.FAILED, order=Order.START, actor="local")

STUCK = Observation(
    tenant_id=TenantId("t1"),
    revision=7,
    stored=TenantState.FAILED,
    standing=standing(TenantState.FAILED),
    run=RUN,
    run_lost=False,
    failed=(
        FailedStep(
            key="step_4_warehouses", error_class=ErrorClass.TRANSIENT, code="ENGINE_NO_ANSWER"
        ),
    ),
    steps_found=10,
    steps_expected=10,
    held=False,
    look_at=None,
    heal_count=0,
    healed_at=None,
    first_completed_at=None,
    stuck_since=LONG_AGO,
    engine_configured=True,
    gate=GateState.UP,
    gate_since=None,
    workers_alive=False,
    lease_seconds=10.0,
    observed_at=NOW,
)


def failed(error_class: ErrorClass | None, code: str = "X", **more: Any) -> FailedStep:
    return FailedStep(key="step_4_warehouses", error_class=error_class, code=code, **more)


def in_state(state: TenantState, **more: Any) -> dict[str, Any]:
    return {"stored": state, "standing": standing(state), **more}


def in_motion(run: LastRun, **more: Any) -> dict[str, Any]:
    return in_state(TenantState.IN_PROGRESS, run=run, failed=(), **more)


LOST = {"standing": standing(TenantState.PARTIAL, lost=True, done=0), "steps_found": 0}
QUEUED = replace(RUN, state=RunState.QUEUED)
RUNNING = replace(RUN, state=RunState.RUNNING)
WAITING = replace(RUN, state=RunState.WAITING, waiting_code=WaitingCode.RETRY)


@dataclass(frozen=True)
class Case:
    says: str
    verdict: Verdict
    causes: tuple[Cause, ...] = ()
    seen: dict[str, Any] = field(default_factory=dict)


NOTHING, WAIT = Verdict.NOTHING_YET, Verdict.WAIT_FOR_ENGINE
DRIVE, REBUILD, CALL = Verdict.DRIVE_ON, Verdict.REBUILD_RECORD, Verdict.CALL_OPERATOR
LOST_CAUSE, PASSING = Cause.STEP_RECORD_LOST, Cause.PASSING_ERROR

CASES = [
    Case(
        "the seed: PARTIAL, 0 of 10", REBUILD, (LOST_CAUSE,), {"stored": TenantState.PARTIAL} | LOST
    ),
    Case("an incomplete record", REBUILD, (LOST_CAUSE,), LOST | {"steps_found": 9}),
    Case("the run is gone too", REBUILD, (LOST_CAUSE,), LOST | {"run": None, "run_lost": True}),
    Case("an unknown word, record lost", REBUILD, (LOST_CAUSE,), LOST | {"stored": None}),
    Case(
        "IN_PROGRESS without a run",
        REBUILD,
        (LOST_CAUSE,),
        {
            "stored": TenantState.IN_PROGRESS,
            "standing": standing(TenantState.FAILED, lost=True),
            "run": None,
        },
    ),
    Case(
        "a live shop's record lost",
        REBUILD,
        (LOST_CAUSE,),
        LOST | {"stored": TenantState.COMPLETED, "first_completed_at": LONG_AGO},
    ),
    Case("lost, a person called before", REBUILD, (LOST_CAUSE,), LOST | {"look_at": NEVER}),
    Case(
        "PENDING, but its run is gone",
        REBUILD,
        (LOST_CAUSE,),
        in_state(TenantState.PENDING, run=None, run_lost=True, failed=()),
    ),
    Case("PENDING: never ordered", NOTHING, (), in_state(TenantState.PENDING, run=None, failed=())),
    Case("lost and held", NOTHING, (Cause.HELD,), LOST | {"held": True}),
    Case("lost, gate down", WAIT, (Cause.ENGINE_NOT_UP,), LOST | {"gate": GateState.DOWN}),
    Case(
        "lost, budget spent",
        CALL,
        (Cause.HEALING_BUDGET_SPENT, LOST_CAUSE),
        LOST | {"heal_count": 5},
    ),
    Case("a passing error", DRIVE, (PASSING,)),
    *(
        Case(f"a passing error: {kind}", DRIVE, (PASSING,), {"failed": (failed(kind),)})
        for kind in ErrorClass
        if kind is not ErrorClass.PERMANENT
    ),
    Case("an error class nobody knows", DRIVE, (PASSING,), {"failed": (failed(None),)}),
    Case(
        "a worker lost for good",
        DRIVE,
        (PASSING,),
        {"failed": (failed(ErrorClass.PERMANENT, "WORKER_LOST"),)},
    ),
    Case(
        "a permanent error",
        CALL,
        (Cause.PERMANENT_ERROR,),
        {"failed": (failed(ErrorClass.PERMANENT),)},
    ),
    Case(
        "one passing, one permanent",
        CALL,
        (Cause.PERMANENT_ERROR,),
        {"failed": (failed(ErrorClass.TRANSIENT), failed(ErrorClass.PERMANENT))},
    ),
    Case(
        "somebody else's Company",
        CALL,
        (Cause.PERMANENT_ERROR,),
        {"failed": (failed(None, "COMPANY_NOT_OURS"),)},
    ),
    Case(
        "a last look that fails because another step did",
        DRIVE,
        (PASSING,),
        {"failed": (failed(ErrorClass.RACE), failed(ErrorClass.PERMANENT, last=True))},
    ),
    Case(
        "a last look that fails by itself",
        CALL,
        (Cause.PERMANENT_ERROR,),
        {"failed": (failed(ErrorClass.PERMANENT, last=True),)},
    ),
    Case(
        "a permanent error, a person called",
        NOTHING,
        (),
        {"failed": (failed(ErrorClass.PERMANENT),), "look_at": NEVER},
    ),
    Case("closed without a reason", DRIVE, (Cause.STEP_NOT_DONE,), {"failed": ()}),
    Case("a wrong word", DRIVE, (PASSING, Cause.STATE_DIFFERS), {"stored": TenantState.COMPLETED}),
    Case("an unknown word", DRIVE, (PASSING, Cause.STATE_DIFFERS), {"stored": None}),
    Case("a passing error, put off", NOTHING, (PASSING,), {"look_at": NOW + timedelta(hours=1)}),
    Case("gate down", WAIT, (Cause.ENGINE_NOT_UP,), {"gate": GateState.DOWN}),
    Case("gate misconfigured", WAIT, (Cause.ENGINE_NOT_UP,), {"gate": GateState.MISCONFIGURED}),
    Case("no such engine", WAIT, (Cause.ENGINE_NOT_CONFIGURED,), {"engine_configured": False}),
    Case("budget spent", CALL, (Cause.HEALING_BUDGET_SPENT, PASSING), {"heal_count": 5}),
    Case("budget spent, person called", NOTHING, (), {"heal_count": 5, "look_at": NEVER}),
    Case("budget below zero by SQL", DRIVE, (PASSING,), {"heal_count": -3, "healed_at": NOW}),
    Case("driven just now", NOTHING, (PASSING,), {"heal_count": 1, "healed_at": NOW}),
    Case(
        "the clock was set back",
        DRIVE,
        (PASSING,),
        {"heal_count": 4, "healed_at": NOW + timedelta(days=1)},
    ),
    Case("held", NOTHING, (Cause.HELD,), {"held": True}),
    *(Case(f"{state} stored", NOTHING, (), {"stored": state}) for state in sorted(ENDED)),
    *(Case(f"{state}", NOTHING, (), in_state(state)) for state in sorted(ENDED)),
    Case("COMPLETED", NOTHING, (), in_state(TenantState.COMPLETED, failed=())),
    Case(
        "finished, but not by its word",
        REBUILD,
        (Cause.STATE_DIFFERS,),
        {"standing": standing(TenantState.COMPLETED), "failed": (), "heal_count": 5},
    ),
    Case("queued just now", NOTHING, (), in_motion(QUEUED, stuck_since=NOW)),
    Case("queued, nobody there", NOTHING, (Cause.NO_WORKER,), in_motion(QUEUED)),
    Case(
        "running, nobody could give a sign of life until now",
        NOTHING,
        (),
        in_motion(RUNNING, database_back=NOW),
    ),
    Case(
        "running, worker dead, long after the database was away",
        NOTHING,
        (Cause.NO_WORKER,),
        in_motion(RUNNING, database_back=LONG_AGO),
    ),
    Case("queued behind others", NOTHING, (), in_motion(QUEUED, workers_alive=True)),
    Case("running, worker dead", NOTHING, (Cause.NO_WORKER,), in_motion(RUNNING)),
    Case(
        "running, worker dead, the clock set back",
        NOTHING,
        (Cause.NO_WORKER,),
        in_motion(RUNNING, stuck_since=AHEAD),
    ),
    Case(
        "queued, nobody there, the gate opened before the clock was set back",
        NOTHING,
        (Cause.NO_WORKER,),
        in_motion(QUEUED, gate_since=AHEAD),
    ),
    Case("put off for longer than any pause", DRIVE, (PASSING,), {"look_at": AHEAD}),
    Case("a call marked that nobody made", DRIVE, (PASSING,), {"look_at": NEVER}),
    Case(
        "running, worker dead, others alive",
        NOTHING,
        (Cause.NO_WORKER,),
        in_motion(RUNNING, workers_alive=True),
    ),
    Case("running, worker alive", NOTHING, (), in_motion(replace(RUNNING, worker_alive=True))),
    Case(
        "running past its deadline",
        NOTHING,
        (Cause.STALLED,),
        in_motion(replace(RUNNING, worker_alive=True, deadline_at=NOW - timedelta(minutes=1))),
    ),
    Case(
        "running before its deadline",
        NOTHING,
        (),
        in_motion(replace(RUNNING, worker_alive=True, deadline_at=NOW)),
    ),
    Case(
        "waiting for its pause",
        NOTHING,
        (),
        in_motion(replace(WAITING, waiting_until=NOW + timedelta(minutes=1))),
    ),
    Case("waiting beyond its pause", NOTHING, (Cause.NO_WORKER,), in_motion(WAITING)),
    Case(
        "waiting for a closed gate",
        NOTHING,
        (),
        in_motion(replace(WAITING, waiting_code=WaitingCode.ENGINE_DOWN), gate=GateState.DOWN),
    ),
    Case(
        "waiting for a gate that just opened",
        NOTHING,
        (),
        in_motion(replace(WAITING, waiting_code=WaitingCode.ENGINE_DOWN), gate_since=NOW),
    ),
    Case(
        "in motion, but not by its word",
        NOTHING,
        (Cause.STATE_DIFFERS,),
        in_motion(replace(RUNNING, worker_alive=True)) | {"stored": TenantState.PARTIAL},
    ),
    Case(
        "in motion without steps, driven",
        NOTHING,
        (),
        in_motion(replace(RUNNING, worker_alive=True))
        | {"standing": standing(TenantState.IN_PROGRESS, lost=True)},
    ),
    Case(
        "open without steps, driven by nobody",
        REBUILD,
        (LOST_CAUSE,),
        in_motion(QUEUED, workers_alive=True)
        | {"standing": standing(TenantState.IN_PROGRESS, lost=True)},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_each_case_has_its_verdict(case: Case) -> None:
    judgement = judge(replace(STUCK, **case.seen))
    assert judgement.verdict is case.verdict
    assert tuple(finding.cause for finding in judgement.findings) == case.causes


@pytest.mark.parametrize("drives", range(len(HEALING_PAUSES_SECONDS)))
def test_each_drive_waits_for_its_pause_and_no_longer(drives: int) -> None:
    pause = timedelta(seconds=HEALING_PAUSES_SECONDS[drives])
    seen = replace(STUCK, heal_count=drives, healed_at=NOW - pause)
    assert judge(seen).verdict is Verdict.DRIVE_ON
    if drives:
        early = replace(seen, observed_at=NOW - timedelta(seconds=1))
        judgement = judge(early)
        assert judgement.verdict is Verdict.NOTHING_YET
        assert judgement.not_before == NOW
        assert judgement.findings[0].severity is Severity.MAY_CLEAR


def test_a_pause_begins_when_the_run_ended_not_when_it_was_ordered() -> None:
    run = replace(RUN, finished_at=NOW - timedelta(seconds=30))
    judgement = judge(replace(STUCK, run=run, heal_count=1, healed_at=LONG_AGO))
    assert judgement.not_before == NOW + timedelta(seconds=30)


def test_the_evidence_holds_what_the_cause_was_concluded_from() -> None:
    finding = judge(STUCK).findings[0]
    assert dict(finding.evidence) == {
        "stored_state": "FAILED",
        "derived_state": "FAILED",
        "steps": "10 of 10",
        "steps_done": "4",
        "heal_count": "0",
        "gate": "UP",
        "run": "r1",
        "run_state": "FAILED",
        "ordered": "START by local",
        "failed": "step_4_warehouses: TRANSIENT ENGINE_NO_ANSWER",
    }


TIMES = st.none() | st.datetimes(timezones=st.just(UTC)) | st.sampled_from([NOW, LONG_AGO, NEVER])
STATES = st.none() | st.sampled_from(TenantState)

RUNS = st.none() | st.builds(
    LastRun,
    id=st.just(RunId("r1")),
    state=st.none() | st.sampled_from(RunState),
    order=st.sampled_from(Order),
    actor=st.text(),
    finished_at=TIMES,
    worker_alive=st.booleans(),
    waiting_code=st.none() | st.sampled_from(WaitingCode),
    waiting_until=TIMES,
    deadline_at=TIMES,
)

FAILED_STEPS = st.lists(
    st.builds(
        FailedStep,
        key=st.text(max_size=30),
        error_class=st.none() | st.sampled_from(ErrorClass),
        code=st.text() | st.sampled_from(["WORKER_LOST", "COMPANY_NOT_OURS"]),
        last=st.booleans(),
    ),
    max_size=12,
).map(tuple)

# Our own clock; rows may say anything.
CLOCK = st.datetimes(max_value=datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - aware by timezones

OBSERVATIONS = st.builds(
    Observation,
    tenant_id=st.just(TenantId("t1")),
    revision=st.integers(),
    stored=STATES,
    standing=st.builds(
        standing, st.sampled_from(TenantState), lost=st.booleans(), done=st.integers()
    ),
    run=RUNS,
    run_lost=st.booleans(),
    failed=FAILED_STEPS,
    steps_found=st.integers(),
    steps_expected=st.integers(),
    held=st.booleans(),
    look_at=TIMES,
    heal_count=st.integers(),
    healed_at=TIMES,
    first_completed_at=TIMES,
    stuck_since=TIMES.filter(lambda at: at is not None),
    engine_configured=st.booleans(),
    gate=st.sampled_from(GateState),
    gate_since=TIMES,
    database_back=TIMES,
    workers_alive=st.booleans(),
    lease_seconds=st.floats(min_value=1, max_value=1e9),
    observed_at=CLOCK,
)

# Those that a run is opened for, with whatever words their rows hold.
MOVABLE = st.builds(
    lambda failed, run, key: replace(
        STUCK,
        failed=failed,
        run=run,
        standing=replace(STUCK.standing, current_step=key),
    ),
    FAILED_STEPS,
    RUNS,
    st.text(),
)


def must_not_be_moved(seen: Observation) -> bool:
    """Said again in other words than the judge's."""
    driven = (
        seen.run is not None
        and seen.run.state in OPEN_RUN_STATES
        and (not seen.standing.record_lost or seen.run.worker_alive)
        and seen.standing.state is TenantState.IN_PROGRESS
        and (not seen.standing.record_lost or seen.run.state is RunState.RUNNING)
    )
    return (
        seen.held
        or seen.stored in ENDED
        or seen.standing.state in ENDED
        or driven
        or seen.heal_count >= len(HEALING_PAUSES_SECONDS)
        or seen.gate is not GateState.UP
        or not seen.engine_configured
    )


@given(OBSERVATIONS)
def test_every_observation_gets_a_verdict(seen: Observation) -> None:
    judgement = judge(seen)
    assert isinstance(judgement.verdict, Verdict)
    if judgement.verdict is not Verdict.NOTHING_YET:
        assert judgement.findings
        assert judgement.not_before is None


@given(OBSERVATIONS)
def test_what_must_not_be_moved_is_never_moved(seen: Observation) -> None:
    if must_not_be_moved(seen):
        assert not opens_run(seen, judge(seen))


@given(OBSERVATIONS)
def test_a_tenant_that_a_person_ended_is_not_even_spoken_of(seen: Observation) -> None:
    if seen.stored in ENDED or seen.standing.state in ENDED:
        assert judge(seen).verdict is Verdict.NOTHING_YET
        assert judge(seen).findings == ()


@given(OBSERVATIONS)
def test_a_held_tenant_is_only_spoken_of(seen: Observation) -> None:
    judgement = judge(replace(seen, held=True))
    assert judgement.verdict is Verdict.NOTHING_YET
    assert {finding.cause for finding in judgement.findings} <= {Cause.HELD}


@given(OBSERVATIONS)
def test_a_person_is_not_called_twice_for_what_did_not_change(seen: Observation) -> None:
    called = replace(seen, look_at=NEVER, stored=seen.standing.state)
    assert judge(called).verdict is not Verdict.CALL_OPERATOR


@given(MOVABLE)
def test_a_reason_can_be_given_with_an_order(seen: Observation) -> None:
    judgement = judge(seen)
    if judgement.verdict in MOVING:
        assert validate_reason(judgement.findings[0].message[:500].strip())


@given(MOVABLE, CLOCK)
def test_the_reason_of_an_order_does_not_depend_on_when_it_was_judged(
    seen: Observation, later: datetime
) -> None:
    first, second = judge(seen), judge(replace(seen, observed_at=later))
    if first.verdict is second.verdict and first.verdict in MOVING:
        assert first.findings[0].message == second.findings[0].message


@given(OBSERVATIONS)
def test_a_finished_shop_is_never_driven_whatever_its_word_is(seen: Observation) -> None:
    """Its till was opened once, and closing it is the shop's business."""
    done = replace(seen, standing=standing(TenantState.COMPLETED), run_lost=False, held=False)
    assert not opens_run(done, judge(done))
