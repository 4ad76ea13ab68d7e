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

    Every order takes a `reason` (why, for the record), an `expected_revision` (give the order
    only if the tenant still has this revision) and a `request_id` (identifies the order; if
    left out, the client makes one).
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

        Raises:
            FailedPrecondition: this step, or a tenant in this state, does not allow it.
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

        Returns:
            The status, and the documents that are left at the engine. The status is CANCELLED,
            or still in motion and waiting for CANCELLING: then the run is closed as soon as
            the outcome of every request that was sent is known.
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
            reason: Why, for the record.
            expected_revision: Give the order only if the tenant still has this revision.
            request_id: Identifies this order; if left out, the client makes one.
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

        With `validate_only` nothing changes, and only the checks are returned, side by side.
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

        With `validate_only` nothing changes, and only who holds the tenant since when is
        returned.
        """
        request = provisioning_pb2.ReleaseRequest(
            tenant_id=tenant_id,
            request_id=self._order_id(request_id),
            expected_revision=expected_revision,
            reason=reason,
            validate_only=validate_only,
        )
        return await self._call(self._stub.Release, request)
