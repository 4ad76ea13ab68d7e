"""Which of many tenants with the same error are driven on, and when: pure decisions.

One goes first, the canary, and the others wait for it. If it comes through, they follow. If it
meets the same error, a person is told once, and after a growing pause the next one goes. A few
tenants with the same error are not a herd: each goes by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from server.model.budget import HEALING_PAUSES_SECONDS
from server.model.fingerprint import Failure, normalised
from server.model.naming import Names
from server.model.states import GateState, TenantState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from reconciler.observation import Observation
    from server.store.herd_row import Herd

# Two tenants with the same error may be a coincidence; with three, the fault is probably the
# engine's or ours, and driving all of them on at once would only repeat it.
HERD_FROM = 3

# A run takes a minute or two; with a slow Company and pauses, ten. A canary whose run hangs, or
# waits for an engine that is not the others', must not delay them for longer.
PATIENCE = timedelta(minutes=15)

_NO_WITNESS = frozenset(
    {TenantState.CANCELLED, TenantState.DEPROVISIONING, TenantState.DEPROVISIONED}
)


class Plan(Enum):
    """What a herd does in this sweep."""

    EACH_BY_ITSELF = auto()
    SEND_CANARY = auto()
    WAIT = auto()
    RELEASED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One tenant of a herd.

    Attributes:
        ready: Whether it may be driven on now, according to its own judgement.
        stopped_at: When its last run ended.
    """

    tenant_id: str
    revision: int
    heal_count: int
    stopped_at: datetime
    ready: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a herd does in this sweep, and why.

    Attributes:
        canary: The tenant to drive on, if one is sent.
        alert: Whether to tell a person that the canary met the same error again.
        not_before: When the next canary goes, if it has to wait for a pause.
        why: The reason, in plain words.
    """

    plan: Plan
    why: str
    canary: Member | None = None
    alert: bool = False
    not_before: datetime | None = None


class _Came(Enum):
    """How the canary fared."""

    NOT_SENT = auto()
    UNDER_WAY = auto()
    THROUGH = auto()
    AGAIN = auto()
    NO_WITNESS = auto()


_SETTLED = {
    _Came.THROUGH: Decision(plan=Plan.RELEASED, why="the canary came through"),
    _Came.UNDER_WAY: Decision(plan=Plan.WAIT, why="the canary is under way"),
}


def failure_of(seen: Observation) -> Failure | None:
    """Return what a tenant's stop has in common with others.

    Returns:
        None if it has not stopped, or a person ended it; damage to its record counts as a stop.
    """
    if seen.standing.state in _NO_WITNESS:
        return None
    if seen.record_lost:
        return Failure(step_key="", code="STEP_RECORD_LOST", message="")
    if seen.standing.state not in {TenantState.PARTIAL, TenantState.FAILED}:
        return None
    decisive = [step for step in seen.failed if not step.last] or list(seen.failed)
    if not decisive:
        return Failure(step_key=seen.standing.current_step, code="STEP_NOT_DONE", message="")
    first = decisive[0]
    return Failure(
        step_key=first.key,
        code=first.code,
        message=normalised(first.message, names=_own_names(seen)),
    )


def _own_names(seen: Observation) -> tuple[str, ...]:
    """Return a tenant's own names, which a message may contain."""
    company = seen.company_name
    if not seen.abbreviation:
        return (company,)
    names = Names(company=company, abbreviation=seen.abbreviation)
    return (
        company,
        names.pos_profile,
        names.price_list,
        names.customer,
        names.opening_entry(1),
    )


def decide(
    herd: Herd | None,
    canary: Observation | None,
    members: Sequence[Member],
    now: datetime,
    *,
    size: int | None = None,
    over: bool = False,
) -> Decision:
    """Decide what a herd does in this sweep.

    Args:
        herd: The stored herd, or None.
        canary: Its canary as it is now; None if there is none, or no longer one.
        members: Its tenants that are stuck now, in any order.
        now: The current time.
        size: How many tenants have met the error and are not settled, including those under
            way; if left out, the number of members.
        over: Whether all earlier members are settled. Tenants that are stuck now are then a
            new incident, even if only their record was damaged and no run has ended since.
    """
    size = len(members) if size is None else size
    ordered = sorted(members, key=lambda member: (member.heal_count, member.tenant_id))
    if herd is None or herd.canary_tenant_id is None or over:
        return _first(ordered, size, "many tenants stand still at one error")
    if herd.released_at is not None:
        # Those that stopped after the release met something new, or the same error once more.
        fresh = [member for member in ordered if member.stopped_at > herd.released_at]
        if len(fresh) >= HERD_FROM:
            return _first(
                fresh, len(fresh), "many tenants met the error again after the last release"
            )
        return _SETTLED[_Came.THROUGH]
    return _by_canary(herd, canary, ordered, size, now)


def is_through(herd: Herd, seen: Observation) -> bool:
    """Tell whether a tenant of a herd got past the herd's error.

    Args:
        herd: The herd, by its fingerprint.
        seen: The tenant as it is now: COMPLETED, or stopped at another error. One that is held, in
            motion, or ended by a person shows nothing, and one whose record is lost does not
            either.
    """
    if seen.held or seen.standing.state in _NO_WITNESS or seen.stored in _NO_WITNESS:
        return False
    failure = failure_of(seen)
    if failure is None:
        return seen.standing.state is TenantState.COMPLETED
    return not seen.record_lost and failure.fingerprint != herd.fingerprint


def _by_canary(
    herd: Herd,
    canary: Observation | None,
    ordered: Sequence[Member],
    size: int,
    now: datetime,
) -> Decision:
    came = _came(herd, canary)
    overdue = _is_overdue(herd, canary, now)
    if came is _Came.NOT_SENT:
        return _send_again(herd, _after_named(herd, ordered) if overdue else ordered)
    if came is _Came.UNDER_WAY and overdue:
        return _first(ordered, size, "the last one has been under way for too long")
    if came is _Came.NO_WITNESS:
        return _first(ordered, size, "the canary can't show anything any more; another one goes")
    if came is _Came.AGAIN:
        return _after_failure(herd, canary, ordered, now)
    return _SETTLED[came]


def _first(ordered: Sequence[Member], size: int, why: str) -> Decision:
    if size < HERD_FROM:
        return Decision(plan=Plan.EACH_BY_ITSELF, why="too few for a herd")
    ready = next((member for member in ordered if member.ready), None)
    if ready is None:
        return Decision(plan=Plan.WAIT, why="none of them may be driven on yet")
    return Decision(plan=Plan.SEND_CANARY, canary=ready, why=why)


def _is_overdue(herd: Herd, canary: Observation | None, now: datetime) -> bool:
    """Tell whether a canary has had all the time that the others may be kept waiting."""
    since = herd.ordered_at or herd.opened_at
    gate_since = None if canary is None else canary.gate_since
    if canary is not None and canary.gate is GateState.UP and gate_since is not None:
        # While its engine was down nobody could come through. A time in the future is wrong.
        since = max(since, min(gate_since, now))
    # If the clock was set back, do not wait for the old time to come round again.
    return since > now or now - since > PATIENCE


def _after_named(herd: Herd, ordered: Sequence[Member]) -> list[Member]:
    """Return the others in a ring, starting after the canary that no order moves.

    Starting at the first each time would be wrong: two tenants that can't be moved would only
    take turns.
    """
    named = herd.canary_tenant_id or ""
    ring = sorted(ordered, key=lambda member: member.tenant_id)
    behind = [member for member in ring if member.tenant_id > named]
    return behind + [member for member in ring if member.tenant_id < named]


def _send_again(herd: Herd, ordered: Sequence[Member]) -> Decision:
    """Send a canary that was named but whose order was never written: it is the same order."""
    ready = [member for member in ordered if member.ready]
    named = next((m for m in ready if m.tenant_id == herd.canary_tenant_id), None)
    chosen = named or next(iter(ready), None)
    if chosen is None:
        return Decision(plan=Plan.WAIT, why="none of them may be driven on yet")
    return Decision(plan=Plan.SEND_CANARY, canary=chosen, why="the canary was not sent yet")


def _after_failure(
    herd: Herd, canary: Observation | None, ordered: Sequence[Member], now: datetime
) -> Decision:
    alert = herd.alerted_at is None
    pause = HEALING_PAUSES_SECONDS[min(max(herd.tries, 0), len(HEALING_PAUSES_SECONDS) - 1)]
    since = herd.ordered_at or now
    if canary is not None:
        since = max(since, canary.stopped_at)
    # If the clock was set back, or the time is damaged, do not wait for it to come round again.
    due = now if since > now else since + timedelta(seconds=pause)
    ready = next((member for member in ordered if member.ready), None)
    if due > now or ready is None:
        return Decision(
            plan=Plan.WAIT,
            why="the canary met the same error again",
            alert=alert,
            not_before=due if due > now else None,
        )
    return Decision(
        plan=Plan.SEND_CANARY, canary=ready, why="the pause after the last one is over", alert=alert
    )


def _came(herd: Herd, canary: Observation | None) -> _Came:
    if canary is None or canary.held:
        return _Came.NO_WITNESS
    if not _NO_WITNESS.isdisjoint({canary.stored, canary.standing.state}):
        return _Came.NO_WITNESS
    if canary.revision == herd.canary_revision:
        return _Came.NOT_SENT
    failure = failure_of(canary)
    if failure is not None and failure.fingerprint == herd.fingerprint:
        return _Came.AGAIN
    if canary.record_lost:
        return _Came.NO_WITNESS  # the record that was lost would say how far it came
    goes_on = failure is None and canary.standing.state is not TenantState.COMPLETED
    return _Came.UNDER_WAY if goes_on else _Came.THROUGH
