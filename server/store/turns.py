"""The turns that all reconcilers share: so many in a window of time, whoever takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import or_, select, update

from server.store.rowset import add
from server.store.tables import QUOTAS

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy import Connection


def take(
    connection: Connection, *, name: str, now: datetime, window: timedelta, limit: int
) -> bool:
    """Take a turn; the arguments are those of `HealingStore.take_turn`.

    Returns:
        False if they are used up.

    Raises:
        sqlalchemy.exc.IntegrityError: another reconciler made the row at the same moment.
    """
    over = or_(QUOTAS.c.since <= now - window, QUOTAS.c.since > now)
    # One statement each: PostgreSQL's row lock keeps two from both taking the last turn.
    renewed = connection.execute(
        update(QUOTAS).where(QUOTAS.c.name == name, over).values(since=now, used=1)
    )
    if renewed.rowcount:
        return True
    taken = connection.execute(
        update(QUOTAS)
        .where(QUOTAS.c.name == name, QUOTAS.c.used < limit)
        .values(used=QUOTAS.c.used + 1)
    )
    if taken.rowcount:
        return True
    there = select(QUOTAS.c.name).where(QUOTAS.c.name == name)
    if connection.execute(there).first() is not None:
        return False
    add(connection, QUOTAS, [{"name": name, "since": now, "used": 1}])
    return True


def give_back(connection: Connection, *, name: str) -> None:
    """Give back a turn that was not used."""
    connection.execute(
        update(QUOTAS)
        .where(QUOTAS.c.name == name, QUOTAS.c.used > 0)
        .values(used=QUOTAS.c.used - 1)
    )
