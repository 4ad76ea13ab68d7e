"""Locks the rows that a batch is about to change, so that nobody changes them before the commit.

Nobody waits here: an operation whose row is held by another process is BUSY, and the others
go on. So no two processes can wait for each other, and one that hangs in the middle of a
transaction stops nobody but its own tenants. What is inserted under a unique key goes in the
keys' order, for the same reason. SQLite's BEGIN IMMEDIATE locks the whole file.
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
    """Tenants to lock as a transaction is opened.

    Attributes:
        tenant_ids: In order, so that nobody waits crosswise.
        locked: Those that are locked, once it is opened; the others somebody else holds, or
            they are not there. None: none were looked for.
    """

    tenant_ids: list[str]
    locked: Collection[str] | None = None

    @classmethod
    def of(cls, batch: Sequence[Operation]) -> Locking:
        """Return what a batch needs."""
        return cls(sorted(_changed(batch)))


def lock(
    connection: Connection,
    batch: Sequence[Operation],
    outcomes: dict[int, Outcome],
    locking: Locking | None,
) -> list[Operation]:
    """Lock what is not locked yet; answer the operations whose rows another process holds.

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
    """Return the tenants that are there, as their makers think, and are changed."""
    return {op.tenant_id for op in batch if isinstance(op, TenantOperation) and op.create is None}


def _site(op: Operation) -> str | None:
    """Return the site whose row an operation changes."""
    if isinstance(op, GateOperation | SiteOperation):
        return op.site
    return op.slot.site if isinstance(op, TenantOperation) and op.slot is not None else None


def _held(
    connection: Connection,
    key: ColumnElement[str],
    wanted: set[str],
    locked: Collection[str] | None = None,
) -> set[str]:
    """Lock rows, if that was not done; return the keys of those that another transaction holds."""
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
    """Return a look at rows, and one that locks them; made once, as every batch begins with it."""
    query = select(key).where(key == func.any(bindparam("keys"))).order_by(key)
    return query, query.with_for_update(skip_locked=True)
