"""What the database says about one tenant, as a pure value: all that `judge` sees."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from server.model.states import TenantState

if TYPE_CHECKING:
    from server.model.derive import Standing
    from server.model.identifiers import RunId, TenantId
    from server.model.states import ErrorClass, GateState, Order, RunState, WaitingCode

# The look_at of a tenant a person was called for; any later change of it clears it.
NEVER = datetime(9999, 12, 31, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStep:
    """A step that ended in an error.

    Attributes:
        error_class: None if none, or another word, was stored.
        last: Whether it only looks at what the others did: then it fails because they did.
        message: As it was recorded.
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
        state: None if the row holds another word.
        worker_alive: Whether the worker it points to has a living heartbeat.
        deadline_at: When the attempt under way must have ended, where that was looked up.
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
        stored: The stored state; None if the row holds another word.
        standing: What `derive` says.
        run: The last run; None if there is none, or none any more.
        run_lost: Whether the tenant names a run that is not there.
        look_at: `NEVER` where a person was called and nothing has changed since.
        stuck_since: When the tenant last changed.
        engine_configured: Whether this process knows the tenant's engine, and that is the site
            of the tenant.
        other_site: Why it is not, where the engine is known; else "".
        workers_alive: Whether any worker was seen alive: then a run that is queued
            waits its turn.
        hold_by: Who holds it; "" where nobody does, or it is not known.
        damage: Why its rows keep it from being moved (`server.model.damaged`); else "".
        mended_at: When another tenant that stood still at the same error came through, so
            that its cause is mended; None where none did.
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

    @property
    def stopped_at(self) -> datetime:
        """When its last run ended; where that is not known, when it last changed."""
        ended = None if self.run is None else self.run.finished_at
        return ended or self.stuck_since

    @property
    def operator_called(self) -> bool:
        """Whether a person was called and nothing has changed since."""
        return self.look_at is not None and self.look_at >= NEVER

    @property
    def state_differs(self) -> bool:
        """Whether the stored state is not what the rows say."""
        return self.stored is not self.standing.state

    @property
    def record_lost(self) -> bool:
        """Whether rows are missing that once were written."""
        if self.standing.record_lost:
            return True
        # derive() takes a tenant without a run at its word where that word is PENDING.
        began = self.run_lost or self.first_completed_at is not None
        return self.standing.state is TenantState.PENDING and began
