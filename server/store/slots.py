"""Takes a site's one slot and gives it back, fenced, and in the order of the site's line.

On PostgreSQL, processes on many hosts share a slot, and their clocks differ: only the database's
clock tells since when a request is out and until when it may be. On SQLite the processes share a
host, and the operation's time counts.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Interval,
    Text,
    and_,
    bindparam,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    tuple_,
    update,
)

from server.model.states import RunState, WaitingCode
from server.store.columns import UtcTime
from server.store.operations import Outcome, Refusal, SlotTake, TenantOperation
from server.store.tables import ENGINES, RUNS, TENANTS, WORKERS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Exists, Update

    from server.store.operations import SlotFree

# Clocks are corrected before they run ahead by this much.
_CLOCK_SET_BACK = timedelta(seconds=60)
# No request is waited for this long: an end that is missing, or further ahead, was damaged.
_LONGEST_HELD = timedelta(days=1)
_HELD_BY_DAMAGE = timedelta(hours=1)


def take_slots(
    connection: Connection, batch: Sequence[TenantOperation], outcomes: dict[int, Outcome]
) -> list[TenantOperation]:
    """Take slots before anything else: an operation that does not get its slot writes nothing.

    Args:
        connection: In a transaction, after those operations that give a slot back.
        batch: The operations.
        outcomes: Where those that are refused get their outcome, by the `id()` of the operation.

    Returns:
        The operations that may be written.
    """
    kept = []
    for op in batch:
        if isinstance(op.slot, SlotTake) and not _take(connection, op, op.slot):
            whose = {"tenant": op.tenant_id, "token": op.token}
            replaced = connection.execute(_IS_REPLACED, whose).scalar()
            refusal = Refusal.REPLACED if replaced else Refusal.SLOT_BUSY
            outcomes[id(op)] = Outcome(refusal=refusal)
        else:
            kept.append(op)
    return kept


def free_slot(connection: Connection, op: TenantOperation, slot: SlotFree) -> None:
    """Give the slot back if the tenant holds it.

    Args:
        connection: In a transaction.
        op: The operation, which has been fenced.
        slot: What it gives back; nothing, if the slot is held for another document.
    """
    statement = _FREE
    if slot.about:
        statement = statement.where(
            or_(
                *(
                    and_(ENGINES.c.slot_doctype == doctype, ENGINES.c.slot_name == name)
                    for doctype, name in slot.about
                )
            )
        )
    connection.execute(statement, {"of_site": slot.site, "tenant": op.tenant_id})


def database_time(connection: Connection, op: TenantOperation) -> datetime:
    """Return the time by the clock that hosts share; without one, the operation's time.

    Args:
        connection: In a transaction; with PostgreSQL it is asked, which costs a round trip.
        op: The operation.
    """
    if not _hosts_share(connection.dialect.name):
        return op.at
    told: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return told


@lru_cache(maxsize=8)
def _take_statement(dialect: str, *, repeatable: bool, in_order: bool) -> Update:
    """Take the slot if no request is out, or the one that is out is ours or its time is over.

    The worker that drives a tenant now can take the tenant's own slot again, because it has probed
    before it sends (promise 4). Built once per kind, as building one takes longer than running it.
    """
    now, lately = _now(dialect), _now(dialect, ahead="set_back")
    mine = ENGINES.c.slot_tenant_id == _TENANT if repeatable else false()
    free = or_(
        ENGINES.c.slot_tenant_id.is_(None),
        ENGINES.c.slot_expires_at < now,
        # If it was sent in the future, the clock has been set back since.
        ENGINES.c.slot_sent_at > lately,
        # A damaged end never comes: a request that was sent an hour ago is then over.
        and_(
            or_(
                ENGINES.c.slot_expires_at.is_(None),
                ENGINES.c.slot_expires_at > _now(dialect, ahead="longest"),
            ),
            or_(
                ENGINES.c.slot_sent_at.is_(None),
                ENGINES.c.slot_sent_at < _now(dialect, ahead="ago"),
            ),
        ),
    )
    if in_order:
        free = and_(free, not_(_somebody_first()))
    return (
        update(ENGINES)
        .where(ENGINES.c.site == bindparam("of_site", type_=Text), or_(mine, free), _DRIVES)
        .values(
            slot_tenant_id=_TENANT,
            slot_token=_TOKEN,
            slot_doctype=bindparam("doctype", type_=Text),
            slot_name=bindparam("name", type_=Text),
            slot_sent_at=now,
            slot_expires_at=_now(dialect, ahead="held"),
        )
    )


def _hosts_share(dialect: str) -> bool:
    """Tell whether hosts with their own clocks share the database, so that its clock counts."""
    return dialect == "postgresql"


def _now(dialect: str, *, ahead: str = "") -> Any:
    """Return the time, or one ahead of it, as an SQL expression for the database."""
    if not _hosts_share(dialect):
        return bindparam(f"now_{ahead}", type_=UtcTime())
    now = func.clock_timestamp()
    return now + bindparam(f"now_{ahead}", type_=Interval()) if ahead else now


def _take(connection: Connection, op: TenantOperation, slot: SlotTake) -> bool:
    dialect = connection.dialect.name
    values: dict[str, Any] = {
        "tenant": op.tenant_id,
        "token": op.token,
        "of_site": slot.site,
        "doctype": slot.doctype,
        "name": slot.name,
    }
    ahead = {
        "set_back": _CLOCK_SET_BACK,
        "held": timedelta(seconds=slot.seconds),
        "longest": _LONGEST_HELD,
        "ago": -_HELD_BY_DAMAGE,
    }
    if _hosts_share(dialect):
        values |= {f"now_{name}": much for name, much in ahead.items()}
    else:
        values |= {f"now_{name}": op.at + much for name, much in ahead.items()} | {"now_": op.at}
    # If only one process drives, the line is in that process: a run that stands in line according
    # to the rows was left there by a dead process, and may be claimed long after those of now.
    in_order = slot.since is not None and _hosts_share(dialect)
    if in_order:
        values |= {
            "since": slot.since,
            "run": max((row.run.id for row in op.runs), default=""),
            # Each process keeps its own runs in order (`server.executor.line`).
            "workers": [row.run.worker_id or "" for row in op.runs],
        }
    statement = _take_statement(dialect, repeatable=slot.repeatable, in_order=in_order)
    return connection.execute(statement, values).rowcount == 1


def _somebody_first() -> Exists:
    """Return the condition that a run of another process is ahead of this one in the site's line.

    Only runs whose worker is alive count: a dead worker's run is taken over and queues again.
    """
    lives = exists().where(
        WORKERS.c.id == RUNS.c.worker_id,
        WORKERS.c.stopped_at.is_(None),
        WORKERS.c.heartbeat_at > _LEASE_AGO,
    )
    here = tuple_(bindparam("since", type_=UtcTime()), bindparam("run", type_=Text))
    return exists().where(
        RUNS.c.site == bindparam("of_site", type_=Text),
        RUNS.c.state == RunState.RUNNING.value,
        RUNS.c.waiting_code == WaitingCode.SITE_SLOT.value,
        tuple_(RUNS.c.created_at, RUNS.c.id) < here,
        RUNS.c.worker_id.not_in(bindparam("workers", type_=Text, expanding=True)),
        lives,
    )


_TENANT, _TOKEN = bindparam("tenant", type_=Text), bindparam("token", type_=BigInteger)
_DRIVES = exists().where(TENANTS.c.id == _TENANT, TENANTS.c.fencing_token == _TOKEN)
_IS_REPLACED = select(not_(_DRIVES))
# The oldest heartbeat of a worker that is alive. No lease is longer than a day: from a much greater
# number PostgreSQL can't make an interval, and no slot could be taken.
_LEASE = func.least(func.greatest(WORKERS.c.lease_seconds, 0), 86_400)
_LEASE_AGO = func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, _LEASE)
_FREE = (
    update(ENGINES)
    .where(ENGINES.c.site == bindparam("of_site", type_=Text), ENGINES.c.slot_tenant_id == _TENANT)
    .values(
        slot_tenant_id=None,
        slot_token=None,
        slot_doctype=None,
        slot_name=None,
        slot_sent_at=None,
        slot_expires_at=None,
    )
)
