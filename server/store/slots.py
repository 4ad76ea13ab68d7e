"""Takes a site's one slot and gives it back, fenced, and in the order of the site's line.

On PostgreSQL processes of many hosts share a slot, and their clocks differ: since when a
request is out, and until when it may be, is told by the database's clock alone. On SQLite
the processes share a host, and the operation's time is the time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, exists, false, func, literal, not_, or_, select, tuple_, update

from server.model.states import RunState, WaitingCode
from server.store.columns import UtcTime
from server.store.operations import Outcome, Refusal, SlotTake, TenantOperation
from server.store.tables import ENGINES, RUNS, TENANTS, WORKERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Exists

    from server.store.operations import SlotFree

# Further ahead than a clock runs ahead before it is set right.
_CLOCK_SET_BACK = timedelta(seconds=60)


def take_slots(
    connection: Connection, batch: Sequence[TenantOperation], outcomes: dict[int, Outcome]
) -> list[TenantOperation]:
    """Take slots first: an operation that does not get its slot must write nothing."""
    kept = []
    for op in batch:
        if isinstance(op.slot, SlotTake) and not _take(connection, op, op.slot):
            replaced = connection.execute(select(not_(_drives(op)))).scalar()
            refusal = Refusal.REPLACED if replaced else Refusal.SLOT_BUSY
            outcomes[id(op)] = Outcome(refusal=refusal)
        else:
            kept.append(op)
    return kept


def free_slot(connection: Connection, op: TenantOperation, slot: SlotFree) -> None:
    """Give the slot back, if the tenant holds it."""
    mine = [ENGINES.c.site == slot.site, ENGINES.c.slot_tenant_id == op.tenant_id]
    if slot.about:
        mine.append(
            or_(
                *(
                    and_(ENGINES.c.slot_doctype == doctype, ENGINES.c.slot_name == name)
                    for doctype, name in slot.about
                )
            )
        )
    connection.execute(
        update(ENGINES)
        .where(*mine)
        .values(
            slot_tenant_id=None,
            slot_token=None,
            slot_doctype=None,
            slot_name=None,
            slot_sent_at=None,
            slot_expires_at=None,
        )
    )


def database_time(connection: Connection, op: TenantOperation) -> datetime:
    """Return the time of the clock by which hosts agree."""
    if connection.dialect.name != "postgresql":
        return op.at
    told: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return told


def _now(connection: Connection, op: TenantOperation, ahead: timedelta | None = None) -> Any:
    """Return the time, so much ahead, as the statement's database tells it."""
    if connection.dialect.name != "postgresql":
        return literal(op.at if ahead is None else op.at + ahead, UtcTime())
    return func.clock_timestamp() + ahead if ahead else func.clock_timestamp()


def _take(connection: Connection, op: TenantOperation, slot: SlotTake) -> bool:
    """Take the slot if nothing is out, or if what is out is ours or its time is over.

    A tenant's own slot can be taken again by whoever drives the tenant now: it probed
    before it sends (promise 4).
    """
    mine = ENGINES.c.slot_tenant_id == op.tenant_id if slot.repeatable else false()
    free = or_(
        ENGINES.c.slot_tenant_id.is_(None),
        ENGINES.c.slot_expires_at < _now(connection, op),
        # Sent in the future: the clock was set back since.
        ENGINES.c.slot_sent_at > _now(connection, op, _CLOCK_SET_BACK),
    )
    if slot.since is not None:
        free = and_(free, not_(_somebody_first(connection, op, slot)))
    taken = connection.execute(
        update(ENGINES)
        .where(ENGINES.c.site == slot.site, or_(mine, free), _drives(op))
        .values(
            slot_tenant_id=op.tenant_id,
            slot_token=op.token,
            slot_doctype=slot.doctype,
            slot_name=slot.name,
            slot_sent_at=_now(connection, op),
            slot_expires_at=_now(connection, op, timedelta(seconds=slot.seconds)),
        )
    )
    return taken.rowcount == 1


def _somebody_first(connection: Connection, op: TenantOperation, slot: SlotTake) -> Exists:
    """Whether a run of another process stands before this one in the site's line.

    Only one whose worker lives: a dead one's is taken over, and stands in line again.
    """
    lives = exists().where(
        WORKERS.c.id == RUNS.c.worker_id,
        WORKERS.c.stopped_at.is_(None),
        WORKERS.c.heartbeat_at > _lease_ago(connection, op),
    )
    run_ids = [row.run.id for row in op.runs]
    return exists().where(
        RUNS.c.site == slot.site,
        RUNS.c.state == RunState.RUNNING.value,
        RUNS.c.waiting_code == WaitingCode.SITE_SLOT.value,
        tuple_(RUNS.c.created_at, RUNS.c.id)
        < tuple_(literal(slot.since, UtcTime()), literal(max(run_ids, default=""))),
        # The line within a process is its own affair (`server.executor.slots`).
        RUNS.c.worker_id.not_in({row.run.worker_id for row in op.runs}),
        lives,
    )


def _lease_ago(connection: Connection, op: TenantOperation) -> Any:
    """Return the oldest heartbeat of a worker that lives."""
    if connection.dialect.name != "postgresql":
        # Only one process drives; what it finds of another one's is taken over at once.
        return literal(op.at - _CLOCK_SET_BACK, UtcTime())
    return func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, WORKERS.c.lease_seconds)


def _drives(op: TenantOperation) -> Exists:
    return exists().where(TENANTS.c.id == op.tenant_id, TENANTS.c.fencing_token == op.token)
