"""The tenants that wait for a person, as their own rows say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import literal_column, select

from server.store.conditions import HELD, UNSETTLED
from server.store.tables import TENANTS
from server.store.values import words

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """A tenant that waits for a person: one was called, or it is held.

    Attributes:
        reason: Why it is held; "" if it is not.
        since: Since when it is held, or has stood still; None if that can't be read.
    """

    tenant_id: str
    company_name: str
    state: str
    error_code: str
    held: bool
    reason: str
    since: datetime | None


async def read_handed_over(
    connection: AsyncConnection, *, never: datetime, limit: int
) -> list[HandedOver]:
    """Read them, those that waited longest first; see `HealingStore.handed_over`."""
    # Each part has its own index; an OR would use none and read every tenant.
    called = select(TENANTS.c.id).where(literal_column(UNSETTLED), TENANTS.c.look_at >= never)
    held = select(TENANTS.c.id).where(literal_column(HELD))
    query = (
        select(TENANTS)
        # A tenant that lives elsewhere never has a run here: it waits for nobody.
        .where(TENANTS.c.id.in_(called.union(held)), TENANTS.c.site != "")
        .order_by(TENANTS.c.updated_at, TENANTS.c.id)
        .limit(limit)
    )
    found = (await connection.execute(query)).mappings().all()
    return [_handed_over(row) for row in found]


def _handed_over(row: RowMapping) -> HandedOver:
    held = row["hold_reason"] is not None
    return HandedOver(
        tenant_id=row["id"],
        company_name=words(row["company_name"]),
        state=words(row["state"]),
        error_code=words(row["error_code"]),
        held=held,
        reason=words(row["hold_reason"]),
        since=row["hold_since"] if held else row["updated_at"],
    )
