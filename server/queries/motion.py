"""Whether an open run moves, and what it waits for if not: a function of its rows and the time.

GetStatus and ListTenants both answer with it. An open run moves, waits for something that is named,
is STALLED, or is damaged so that nobody will take it up.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING

from server.model.calendar import moved
from server.model.damaged import ROW_DAMAGED, why_damaged
from server.model.records import StepError, WaitingFor
from server.model.states import OPEN_RUN_STATES, GateState, RunState, WaitingCode

if TYPE_CHECKING:
    from datetime import datetime

    from server.model.records import Run, Tenant
    from server.store.found import Gate, Live

STALLED = "STALLED"

# Promise 3: within three lease times the run of a lost worker is taken over.
_LEASES_UNTIL_STALLED = 3

_GATE_CODES = {
    GateState.DOWN: WaitingCode.ENGINE_DOWN,
    GateState.MISCONFIGURED: WaitingCode.ENGINE_MISCONFIGURED,
}
# Waits that end only if some server has the tenant's engine.
_FOR_A_SERVER = frozenset({WaitingCode.WORKER, *_GATE_CODES.values()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Motion:
    """How a tenant's run goes on.

    Attributes:
        waiting_for: What the open run waits for; None if it moves, or there is none.
        errors: Why it stands still although nothing is waited for; () if it does not.
    """

    waiting_for: WaitingFor | None
    errors: tuple[StepError, ...]

    @property
    def stalled(self) -> bool:
        """Whether nobody drives a run that somebody should drive."""
        return any(error.code == STALLED for error in self.errors)

    @property
    def damaged(self) -> bool:
        """Whether its rows are damaged so that nobody can drive it."""
        return any(error.code == ROW_DAMAGED for error in self.errors)


def motion_of(
    live: Live, now: datetime, lease_seconds: float, *, step_key: str, not_here: str = ""
) -> Motion:
    """Return how a tenant's run goes on.

    Args:
        live: The tenant, its run, and the state of what moves it: worker, gate. No steps needed.
        now: The current time.
        lease_seconds: A worker's lease time; after three of them without motion or a known
            wait, an open run is STALLED.
        step_key: The step to name if it is STALLED.
        not_here: Why no worker of this server reaches the tenant, and what to do; "" if one does.
    """
    damage = why_damaged(live.record, driven=_worker_lives(live, now))
    if damage:
        # There is nothing to wait for: neither a worker nor an order will come.
        return Motion(waiting_for=None, errors=(_damaged(live.record.tenant, damage),))
    waiting_for = _with_why(_waiting_for(live, now), not_here)
    stalled = _stalled(live, waiting_for, step_key, now, lease_seconds)
    return Motion(waiting_for=waiting_for, errors=() if stalled is None else (stalled,))


def turns_at(live: Live, now: datetime, lease_seconds: float) -> datetime | None:
    """Return when `motion_of` may next say something else although no row has changed.

    Args:
        live: As for `motion_of`.
        now: As for `motion_of`.
        lease_seconds: As for `motion_of`.

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


def _damaged(tenant: Tenant, why: str) -> StepError:
    return StepError(step_key="", code=ROW_DAMAGED, message=why, occurred_at=tenant.updated_at)


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


def _clock(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
