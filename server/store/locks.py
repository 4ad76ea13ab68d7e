"""Locks the rows that a batch is about to change, so that nobody changes them before the commit.

Nobody waits here: an operation whose row another process holds is BUSY, and the others go on. So
no two processes can wait for each other, and one that hangs in the middle of a transaction stops
only its own tenants. For the same reason, rows with a unique key are inserted in the order of
their keys. SQLite needs none of this: BEGIN IMMEDIATE locks the whole file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select

from server.store.operations import GateOperation, Outcome, Refusal, TenantOperation
from server.store.site_operations import SiteOperation
from server.store.tables import ENGINES, TENANTS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, Connection, Select

    from server.store.operations import Operation


@dataclass(slots=True)
class Locking:
    """The tenants to lock when a transaction is opened.

    Attributes:
        tenant_ids: In order, so that two transactions can't wait for each other.
        locked: Those that are locked once it is open; somebody else holds the others, or they do
            not exist. None if locking was not tried.
    """

    tenant_ids: list[str]
    locked: Collection[str] | None = None

    @classmethod
    def of(cls, batch: Sequence[Operation]) -> Locking:
        """Return what a batch needs: the tenants that it changes, but for those it creates."""
        return cls(sorted(_changed(batch)))


def lock(
    connection: Connection,
    batch: Sequence[Operation],
    outcomes: dict[int, Outcome],
    locking: Locking | None,
) -> list[Operation]:
    """Lock what is not locked yet; answer BUSY to operations whose rows another process holds.

    Args:
        connection: In the transaction.
        batch: The operations.
        outcomes: Where the answers go, by the `id()` of the operation.
        locking: What was already locked when the transaction was opened; None for nothing.

    Returns:
        The operations that may be written now.
    """
    if connection.dialect.name != "postgresql":
        return list(batch)
    locked = None if locking is None else locking.locked
    held = _held(connection, TENANTS.c.id, _changed(batch), locked)
    ready = [op for op in batch if not (isinstance(op, TenantOperation) and op.tenant_id in held)]
    held |= _held(connection, ENGINES.c.site, {site for op in ready if (site := _site(op))})
    ready = [op for op in ready if _site(op) not in held]
    kept = set(map(id, ready))
    outcomes |= {id(op): Outcome(refusal=Refusal.BUSY) for op in batch if id(op) not in kept}
    return ready


def _changed(batch: Sequence[Operation]) -> set[str]:
    """Return the ids of the tenants that a batch changes and does not create."""
    return {op.tenant_id for op in batch if isinstance(op, TenantOperation) and op.create is None}


def _site(op: Operation) -> str | None:
    """Return the site whose row an operation changes; None if it changes none."""
    if isinstance(op, GateOperation | SiteOperation):
        return op.site
    return op.slot.site if isinstance(op, TenantOperation) and op.slot is not None else None


def _held(
    connection: Connection,
    key: ColumnElement[str],
    wanted: set[str],
    locked: Collection[str] | None = None,
) -> set[str]:
    """Lock rows not locked yet; return the keys of those that another transaction holds."""
    if not wanted:
        return set()
    query, locking = _by_keys(key)
    if locked is None:
        locked = connection.execute(locking, {"keys": sorted(wanted)}).scalars().all()
    left = wanted.difference(locked)
    if not left:
        return left
    return set(connection.execute(query, {"keys": sorted(left)}).scalars())


@lru_cache(maxsize=4)
def _by_keys(key: ColumnElement[str]) -> tuple[Select[Any], Select[Any]]:
    """Return a query for rows, and one that also locks them; built once, for all batches."""
    query = select(key).where(key == func.any(bindparam("keys"))).order_by(key)
    return query, query.with_for_update(skip_locked=True)
