"""Calls about the whole fleet: engines, sweeps, findings, the report; and carrying out a remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf import json_format, message_factory

from clients.sdk.calling import Calling
from provisioner.v1 import fleet_pb2, provisioning_pb2

if TYPE_CHECKING:
    from datetime import datetime

    from provisioner.v1.diagnosis_pb2 import Remedy
    from provisioner.v1.engines_pb2 import EngineStatus
    from provisioner.v1.fleet_pb2 import (
        AcceptSiteResponse,
        ListFindingsResponse,
        ListSweepsResponse,
        SweepResponse,
    )
    from provisioner.v1.fleet_pb2_grpc import FleetServiceStub
    from provisioner.v1.healing_pb2 import HealingReport
    from provisioner.v1.provisioning_pb2_grpc import ProvisioningServiceStub
    from provisioner.v1.tenant_pb2 import TenantStatus

_SERVICE = provisioning_pb2.DESCRIPTOR.services_by_name["ProvisioningService"]


class FleetCalls(Calling):
    """The part of the client that looks after the fleet."""

    _fleet: FleetServiceStub
    _stub: ProvisioningServiceStub

    async def list_engines(self) -> list[EngineStatus]:
        """Return the status of every configured engine: gate, slot, queue, measured step times.

        Only the service's database is asked, never an engine.
        """
        request = fleet_pb2.ListEnginesRequest()
        return list((await self._call(self._fleet.ListEngines, request)).engines)

    async def accept_site(
        self,
        engine_id: str,
        *,
        reason: str = "",
        validate_only: bool = False,
        request_id: str | None = None,
    ) -> AcceptSiteResponse:
        """Accept an engine's site as the right one, although it changed or lost Companies.

        Args:
            engine_id: Its id in the engines file.
            reason: Why, for the audit; at most 500 characters.
            validate_only: Only return what would be accepted.
            request_id: 1 to 128 printable characters that identify this order; if left out, the
                client makes one.

        Returns:
            The site as it was before the order, and whether it is accepted now.

        Raises:
            NotFound: there is no such engine.
            PermissionDenied: the caller is no administrator.
        """
        request = fleet_pb2.AcceptSiteRequest(
            engine_id=engine_id,
            reason=reason,
            validate_only=validate_only,
            request_id=self._order_id(request_id),
        )
        return await self._call(self._fleet.AcceptSite, request)

    async def sweep(self, *, dry_run: bool = False) -> SweepResponse:
        """Run one sweep now.

        Args:
            dry_run: Only return what would be done, and change nothing.

        Returns:
            What it found, at most 1000 findings.

        Raises:
            FailedPrecondition: the service runs without a reconciler.
        """
        return await self._call(self._fleet.Sweep, fleet_pb2.SweepRequest(dry_run=dry_run))

    async def list_sweeps(self, *, page_size: int = 0, page_token: str = "") -> ListSweepsResponse:
        """Return a page of sweeps, newest first, and the health of the reconciler.

        Args:
            page_size: The most sweeps to return, up to 1000; 0 leaves it to the service.
            page_token: Where the page before ended; "" for the first.
        """
        request = fleet_pb2.ListSweepsRequest(page_size=page_size, page_token=page_token)
        return await self._call(self._fleet.ListSweeps, request)

    async def list_findings(
        self,
        *,
        tenant_id: str = "",
        open_only: bool = False,
        person_only: bool = False,
        include_members: bool = False,
        page_size: int = 0,
        page_token: str = "",
    ) -> ListFindingsResponse:
        """Return a page of what sweeps found, newest first.

        Args:
            tenant_id: Only findings about this tenant; "" for all.
            open_only: Only findings that are not over.
            person_only: Only findings that need a person to act.
            include_members: Also findings that another one, about their whole herd, stands for.
            page_size: The most findings to return, up to 1000; 0 leaves it to the service.
            page_token: Where the page before ended; "" for the first.
        """
        request = fleet_pb2.ListFindingsRequest(
            tenant_id=tenant_id,
            open_only=open_only,
            person_only=person_only,
            include_members=include_members,
            page_size=page_size,
            page_token=page_token,
        )
        return await self._call(self._fleet.ListFindings, request)

    async def healing_report(
        self, *, begins_at: datetime | None = None, ends_at: datetime | None = None
    ) -> HealingReport:
        """Return which tenants got stuck in a period, and what became of them.

        Args:
            begins_at: The start of the period; if left out, a day before its end. A time without a
                zone is taken to be in UTC.
            ends_at: The end of the period, likewise; if left out, now.
        """
        request = fleet_pb2.GetHealingReportRequest()
        if begins_at is not None:
            request.begins_at.FromDatetime(begins_at)
        if ends_at is not None:
            request.ends_at.FromDatetime(ends_at)
        return (await self._call(self._fleet.GetHealingReport, request)).report

    async def carry_out(self, remedy: Remedy, *, request_id: str | None = None) -> TenantStatus:
        """Give the order that a diagnosis names as a remedy.

        Args:
            remedy: One that has a call, which is about one tenant.
            request_id: 1 to 128 printable characters that identify this order; if left out, the
                client makes one.

        Returns:
            The tenant's status.

        Raises:
            ValueError: it has no call, or its call is about a whole site (`accept_site`).
            Conflict: the order no longer fits the tenant's state.
        """
        method = _SERVICE.methods_by_name.get(remedy.call.rpartition("/")[2])
        if method is None:
            how = f": {remedy.command}" if remedy.command else f". {remedy.says}"
            raise ValueError(f"No order to this tenant carries this remedy out{how}")
        request = message_factory.GetMessageClass(method.input_type)()
        # A newer service may name a field that this client does not know.
        json_format.Parse(remedy.request, request, ignore_unknown_fields=True)
        setattr(request, "request_id", self._order_id(request_id))  # noqa: B010 - typed by name
        answer: Any = await self._call(getattr(self._stub, method.name), request)
        status: TenantStatus = answer.status
        return status
