"""The orders besides Start, Continue and Retry: skip, cancel, deprovision, adopt, release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clients.sdk.calling import Calling
from provisioner.v1 import provisioning_pb2

if TYPE_CHECKING:
    from provisioner.v1.provisioning_pb2 import (
        AdoptCompanyResponse,
        CancelResponse,
        DeprovisionResponse,
        ReleaseResponse,
    )
    from provisioner.v1.provisioning_pb2_grpc import ProvisioningServiceStub
    from provisioner.v1.tenant_pb2 import TenantStatus


class OrderCalls(Calling):
    """The part of the client that skips, stops, removes, adopts and releases.

    Every order takes a `reason` (why, for the record; at most 500 characters), an
    `expected_revision` (give the order only if the tenant still has this revision; None to give it
    in any case) and a `request_id` (1 to 128 printable characters that identify the order; if left
    out, the client makes one). Every order raises `RevisionChanged` if the tenant has another
    revision.
    """

    _stub: ProvisioningServiceStub

    async def skip_step(
        self,
        tenant_id: str,
        step_key: str,
        *,
        reason: str,
        expected_revision: int | None = None,
        request_id: str | None = None,
    ) -> TenantStatus:
        """Leave a step out for good: the demo items, or, as an operator, the till.

        Args:
            tenant_id: The tenant.
            step_key: `step_6_items` or `step_9_pos_session`.
            reason: Why, for the record; it may not be empty.
            expected_revision: As for all orders.
            request_id: As for all orders.

        Returns:
            The tenant's status, which may be COMPLETED by that.

        Raises:
            FailedPrecondition: this step, or a tenant in this state, does not allow it.
            PermissionDenied: only an operator of the whole fleet may skip this step.
        """
        request = provisioning_pb2.SkipStepRequest(
            tenant_id=tenant_id,
            step_key=step_key,
            request_id=self._order_id(request_id),
            expected_revision=expected_revision,
            reason=reason,
        )
        return (await self._call(self._stub.SkipStep, request)).status

    async def cancel(
        self,
        tenant_id: str,
        *,
        reason: str = "",
        expected_revision: int | None = None,
        request_id: str | None = None,
    ) -> CancelResponse:
        """Stop a tenant's run.

        Args:
            tenant_id: The tenant.
            reason: As for all orders.
            expected_revision: As for all orders.
            request_id: As for all orders.

        Returns:
            The status, and the documents that are left at the engine. The status is CANCELLED, or
            still in motion and waiting for CANCELLING: then the run is closed as soon as the
            outcome of every request that was sent is known.

        Raises:
            FailedPrecondition: there is nothing to cancel.
        """
        request = provisioning_pb2.CancelRequest(
            tenant_id=tenant_id,
            request_id=self._order_id(request_id),
            expected_revision=expected_revision,
            reason=reason,
        )
        return await self._call(self._stub.Cancel, request)

    async def deprovision(
        self,
        tenant_id: str,
        *,
        validate_only: bool = False,
        even_if_sold: bool = False,
        delete_transactions: bool = False,
        reason: str = "",
        expected_revision: int | None = None,
        request_id: str | None = None,
    ) -> DeprovisionResponse:
        """Open a run that removes what the service made for a tenant, and nothing else.

        Args:
            tenant_id: The tenant.
            validate_only: Only return what would be removed.
            even_if_sold: Remove even a shop that has sold something.
            delete_transactions: Have ERPNext delete the Company's transactions first.
            reason: As for all orders.
            expected_revision: As for all orders.
            request_id: As for all orders.

        Returns:
            The status, and the documents that are to be removed or stay.

        Raises:
            FailedPrecondition: the tenant has an open run.
        """
        request = provisioning_pb2.DeprovisionRequest(
            tenant_id=tenant_id,
            request_id=self._order_id(request_id),
            expected_revision=expected_revision,
            reason=reason,
            validate_only=validate_only,
            even_if_sold=even_if_sold,
            delete_transactions=delete_transactions,
        )
        return await self._call(self._stub.Deprovision, request)

    async def adopt_company(
        self,
        tenant_id: str,
        *,
        validate_only: bool = False,
        reason: str = "",
        expected_revision: int | None = None,
        request_id: str | None = None,
    ) -> AdoptCompanyResponse:
        """Accept the existing Company of the tenant's name as the tenant's, and continue.

        Args:
            tenant_id: The tenant.
            validate_only: Change nothing, and only return the checks, side by side.
            reason: As for all orders.
            expected_revision: As for all orders.
            request_id: As for all orders.

        Returns:
            The status; with `validate_only` also the checks, and who made the Company when.

        Raises:
            FailedPrecondition: there is no such Company, or a check does not allow it.
            Unreachable: the engine can't be asked now; `reason` is its code.
        """
        request = provisioning_pb2.AdoptCompanyRequest(
            tenant_id=tenant_id,
            request_id=self._order_id(request_id),
            expected_revision=expected_revision,
            reason=reason,
            validate_only=validate_only,
        )
        return await self._call(self._stub.AdoptCompany, request)

    async def release(
        self,
        tenant_id: str,
        *,
        validate_only: bool = False,
        reason: str = "",
        expected_revision: int | None = None,
        request_id: str | None = None,
    ) -> ReleaseResponse:
        """Lift a hold, or take the run from a dead worker.

        Args:
            tenant_id: The tenant.
            validate_only: Change nothing, and only return who holds the tenant since when.
            reason: As for all orders.
            expected_revision: As for all orders.
            request_id: As for all orders.

        Returns:
            The status after the order, and who held the tenant before it.

        Raises:
            FailedPrecondition: its worker is alive and at work, and there is no hold.
        """
        request = provisioning_pb2.ReleaseRequest(
            tenant_id=tenant_id,
            request_id=self._order_id(request_id),
            expected_revision=expected_revision,
            reason=reason,
            validate_only=validate_only,
        )
        return await self._call(self._stub.Release, request)
