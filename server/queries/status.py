"""The status of a tenant, in the words its callers get: one pure function of its rows.

`derive` says how far the run has got; this adds what else a caller must know: whether the run
moves, what it is waiting for, what holds the tenant, and what to do next. Promise 3 is kept
here: a tenant that is stuck has an error with code, message and time, and one that is in motion
moves, or says what it is waiting for, or is STALLED.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.model.causes import LOOK_FIRST
from server.model.derive import derive
from server.model.elsewhere import (
    ENGINE_ELSEWHERE,
    is_elsewhere,
    start_here,
    why_nothing_moves,
)
from server.model.legacy import lost_its_company, waits_for_adoption
from server.model.records import StepError, WaitingFor
from server.model.site_identity import OPENED_BY_ACCEPTING
from server.model.states import OPEN_RUN_STATES, GateState, TenantState
from server.model.undo import UndoOptions
from server.queries.motion import motion_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from server.model.blueprint import StepType
    from server.model.derive import Standing
    from server.model.records import Hold, Run, Step, Tenant
    from server.store.found import Gate, Live

HELD = "HELD"
ENGINE_NOT_CONFIGURED = "ENGINE_NOT_CONFIGURED"

_GONE = frozenset({TenantState.DEPROVISIONING, TenantState.DEPROVISIONED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Everything a caller needs to know about the state of a tenant.

    Attributes:
        run: The last run, or None.
        steps: The run's steps in order; of a damaged record, those that are left.
        titles: Names for people, by step key.
        standing: What `derive` returned.
        errors: The errors of the standing, and why the tenant is held or stalled.
        waiting_for: What an open run is waiting for; None if it moves or is closed.
        hold: None if anybody's order, and the reconciler, may move it.
        next_command: The command an operator would give next; "" if there is nothing to do.
        eta: When the run will probably be done; None if not known.
        started_at: When a worker took the last run up; None before that.
        completed_at: When the last run ended, however it did; None while it is open.
    """

    tenant: Tenant
    run: Run | None
    steps: tuple[Step, ...]
    titles: Mapping[str, str]
    standing: Standing
    errors: tuple[StepError, ...]
    waiting_for: WaitingFor | None
    hold: Hold | None
    next_command: str
    eta: datetime | None
    started_at: datetime | None
    completed_at: datetime | None


def status_of(
    live: Live,
    step_types: Sequence[StepType],
    now: datetime,
    lease_seconds: float,
    *,
    not_here: str = "",
) -> Status:
    """Return the status of a tenant, without an estimate (`eta` is None).

    Args:
        live: Its record, and the state of what moves it: worker, gate.
        step_types: The steps that a run for the tenant's spec has.
        now: The current time.
        lease_seconds: A worker's lease time; after three of them without motion or a known
            wait, an open run is STALLED.
        not_here: Why no order given here reaches the tenant, and what to do; "" if one does.
    """
    record = live.record
    tenant, run = record.tenant, record.run
    standing = derive(
        stored=tenant.state,
        run=run,
        steps=record.steps,
        step_types=step_types,
        at=tenant.updated_at,
    )
    if is_elsewhere(tenant):
        not_here = ""
    moves = run is not None and run.state in OPEN_RUN_STATES
    motion = motion_of(live, now, lease_seconds, step_key=standing.current_step, not_here=not_here)
    waits_for_an_order = _waits_for_an_order(tenant, standing.state, moves=moves)
    errors = [*standing.errors, *motion.errors]
    if not errors:
        errors.extend(_why_at_rest(tenant, standing.state, moves=moves))
    if not_here and waits_for_an_order:
        errors.append(_not_here(tenant, not_here))
    # Any order would be refused: the engines file has to be corrected first, which no command
    # does.
    look_first = waits_for_an_order or motion.stalled or (moves and standing.record_lost)
    return Status(
        tenant=tenant,
        run=run,
        steps=tuple(sorted(record.steps, key=lambda step: step.position)),
        titles={step.key: step.title for step in step_types},
        standing=standing,
        errors=tuple(errors),
        waiting_for=motion.waiting_for,
        hold=tenant.hold,
        next_command=_diagnose(tenant)
        if motion.damaged or (not_here and look_first)
        else _next_command(tenant, standing, live.gate, run, moves=moves, stalled=motion.stalled),
        eta=None,
        started_at=None if run is None else run.started_at,
        completed_at=None if run is None else run.finished_at,
    )


def _why_at_rest(tenant: Tenant, state: TenantState, *, moves: bool) -> tuple[StepError, ...]:
    """Say what keeps a tenant without errors where it is."""
    if tenant.hold is not None:
        return (_held(tenant, tenant.hold, state, moves=moves),)
    return (_elsewhere(tenant),) if is_elsewhere(tenant) else ()


def _held(tenant: Tenant, hold: Hold, state: TenantState, *, moves: bool) -> StepError:
    if moves:
        remedy = "The run under way goes on; after that only a person may move the tenant."
    elif state is TenantState.DEPROVISIONED:
        remedy = f"What was made for it is removed. To lift the hold: {_release(tenant)}"
    elif state is TenantState.DEPROVISIONING:
        remedy = f"Only a person may go on with its removal: provisioner deprovision {tenant.id}"
    else:
        remedy = f"Only a person may move it: {_move(tenant)}"
    return StepError(
        step_key="",
        code=HELD,
        message=f"Held by {hold.by}: {hold.reason.rstrip('. ')}. {remedy}",
        occurred_at=hold.since,
    )


def _elsewhere(tenant: Tenant) -> StepError:
    return StepError(
        step_key="",
        code=ENGINE_ELSEWHERE,
        message=f"{why_nothing_moves(tenant)}: {start_here(tenant)}",
        occurred_at=tenant.created_at,
    )


def _waits_for_an_order(tenant: Tenant, state: TenantState, *, moves: bool) -> bool:
    """Tell whether only an order moves a tenant; another server may drive one in motion."""
    if moves:
        return False
    if state is TenantState.DEPROVISIONED:
        return False  # a hold is lifted without its engine
    return state is not TenantState.COMPLETED or tenant.hold is not None


def _not_here(tenant: Tenant, why: str) -> StepError:
    return StepError(
        step_key="", code=ENGINE_NOT_CONFIGURED, message=why, occurred_at=tenant.updated_at
    )


def _next_command(
    tenant: Tenant,
    standing: Standing,
    gate: Gate | None,
    run: Run | None,
    *,
    moves: bool,
    stalled: bool,
) -> str:
    if is_elsewhere(tenant):
        return start_here(tenant)
    if standing.state is TenantState.DEPROVISIONING and not moves:
        given = UndoOptions.read({} if run is None else run.options)
        wanted = given.after({error.code for error in standing.errors})
        return f"provisioner deprovision {tenant.id}{wanted.flags}"
    look_on = f"provisioner status {tenant.id} --watch" if stalled else ""
    if standing.state is TenantState.DEPROVISIONED and tenant.hold is not None:
        # Continue is refused, and the hold would stay on the lists of what waits for a person.
        return _release(tenant)
    if standing.state in _GONE:
        return look_on
    if standing.state is TenantState.COMPLETED:
        return "" if tenant.hold is None else f"provisioner continue {tenant.id}"
    if standing.state is TenantState.IN_PROGRESS and not standing.record_lost:
        # A run in motion refuses orders; a stalled one is taken over by the next worker.
        order = look_on
    elif tenant.spec_damage or any(error.code in LOOK_FIRST for error in standing.errors):
        order = _diagnose(tenant)
    else:
        order = _move(tenant)
    # Any order would wait until somebody says whether this is the right site.
    return order if not _is_in_question(gate) else _accept_site(tenant)


def _diagnose(tenant: Tenant) -> str:
    return f"provisioner diagnose {tenant.id}"


def _move(tenant: Tenant) -> str:
    if lost_its_company(tenant.hold):
        return _diagnose(tenant)
    order = "adopt" if waits_for_adoption(tenant.hold) else "continue"
    return f"provisioner {order} {tenant.id}"


def _release(tenant: Tenant) -> str:
    return f"provisioner release {tenant.id}"


def _accept_site(tenant: Tenant) -> str:
    return f"provisioner accept-site {shlex.quote(tenant.spec.engine_id)}"


def _is_in_question(gate: Gate | None) -> bool:
    return gate is not None and gate.state is not GateState.UP and gate.code in OPENED_BY_ACCEPTING
