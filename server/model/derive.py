"""The state of a tenant: one pure function of its rows, used everywhere.

The copy stored for lists is computed by this function, in the transaction that changes the rows
(promise 2). So the stored and the derived state can't differ unless somebody changed rows by
hand; even then this function returns an answer, and says if the record was lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from server.model.made_often import made_often
from server.model.records import StepError
from server.model.states import (
    DONE_STEP_STATES,
    OPEN_RUN_STATES,
    Order,
    RunState,
    StepState,
    TenantState,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from server.model.blueprint import StepType
    from server.model.records import Run, Step

STEP_RECORD_LOST = "STEP_RECORD_LOST"
STEP_NOT_DONE = "STEP_NOT_DONE"

# A tenant that is stuck in one of these states has an error that says why (promise 3).
_OWES_A_REASON = frozenset({TenantState.PARTIAL, TenantState.FAILED, TenantState.DEPROVISIONING})

_POSITION = attrgetter("position")

# The current step is the first one in the state that ranks lowest: while the run moves, and
# once it has stopped.
_MOVES = {StepState.RUNNING: 0, StepState.PENDING: 1}
_STANDS = {StepState.FAILED: 0, StepState.RUNNING: 1, StepState.PENDING: 2}


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The derived state and progress of a tenant.

    Attributes:
        current_step: The step that is under way or next; if the tenant has stopped, the step
            to blame; "" when COMPLETED or DEPROVISIONED.
        steps_completed: How many steps of the last run are done; those skipped count.
        errors: Why it is not as it should be, in the order of the steps.
        record_lost: Whether step rows are missing that were once written.
    """

    state: TenantState
    current_step: str
    steps_completed: int
    total_steps: int
    errors: tuple[StepError, ...]
    record_lost: bool = False

    @property
    def progress_percent(self) -> float:
        """How much of this run is done, in percent of its steps."""
        if self.total_steps == 0:
            return 0.0
        return round(100.0 * self.steps_completed / self.total_steps, 1)


def derive(
    *,
    stored: TenantState | None,
    run: Run | None,
    steps: Sequence[Step],
    step_types: Sequence[StepType],
    at: datetime,
) -> Standing:
    """Compute the state and progress of a tenant.

    Args:
        stored: The tenant's stored state; it decides only if no run is left.
        run: The tenant's last run, or None.
        steps: The step rows of that run, in any order.
        step_types: The steps that a run for the tenant's spec has.
        at: When the row that was lost or changed was last written; used as the time of errors
            that have none of their own.

    Returns:
        The standing. PARTIAL and FAILED always have an error, and so does DEPROVISIONING if
        the run that removes the tenant has stopped.
    """
    if run is None and stored is TenantState.PENDING:
        return Standing(
            state=TenantState.PENDING,
            current_step=step_types[0].key,
            steps_completed=0,
            total_steps=len(step_types),
            errors=(),
        )
    ordered = sorted(steps, key=_POSITION)
    expected = run.total_steps if run is not None else len(step_types)
    if run is None or len(ordered) < max(expected, 1):
        return _lost(stored, run, ordered, step_types, at)
    state = _state_of(run, ordered)
    return _standing(state, ordered, at, moves=run.state in OPEN_RUN_STATES)


def closed_state(steps: Sequence[Step]) -> TenantState:
    """Return the state of a tenant whose run ended with these steps.

    Args:
        steps: All step rows of the run, in any order; those of a run that makes a tenant, and not
            of one that removes it.

    Returns:
        COMPLETED if all are done or skipped, FAILED if a required one is not, otherwise PARTIAL.
    """
    undone = [step for step in steps if step.state not in DONE_STEP_STATES]
    if not undone:
        return TenantState.COMPLETED
    if any(step.required for step in undone):
        return TenantState.FAILED
    return TenantState.PARTIAL


def _state_of(run: Run, steps: Sequence[Step]) -> TenantState:
    removes = run.order is Order.DEPROVISION
    if run.state in OPEN_RUN_STATES:
        return TenantState.DEPROVISIONING if removes else TenantState.IN_PROGRESS
    if run.state is RunState.CANCELLED:
        return TenantState.CANCELLED
    state = closed_state(steps)
    if not removes:
        return state
    # A half-removed tenant is neither usable nor gone: it keeps this state until the order is
    # given again.
    done = state is TenantState.COMPLETED
    return TenantState.DEPROVISIONED if done else TenantState.DEPROVISIONING


def _standing(state: TenantState, steps: Sequence[Step], at: datetime, *, moves: bool) -> Standing:
    ranks = _MOVES if moves else _STANDS
    current, least, undone = "", len(ranks) * 2, []
    for step in steps:
        if step.state in DONE_STEP_STATES:
            continue
        undone.append(step)
        # If several failed, a required one is what keeps the tenant from working.
        rank = ranks.get(step.state, len(ranks)) * 2 + (not step.required)
        if rank < least:
            current, least = step.key, rank
    return Standing(
        state=state,
        current_step=current,
        steps_completed=len(steps) - len(undone),
        total_steps=len(steps),
        errors=_errors(state, undone, at, moves=moves),
    )


def _errors(
    state: TenantState, undone: Sequence[Step], at: datetime, *, moves: bool
) -> tuple[StepError, ...]:
    errors = [
        StepError(
            step_key=step.key,
            code=step.error_code,
            message=step.error_message or "No message was recorded.",
            occurred_at=step.error_at or at,
        )
        for step in undone
        if step.error_code
    ]
    if errors or moves or state not in _OWES_A_REASON:
        return tuple(errors)
    return tuple(
        StepError(
            step_key=step.key,
            code=STEP_NOT_DONE,
            message=(
                "The run was closed although this step was not done, and no reason was recorded. "
                "The same order given again looks at the engine and does what is missing."
                if state is TenantState.DEPROVISIONING
                else "The run was closed although this step was not done, and no reason was "
                "recorded. Continue looks at the engine and does what is missing."
            ),
            occurred_at=at,
        )
        for step in undone
    )


def _lost(
    stored: TenantState | None,
    run: Run | None,
    steps: Sequence[Step],
    step_types: Sequence[StepType],
    at: datetime,
) -> Standing:
    written = {step.key for step in steps if step.state in DONE_STEP_STATES}
    # Rows of other steps (from damage, or an older spec) must not count beyond the total.
    done = {kind.key for kind in step_types if kind.key in written}
    undone = [kind.key for kind in step_types if kind.key not in done]
    error = StepError(
        step_key="",
        code=STEP_RECORD_LOST,
        message=(
            f"The record of this run holds {len(steps)} of {len(step_types)} steps: it was "
            f"damaged from outside. {_remedy_of_lost(run)}"
        ),
        occurred_at=at,
    )
    return Standing(
        state=_state_of_lost(stored, run),
        current_step=undone[0] if undone else step_types[0].key,
        steps_completed=len(done),
        total_steps=len(step_types),
        errors=(error,),
        record_lost=True,
    )


def _remedy_of_lost(run: Run | None) -> str:
    if run is not None and run.order is Order.DEPROVISION:
        return "The same order given again looks at the engine and removes what is left."
    return (
        "The documents at the engine probably exist. Continue looks there, takes over what is "
        "ours, and makes the rest; the reconciler does so by itself."
    )


def _state_of_lost(stored: TenantState | None, run: Run | None) -> TenantState:
    if run is not None:
        if run.state in OPEN_RUN_STATES:
            removes = run.order is Order.DEPROVISION
            return TenantState.DEPROVISIONING if removes else TenantState.IN_PROGRESS
        if run.state is RunState.CANCELLED:
            return TenantState.CANCELLED
        if run.order is Order.DEPROVISION:
            gone = run.state is RunState.COMPLETED
            return TenantState.DEPROVISIONED if gone else TenantState.DEPROVISIONING
        partial = run.state in {RunState.COMPLETED, RunState.PARTIAL}
        return TenantState.PARTIAL if partial else TenantState.FAILED
    if stored in {
        TenantState.CANCELLED,
        TenantState.DEPROVISIONING,
        TenantState.DEPROVISIONED,
    }:
        return stored
    partial = stored in {TenantState.COMPLETED, TenantState.PARTIAL}
    return TenantState.PARTIAL if partial else TenantState.FAILED
