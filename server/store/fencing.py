"""The one UPDATE of `tenants`: it fences a batch of operations and numbers their log entries.

A row is changed only if it has the token and the revision that its operation expects; under that
row's lock the operation gets its cursors. What it does not return was judged on something that has
changed since (promises 4 and 9).
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Integer,
    Text,
    and_,
    case,
    func,
    not_,
    or_,
    update,
)

from server.model.states import SETTLED_TENANT_STATES
from server.store import rows
from server.store.columns import UtcTime
from server.store.operations import Outcome, Refusal
from server.store.rowset import Batched, add
from server.store.tables import TENANTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ClauseElement, ColumnElement, Connection, Subquery
    from sqlalchemy.types import TypeEngine

    from server.store.operations import TenantOperation

# The order of the columns is that of `rows.change_cells`.
CHANGE: dict[str, TypeEngine[Any]] = {
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


def fence(
    connection: Connection, batch: Sequence[TenantOperation], outcomes: dict[int, Outcome]
) -> list[TenantOperation]:
    """Change the tenants' rows that are as their operations expect; answer the others.

    Args:
        connection: In a transaction that may write.
        batch: At most one operation per tenant.
        outcomes: Gets the outcome of each.

    Returns:
        The operations that were judged on what is still so: their other rows may be written.

    Raises:
        sqlalchemy.exc.IntegrityError: a tenant that is to be made is there already.
    """
    old = [op for op in batch if op.create is None]
    new = [op for op in batch if op.create is not None]
    came_back: dict[str, Outcome] = {}
    if connection.dialect.name == "sqlite":
        # Those that did not match may still be as expected, in a row that is not moving on.
        came_back = _changed(connection, _MOVE, [op for op in old if _only_moves_on(op)])
        old = [op for op in old if op.tenant_id not in came_back]
    came_back |= _changed(connection, _FENCE, old)
    for op in new:
        # An IntegrityError if it is there already; applied alone, that becomes TENANT_EXISTS.
        came_back[op.tenant_id] = Outcome(token=1, revision=1, log_seq=len(op.log))
    created = [rows.new_tenant_row(op) for op in new]
    add(connection, TENANTS, sorted(created, key=itemgetter("id")))
    for op in batch:
        outcomes[id(op)] = came_back.get(op.tenant_id, _REPLACED)
    return [op for op in batch if outcomes[id(op)].applied]


_REPLACED = Outcome(refusal=Refusal.REPLACED)


def _changed(
    connection: Connection, update_: Batched, batch: Sequence[TenantOperation]
) -> dict[str, Outcome]:
    found = update_.run(connection, [rows.change_cells(op) for op in batch])
    return {row[0]: Outcome(token=row[1], revision=row[2], log_seq=row[3]) for row in found}


def _only_moves_on(op: TenantOperation) -> bool:
    """Tell whether a tenant stays in motion: nothing changes that lists or sweeps go by."""
    return (
        op.standing is not None
        and op.standing.state not in SETTLED_TENANT_STATES
        and op.hold is None
        and op.healing is None
        and op.completed_at is None
        and not (op.lift_hold or op.new_life)
    )


def _guards(change: Subquery) -> ColumnElement[bool]:
    tenant = TENANTS.c
    return and_(
        tenant.id == change.c.id,
        or_(change.c.token.is_(None), tenant.fencing_token == change.c.token),
        or_(change.c.revision.is_(None), tenant.revision == change.c.revision),
    )


def _counts(change: Subquery) -> dict[str, ColumnElement[Any]]:
    tenant = TENANTS.c
    return {
        "fencing_token": tenant.fencing_token + change.c.raise_token,
        "log_seq": tenant.log_seq + change.c.log_count,
        "revision": tenant.revision + 1,
        "run_id": func.coalesce(change.c.run_id, tenant.run_id),
        "updated_at": change.c.updated_at,
    }


def _returned() -> tuple[ColumnElement[Any], ...]:
    tenant = TENANTS.c
    return tenant.id, tenant.fencing_token, tenant.revision, tenant.log_seq


def _moving_update(change: Subquery) -> ClauseElement:
    """Change a tenant that stays in motion, and no column that is in an index.

    SQLite rewrites every index of a column that is set, whether it changes or not, and that made
    up half the cost of a step. PostgreSQL checks whether it changed.
    """
    tenant = TENANTS.c
    stays = and_(
        tenant.state == change.c.state,
        tenant.look_at.is_not_distinct_from(change.c.look_at),
        tenant.unsettled_since.is_not(None),
    )
    standing = ("current_step", "steps_completed", "total_steps", "error_code")
    return (
        update(TENANTS)
        .where(_guards(change), stays)
        .values(**_counts(change), **{name: change.c[name] for name in standing})
        .returning(*_returned())
    )


_MOVE = Batched(CHANGE, _moving_update)


def _fencing_update(change: Subquery) -> ClauseElement:
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
        .where(_guards(change))
        .values(
            **_counts(change),
            state=standing("state"),
            current_step=standing("current_step"),
            steps_completed=standing("steps_completed"),
            total_steps=standing("total_steps"),
            error_code=standing("error_code"),
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
            state_since=case(
                (and_(rewritten, change.c.state != tenant.state), change.c.updated_at),
                else_=tenant.state_since,
            ),
            unsettled_since=case(
                (not_(rewritten), tenant.unsettled_since),
                (change.c.state.in_(_SETTLED), None),
                # Counted from when it was last settled; runs that failed since do not matter.
                (tenant.state.in_(_SETTLED), change.c.updated_at),
                else_=func.coalesce(tenant.unsettled_since, change.c.updated_at),
            ),
        )
        .returning(*_returned())
    )


_FENCE = Batched(CHANGE, _fencing_update)
