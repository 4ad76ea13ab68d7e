"""Where a tenant stands (promises 2 and 3; design, states)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.model.blueprint import ERPNEXT
from server.model.derive import STEP_NOT_DONE, STEP_RECORD_LOST, closed_state, derive
from server.model.records import StepError
from server.model.states import (
    DONE_STEP_STATES,
    OPEN_RUN_STATES,
    Order,
    RunState,
    StepState,
    TenantState,
)
from tests.server.model.builders import (
    AT,
    DEMO,
    FAILED_AT,
    KINDS,
    OPTIONAL,
    REQUIRED,
    histories,
    run,
    step,
    steps,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.model.derive import Standing
    from server.model.records import Run, Step

PENDING, RUNNING, DONE = StepState.PENDING, StepState.RUNNING, StepState.COMPLETED
FAILED, SKIPPED = StepState.FAILED, StepState.SKIPPED
CLOSED_WORDS = (RunState.COMPLETED, RunState.PARTIAL, RunState.FAILED, RunState.REPLACED, None)
WORDS: tuple[TenantState | None, ...] = (None, *TenantState)


def stand(run_: Run | None, rows: Sequence[Step], *, stored: TenantState | None = None) -> Standing:
    return derive(stored=stored, run=run_, steps=rows, step_types=KINDS, at=AT)


def test_a_tenant_without_a_run_is_pending_at_its_first_step() -> None:
    standing = stand(None, (), stored=TenantState.PENDING)
    assert (standing.state, standing.current_step) == (TenantState.PENDING, KINDS[0].key)
    assert (standing.steps_completed, standing.total_steps) == (0, 10)
    assert (standing.errors, standing.record_lost) == ((), False)


@pytest.mark.parametrize("word", sorted(OPEN_RUN_STATES))
@pytest.mark.parametrize("stored", WORDS)
def test_an_open_run_is_in_progress_whatever_is_stored(
    word: RunState, stored: TenantState | None
) -> None:
    rows = steps(PENDING, {KINDS[0].key: DONE, KINDS[1].key: RUNNING})
    standing = stand(run(word), rows, stored=stored)
    assert standing.state is TenantState.IN_PROGRESS
    assert standing.current_step == KINDS[1].key
    assert standing.progress_percent == 10.0
    assert standing.errors == ()


@pytest.mark.parametrize(
    ("rows", "state", "current"),
    [
        (steps(DONE), TenantState.COMPLETED, ""),
        (steps(DONE, {OPTIONAL: SKIPPED}), TenantState.COMPLETED, ""),
        (steps(DONE, {OPTIONAL: FAILED}), TenantState.PARTIAL, OPTIONAL),
        (steps(DONE, {OPTIONAL: PENDING}), TenantState.PARTIAL, OPTIONAL),
        (steps(DONE, {REQUIRED: FAILED}), TenantState.FAILED, REQUIRED),
        (steps(DONE, {REQUIRED: PENDING}), TenantState.FAILED, REQUIRED),
        (steps(DONE, {REQUIRED: RUNNING}), TenantState.FAILED, REQUIRED),
        (steps(DONE, {OPTIONAL: FAILED, REQUIRED: FAILED}), TenantState.FAILED, REQUIRED),
        (steps(PENDING), TenantState.FAILED, KINDS[0].key),
    ],
)
@pytest.mark.parametrize("word", CLOSED_WORDS)
def test_a_closed_run_stands_as_its_steps_say_whatever_its_word(
    word: RunState | None, rows: tuple[Step, ...], state: TenantState, current: str
) -> None:
    standing = stand(run(word), rows)
    assert (standing.state, standing.current_step) == (state, current)
    assert not standing.record_lost


def test_a_cancelled_run_stays_cancelled_and_names_what_is_next() -> None:
    standing = stand(run(RunState.CANCELLED), steps(DONE, {REQUIRED: PENDING}))
    assert (standing.state, standing.current_step) == (TenantState.CANCELLED, REQUIRED)
    assert standing.errors == ()


def test_a_failed_step_gives_its_own_error_with_code_message_and_time() -> None:
    standing = stand(run(RunState.FAILED), steps(DONE, {REQUIRED: FAILED}))
    assert standing.errors == (
        StepError(
            step_key=REQUIRED,
            code="ENGINE_REFUSED",
            message="The engine refused it.",
            occurred_at=FAILED_AT,
        ),
    )


def test_an_error_of_a_step_that_was_done_in_the_end_is_not_an_error() -> None:
    rows = [replace(row, error_code="ENGINE_DEADLOCK") for row in steps(DONE)]
    assert stand(run(RunState.COMPLETED), rows).errors == ()
    half = [
        replace(row, state=PENDING, error_code=None) if row.key == OPTIONAL else row for row in rows
    ]
    assert [error.code for error in stand(run(RunState.PARTIAL), half).errors] == [STEP_NOT_DONE]


@pytest.mark.parametrize("code", [None, ""])
def test_a_step_left_undone_without_a_reason_is_given_one(code: str | None) -> None:
    rows = [replace(row, error_code=code) for row in steps(DONE, {REQUIRED: PENDING})]
    (error,) = stand(run(RunState.FAILED), rows).errors
    assert (error.step_key, error.code, error.occurred_at) == (REQUIRED, STEP_NOT_DONE, AT)
    assert "Continue looks at the engine" in error.message


@pytest.mark.parametrize(
    ("word", "state"),
    [
        (RunState.COMPLETED, TenantState.PARTIAL),
        (RunState.PARTIAL, TenantState.PARTIAL),
        (RunState.FAILED, TenantState.FAILED),
        (RunState.REPLACED, TenantState.FAILED),
        (None, TenantState.FAILED),
        (RunState.CANCELLED, TenantState.CANCELLED),
        (RunState.QUEUED, TenantState.IN_PROGRESS),
        (RunState.RUNNING, TenantState.IN_PROGRESS),
        (RunState.WAITING, TenantState.IN_PROGRESS),
    ],
)
@pytest.mark.parametrize("kept", [0, 1, 9])
def test_missing_rows_are_named_and_the_runs_word_decides(
    word: RunState | None, state: TenantState, kept: int
) -> None:
    standing = stand(run(word), steps(DONE)[:kept], stored=TenantState.COMPLETED)
    assert standing.state is state
    assert standing.record_lost
    assert (standing.steps_completed, standing.total_steps) == (kept, 10)
    assert standing.current_step == KINDS[kept].key
    (error,) = standing.errors
    assert (error.code, error.occurred_at) == (STEP_RECORD_LOST, AT)
    assert f"{kept} of 10" in error.message
    assert "Continue looks there" in error.message


@pytest.mark.parametrize(
    ("stored", "state"),
    [
        (TenantState.COMPLETED, TenantState.PARTIAL),
        (TenantState.PARTIAL, TenantState.PARTIAL),
        (TenantState.FAILED, TenantState.FAILED),
        (TenantState.IN_PROGRESS, TenantState.FAILED),
        (TenantState.CANCELLED, TenantState.CANCELLED),
        (TenantState.DEPROVISIONING, TenantState.DEPROVISIONING),
        (TenantState.DEPROVISIONED, TenantState.DEPROVISIONED),
        (None, TenantState.FAILED),
    ],
)
def test_where_no_run_is_left_the_stored_word_decides(
    stored: TenantState | None, state: TenantState
) -> None:
    standing = stand(None, (), stored=stored)
    assert (standing.state, standing.record_lost) == (state, True)
    assert [error.code for error in standing.errors] == [STEP_RECORD_LOST]


def test_a_run_that_claims_no_steps_is_a_lost_record_too() -> None:
    assert stand(run(RunState.COMPLETED, total_steps=0), ()).record_lost


def test_a_partial_tenant_without_a_completed_step_is_a_lost_record() -> None:
    """The seed's case: PARTIAL, 0 of 10 steps."""
    standing = stand(run(RunState.PARTIAL), (), stored=TenantState.PARTIAL)
    assert (standing.state, standing.steps_completed) == (TenantState.PARTIAL, 0)
    assert standing.record_lost


def test_rows_of_steps_the_blueprint_does_not_know_do_not_count_beyond_the_total() -> None:
    rows = [replace(row, key=f"other_{row.position}") for row in steps(DONE)]
    standing = stand(run(RunState.PARTIAL, total_steps=30), [*rows, *steps(DONE)])
    assert standing.record_lost
    assert standing.progress_percent == 100.0


@given(history=histories(), stored=st.sampled_from(WORDS))
def test_any_record_has_a_standing_that_holds_together(
    history: tuple[Run | None, tuple[Step, ...]], stored: TenantState | None
) -> None:
    run_, rows = history
    standing = stand(run_, rows, stored=stored)
    assert 0 <= standing.steps_completed <= standing.total_steps
    assert 0.0 <= standing.progress_percent <= 100.0
    if standing.state is TenantState.COMPLETED:
        assert (standing.current_step, standing.errors) == ("", ())
        assert standing.progress_percent == 100.0
    if standing.state in {TenantState.PENDING, TenantState.PARTIAL, TenantState.FAILED}:
        assert standing.current_step
    if standing.current_step and not standing.record_lost and run_ is not None:
        assert standing.current_step in {
            row.key for row in rows if row.state not in DONE_STEP_STATES
        }


@given(history=histories(), stored=st.sampled_from(WORDS))
def test_a_tenant_that_stands_still_always_says_why(
    history: tuple[Run | None, tuple[Step, ...]], stored: TenantState | None
) -> None:
    """Promise 3."""
    standing = stand(*history, stored=stored)
    if standing.state in {TenantState.PARTIAL, TenantState.FAILED} or standing.record_lost:
        assert standing.errors
    for error in standing.errors:
        assert error.code
        assert error.message
        assert error.occurred_at.tzinfo is not None


@given(history=histories(), stored=st.sampled_from(WORDS))
def test_partial_means_that_every_required_step_is_done_or_that_the_record_was_lost(
    history: tuple[Run | None, tuple[Step, ...]], stored: TenantState | None
) -> None:
    standing = stand(*history, stored=stored)
    undone = [row for row in history[1] if row.required and row.state not in DONE_STEP_STATES]
    if standing.state is TenantState.PARTIAL and not standing.record_lost:
        assert undone == []


@given(history=histories(), stored=st.sampled_from(WORDS), data=st.data())
def test_the_order_of_the_rows_does_not_matter(
    history: tuple[Run | None, tuple[Step, ...]],
    stored: TenantState | None,
    data: st.DataObject,
) -> None:
    run_, rows = history
    shuffled = data.draw(st.permutations(rows))
    assert stand(run_, shuffled, stored=stored) == stand(run_, rows, stored=stored)


@given(history=histories(), stored=st.sampled_from(WORDS))
def test_with_all_rows_there_the_stored_word_decides_nothing(
    history: tuple[Run | None, tuple[Step, ...]], stored: TenantState | None
) -> None:
    run_, rows = history
    standing = stand(run_, rows, stored=stored)
    if run_ is not None:
        assert standing == stand(run_, rows, stored=None)


@given(history=histories(), stored=st.sampled_from(WORDS))
def test_a_removal_is_under_way_done_cancelled_or_stopped_and_says_why(
    history: tuple[Run | None, tuple[Step, ...]], stored: TenantState | None
) -> None:
    """Promise 3 for the run that removes a tenant: never a shop, never silent."""
    run_, rows = history
    if run_ is None:
        return
    standing = stand(replace(run_, order=Order.DEPROVISION), rows, stored=stored)
    moves = run_.state in OPEN_RUN_STATES
    if run_.state is RunState.CANCELLED:
        assert standing.state is TenantState.CANCELLED
    elif moves or standing.state is not TenantState.DEPROVISIONED:
        assert standing.state is TenantState.DEPROVISIONING
    if standing.state is TenantState.DEPROVISIONED and not standing.record_lost:
        assert all(row.state in DONE_STEP_STATES for row in rows)
        assert (standing.current_step, standing.errors) == ("", ())
        assert standing.progress_percent == 100.0
    if standing.state is TenantState.DEPROVISIONING and not moves:
        assert standing.errors
        assert standing.current_step
        assert all(error.code and error.message for error in standing.errors)


@pytest.mark.parametrize("word", [RunState.FAILED, RunState.PARTIAL, RunState.REPLACED, None])
def test_a_removal_that_stopped_names_the_order_that_goes_on(word: RunState | None) -> None:
    rows = steps(DONE, {REQUIRED: PENDING})
    stopped = replace(run(word or RunState.FAILED), state=word, order=Order.DEPROVISION)
    standing = stand(stopped, rows)
    assert standing.state is TenantState.DEPROVISIONING
    assert [error.code for error in standing.errors] == [STEP_NOT_DONE]
    assert "same order" in standing.errors[0].message


@pytest.mark.parametrize(
    ("word", "rows", "state"),
    [
        (RunState.RUNNING, steps(DONE, {REQUIRED: PENDING}), TenantState.DEPROVISIONING),
        (RunState.CANCELLED, steps(DONE, {REQUIRED: PENDING}), TenantState.CANCELLED),
        (RunState.FAILED, steps(DONE, {OPTIONAL: PENDING}), TenantState.DEPROVISIONING),
        (RunState.COMPLETED, steps(DONE), TenantState.DEPROVISIONED),
        (RunState.COMPLETED, steps(SKIPPED), TenantState.DEPROVISIONED),
        # Rows are missing, so the run's word decides.
        (RunState.RUNNING, steps(DONE)[:3], TenantState.DEPROVISIONING),
        (RunState.CANCELLED, steps(DONE)[:3], TenantState.CANCELLED),
        (RunState.FAILED, steps(DONE)[:3], TenantState.DEPROVISIONING),
        (RunState.PARTIAL, steps(DONE)[:3], TenantState.DEPROVISIONING),
        (RunState.COMPLETED, steps(DONE)[:3], TenantState.DEPROVISIONED),
    ],
)
def test_a_removal_is_over_once_every_step_of_it_is_done(
    word: RunState, rows: tuple[Step, ...], state: TenantState
) -> None:
    standing = stand(replace(run(word), order=Order.DEPROVISION), rows)
    assert standing.state is state


def test_a_removal_whose_record_was_lost_names_the_order_that_goes_on() -> None:
    lost = stand(replace(run(RunState.FAILED), order=Order.DEPROVISION), steps(DONE)[:3])
    assert [error.code for error in lost.errors] == [STEP_RECORD_LOST]
    assert "same order given again" in lost.errors[0].message


def test_a_lost_record_all_of_whose_rows_are_done_stands_at_its_first_step() -> None:
    """Rows of an older spec: the run claims more steps than its blueprint has now."""
    standing = stand(run(RunState.FAILED, total_steps=12), steps(DONE))
    assert standing.record_lost
    assert standing.current_step == KINDS[0].key


def test_progress_is_told_to_a_tenth_of_a_percent() -> None:
    kinds = ERPNEXT.steps_for(DEMO)
    rows = tuple(
        step(position, kind, DONE if position == 0 else PENDING)
        for position, kind in enumerate(kinds)
    )
    standing = derive(
        stored=None,
        run=run(RunState.RUNNING, total_steps=11),
        steps=rows,
        step_types=kinds,
        at=AT,
    )
    assert standing.progress_percent == 9.1


def test_no_steps_at_all_close_as_completed_only_where_nothing_was_asked_for() -> None:
    assert closed_state(()) is TenantState.COMPLETED
