"""What is stored about tenants, as values: the store takes and returns these, never rows.

All times are aware and in UTC. A time that a damaged row hides is None, or 1970 where there must be
one.
"""

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
    """One reason why a tenant is not as it should be.

    Attributes:
        step_key: The step it is about; "" for the record as a whole.
        code: Stable code, documented in docs/errors.md.
    """

    step_key: str
    code: str
    message: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingFor:
    """What an open run is waiting for.

    Attributes:
        message: The same in plain words, for whoever sees the tenant.
        until: Until when; None if not known.
    """

    code: WaitingCode
    message: str
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Marks a tenant that only a person may move.

    Attributes:
        by: "run" if a step stopped it, "imported" if an import left it to a person; "unknown" if
            that was damaged.
    """

    reason: str
    by: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancellation:
    """A person's order to stop an open run, kept until it is carried out."""

    by: str
    reason: str
    at: datetime


def reason_told(reason: str) -> str:
    """Return a person's reason as a sentence that follows another one; "" if none was given.

    People end a reason with a full stop, or do not.
    """
    return f" Reason: {reason.rstrip('. ')}." if reason else ""


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One tenant.

    Attributes:
        site: The site its engine had when it was made; "" if it lives on no site of ours.
        state: The derived state, as stored for lists; None if the row holds a word that is not
            one of ours.
        run_id: The id of the last run, or None.
        fencing_token: Grows at every claim and every new run; never reset.
        log_seq: The cursor of the last log entry.
        revision: Grows at every change.
        hold: None if anybody's order, and the reconciler, may move it.
        look_at: When a sweep should look at it next; None for the next sweep.
        heal_count: How often the reconciler re-drove it since a person's order or COMPLETED.
        healed_at: When the reconciler last re-drove it.
        first_completed_at: When it was first COMPLETED; cleared only if a tenant that was
            DEPROVISIONED is started again.
        updated_at: When it last changed; a worker's heartbeat is no change.
        spec_damage: Names of the spec's fields that could not be read from its row; `spec` has
            defaults in their place, and nothing may be made from it.
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
        blueprint: The name of the blueprint whose steps it has.
        state: None if the row holds a word that is not one of ours.
        total_steps: How many step rows were written with it: fewer mean a damaged record.
        due_at: When a worker should take it up.
        worker_id: The worker that claimed it and has not handed it back; it may be dead.
        token: The tenant's fencing token when the run was last claimed or opened.
        actor: The name of who gave the order.
        reason: In the words of who gave the order; "" if none was given.
        previous_state: The tenant's derived state when the order was given.
        waiting_for: None if it waits for nothing.
        started_at: When a worker first took it up; None before that.
        finished_at: None while it is open.
        options: Further details of the order, such as what a Deprovision may remove.
        cancellation: Who ordered it to stop, and when; None if nobody did.
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


# The option of a run that holds the step which a Retry named.
STEP_ORDERED = "step_ordered"
# The output of a step that says which person left it out.
SKIPPED_BY = "skipped_by"


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a run.

    Attributes:
        position: Its place in the blueprint, counted from 0.
        state: PENDING if the row holds a word that is not one of ours.
        adopted: Whether everything it wants was there already.
        tries: How many tries were counted; waiting, races and lost workers are not tries.
        races: How many races were lost in a row.
        losses: How many workers were lost in a row while a request was out.
        carried_from: The earlier run that did the step, or None.
        error_code: The last error's code; None without one, and so the class and the time.
        error_message: What is told of it to whoever sees the tenant.
        started_at: When its first attempt began; None before that.
        completed_at: When it was done or left out; None before that.
        outputs: Facts for later steps.
        note: Why it was skipped, or what it is waiting for.
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
        """Whether it was left out on a person's order, and not by the step itself."""
        return self.state is StepState.SKIPPED and SKIPPED_BY in self.outputs


# The part of an attempt's evidence that names other tenants: only for callers who see all.
FOR_OPERATORS = "for_operators"


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of one step.

    Attributes:
        number: Counted from 1 for each step of a run.
        deadline_at: When it must have ended.
        ended_at: None while it is under way.
        outcome: None while it is under way.
        error_class: None without an error, and so are code and message.
        evidence: Facts for people; those under `FOR_OPERATORS` may name other tenants.
    """

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
    """One line of a tenant's log.

    Attributes:
        cursor: Its place in the log; the first is 1.
        run_id: "" if it belongs to no run.
        step_key: "" if it belongs to no step.
        attempt: The attempt's number; 0 if it belongs to none.
        fields: Its event and further facts.
    """

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
        heartbeat_at: Its last sign of life, by the same clock as `read_at`.
        lease_seconds: For how long after a sign of life it counts as alive.
        stopped_at: When it ended in order, by the same clock; None if it did not.
        read_at: The database's time when this was read, if leases go by the database's clock
            (PostgreSQL); None if they go by the reader's own (SQLite, where all processes are
            on one host).
    """

    id: WorkerId
    started_at: datetime
    heartbeat_at: datetime
    lease_seconds: float
    stopped_at: datetime | None
    read_at: datetime | None = None

    def is_alive(self, now: datetime) -> bool:
        """Tell whether its lease is still valid.

        A heartbeat that lies more than a lease in the future would not expire for a long time:
        the clock was set back since, or the time is damaged. It does not count.

        Args:
            now: The time by the reader's clock, which counts if there is no `read_at`.
        """
        judged, lease = self.read_at or now, timedelta(seconds=self.lease_seconds)
        return self.stopped_at is None and judged - lease < self.heartbeat_at <= judged + lease

    def last_sign(self, now: datetime) -> datetime:
        """Return when it last gave a sign of life, by the reader's clock.

        Args:
            now: The time by that clock when the row was read.
        """
        sign = self.stopped_at or self.heartbeat_at
        return sign if self.read_at is None else moved(now, sign - self.read_at)


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Everything stored that decides the state of one tenant.

    Attributes:
        run: The tenant's last run; None if there is none, or no longer one.
        steps: The run's step rows, by position.
        damage: Damaged columns that keep the tenant from being moved (`server.model.damaged`).
    """

    tenant: Tenant
    run: Run | None
    steps: tuple[Step, ...]
    damage: tuple[str, ...] = ()
