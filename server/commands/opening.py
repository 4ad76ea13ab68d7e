"""Opening a run: the run with all its step rows, pure values ready to be written together.

No code path makes a run without its steps or steps without their run (promise 1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.model.blueprint import UNDO_BLUEPRINTS, blueprint_of
from server.model.derive import derive
from server.model.identifiers import RunId, TenantId, new_id
from server.model.records import Run, Step, reason_told
from server.model.states import (
    OPEN_RUN_STATES,
    LogLevel,
    Order,
    RunState,
    StepState,
    TenantState,
)
from server.store.operations import LogDraft, RunRow, TenantOperation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from server.model.actor import Actor
    from server.model.blueprint import Blueprint, StepType
    from server.model.derive import Standing
    from server.model.records import Record
    from server.model.spec import TenantSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineEntry:
    """What orders need to know about a configured engine."""

    site: str
    blueprint: Blueprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A run and all its steps."""

    run: Run
    steps: tuple[Step, ...]

    def standing(self, step_types: tuple[StepType, ...], at: datetime) -> Standing:
        """Return the derived state of a tenant whose last run this is."""
        return derive(stored=None, run=self.run, steps=self.steps, step_types=step_types, at=at)


def carried_steps(
    record: Record, blueprint: Blueprint, order: Order, step_key: str
) -> dict[str, Step]:
    """Return the steps that an earlier run did and that this one need not probe.

    Args:
        record: The tenant with its last run's steps.
        blueprint: The steps of today; one it no longer has is not carried over.
        order: A REBUILD, and a RETRY of everything, carry nothing over.
        step_key: The step to do again, with those that need it; "" for none.
    """
    if order is Order.REBUILD or (order is Order.RETRY and not step_key):
        return {}
    again = blueprint.and_those_that_need({step_key}) if step_key else frozenset()
    done: dict[str, Step] = {}
    for step in record.steps:
        kind = blueprint.step(step.key)
        if kind is None or kind.always or step.key in again:
            continue
        # A step that a person left out stays out until somebody retries it.
        if step.state is StepState.COMPLETED or step.left_out_by_person:
            done[step.key] = step
    return done


def open_run(
    *,
    tenant_id: TenantId,
    order: Order,
    entry: EngineEntry,
    spec: TenantSpec,
    carried: Mapping[str, Step],
    actor: Actor,
    reason: str,
    previous_state: str,
    now: datetime,
    options: Mapping[str, str] | None = None,
) -> Opened:
    """Make a run with a row for each step; nothing is written yet.

    Args:
        tenant_id: Whose run it is.
        order: What was ordered; DEPROVISION takes the steps that undo the blueprint's.
        entry: The engine, with its blueprint.
        spec: Decides which of the blueprint's steps there are.
        carried: The steps that are done already, by key (`carried_steps`).
        actor: Who ordered it.
        reason: Why, in the words of who ordered it; may be empty.
        previous_state: The tenant's state before it, so that COMPLETED or PARTIAL is not lost.
        now: When it was ordered; the run is due at once.
        options: What the order allows besides, such as deleting transactions.
    """
    run_id = RunId(new_id(now))
    blueprint = entry.blueprint
    if order is Order.DEPROVISION:
        blueprint = UNDO_BLUEPRINTS[blueprint.name]
    kinds = blueprint.steps_for(spec)
    steps = [
        _step_row(run_id, position, kind, carried.get(kind.key))
        for position, kind in enumerate(kinds)
    ]
    run = Run(
        id=run_id,
        tenant_id=tenant_id,
        order=order,
        blueprint=blueprint.name,
        blueprint_version=blueprint.version,
        state=RunState.QUEUED,
        total_steps=len(kinds),
        due_at=now,
        worker_id=None,
        token=0,
        actor=actor.name,
        reason=reason,
        previous_state=previous_state,
        waiting_for=None,
        created_at=now,
        started_at=None,
        finished_at=None,
        options=dict(options or {}),
    )
    return Opened(run=run, steps=tuple(steps))


def run_in_place_of_last(
    record: Record,
    *,
    order: Order,
    entry: EngineEntry,
    actor: Actor,
    reason: str,
    now: datetime,
    carried: Mapping[str, Step] | None = None,
    options: Mapping[str, str] | None = None,
) -> TenantOperation:
    """Return what opens another run of a tenant, and closes the last one if it is still open.

    Each order adds what is its own; the arguments are those of `open_run`.

    Returns:
        The operation; its last run is the one that it opens.
    """
    tenant = record.tenant
    opened = open_run(
        tenant_id=tenant.id,
        order=order,
        entry=entry,
        spec=tenant.spec,
        carried=carried or {},
        actor=actor,
        reason=reason,
        previous_state=_previous_state(record),
        now=now,
        options=options,
    )
    step_types = blueprint_of(opened.run, entry.blueprint).steps_for(tenant.spec)
    return TenantOperation(
        tenant_id=tenant.id,
        at=now,
        revision=tenant.revision,
        raise_token=True,
        standing=opened.standing(step_types, now),
        run_id=opened.run.id,
        runs=(*_closed_runs(record, now), RunRow(run=opened.run, site=tenant.site)),
        steps=opened.steps,
        log=(_opened_entry(opened, actor, reason),),
    )


def started_entry(
    opened: Opened, spec: TenantSpec, actor: Actor, facts: Mapping[str, str] | None = None
) -> LogDraft:
    """Return the first entry of a tenant's log."""
    return LogDraft(
        level=LogLevel.INFO,
        event="run.opened",
        run_id=opened.run.id,
        message=(
            f"Provisioning of {spec.company_name!r} was ordered by {actor.name}: "
            f"{len(opened.steps)} steps on engine {spec.engine_id}."
        ),
        fields={"order": Order.START.value, "actor": actor.name, **(facts or {})},
    )


def _previous_state(record: Record) -> str:
    """Return the better of what tenant and run say: PARTIAL must not be lost with the record."""
    states = {record.tenant.state, record.run.state if record.run else None}
    for word in (TenantState.COMPLETED, TenantState.PARTIAL):
        if word in states or word.value in {state.value for state in states if state}:
            return word.value
    return record.tenant.state.value if record.tenant.state else ""


def _closed_runs(record: Record, now: datetime) -> tuple[RunRow, ...]:
    run = record.run
    if run is None or run.state not in OPEN_RUN_STATES:
        return ()
    closed = replace(run, state=RunState.REPLACED, waiting_for=None, finished_at=now)
    return (RunRow(run=closed, site=record.tenant.site),)


def _opened_entry(opened: Opened, actor: Actor, reason: str) -> LogDraft:
    """Return the log entry that says what was ordered, by whom, and how much is to be done."""
    order = opened.run.order
    left = sum(step.state is StepState.PENDING for step in opened.steps)
    said = {
        Order.CONTINUE: f"{actor.name} ordered to continue: {left} steps are to be done.",
        Order.RETRY: f"{actor.name} ordered to look again at {left} steps.",
        Order.REBUILD: (
            f"The step record of this tenant was lost. {actor.name} ordered to rebuild it: "
            f"{left} steps are probed at the engine; what is there and ours is taken over."
        ),
        Order.DEPROVISION: (
            f"{actor.name} ordered to remove what was made for this tenant: {left} steps."
        ),
    }.get(order, f"{actor.name} opened a run of {left} steps.")
    return LogDraft(
        level=LogLevel.WARNING if order in {Order.REBUILD, Order.DEPROVISION} else LogLevel.INFO,
        event="run.opened",
        run_id=opened.run.id,
        message=f"{said}{reason_told(reason)}",
        fields={"order": order.value, "actor": actor.name},
    )


def _step_row(run_id: RunId, position: int, kind: StepType, before: Step | None) -> Step:
    fresh = Step(
        run_id=run_id,
        key=kind.key,
        position=position,
        required=kind.required,
        state=StepState.PENDING,
    )
    if before is None:
        return fresh
    return replace(
        fresh,
        state=before.state,
        adopted=before.adopted,
        carried_from=before.carried_from or before.run_id,
        started_at=before.started_at,
        completed_at=before.completed_at,
        outputs=before.outputs,
        note=before.note,
    )
