"""Which tenants are bound to the Companies of a site, and which of these the record has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select

from server.model.ownership import WAS_THERE
from server.model.states import TenantState
from server.store.snapshot import snapshot
from server.store.tables import BINDINGS, RESOURCES, TENANTS

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine

# Their runs look for the Company by themselves.
_IN_MOTION = (TenantState.IN_PROGRESS, TenantState.DEPROVISIONING)


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundCompany:
    """A Company's name that is a tenant's.

    Attributes:
        tenant_id: The tenant.
        name: The Company's name, as the tenant has it.
        seen_at: Since when the record says that the Company is there; None if it does not say so,
            or the tenant is in motion.
    """

    tenant_id: str
    name: str
    seen_at: datetime | None


async def read_bound_companies(engine: AsyncEngine, site: str) -> dict[str, BoundCompany]:
    """Return the company names of a site to which tenants are bound, by folded name.

    Raises:
        StoreUnavailable: the database can't be read.
    """
    recorded = and_(
        RESOURCES.c.tenant_id == BINDINGS.c.tenant_id,
        RESOURCES.c.doctype == "Company",
        RESOURCES.c.state.in_(WAS_THERE),
        TENANTS.c.state.not_in(_IN_MOTION),
    )
    query = (
        select(
            BINDINGS.c.tenant_id,
            BINDINGS.c.company_name,
            BINDINGS.c.company_fold,
            func.coalesce(RESOURCES.c.settled_at, RESOURCES.c.intended_at),
        )
        .join_from(BINDINGS, TENANTS, TENANTS.c.id == BINDINGS.c.tenant_id)
        .outerjoin(RESOURCES, recorded)
        .where(BINDINGS.c.site == site)
    )
    async with snapshot(engine) as connection:
        return {
            fold: BoundCompany(tenant_id=tenant_id, name=name, seen_at=seen_at)
            for tenant_id, name, fold, seen_at in (await connection.execute(query)).all()
        }
