"""The status of a tenant, in the words its callers get: one pure function of its rows.

`derive` says how far the run has got; this adds what else a caller must know: whether the run
moves, what it is waiting for, what holds the tenant, and what to do next. Promise 3 is kept
here: a tenant that is stuck has an error with code, message and time, and one that is in motion
moves, or says what it is waiting for, or is STALLED.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from server.model.calendar import moved
from server.model.causes import LOOK_FIRST
from server.model.damaged import ROW_DAMAGED, why_damaged
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
from server.model.states import (
    OPEN_RUN_STATES,
    GateState,
    RunState,
    TenantState,
    WaitingCode,
)
from server.model.undo import UndoOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from server.model.blueprint import StepType
    from server.model.derive import Standing
    from server.model.records import Hold, Run, Step, Tenant
    from server.store.found import Gate, Live

HELD = "HELD"
STALLED = "STALLED"
ENGINE_NOT_CONFIGURED = "ENGINE_NOT_CONFIGURED"

# Promise 3: within three lease times the run of a lost worker is taken over.
_LEASES_UNTIL_STALLED = 3

_GONE = frozenset({TenantState.DEPROVISIONING, TenantState.DEPROVISIONED})
_GATE_CODES = {
    GateState.DOWN: WaitingCode.ENGINE_DOWN,
    GateState.MISCONFIGURED: WaitingCode.ENGINE_MISCONFIGURED,
}
# Waits that end only if some server has the tenant's engine.
_FOR_A_SERVER = frozenset({WaitingCode.WORKER, *_GATE_CODES.values()})


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
        next_command: The command an operator would give next; "" if there is nothing to do.
        eta: When the run will probably be done; None if not known.
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
    """Return the status of a tenant.

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
    waiting_for = _with_why(_waiting_for(live, now), not_here)
    stalled = _stalled(live, waiting_for, standing.current_step, now, lease_seconds)
    damage = why_damaged(record, driven=_worker_lives(live, now))
    if damage:
        # There is nothing to wait for: neither a worker nor an order will come.
        waiting_for = stalled = None
    waits_for_an_order = _waits_for_an_order(tenant, standing.state, moves=moves)
    errors = list(standing.errors)
    if damage:
        errors.append(_damaged(tenant, damage))
    if stalled is not None:
        errors.append(stalled)
    if not errors:
        errors.extend(_why_at_rest(tenant, standing.state, moves=moves))
    if not_here and waits_for_an_order:
        errors.append(_not_here(tenant, not_here))
    # Any order would be refused: the engines file has to be corrected first, which no command
    # does.
    look_first = waits_for_an_order or stalled is not None or (moves and standing.record_lost)
    return Status(
        tenant=tenant,
        run=run,
        steps=tuple(sorted(record.steps, key=lambda step: step.position)),
        titles={step.key: step.title for step in step_types},
        standing=standing,
        errors=tuple(errors),
        waiting_for=waiting_for,
        hold=tenant.hold,
        next_command=_diagnose(tenant)
        if damage or (not_here and look_first)
        else _next_command(
            tenant, standing, live.gate, run, moves=moves, stalled=stalled is not None
        ),
        eta=None,
        started_at=None if run is None else run.started_at,
        completed_at=None if run is None else run.finished_at,
    )


def _why_at_rest(tenant: Tenant, state: TenantState, *, moves: bool) -> tuple[StepError, ...]:
    """Say what keeps a tenant without errors where it is."""
    if tenant.hold is not None:
        return (_held(tenant, tenant.hold, state, moves=moves),)
    return (_elsewhere(tenant),) if is_elsewhere(tenant) else ()


def turns_at(live: Live, now: datetime, lease_seconds: float) -> datetime | None:
    """Return when `status_of` may next say something else although no row has changed.

    Returns:
        That time, or None if time alone changes nothing.
    """
    run = live.record.run
    if run is None or run.state not in OPEN_RUN_STATES:
        return None
    patience = timedelta(seconds=lease_seconds * _LEASES_UNTIL_STALLED)
    signs = [live.record.tenant.updated_at]
    times = [run.due_at]
    if live.gate is not None and (paused := live.gate.paused(now)) is not None:
        times.append(paused)
    if run.waiting_for is not None and run.waiting_for.until is not None:
        times.append(run.waiting_for.until)
    if live.deadline_at is not None:
        signs.append(live.deadline_at)
        times.append(live.deadline_at)
    if live.worker is not None:
        # Where leases go by the database's clock, its times do, too.
        worker, ahead = live.worker, now - (live.worker.read_at or now)
        lease = timedelta(seconds=worker.lease_seconds)
        signs.append(worker.last_sign(now))
        beat = moved(worker.heartbeat_at, ahead)
        times += [moved(beat, lease), moved(beat, -lease)]
    times += [moved(sign, patience) for sign in signs]
    return min((time for time in times if time > now), default=None)


def _waiting_for(live: Live, now: datetime) -> WaitingFor | None:
    run = live.record.run
    if run is None or run.state not in OPEN_RUN_STATES:
        return None
    wait = _wait_of(live, run, now)
    if run.cancellation is None or (wait is None and not _worker_lives(live, now)):
        return wait  # there is no worker that could stop it: that is what must be shown
    return WaitingFor(
        code=WaitingCode.CANCELLING,
        message=(
            f"{run.cancellation.by} ordered to cancel. The run is closed once the outcome of every "
            "request is known." + (f" {wait.message}" if wait is not None else "")
        ),
        until=None if wait is None else wait.until,
    )


def _wait_of(live: Live, run: Run, now: datetime) -> WaitingFor | None:
    gate = live.gate
    if gate is not None and gate.state in _GATE_CODES:
        # Whatever else the run is waiting for, nothing continues before the site does.
        return WaitingFor(
            code=_GATE_CODES[gate.state], message=gate.message, until=gate.next_probe_at
        )
    if run.state is RunState.RUNNING:
        # The worker waits within its attempt: if it is gone, nothing is waiting.
        return run.waiting_for if _worker_lives(live, now) else None
    if run.state is RunState.QUEUED:
        return _for_its_turn(gate, run.due_at, now)
    return _own_wait(gate, run, now)


def _own_wait(gate: Gate | None, run: Run, now: datetime) -> WaitingFor:
    until = run.due_at if run.waiting_for is None else run.waiting_for.until
    if until is not None and until <= now:
        return _for_its_turn(gate, until, now)
    if run.waiting_for is not None:
        return run.waiting_for
    return WaitingFor(code=WaitingCode.RETRY, message="Waiting for its next try.", until=until)


def _with_why(waiting_for: WaitingFor | None, not_here: str) -> WaitingFor | None:
    """Add to a wait for a worker or an engine why this server has neither.

    The gate of a site that no server knows any more stays as it was last seen.
    """
    if waiting_for is None or waiting_for.code not in _FOR_A_SERVER or not not_here:
        return waiting_for
    return replace(waiting_for, message=f"{waiting_for.message} {not_here}")


def _for_its_turn(gate: Gate | None, since: datetime, now: datetime) -> WaitingFor:
    """Say what a run waits for that any worker may take."""
    paused = None if gate is None else gate.paused(now)
    if paused is not None:
        return WaitingFor(
            code=WaitingCode.SITE_PAUSED,
            message="The site asked all its tenants to leave it alone for a while.",
            until=paused,
        )
    return WaitingFor(
        code=WaitingCode.WORKER,
        message=f"Waiting for a free worker since {_clock(since)}.",
        until=None,
    )


def _stalled(
    live: Live, waiting_for: WaitingFor | None, step_key: str, now: datetime, lease_seconds: float
) -> StepError | None:
    """Return the error of an open run that neither moves nor waits, or None."""
    run = live.record.run
    if run is None or run.state is not RunState.RUNNING or waiting_for is not None:
        return None
    alive = _worker_lives(live, now)
    if alive and live.deadline_at is not None and now < live.deadline_at:
        return None
    patience = timedelta(seconds=lease_seconds * _LEASES_UNTIL_STALLED)
    since = _last_sign_of_life(live, now, patience, alive=alive)
    if since is None:
        # As far as possible the same at each look, so that nobody is notified again.
        since = min(run.created_at, now - patience)
    if now - since < patience:
        return None
    if alive:
        what = "its attempt is past its deadline and its worker does not report progress"
    else:
        what = "the worker that drove it gives no sign of life and no other has taken over"
    return StepError(
        step_key=step_key,
        code=STALLED,
        message=(
            f"The run has not moved since {_clock(since)}: {what}. It goes on by itself once there "
            "is a worker: check that a server runs and reaches the database, or restart it."
        ),
        occurred_at=since,
    )


def _worker_lives(live: Live, now: datetime) -> bool:
    return live.worker is not None and live.worker.is_alive(now)


def _last_sign_of_life(
    live: Live, now: datetime, patience: timedelta, *, alive: bool
) -> datetime | None:
    """Return when the run last moved; None if no row has a plausible time."""
    signs = [live.record.tenant.updated_at]
    if alive and live.deadline_at is not None:
        signs.append(live.deadline_at)
    elif not alive and live.worker is not None:
        signs.append(live.worker.last_sign(now))
    # A sign that lies further in the future than our patience does not count: the clock was set
    # back since, or the row is damaged, and the run would be stuck without an error until then.
    return max((sign for sign in signs if sign - now <= patience), default=None)


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


def _damaged(tenant: Tenant, why: str) -> StepError:
    return StepError(step_key="", code=ROW_DAMAGED, message=why, occurred_at=tenant.updated_at)


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


def _clock(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
