"""Applies a batch of operations in one transaction: this is where fencing and speed come from.

One set-based UPDATE of `tenants` fences every operation and gives its log entries their cursors,
under the lock of the tenant's row (`fencing`); then one statement per table writes the rows. If
the UPDATE does not return an operation's tenant, the operation was judged on something that has
changed since: nothing of it is written.

The code is synchronous, over a Core connection, so that the same code runs on SQLite's own thread
and inside `AsyncConnection.run_sync` on PostgreSQL.
"""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Integer,
    Text,
    and_,
    delete,
    func,
    select,
    update,
)

from server.store import rows
from server.store.fencing import fence
from server.store.locks import lock
from server.store.operations import (
    AuditOperation,
    GateOperation,
    Outcome,
    Refusal,
    RequestOperation,
    SlotFree,
    SlotTake,
    SweepOperation,
    TenantOperation,
    WorkerOperation,
)
from server.store.rowset import Batched, Write, add, cells_of, put, write_together
from server.store.site_operations import SiteOperation
from server.store.sites import change_site, put_gate
from server.store.slots import database_time, free_slot, take_slots
from server.store.tables import (
    ATTEMPTS,
    AUDIT,
    BINDINGS,
    FINDINGS,
    IMPORTS,
    LOG_ENTRIES,
    MEMBERSHIPS,
    OUTBOX,
    REQUESTS,
    RESOURCES,
    RUNS,
    STEPS,
    SWEEPS,
    TENANT_WORDS,
    TENANTS,
    USERS,
    WORKERS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ClauseElement, Connection, Subquery
    from sqlalchemy.types import TypeEngine

    from server.store.locks import Locking
    from server.store.operations import Operation
    from server.store.rowset import Cells

_REQUEST: dict[str, TypeEngine[Any]] = {
    "position": Integer(),
    "caller": Text(),
    "method": Text(),
    "request_id": Text(),
}


def apply(
    connection: Connection, batch: Sequence[Operation], *, locking: Locking | None = None
) -> list[Outcome]:
    """Write a batch.

    Args:
        connection: In a transaction that may write; the caller commits.
        batch: The operations: at most one per tenant, and one per site's gate.
        locking: What was already locked when the transaction was opened.

    Returns:
        An outcome for each operation, in order.

    Raises:
        sqlalchemy.exc.IntegrityError: one of them met a taken name or a known request. The
            transaction must be rolled back, and each operation applied alone.
    """
    outcomes: dict[int, Outcome] = {}
    ready = lock(connection, batch, outcomes, locking)
    tenants = [op for op in ready if isinstance(op, TenantOperation)]
    tenants = _refuse_known(connection, tenants, outcomes)
    # Operations that give a slot back go before those that take one: one commit hands it on.
    changed = fence(connection, [op for op in tenants if not _takes(op)], outcomes)
    _free_slots(connection, changed)
    takers = take_slots(connection, [op for op in tenants if _takes(op)], outcomes)
    if takers:
        changed += fence(connection, takers, outcomes)
    _write_rows(connection, changed, ready, outcomes)
    for op in ready:
        if isinstance(op, GateOperation):
            put_gate(connection, op)
        elif isinstance(op, SiteOperation):
            if not change_site(connection, op):
                outcomes[id(op)] = Outcome(refusal=Refusal.SITE_CHANGED_MEANWHILE)
        elif isinstance(op, WorkerOperation):
            _beat(connection, op)
        elif isinstance(op, SweepOperation):
            add(connection, SWEEPS, [rows.sweep_row(op)])
            add(connection, FINDINGS, sorted(rows.finding_rows(op), key=itemgetter("id")))
            add(connection, OUTBOX, [rows.outbox_row(message) for message in op.outbox])
    return [outcomes.get(id(op), _WRITTEN) for op in batch]


_WRITTEN = Outcome()


def _takes(op: TenantOperation) -> bool:
    return isinstance(op.slot, SlotTake)


def _free_slots(connection: Connection, changed: Sequence[TenantOperation]) -> None:
    for op in changed:
        if isinstance(op.slot, SlotFree):
            free_slot(connection, op, op.slot)


def _refuse_known(
    connection: Connection, batch: Sequence[TenantOperation], outcomes: dict[int, Outcome]
) -> list[TenantOperation]:
    """Refuse, before anything else, orders that were given before.

    Otherwise they would be refused for what the order itself did the first time: a name that is
    taken, a newer revision.
    """
    asked: list[Cells] = [
        (position, op.request.caller, op.request.method, op.request.request_id)
        for position, op in enumerate(batch)
        if op.request is not None
    ]
    if not asked:
        return list(batch)
    known = {row[0] for row in _KNOWN_REQUESTS.run(connection, asked)}
    for position in known:
        outcomes[id(batch[position])] = Outcome(refusal=Refusal.REQUEST_KNOWN)
    return [op for position, op in enumerate(batch) if position not in known]


def _known_requests(asked: Subquery) -> ClauseElement:
    return select(asked.c.position).join(
        REQUESTS,
        and_(
            REQUESTS.c.caller == asked.c.caller,
            REQUESTS.c.method == asked.c.method,
            REQUESTS.c.request_id == asked.c.request_id,
        ),
    )


_KNOWN_REQUESTS = Batched(_REQUEST, _known_requests)


def _write_rows(
    connection: Connection,
    changed: Sequence[TenantOperation],
    ready: Sequence[Operation],
    outcomes: dict[int, Outcome],
) -> None:
    """Write the rows that belong to the tenants, and what is remembered of the orders given."""
    _write_rare(connection, changed)
    driven = _driven(changed)
    steps = write_together(
        connection,
        [*_rows_of(connection, changed, outcomes), *_orders(changed, ready)],
        look=_COUNT_STEPS,
        asked=[(run_id,) for run_id in driven],
    )
    _tell_lost_steps(driven, {row[0]: row[1] for row in steps}, outcomes)


def _write_rare(connection: Connection, changed: Sequence[TenantOperation]) -> None:
    """Write rare changes, which need not be a column of every batch's change."""
    for op in changed:
        if op.respec is not None:
            connection.execute(
                update(TENANTS)
                .where(TENANTS.c.id == op.tenant_id)
                .values(spec=rows.spec_text(op.respec))
            )
        if op.household is not None:
            people = op.household
            add(connection, USERS, [rows.user_row(each) for each in people.users])
            put(connection, MEMBERSHIPS, [rows.membership_row(each) for each in people.memberships])
            add(connection, AUDIT, [rows.audit_row(entry) for entry in people.entries])
    released = [op.tenant_id for op in changed if op.release_binding]
    if released:
        connection.execute(delete(BINDINGS).where(BINDINGS.c.tenant_id.in_(released)))


def _rows_of(
    connection: Connection, changed: Sequence[TenantOperation], outcomes: dict[int, Outcome]
) -> list[Write]:
    """Return the rows that belong to the tenants."""
    bound = [rows.binding_row(op) for op in changed if op.binding]
    bound.sort(key=itemgetter("site", "company_fold"))
    imported = [rows.import_row(op) for op in changed if op.imported]
    words = [row for op in changed for row in rows.word_rows(op)]
    runs = [row for op in changed for row in rows.run_cells(op, outcomes[id(op)])]
    log = [row for op in changed for row in rows.log_cells(op, outcomes[id(op)].log_seq)]
    return [
        Write(TENANT_WORDS, cells_of(TENANT_WORDS, words)),
        Write(IMPORTS, cells_of(IMPORTS, imported), overwrite=False),
        Write(BINDINGS, cells_of(BINDINGS, bound)),
        Write(RUNS, runs),
        Write(STEPS, [row for op in changed for row in rows.step_cells(op)]),
        Write(ATTEMPTS, [row for op in changed for row in rows.attempt_cells(op)]),
        Write(RESOURCES, [row for op in changed for row in _resources(connection, op)]),
        Write(LOG_ENTRIES, log, overwrite=False),
    ]


def _orders(changed: Sequence[TenantOperation], ready: Sequence[Operation]) -> list[Write]:
    """Return the rows by which orders are remembered."""
    repeated = [op for op in ready if isinstance(op, RequestOperation)]
    noted = [op.audit for op in changed if op.audit is not None]
    noted += [op.audit for op in repeated if op.audit is not None]
    noted += [op.entry for op in ready if isinstance(op, AuditOperation)]
    requests = _request_rows([*changed, *repeated])
    return [
        Write(REQUESTS, cells_of(REQUESTS, requests), overwrite=False),
        Write(AUDIT, cells_of(AUDIT, [rows.audit_row(entry) for entry in noted])),
    ]


def _resources(connection: Connection, op: TenantOperation) -> Iterator[Cells]:
    """Return the resources, with `busy_until` by the clock that hosts share."""
    if not any(item.resource.busy_until for item in op.resources):
        return rows.resource_cells(op)
    return rows.resource_cells(op, behind=database_time(connection, op) - op.at)


def _driven(changed: Sequence[TenantOperation]) -> dict[str, TenantOperation]:
    """Return, by run, the workers' operations that do not write all of its steps anyway."""
    return {
        op.runs[0].run.id: op
        for op in changed
        if op.token is not None and op.runs and len(op.steps) < op.runs[0].run.total_steps
    }


def _tell_lost_steps(
    driven: Mapping[str, TenantOperation], there: Mapping[str, int], outcomes: dict[int, Outcome]
) -> None:
    """Tell workers whose runs have fewer step rows than they should: somebody deleted some.

    The worker has all of them in memory and writes them again; nobody else may while it drives.
    """
    for run_id, op in driven.items():
        if there.get(run_id, 0) < op.runs[0].run.total_steps:
            outcomes[id(op)] = replace(outcomes[id(op)], steps_lost=True)


def _count_steps(asked: Subquery) -> ClauseElement:
    return (
        select(STEPS.c.run_id, func.count())
        .join(asked, STEPS.c.run_id == asked.c.run_id)
        .group_by(STEPS.c.run_id)
    )


_COUNT_STEPS = Batched({"run_id": Text()}, _count_steps)


def _request_rows(orders: Iterable[TenantOperation | RequestOperation]) -> list[rows.Row]:
    answered = [rows.request_row(op) for op in orders if op.request]
    return sorted(answered, key=itemgetter("caller", "method", "request_id"))


def _beat(connection: Connection, op: WorkerOperation) -> None:
    """Renew a worker's lease: by the database's clock, if many hosts share the database.

    Their own clocks differ: a host that was a minute ahead would take every run of the others.
    """
    shared = connection.dialect.name == "postgresql"
    at: Any = func.clock_timestamp() if shared else op.at
    values = {
        "heartbeat_at": at,
        "lease_seconds": op.lease_seconds,
        "stopped_at": at if op.stopped else None,
    }
    beat = connection.execute(update(WORKERS).where(WORKERS.c.id == op.worker_id).values(**values))
    if beat.rowcount == 0:
        connection.execute(WORKERS.insert().values(id=op.worker_id, started_at=at, **values))
