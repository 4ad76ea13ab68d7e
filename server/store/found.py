"""What reads return besides records: gates, bindings, runs that are due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from server.model.calendar import moved
from server.model.states import GateState
from server.store import values
from server.store.tables import ENGINES, WORKERS

if TYPE_CHECKING:
    from sqlalchemy import RowMapping, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from server.model.identifiers import RunId, TenantId
    from server.model.records import Record, Worker

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# No site is left alone for longer than the longest Retry-After that is obeyed, plus a look.
_LONGEST_PAUSE = timedelta(seconds=700)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A site's gate and slot as stored.

    Attributes:
        code: Why the gate is shut, as a stable code; "" if it is open.
        message: The same in plain words, and what to do; "" if it is open.
        since: Since when it has been in its state.
        next_probe_at: When a shut site is to be asked again; None for at once.
        slot_tenant_id: The tenant whose request holds the slot, and so for the other columns of the
            slot; None if nobody's does.
        slot_expires_at: Until when that request may still be carried out.
        wave: How many runs may be driven at once while load comes back; None for any number.
        paused_until: Until when the site asked to be left alone.
        identity: The site's identity at first sight; None before.
        accepted_at: When a person last said that the site is right as it is.
        read_at: When it was read, by the clock of its times; None if that is the reader's own
            clock.
    """

    site: str
    state: GateState
    code: str
    message: str
    since: datetime
    next_probe_at: datetime | None
    slot_tenant_id: str | None
    slot_doctype: str | None
    slot_name: str | None
    slot_sent_at: datetime | None
    slot_expires_at: datetime | None
    wave: int | None = None
    paused_until: datetime | None = None
    identity: str | None = None
    accepted_at: datetime | None = None
    read_at: datetime | None = None

    def since_by(self, now: datetime) -> datetime:
        """Return since when the gate has been in its state, by the reader's clock.

        Args:
            now: The time by the reader's clock.
        """
        return moved(now, self.since - (self.read_at or now))

    def paused(self, now: datetime) -> datetime | None:
        """Return until when the site asked to be left alone, by the reader's clock.

        Args:
            now: The time by the reader's clock.

        Returns:
            None if it did not, if that is over, or if it is further ahead than any site may ask
            for: the clock was set back since.
        """
        if self.paused_until is None:
            return None
        ahead = self.paused_until - (self.read_at or now)
        return moved(now, ahead) if timedelta() < ahead <= _LONGEST_PAUSE else None

    def slot_until(self, now: datetime) -> datetime | None:
        """Return until when the request that holds the slot may be out, by the reader's clock.

        Args:
            now: The time by the reader's clock.

        Returns:
            None if nobody holds the slot.
        """
        if self.slot_tenant_id is None or self.slot_expires_at is None:
            return None
        return moved(now, self.slot_expires_at - (self.read_at or now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """A record with what decides how it goes on.

    Attributes:
        gate: The gate of the tenant's site; None if the site has no row.
        worker: The worker that the run names; None if it names none, or one whose row is gone.
        deadline_at: When the attempt under way must have ended; None if there is none.
    """

    record: Record
    gate: Gate | None
    worker: Worker | None
    deadline_at: datetime | None


@dataclass(frozen=True, slots=True)
class SweepMark:
    """A place in a sweep.

    Attributes:
        look_at: As the database holds it, damaged or not, so that no page is read twice.
        id: The tenant's id.
    """

    look_at: Any
    id: TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Which Company of which site is a tenant's.

    Attributes:
        abbreviation: None until one is chosen.
    """

    tenant_id: str
    site: str
    company_name: str
    abbreviation: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRequest:
    """An order that was given before.

    Attributes:
        body_hash: As `RequestKey.body_hash`.
        tenant_id: The tenant it was about; "" if it was about a site.
    """

    body_hash: str
    tenant_id: TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTail:
    """The first and last cursor of a tenant's log; if it is empty, first is last + 1."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DueRun:
    """A run that a worker may claim.

    Attributes:
        since: When it was ordered, which is its place in the site's line.
        token: The tenant's fencing token when the run was last claimed. If the run has another
            one now, somebody has claimed it since.
    """

    run_id: RunId
    tenant_id: TenantId
    site: str
    since: datetime
    token: int


def select_gates(connection: AsyncConnection) -> Select[Any]:
    """Select gates; if hosts share the database, with its time (`Gate.read_at`)."""
    return _GATES_AND_TIME if connection.dialect.name == "postgresql" else _GATES


# Built once: every look for work asks, and building the query takes as long as running it.
_GATES = select(ENGINES)
_GATES_AND_TIME = select(ENGINES, func.clock_timestamp().label("read_at"))


def select_workers(connection: AsyncConnection) -> Select[Any]:
    """Select workers; if hosts share the database, with its time (`Worker.read_at`)."""
    if connection.dialect.name == "postgresql":
        return select(WORKERS, func.clock_timestamp().label("read_at"))
    return select(WORKERS)


def binding_of(row: RowMapping) -> Binding:
    """Read a binding from its row."""
    return Binding(
        tenant_id=row["tenant_id"],
        site=row["site"],
        company_name=row["company_name"],
        abbreviation=row["abbreviation"],
    )


def due_run_of(row: RowMapping) -> DueRun:
    """Read a run that may be claimed from its row."""
    return DueRun(
        run_id=row["id"],
        tenant_id=row["tenant_id"],
        site=row["site"],
        since=row["created_at"] or EPOCH,
        token=values.whole(row["token"]),
    )


def _wave_of(stored: object) -> int | None:
    """Read a wave; anything but a positive number is damage, which could shut a site for ever."""
    return stored if isinstance(stored, int) and stored > 0 else None


def gate_of(row: RowMapping) -> Gate:
    """Read a site's gate and slot from its row."""
    return Gate(
        site=row["site"],
        state=GateState.parse(row["gate"]) or GateState.UP,
        code=values.words(row["gate_code"]),
        message=values.words(row["gate_message"]),
        since=row["gate_since"] or EPOCH,
        next_probe_at=row["next_probe_at"],
        slot_tenant_id=row["slot_tenant_id"],
        slot_doctype=row["slot_doctype"],
        slot_name=row["slot_name"],
        slot_sent_at=row["slot_sent_at"],
        slot_expires_at=row["slot_expires_at"],
        wave=_wave_of(row["wave"]),
        paused_until=row["paused_until"],
        identity=row["identity"],
        accepted_at=row["accepted_at"],
        read_at=row.get("read_at"),
    )
