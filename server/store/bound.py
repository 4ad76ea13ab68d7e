"""Which company names of a site are bound to tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from server.store.snapshot import snapshot
from server.store.tables import BINDINGS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine


async def read_bound_companies(engine: AsyncEngine, site: str) -> frozenset[str]:
    """Return the company names of a site to which tenants are bound, folded (`fold_name`).

    Raises:
        StoreUnavailable: the database can't be read.
    """
    query = select(BINDINGS.c.company_fold).where(BINDINGS.c.site == site)
    async with snapshot(engine) as connection:
        return frozenset((await connection.execute(query)).scalars())
