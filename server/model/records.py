"""What is stored about tenants, as values: the store takes and gives these, never rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from server.model.calendar import moved
from server.model.made_often import made_often
from server.model.states import StepState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from server.model.identifiers import AttemptId, RunId, TenantId, WorkerId
    from server.model.spec import TenantSpec
    from server.model.states import (
        AttemptOutcome,
        ErrorClass,
        LogLevel,
        Order,
        RunState,
        TenantState,
        WaitingCode,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepError:
    """One reason why a tenant does not stand as it should."""

    step_key: str
    code: str
    message: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingFor:
    """What an open run waits for, and until when (None: not known)."""

    code: WaitingCode
    message: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A mark that only a person may move the tenant."""

    reason: str
    by: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """A person's order to stop an open run, until it is carried out."""

    by: str
    reason: str
    at: datetime


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One tenant.

    Attributes:
        state: The derived state as stored for lists; None if the row holds another word.
        run_id: The last run, or None.
        fencing_token: Grows at every claim and every new run; never put back.
        log_seq: Cursor of the last log entry.
        revision: Grows at every change.
        look_at: When a sweep shall look next; None: at once.
        heal_count: Re-drives by the reconciler since a person's order or COMPLETED.
        healed_at: When the reconciler last re-drove it.
        first_completed_at: When it was first COMPLETED; cleared only where a tenant that was
            DEPROVISIONED is started anew.
        spec_damage: Names of the spec's fields that could not be read from its row; `spec`
            has defaults there, and nothing may be made by it.
    """

    id: TenantId
    spec: TenantSpec
    site: str
    state: TenantState | None
    run_id: RunId | None
    fencing_token: int
    log_seq: int
    revision: int
    hold: Hold | None
    look_at: datetime | None
    heal_count: int
    healed_at: datetime | None
    first_completed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    spec_damage: tuple[str, ...] = ()


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The carrying out of one order.

    Attributes:
        state: None if the row holds a word that is none of ours.
        total_steps: Step rows written with it: fewer rows mean a damaged record.
        due_at: When a worker shall take it up.
        token: The tenant's fencing token when it was last claimed or opened.
        previous_state: The tenant's derived state when the order was given.
        options: What the order said besides, such as what a Deprovision may remove.
        cancellation: Who ordered it to stop, or None.
    """

    id: RunId
    tenant_id: TenantId
    order: Order
    blueprint: str
    blueprint_version: int
    state: RunState | None
    total_steps: int
    due_at: datetime
    worker_id: WorkerId | None
    token: int
    actor: str
    reason: str
    previous_state: str
    waiting_for: WaitingFor | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    options: Mapping[str, str] = field(default_factory=dict)
    cancellation: Cancellation | None = None


# Which option of a run says which step a Retry named.
STEP_ORDERED = "step_ordered"
# Which output of a step says that a person left it out.
SKIPPED_BY = "skipped_by"


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a run.

    Attributes:
        tries: Counted tries; waiting, races and lost workers are not tries.
        races: Races lost in a row.
        losses: Workers lost in a row while a request was out.
        carried_from: The earlier run that did it, or None.
        outputs: Facts for later steps.
        note: Why it was skipped, or what it stands at.
    """

    run_id: RunId
    key: str
    position: int
    required: bool
    state: StepState
    adopted: bool = False
    tries: int = 0
    races: int = 0
    losses: int = 0
    carried_from: RunId | None = None
    error_code: str | None = None
    error_class: ErrorClass | None = None
    error_message: str | None = None
    error_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    note: str = ""

    @property
    def left_out_by_person(self) -> bool:
        """Whether a person ordered that it be left out, not the step itself."""
        return self.state is StepState.SKIPPED and SKIPPED_BY in self.outputs


# Of an attempt's evidence: what only who sees all tenants may read, as it names others.
FOR_OPERATORS = "for_operators"


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of one step; `outcome` is None while it is under way."""

    id: AttemptId
    tenant_id: TenantId
    run_id: RunId
    step_key: str
    number: int
    worker_id: WorkerId
    started_at: datetime
    deadline_at: datetime
    ended_at: datetime | None = None
    outcome: AttemptOutcome | None = None
    error_class: ErrorClass | None = None
    error_code: str | None = None
    message: str | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of a tenant's log, with its cursor."""

    tenant_id: TenantId
    cursor: int
    time: datetime
    level: LogLevel
    run_id: str
    step_key: str
    attempt: int
    message: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """One process that drives runs.

    Attributes:
        heartbeat_at: Its last sign of life, by the clock that `read_at` is of.
        read_at: The database's time when this was read, where the database keeps the time
            of leases (PostgreSQL); None where the reader's own clock does (SQLite, where
            all processes are on one host).
    """

    id: WorkerId
    started_at: datetime
    heartbeat_at: datetime
    lease_seconds: float
    stopped_at: datetime | None
    read_at: datetime | None = None

    def is_alive(self, now: datetime) -> bool:
        """Tell whether its lease lasts.

        A heartbeat further ahead than a lease is long never ends by itself: the clock was
        set back since (or the time is damaged). It keeps nothing.
        """
        judged, lease = self.read_at or now, timedelta(seconds=self.lease_seconds)
        return self.stopped_at is None and judged - lease < self.heartbeat_at <= judged + lease

    def last_sign(self, now: datetime) -> datetime:
        """Return when it was last heard of, by the reader's clock."""
        sign = self.stopped_at or self.heartbeat_at
        return sign if self.read_at is None else moved(now, sign - self.read_at)


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything stored that decides where one tenant stands.

    Attributes:
        damage: Columns that keep the tenant from being moved (`server.model.damaged`).
    """

    tenant: Tenant
    run: Run | None
    steps: tuple[Step, ...]
    damage: tuple[str, ...] = ()
