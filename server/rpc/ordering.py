"""Answers the orders that stop, skip, remove, adopt and release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.v1 import orders_pb2, provisioning_pb2
from server.commands import OrderTerms
from server.model.undo import UndoOptions
from server.rpc import messages
from server.rpc.answering import Answering

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.v1.tenant_pb2 import TenantStatus
    from server.commands import Adoption, Commands, Holder, TenantDocument
    from server.model.actor import Actor
    from server.queries import Queries
    from server.rpc.identity import Context

    OrderRequest = (
        provisioning_pb2.AdoptCompanyRequest
        | provisioning_pb2.CancelRequest
        | provisioning_pb2.ContinueRequest
        | provisioning_pb2.DeprovisionRequest
        | provisioning_pb2.ReleaseRequest
        | provisioning_pb2.RetryRequest
        | provisioning_pb2.SkipStepRequest
    )
    # Orders that can be asked what they would do.
    _Foreseeable = (
        provisioning_pb2.AdoptCompanyRequest
        | provisioning_pb2.DeprovisionRequest
        | provisioning_pb2.ReleaseRequest
    )

_ORIGINS = {
    name.removeprefix("DOCUMENT_ORIGIN_"): value
    for name, value in orders_pb2.DocumentOrigin.items()
}


def terms_of(request: OrderRequest) -> OrderTerms:
    """Return the fields that every order has, as they were sent."""
    return OrderTerms(
        request_id=request.request_id,
        expected_revision=(
            request.expected_revision if request.HasField("expected_revision") else None
        ),
        reason=request.reason,
    )


class Ordering(Answering):
    """The part of the service that takes these orders."""

    _commands: Commands
    _queries: Queries

    async def SkipStep(
        self, request: provisioning_pb2.SkipStepRequest, context: Context
    ) -> provisioning_pb2.SkipStepResponse:
        """Leave a step out."""

        async def skip(actor: Actor) -> provisioning_pb2.SkipStepResponse:
            tenant_id = await self._commands.skip_step(
                actor, request.tenant_id, terms_of(request), step_key=request.step_key
            )
            return provisioning_pb2.SkipStepResponse(status=await self._status(actor, tenant_id))

        return await self._answer(context, "SkipStep", skip)

    async def Cancel(
        self, request: provisioning_pb2.CancelRequest, context: Context
    ) -> provisioning_pb2.CancelResponse:
        """Stop a run."""

        async def cancel(actor: Actor) -> provisioning_pb2.CancelResponse:
            tenant_id = await self._commands.cancel(actor, request.tenant_id, terms_of(request))
            return provisioning_pb2.CancelResponse(
                status=await self._status(actor, tenant_id),
                documents=_documents(await self._commands.documents(actor, tenant_id)),
            )

        return await self._answer(context, "Cancel", cancel)

    async def Deprovision(
        self, request: provisioning_pb2.DeprovisionRequest, context: Context
    ) -> provisioning_pb2.DeprovisionResponse:
        """Remove what was made for a tenant."""

        async def remove(actor: Actor) -> provisioning_pb2.DeprovisionResponse:
            tenant_id: str = request.tenant_id
            if request.validate_only:
                documents = await self._commands.foreseen(
                    actor, tenant_id, expected_revision=_foreseen(request)
                )
            else:
                documents = await self._commands.documents(actor, tenant_id)
                tenant_id = await self._commands.deprovision(
                    actor,
                    tenant_id,
                    terms_of(request),
                    options=UndoOptions(
                        even_if_sold=request.even_if_sold,
                        delete_transactions=request.delete_transactions,
                    ),
                )
            return provisioning_pb2.DeprovisionResponse(
                status=await self._status(actor, tenant_id), documents=_documents(documents)
            )

        return await self._answer(context, "Deprovision", remove)

    async def AdoptCompany(
        self, request: provisioning_pb2.AdoptCompanyRequest, context: Context
    ) -> provisioning_pb2.AdoptCompanyResponse:
        """Make an existing Company the tenant's."""

        async def adopt(actor: Actor) -> provisioning_pb2.AdoptCompanyResponse:
            tenant_id: str = request.tenant_id
            adoption = None
            if request.validate_only:
                adoption = await self._commands.adoption(
                    actor, tenant_id, expected_revision=_foreseen(request)
                )
            else:
                tenant_id = await self._commands.adopt_company(actor, tenant_id, terms_of(request))
            return _adoption(adoption, await self._status(actor, tenant_id))

        return await self._answer(context, "AdoptCompany", adopt)

    async def Release(
        self, request: provisioning_pb2.ReleaseRequest, context: Context
    ) -> provisioning_pb2.ReleaseResponse:
        """Lift a hold, or end a dead lease."""

        async def release(actor: Actor) -> provisioning_pb2.ReleaseResponse:
            tenant_id: str = request.tenant_id
            holder = await self._commands.holder(
                actor, tenant_id, expected_revision=_foreseen(request)
            )
            if not request.validate_only:
                tenant_id = await self._commands.release(actor, tenant_id, terms_of(request))
            return _holder(holder, await self._status(actor, tenant_id))

        return await self._answer(context, "Release", release)

    async def _status(self, actor: Actor, tenant_id: str) -> TenantStatus:
        return messages.tenant_status(await self._queries.status(actor, tenant_id))


def _foreseen(request: _Foreseeable) -> int | None:
    """Return the expected revision of an order that only asks what it would do; else None.

    For an order that is carried out it is compared then, and not before: an order that was given
    already must be answered.
    """
    return terms_of(request).expected_revision if request.validate_only else None


def _documents(documents: Iterable[TenantDocument]) -> list[orders_pb2.TenantDocument]:
    return [
        orders_pb2.TenantDocument(
            doctype=messages.text_of(each.doctype),
            name=messages.text_of(each.name),
            origin=_ORIGINS[each.state.value],
            removed=each.removed,
            note=each.why,
        )
        for each in documents
    ]


def _adoption(
    adoption: Adoption | None, status: TenantStatus
) -> provisioning_pb2.AdoptCompanyResponse:
    if adoption is None:
        return provisioning_pb2.AdoptCompanyResponse(status=status)
    return provisioning_pb2.AdoptCompanyResponse(
        status=status,
        company_owner=messages.text_of(adoption.owner),
        company_created=messages.text_of(adoption.made_at),
        checks=[
            orders_pb2.CompanyCheck(
                field=check.field,
                want=messages.text_of(check.want),
                have=messages.text_of(check.have),
                agrees=check.agrees,
            )
            for check in adoption.checks
        ],
    )


def _holder(holder: Holder, status: TenantStatus) -> provisioning_pb2.ReleaseResponse:
    lease = None
    if holder.worker_id:
        lease = orders_pb2.LeaseHolder(
            worker_id=messages.text_of(holder.worker_id),
            heartbeat_at=messages.time_of(holder.heartbeat_at),
            alive=not holder.dead,
        )
    return provisioning_pb2.ReleaseResponse(
        status=status,
        hold=None if holder.hold is None else messages.hold_of(holder.hold),
        lease=lease,
    )
