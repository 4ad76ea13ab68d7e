"""Answers ListTenants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.v1 import listing_pb2, provisioning_pb2, tenant_pb2
from server.model.listing import ListOrder
from server.model.states import TenantState
from server.rpc import messages
from server.rpc.answering import Answering
from server.validation import RawListing

if TYPE_CHECKING:
    from server.model.actor import Actor
    from server.queries import Queries
    from server.rpc.identity import Context

_STATES = {
    value: TenantState.parse(name.removeprefix("TENANT_STATE_"))
    for name, value in tenant_pb2.TenantState.items()
}
_ORDERS = {
    value: ListOrder.parse(name.removeprefix("LIST_ORDER_"))
    for name, value in listing_pb2.ListOrder.items()
} | {listing_pb2.LIST_ORDER_UNSPECIFIED: ListOrder.NEWEST}


class Listing(Answering):
    """The part of the service that lists tenants."""

    _queries: Queries

    async def ListTenants(
        self, request: provisioning_pb2.ListTenantsRequest, context: Context
    ) -> provisioning_pb2.ListTenantsResponse:
        """Return one page of tenants."""

        async def page(actor: Actor) -> provisioning_pb2.ListTenantsResponse:
            found = await self._queries.tenants(actor, raw_listing(request))
            return provisioning_pb2.ListTenantsResponse(
                tenants=[messages.tenant_summary(tenant) for tenant in found.tenants],
                next_page_token=found.next_page_token,
            )

        return await self._answer(context, "ListTenants", page)


def raw_listing(request: provisioning_pb2.ListTenantsRequest) -> RawListing:
    """Return a list's filters as they were sent; a value from a newer contract is None."""
    return RawListing(
        states=tuple(_STATES.get(state) for state in request.states),
        engine_id=request.engine_id,
        text=request.text,
        held=request.held if request.HasField("held") else None,
        stuck_longer_than=(
            messages.span(request.stuck_longer_than)
            if request.HasField("stuck_longer_than")
            else None
        ),
        order=_ORDERS.get(request.order_by),
        page_size=request.page_size,
        page_token=request.page_token,
    )
