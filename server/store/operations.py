"""What can be written, as data: the only language that the writer understands.

An operation names its tenant and the state on which it was judged: the fencing token (a worker's
write) or the revision (an order). It carries whole rows, with ids made by its caller, so that it
can be sent again. It is applied as a whole or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

from server.model.made_often import made_often
from server.store.site_operations import SiteOperation

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from server.model.access import AuditEntry, Household
    from server.model.derive import Standing
    from server.model.identifiers import RequestKey, RunId, TenantId, WorkerId
    from server.model.ownership import Resource
    from server.model.records import Attempt, Hold, Run, Step
    from server.model.spec import TenantSpec
    from server.model.states import GateState, LogLevel


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class LogDraft:
    """A log entry without its cursor, which is assigned under the lock of the tenant's row.

    Attributes:
        message: For whoever sees the tenant; cut to 4096 bytes.
        event: The event's name, such as "step.failed"; one of the fields when it is read.
        run_id: "" if it belongs to no run, and so for the step.
        attempt: The attempt's number; 0 if it belongs to none.
        fields: Further facts: with event and tenant eight are kept, each cut to 400 bytes.
    """

    level: LogLevel
    message: str
    event: str
    run_id: str = ""
    step_key: str = ""
    attempt: int = 0
    fields: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewTenant:
    """The row of a tenant that does not exist yet."""

    spec: TenantSpec
    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRow:
    """Where an imported tenant came from.

    Attributes:
        recorded: Its states in the old system, as a note.
        decision: What it was imported as.
        legacy: Its old rows in full, as JSON.
    """

    recorded: str
    decision: str
    legacy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingRow:
    """Which Company of which site belongs to the tenant; abbreviation is None until chosen."""

    site: str
    company_name: str
    abbreviation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRow:
    """A document of the tenant, and the step to which it belongs."""

    resource: Resource
    shared: bool
    run_id: RunId
    step_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotTake:
    """Take the site's one slot for a request that is about to be sent.

    Attributes:
        seconds: How long the request may be out at most, from now on, by the database's clock (on
            SQLite: by the operation's).
        repeatable: Whether the tenant may take its own slot again while its earlier request may
            still be out, because the engine then refuses the second document by its name.
        since: The tenant's place in line: one with an earlier place that waits in another process
            goes first. None if there is no line.
    """

    site: str
    doctype: str
    name: str
    seconds: float
    repeatable: bool = True
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotFree:
    """Give the slot back if the tenant still holds it: the request that was out is answered.

    Attributes:
        about: Only if it was taken for one of these doctypes and names; empty for any.
    """

    site: str
    about: tuple[tuple[str, str], ...] = ()


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """A run, with its site and the deadline of the attempt under way.

    Attributes:
        deadline_at: None if no attempt is under way, or it waits for the site's slot.
    """

    run: Run
    site: str
    deadline_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Healing:
    """The reconciler's budget for a tenant, as it is to be from now on.

    Attributes:
        count: How often the reconciler has driven it on.
        at: When it last did; None if it did not since the budget was restored.
    """

    count: int
    at: datetime | None


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class TenantOperation:
    """One change of one tenant.

    Attributes:
        at: The time of the change.
        token: The fencing token under which it was made, or None.
        revision: The revision on which it was judged, or None.
        create: The row of a new tenant; if the tenant exists, the operation is refused with
            TENANT_EXISTS.
        respec: The new spec of a tenant that was not begun or whose spec can't be read; None
            leaves it.
        standing: The tenant's standing after the change (derived by the caller); None leaves the
            stored state as it is.
        run_id: The tenant's last run from now on; None leaves it.
        raise_token: Whether to replace the worker that drives the tenant.
        hold: A hold to set; None leaves it.
        lift_hold: Whether to lift the hold.
        look_at: When a sweep is to look next; None for at once.
        healing: The healing budget; None leaves it.
        completed_at: When the change makes the tenant COMPLETED, if it does; the tenant keeps
            the first such time.
        new_life: Whether what a removed tenant did before no longer counts: it is a new shop,
            which was never COMPLETED.
        release_binding: Whether the company name is free for others from now on.
        runs: Rows that are made or overwritten, and so the steps, attempts and resources.
        binding: Made or overwritten; refused with NAME_TAKEN or ABBREVIATION_TAKEN.
        slot: Refused with SLOT_BUSY if it is to be taken and can't be; None leaves the slot.
        log: Entries that get the next cursors, in this order.
        request: Refused with REQUEST_KNOWN if it was given before; None for an order without id.
        imported: Where a new tenant came from; None if it was not imported.
        household: The users who come with a new tenant; a taken address or code is refused with
            USER_TAKEN.
        audit: The audit row of the order that it carries out; None if it carries out none.
    """

    tenant_id: TenantId
    at: datetime
    token: int | None = None
    revision: int | None = None
    create: NewTenant | None = None
    respec: TenantSpec | None = None
    standing: Standing | None = None
    run_id: RunId | None = None
    raise_token: bool = False
    hold: Hold | None = None
    lift_hold: bool = False
    look_at: datetime | None = None
    healing: Healing | None = None
    completed_at: datetime | None = None
    new_life: bool = False
    release_binding: bool = False
    runs: tuple[RunRow, ...] = ()
    steps: tuple[Step, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    resources: tuple[ResourceRow, ...] = ()
    binding: BindingRow | None = None
    slot: SlotTake | SlotFree | None = None
    log: tuple[LogDraft, ...] = ()
    request: RequestKey | None = None
    imported: ImportRow | None = None
    household: Household | None = None
    audit: AuditEntry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateOperation:
    """What the prober found out about a site.

    Attributes:
        next_probe_at: When a shut site is to be asked again.
        wave: How many runs of an open site may be driven at once; None for any number.
    """

    site: str
    at: datetime
    gate: GateState
    code: str = ""
    message: str = ""
    next_probe_at: datetime | None = None
    wave: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOperation:
    """A worker's heartbeat.

    Attributes:
        at: The worker's time; with PostgreSQL, the database's counts instead.
        lease_seconds: For how long it counts as alive from then on.
        stopped: Whether it is the last one.
    """

    worker_id: WorkerId
    at: datetime
    lease_seconds: float
    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow:
    """What a sweep found about one tenant, and what came of it.

    Attributes:
        fingerprint: What the failure has in common with others; "" if nothing.
        herd_id: The finding of the herd to which it belongs, or None.
        tenants: How many tenants it is about.
        ended_at: Set if it was settled at the same moment.
        ended_as: How it ended, if it did.
    """

    id: str
    tenant_id: TenantId
    revision: int
    cause: str
    severity: str
    message: str
    evidence: Mapping[str, str]
    verdict: str
    outcome: str
    stuck_since: datetime | None
    found_at: datetime
    fingerprint: str = ""
    herd_id: str | None = None
    tenants: int = 1
    ended_at: datetime | None = None
    ended_as: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """A message for the webhook; its id is the same however often it is sent."""

    id: str
    kind: str
    body: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOperation:
    """One sweep that found something.

    Attributes:
        observed: How many tenants it examined.
        acted: How many it acted on.
        skipped_passes: How many passes were skipped since the last sweep that was recorded.
        outbox: The messages about its findings, written together with them.
    """

    id: str
    started_at: datetime
    finished_at: datetime
    observed: int
    acted: int
    skipped_passes: int
    findings: tuple[FindingRow, ...]
    outbox: tuple[OutboxRow, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOperation:
    """An order that changed nothing, remembered so that repeating it changes nothing either.

    Attributes:
        audit: The audit row of the order; None for none.
    """

    tenant_id: TenantId
    at: datetime
    request: RequestKey
    audit: AuditEntry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOperation:
    """The audit row of an order that was refused, or changed nothing."""

    entry: AuditEntry


Operation = (
    TenantOperation
    | RequestOperation
    | AuditOperation
    | GateOperation
    | SiteOperation
    | WorkerOperation
    | SweepOperation
)


class Refusal(Enum):
    """Why an operation was not applied. Nothing of it was written."""

    REPLACED = auto()
    # Another process's transaction holds its rows; the writer tries again by itself.
    BUSY = auto()
    SLOT_BUSY = auto()
    TENANT_EXISTS = auto()
    NAME_TAKEN = auto()
    ABBREVIATION_TAKEN = auto()
    REQUEST_KNOWN = auto()
    USER_TAKEN = auto()
    SITE_CHANGED_MEANWHILE = auto()


@made_often
@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an operation.

    Attributes:
        refusal: None if it was applied.
        token: The tenant's fencing token after it.
        revision: The tenant's revision after it.
        log_seq: The cursor of the tenant's last log entry after it.
        steps_lost: Whether step rows of the worker's run were missing when it was written.
    """

    refusal: Refusal | None = None
    token: int = 0
    revision: int = 0
    log_seq: int = 0
    steps_lost: bool = False

    @property
    def applied(self) -> bool:
        """Whether the operation was written."""
        return self.refusal is None
