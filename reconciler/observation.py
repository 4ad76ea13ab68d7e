"""What the database says about one tenant, as a pure value: everything that `judge` sees."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from server.model.states import TenantState

if TYPE_CHECKING:
    from server.model.derive import Standing
    from server.model.identifiers import RunId, TenantId
    from server.model.states import ErrorClass, GateState, Order, RunState, WaitingCode

# The look_at of a tenant for which a person was called; any later change of the tenant clears it.
NEVER = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStep:
    """A step that ended in an error.

    Attributes:
        error_class: None if no class, or a word that is not one of ours, was stored.
        last: Whether the step only checks what the others did, so that it fails if they did.
        message: The message as it was recorded.
    """

    key: str
    error_class: ErrorClass | None
    code: str
    last: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """The tenant's last run.

    Attributes:
        state: None if the row holds a word that is not one of ours.
        actor: The name of who gave the order.
        finished_at: None while it is open.
        worker_alive: Whether the worker that it points to has a current heartbeat.
        waiting_code: None if it waits for nothing.
        waiting_until: None likewise, or if nobody knows.
        deadline_at: When the attempt under way must have ended, if that was looked up.
    """

    id: RunId
    state: RunState | None
    order: Order
    actor: str
    finished_at: datetime | None = None
    worker_alive: bool = False
    waiting_code: WaitingCode | None = None
    waiting_until: datetime | None = None
    deadline_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What the database says about one tenant.

    Attributes:
        stored: The stored state; None if the row holds a word that is not one of ours.
        standing: What `derive` returned.
        run: The last run; None if there is none, or no longer one.
        run_lost: Whether the tenant names a run that does not exist.
        failed: The steps that ended in an error, in their order.
        steps_expected: How many step rows there should be.
        look_at: `NEVER` if a person was called and nothing has changed since.
        heal_count: How often the reconciler has driven it on since its budget was restored.
        stuck_since: When the tenant last changed.
        engine_configured: Whether this process knows the tenant's engine, on the tenant's site.
        other_site: Why it is another site, if the engine is known; otherwise "".
        gate: UP if nobody has looked at the site yet.
        gate_since: Since when it has been so, by the clock of `observed_at`; None if not known.
        workers_alive: Whether any worker was seen alive that drives a run: then a queued run is
            only waiting for its turn.
        servers_alive: Whether any worker lives at all, if that was looked up because a gate is
            shut: then a run of that site waits for the site, and no worker is missed.
        observed_at: When it was read, by this host's clock, corrected by the database's.
        abbreviation: The Company's, from the steps' outputs; "" if none has it.
        hold_by: Who holds it; "" if nobody does, or if not known.
        damage: Why its rows keep it from being moved (`server.model.damaged`); otherwise "".
        database_back: When the database was last seen to come back, or this process went on after
            it had stood still; None if neither ever happened.
        mended_at: When another tenant got past the same error, which means that the cause was
            fixed; None if none has.
    """

    tenant_id: TenantId
    revision: int
    stored: TenantState | None
    standing: Standing
    run: LastRun | None
    run_lost: bool
    failed: tuple[FailedStep, ...]
    steps_found: int
    steps_expected: int
    held: bool
    look_at: datetime | None
    heal_count: int
    healed_at: datetime | None
    first_completed_at: datetime | None
    stuck_since: datetime
    engine_configured: bool
    gate: GateState
    gate_since: datetime | None
    workers_alive: bool
    servers_alive: bool
    lease_seconds: float
    observed_at: datetime
    company_name: str = ""
    abbreviation: str = ""
    hold_by: str = ""
    hold_reason: str = ""
    hold_since: datetime | None = None
    mended_at: datetime | None = None
    other_site: str = ""
    damage: str = ""
    database_back: datetime | None = None

    @property
    def stopped_at(self) -> datetime:
        """When its last run ended; if that is not known, when it last changed."""
        ended = None if self.run is None else self.run.finished_at
        return ended or self.stuck_since

    @property
    def operator_called(self) -> bool:
        """Whether a person was called and nothing has changed since."""
        return self.look_at is not None and self.look_at >= NEVER

    @property
    def state_differs(self) -> bool:
        """Whether the stored state is not the one that the rows say."""
        return self.stored is not self.standing.state

    @property
    def record_lost(self) -> bool:
        """Whether rows are missing that were once written."""
        if self.standing.record_lost:
            return True
        # For a tenant without a run, derive() believes the stored state if that is PENDING.
        began = self.run_lost or self.first_completed_at is not None
        return self.standing.state is TenantState.PENDING and began
