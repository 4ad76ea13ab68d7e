"""A tenant that has stopped, as the judge is shown it; for its page and for its tests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from reconciler.observation import FailedStep, LastRun, Observation
from server.model.derive import Standing
from server.model.identifiers import RunId, TenantId
from server.model.states import ErrorClass, GateState, Order, RunState, TenantState

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=1)
# States in which a person ended a tenant, or is ending it.
ENDED = frozenset({TenantState.CANCELLED, TenantState.DEPROVISIONING, TenantState.DEPROVISIONED})


def standing(state: TenantState, *, lost: bool = False, done: int = 4) -> Standing:
    """Return where a tenant stands by its rows.

    Args:
        state: Its state.
        lost: Whether its step record was lost.
        done: How many of its ten steps are done.
    """
    return Standing(
        state=state,
        current_step="" if state is TenantState.COMPLETED else "step_4_warehouses",
        steps_completed=done,
        total_steps=10,
        errors=(),
        record_lost=lost,
    )


RUN = LastRun(id=RunId("r1"), state=RunState.FAILED, order=Order.START, actor="local")

# FAILED an hour ago, at an error that may pass.
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
    servers_alive=False,
    lease_seconds=10.0,
    observed_at=NOW,
)
