"""The judge: what it must never do, for any observation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from reconciler.judge import Verdict, judge
from reconciler.observation import NEVER, FailedStep, LastRun, Observation
from reconciler.remedies import opens_run
from server.model.budget import HEALING_PAUSES_SECONDS
from server.model.causes import Cause
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
from tools.observations import ENDED, LONG_AGO, NOW, STUCK, standing

MOVING = {Verdict.DRIVE_ON, Verdict.REBUILD_RECORD}
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
    servers_alive=st.booleans(),
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
