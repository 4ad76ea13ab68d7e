"""Applies a batch of operations in one transaction: the heart of speed and of fencing.

One set-based UPDATE of `tenants` fences every operation and gives its log entries their
cursors, under the row it locks; then one statement a table writes the rows. An
operation whose tenant did not come back was judged on something that is no longer so:
nothing of it is written.

Synchronous, over a Core connection, so that the same code runs on SQLite's own thread
and inside `AsyncConnection.run_sync` on PostgreSQL.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Integer,
    Text,
    and_,
    bindparam,
    case,
    delete,
    func,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from server.model.states import SETTLED_TENANT_STATES
from server.store import rows
from server.store.columns import UtcTime
from server.store.operations import (
    AuditOperation,
    GateOperation,
    Outcome,
    Refusal,
    RequestOperation,
    SlotFree,
    SweepOperation,
    TenantOperation,
    WorkerOperation,
)
from server.store.rowset import PARAMETER, add, encode, put, rowset
from server.store.site_operations import SiteOperation
from server.store.sites import change_site
from server.store.slots import database_time, free_slot, take_slots
from server.store.tables import (
    ATTEMPTS,
    AUDIT,
    BINDINGS,
    ENGINES,
    FINDINGS,
    IMPORTS,
    LOG_ENTRIES,
    OUTBOX,
    REQUESTS,
    RESOURCES,
    RUNS,
    STEPS,
    SWEEPS,
    TENANT_WORDS,
    TENANTS,
    WORKERS,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Executable
    from sqlalchemy.types import TypeEngine

    from server.store.operations import Operation

_CHANGE: dict[str, TypeEngine[Any]] = {
    "id": Text(),
    "token": BigInteger(),
    "revision": BigInteger(),
    "raise_token": Integer(),
    "log_count": Integer(),
    "state": Text(),
    "current_step": Text(),
    "steps_completed": Integer(),
    "total_steps": Integer(),
    "error_code": Text(),
    "run_id": Text(),
    "hold_change": Integer(),
    "hold_reason": Text(),
    "hold_by": Text(),
    "hold_since": UtcTime(),
    "look_at": UtcTime(),
    "heal_change": Boolean(),
    "heal_count": Integer(),
    "healed_at": UtcTime(),
    "first_completed_at": UtcTime(),
    "new_life": Boolean(),
    "updated_at": UtcTime(),
}
_SETTLED = sorted(state.value for state in SETTLED_TENANT_STATES)
_REQUEST: dict[str, TypeEngine[Any]] = {
    "position": Integer(),
    "caller": Text(),
    "method": Text(),
    "request_id": Text(),
}


def apply(connection: Connection, batch: Sequence[Operation]) -> list[Outcome]:
    """Write a batch.

    Args:
        connection: In a transaction that may write; the caller commits.
        batch: Operations, at most one for each tenant and one for each site's gate.

    Returns:
        An outcome for each operation, in order.

    Raises:
        sqlalchemy.exc.IntegrityError: if one of them meets a taken name or a known
            request; then the transaction must be rolled back and each applied alone.
    """
    outcomes: dict[int, Outcome] = {}
    ready = _lock(connection, batch, outcomes)
    tenants = [op for op in ready if isinstance(op, TenantOperation)]
    tenants = _refuse_known(connection, tenants, outcomes)
    changed = _fence(connection, take_slots(connection, tenants, outcomes), outcomes)
    _write_rows(connection, changed, outcomes)
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
    repeated = [op for op in ready if isinstance(op, RequestOperation)]
    add(connection, REQUESTS, _request_rows([*changed, *repeated]))
    noted = [op.audit for op in changed if op.audit is not None]
    noted += [op.audit for op in repeated if op.audit is not None]
    noted += [op.entry for op in ready if isinstance(op, AuditOperation)]
    put(connection, AUDIT, [rows.audit_row(entry) for entry in noted])
    return [outcomes.get(id(op), Outcome()) for op in batch]


def _lock(
    connection: Connection, batch: Sequence[Operation], outcomes: dict[int, Outcome]
) -> list[Operation]:
    """Lock the rows that are about to change, so that nobody changes them before the commit.

    Nobody waits here: an operation whose row is held by another process is BUSY, and the
    others go on. So no two processes can wait for each other, and one that hangs in the
    middle of a transaction stops nobody but its own tenants. What is inserted further down
    under a unique key goes in the keys' order, for the same reason. SQLite's BEGIN
    IMMEDIATE locks the whole file.

    Returns:
        The operations that may be written now.
    """
    if connection.dialect.name != "postgresql":
        return list(batch)
    held = _held(
        connection,
        TENANTS.c.id,
        {op.tenant_id for op in batch if isinstance(op, TenantOperation) and op.create is None},
    )
    ready = [op for op in batch if not (isinstance(op, TenantOperation) and op.tenant_id in held)]
    held |= _held(connection, ENGINES.c.site, {site for op in ready if (site := _site(op))})
    ready = [op for op in ready if _site(op) not in held]
    kept = set(map(id, ready))
    outcomes |= {id(op): Outcome(refusal=Refusal.BUSY) for op in batch if id(op) not in kept}
    return ready


def _site(op: Operation) -> str | None:
    """Return the site whose row an operation changes."""
    if isinstance(op, GateOperation | SiteOperation):
        return op.site
    return op.slot.site if isinstance(op, TenantOperation) and op.slot is not None else None


def _held(connection: Connection, key: ColumnElement[str], wanted: set[str]) -> set[str]:
    """Lock rows; return the keys of those that another transaction holds."""
    if not wanted:
        return set()
    query = select(key).where(key == func.any(bindparam("keys"))).order_by(key)
    locking = query.with_for_update(skip_locked=True)
    left = wanted - set(connection.execute(locking, {"keys": sorted(wanted)}).scalars())
    if not left:
        return left
    return set(connection.execute(query, {"keys": sorted(left)}).scalars())


def _refuse_known(
    connection: Connection, batch: Sequence[TenantOperation], outcomes: dict[int, Outcome]
) -> list[TenantOperation]:
    """Refuse orders that were given before, first of all.

    What they find in their way (a taken name, a newer revision) is the order's own first
    carrying out.
    """
    asked = [
        {
            "position": position,
            "caller": op.request.caller,
            "method": op.request.method,
            "request_id": op.request.request_id,
        }
        for position, op in enumerate(batch)
        if op.request is not None
    ]
    if not asked:
        return list(batch)
    dialect = connection.dialect.name
    parameter = encode(dialect, list(_REQUEST), asked)
    known = set(connection.execute(_known_requests(dialect), {PARAMETER: parameter}).scalars())
    for position in known:
        outcomes[id(batch[position])] = Outcome(refusal=Refusal.REQUEST_KNOWN)
    return [op for position, op in enumerate(batch) if position not in known]


@lru_cache(maxsize=2)
def _known_requests(dialect: str) -> Executable:
    asked = rowset(dialect, _REQUEST)
    return select(asked.c.position).join(
        REQUESTS,
        and_(
            REQUESTS.c.caller == asked.c.caller,
            REQUESTS.c.method == asked.c.method,
            REQUESTS.c.request_id == asked.c.request_id,
        ),
    )


def _fence(
    connection: Connection, batch: Sequence[TenantOperation], outcomes: dict[int, Outcome]
) -> list[TenantOperation]:
    """Change the tenants' rows where guard and row agree; answer the others."""
    dialect = connection.dialect.name
    old = [op for op in batch if op.create is None]
    new = [op for op in batch if op.create is not None]
    came_back: dict[str, Outcome] = {}
    if old:
        parameter = encode(dialect, list(_CHANGE), [rows.change_row(op) for op in old])
        for row in connection.execute(_fencing_update(dialect), {PARAMETER: parameter}):
            came_back[row.id] = Outcome(
                token=row.fencing_token, revision=row.revision, log_seq=row.log_seq
            )
    for op in new:
        # IntegrityError where it is there already: applied alone, that is TENANT_EXISTS.
        came_back[op.tenant_id] = Outcome(token=1, revision=1, log_seq=len(op.log))
    created = [rows.new_tenant_row(op) for op in new]
    add(connection, TENANTS, sorted(created, key=itemgetter("id")))
    for op in batch:
        outcomes[id(op)] = came_back.get(op.tenant_id, Outcome(refusal=Refusal.REPLACED))
    return [op for op in batch if outcomes[id(op)].applied]


@lru_cache(maxsize=2)
def _fencing_update(dialect: str) -> Executable:
    change = rowset(dialect, _CHANGE)
    rewritten = change.c.state.is_not(None)
    tenant = TENANTS.c

    def standing(name: str) -> Any:
        return case((rewritten, change.c[name]), else_=tenant[name])

    def held(name: str) -> Any:
        return case((change.c.hold_change == 0, tenant[name]), else_=change.c[name])

    def healed(name: str) -> Any:
        return case((change.c.heal_change, change.c[name]), else_=tenant[name])

    return (
        update(TENANTS)
        .where(
            and_(
                tenant.id == change.c.id,
                or_(change.c.token.is_(None), tenant.fencing_token == change.c.token),
                or_(change.c.revision.is_(None), tenant.revision == change.c.revision),
            )
        )
        .values(
            fencing_token=tenant.fencing_token + change.c.raise_token,
            log_seq=tenant.log_seq + change.c.log_count,
            revision=tenant.revision + 1,
            state=standing("state"),
            current_step=standing("current_step"),
            steps_completed=standing("steps_completed"),
            total_steps=standing("total_steps"),
            error_code=standing("error_code"),
            run_id=func.coalesce(change.c.run_id, tenant.run_id),
            hold_reason=held("hold_reason"),
            hold_by=held("hold_by"),
            hold_since=held("hold_since"),
            look_at=change.c.look_at,
            heal_count=healed("heal_count"),
            healed_at=healed("healed_at"),
            first_completed_at=case(
                (change.c.new_life, None),
                else_=func.coalesce(tenant.first_completed_at, change.c.first_completed_at),
            ),
            updated_at=change.c.updated_at,
            state_since=case(
                (and_(rewritten, change.c.state != tenant.state), change.c.updated_at),
                else_=tenant.state_since,
            ),
            unsettled_since=case(
                (not_(rewritten), tenant.unsettled_since),
                (change.c.state.in_(_SETTLED), None),
                # Since it was settled last; the runs that failed in between do not count.
                (tenant.state.in_(_SETTLED), change.c.updated_at),
                else_=func.coalesce(tenant.unsettled_since, change.c.updated_at),
            ),
        )
        .returning(tenant.id, tenant.fencing_token, tenant.revision, tenant.log_seq)
    )


def _write_rows(
    connection: Connection, changed: Sequence[TenantOperation], outcomes: dict[int, Outcome]
) -> None:
    """Write what hangs on the tenants, one statement a table."""
    for op in changed:
        if isinstance(op.slot, SlotFree):
            free_slot(connection, op, op.slot)
        if op.respec is not None:
            # Rare, so it need not be a column of every batch's change.
            connection.execute(
                update(TENANTS)
                .where(TENANTS.c.id == op.tenant_id)
                .values(spec=rows.spec_text(op.respec))
            )
    released = [op.tenant_id for op in changed if op.release_binding]
    if released:
        connection.execute(delete(BINDINGS).where(BINDINGS.c.tenant_id.in_(released)))
    put(connection, TENANT_WORDS, [row for op in changed for row in rows.word_rows(op)])
    bound = [rows.binding_row(op) for op in changed if op.binding]
    add(connection, IMPORTS, [rows.import_row(op) for op in changed if op.imported])
    put(connection, BINDINGS, sorted(bound, key=itemgetter("site", "company_fold")))
    put(connection, RUNS, [row for op in changed for row in rows.run_rows(op, outcomes[id(op)])])
    put(connection, STEPS, [row for op in changed for row in rows.step_rows(op)])
    put(connection, ATTEMPTS, [row for op in changed for row in rows.attempt_rows(op)])
    put(connection, RESOURCES, [row for op in changed for row in _resources(connection, op)])
    add(
        connection,
        LOG_ENTRIES,
        [row for op in changed for row in rows.log_rows(op, outcomes[id(op)].log_seq)],
    )
    _see_lost_steps(connection, changed, outcomes)


def _resources(connection: Connection, op: TenantOperation) -> Iterator[rows.Row]:
    """Return the resources, with the times until when a change may be out by the common clock."""
    if not any(item.resource.busy_until for item in op.resources):
        return rows.resource_rows(op)
    return rows.resource_rows(op, behind=database_time(connection, op) - op.at)


def _see_lost_steps(
    connection: Connection, changed: Sequence[TenantOperation], outcomes: dict[int, Outcome]
) -> None:
    """Tell a worker whose run has fewer step rows than it wrote: somebody deleted some.

    It has them all in memory and writes them again; nobody else may, while it drives.
    """
    driven = {op.runs[0].run.id: op for op in changed if op.token is not None and op.runs}
    if not driven:
        return
    count = _count_steps(connection.dialect.name)
    rows_of = connection.execute(count, _run_ids(connection, driven))
    counts: dict[str, int] = {row[0]: row[1] for row in rows_of}
    for run_id, op in driven.items():
        if counts.get(run_id, 0) < op.runs[0].run.total_steps:
            outcomes[id(op)] = replace(outcomes[id(op)], steps_lost=True)


@lru_cache(maxsize=2)
def _count_steps(dialect: str) -> Executable:
    asked = rowset(dialect, {"run_id": Text()})
    return (
        select(STEPS.c.run_id, func.count())
        .join(asked, STEPS.c.run_id == asked.c.run_id)
        .group_by(STEPS.c.run_id)
    )


def _run_ids(connection: Connection, run_ids: Iterable[str]) -> dict[str, str]:
    shaped = [{"run_id": run_id} for run_id in run_ids]
    return {PARAMETER: encode(connection.dialect.name, ["run_id"], shaped)}


def _request_rows(orders: Iterable[TenantOperation | RequestOperation]) -> list[rows.Row]:
    answered = [rows.request_row(op) for op in orders if op.request]
    return sorted(answered, key=itemgetter("caller", "method", "request_id"))


def put_gate(connection: Connection, op: GateOperation) -> None:
    """Write a site's gate; its slot and identity stay."""
    values = {
        "gate": op.gate,
        "gate_code": op.code,
        "gate_message": op.message,
        "next_probe_at": op.next_probe_at,
        "wave": op.wave,
    }
    changed = connection.execute(
        update(ENGINES)
        .where(ENGINES.c.site == op.site)
        .values(
            **values,
            gate_since=case((ENGINES.c.gate == op.gate, ENGINES.c.gate_since), else_=op.at),
        )
    )
    if changed.rowcount == 0:
        connection.execute(ENGINES.insert().values(site=op.site, gate_since=op.at, **values))


def ensure_engine(connection: Connection, op: GateOperation) -> None:
    """Make a site's row if it has none; an existing one keeps its gate."""
    insert = sqlite_insert if connection.dialect.name == "sqlite" else postgresql_insert
    # Several servers start on one empty database at the same moment.
    connection.execute(
        insert(ENGINES)
        .values(
            site=op.site,
            gate=op.gate,
            gate_code=op.code,
            gate_message=op.message,
            gate_since=op.at,
            next_probe_at=op.next_probe_at,
        )
        .on_conflict_do_nothing()
    )


def _beat(connection: Connection, op: WorkerOperation) -> None:
    """Renew a worker's lease, by the database's clock where processes of many hosts meet.

    Their own clocks differ: a host a minute ahead would take every run of the others.
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
