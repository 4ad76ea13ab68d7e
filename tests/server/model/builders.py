"""Runs and steps for tests of the model, and strategies that generate them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from server.model.blueprint import ERPNEXT
from server.model.identifiers import RunId, TenantId
from server.model.records import Run, Step
from server.model.spec import TenantSpec
from server.model.states import ErrorClass, Order, RunState, StepState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.model.blueprint import StepType

AT = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
FAILED_AT = datetime(2026, 5, 4, 11, 59, tzinfo=UTC)
TENANT = TenantId("01900000-0000-7000-8000-000000000001")
RUN = RunId("01900000-0000-7000-8000-0000000000aa")
SPEC = TenantSpec(company_name="Kijani Stores", country_code="KE", currency="KES", engine_id="main")
DEMO = replace(SPEC, include_demo_data=True)
KINDS = ERPNEXT.steps_for(SPEC)
OPTIONAL = "step_9_pos_session"
REQUIRED = "step_4_warehouses"


def run(state: RunState | None, *, total_steps: int = len(KINDS)) -> Run:
    return Run(
        id=RUN,
        tenant_id=TENANT,
        order=Order.START,
        blueprint=ERPNEXT.name,
        blueprint_version=1,
        state=state,
        total_steps=total_steps,
        due_at=AT,
        worker_id=None,
        token=1,
        actor="local",
        reason="",
        previous_state="PENDING",
        waiting_for=None,
        created_at=AT,
        started_at=None,
        finished_at=None,
    )


def step(position: int, kind: StepType, state: StepState) -> Step:
    failed = state is StepState.FAILED
    return Step(
        run_id=RUN,
        key=kind.key,
        position=position,
        required=kind.required,
        state=state,
        error_code="ENGINE_REFUSED" if failed else None,
        error_class=ErrorClass.PERMANENT if failed else None,
        error_message="The engine refused it." if failed else None,
        error_at=FAILED_AT if failed else None,
    )


def steps(others: StepState, named: Mapping[str, StepState] | None = None) -> tuple[Step, ...]:
    """All steps of a run: those named in their state, the others in one."""
    given = named or {}
    return tuple(
        step(position, kind, given.get(kind.key, others)) for position, kind in enumerate(KINDS)
    )


@st.composite
def histories(draw: st.DrawFn) -> tuple[Run | None, tuple[Step, ...]]:
    """A run, or none, with any rows: too few, too many, of other keys, half written."""
    rows = [
        replace(
            step(position, kind, draw(st.sampled_from(StepState))),
            required=draw(st.booleans()),
            error_code=draw(st.sampled_from((None, "", "ENGINE_REFUSED"))),
            error_message=draw(st.sampled_from((None, "", "The engine refused it."))),
            error_at=draw(st.sampled_from((None, FAILED_AT))),
        )
        for position, kind in enumerate(ERPNEXT.steps)
    ]
    kept = draw(
        st.one_of(
            st.just([row for row in rows if row.key != "step_6_items"]),
            st.just(rows),
            st.lists(st.sampled_from(rows), unique_by=lambda row: row.key),
        )
    )
    total = draw(st.one_of(st.just(len(kept)), st.just(len(KINDS)), st.integers(-1, 30)))
    ordered = draw(
        st.one_of(st.none(), st.sampled_from(RunState).map(lambda s: run(s, total_steps=total)))
    )
    if ordered is not None and draw(st.integers(0, 9)) == 0:
        ordered = replace(ordered, state=None)
    return ordered, tuple(draw(st.permutations(kept)))
