"""A scripted service on a real socket: it answers what a test wrote down beforehand.

Nothing is played by the clock: streams break, hang and end where the script says so, and
tests wait for signals (`opened`, `cancelled`), not for time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Never, TypeVar

import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import (
    error_details_pb2,
    status_pb2,
)

from provisioner.v1 import (
    diagnosis_pb2,
    engines_pb2,
    fleet_pb2,
    provisioning_pb2,
    provisioning_pb2_grpc,
    tenant_pb2,
)
from provisioner.v1.fleet_pb2_grpc import (
    FleetServiceServicer,
    add_FleetServiceServicer_to_server,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import Any

    from google.protobuf.message import Message

    from provisioner.v1.provisioning_pb2 import LogEntry
    from provisioner.v1.tenant_pb2 import TenantStatus

    # Any: how a handler is typed on the wire makes no difference to the scripts.
    Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """An error of the service, with its google.rpc details."""

    code: grpc.StatusCode
    reason: str = ""
    message: str = "scripted"
    fields: Mapping[str, str] = field(default_factory=dict)
    retry_delay_seconds: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    raw_details: bytes | None = None

    async def raise_in(self, context: Context) -> Never:
        details = self.raw_details if self.raw_details is not None else self._details()
        trailer = (("grpc-status-details-bin", details),) if details else ()
        await context.abort(self.code, self.message, trailing_metadata=trailer)
        raise AssertionError("abort returned")

    def _details(self) -> bytes:
        parts: list[Message] = []
        if self.reason:
            parts.append(
                error_details_pb2.ErrorInfo(
                    reason=self.reason, domain="provisioner", metadata=self.metadata
                )
            )
        if self.fields:
            bad_request = error_details_pb2.BadRequest()
            for name, description in self.fields.items():
                bad_request.field_violations.add(field=name, description=description)
            parts.append(bad_request)
        if self.retry_delay_seconds is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(int(self.retry_delay_seconds * 1000))
            parts.append(retry)
        if not parts:
            return b""
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for part in parts:
            packed = AnyMessage()
            packed.Pack(part)
            status.details.append(packed)
        return bytes(status.SerializeToString())


@dataclass(frozen=True)
class Hang:
    """A point where a stream, or an answer, waits until the caller goes away."""


@dataclass(frozen=True)
class WaitFor:
    """A point where a stream waits for the test."""

    signal: asyncio.Event


Answered = TypeVar("Answered")
Page = list["LogEntry"]
Stream = Sequence["Page | Fault | Hang | WaitFor"]


class FakeService(provisioning_pb2_grpc.ProvisioningServiceServicer):
    """Answers from scripts, and remembers what it was asked."""

    def __init__(self) -> None:
        # Answers to GetStatus in order; the last one stays.
        self.statuses: deque[TenantStatus] = deque([tenant_pb2.TenantStatus()])
        # What an order answers; the next status where it is None.
        self.acknowledged: TenantStatus | None = None
        # What the other orders answer besides a status, by method.
        self.answers: dict[str, Any] = {}
        self.diagnosis = diagnosis_pb2.Diagnosis()
        # Given before `diagnosis`, one a call.
        self.diagnoses: deque[diagnosis_pb2.Diagnosis] = deque()
        # Given before these, by tenant, in order; the last one stays.
        self.diagnoses_of: dict[str, deque[diagnosis_pb2.Diagnosis | Fault]] = {}
        # Where so many diagnoses meet before one of them is answered.
        self.looks_meet: asyncio.Barrier | None = None
        # What the service of the fleet answers, where it is scripted.
        self.sweep: fleet_pb2.SweepResponse | None = None
        self.sweeps: fleet_pb2.ListSweepsResponse | None = None
        self.findings: fleet_pb2.ListFindingsResponse | None = None
        self.report: fleet_pb2.GetHealingReportResponse | None = None
        self.engines: list[engines_pb2.EngineStatus] = []
        self.site = engines_pb2.SiteInQuestion()
        self.plan = provisioning_pb2.PlanResponse()
        self.drift = provisioning_pb2.VerifyResponse()
        # What each WatchStatus does, in order of the calls; after them the statuses are sent.
        self.watches: deque[Sequence[TenantStatus | Fault | Hang | WaitFor]] = deque()
        # Answers to ListTenants in order; the last one stays.
        self.pages: deque[provisioning_pb2.ListTenantsResponse] = deque(
            [provisioning_pb2.ListTenantsResponse()]
        )
        # Faults by method, raised in order before it answers.
        self.faults: dict[str, deque[Fault | Hang]] = defaultdict(deque)
        # What each StreamLogs does, in order of the calls; after them `log` is sent.
        self.streams: deque[Stream] = deque()
        self.log: Page = []
        self.requests: dict[str, list[Any]] = defaultdict(list)
        self.opened: asyncio.Queue[provisioning_pb2.StreamLogsRequest] = asyncio.Queue()
        self.watched: asyncio.Queue[provisioning_pb2.WatchStatusRequest] = asyncio.Queue()
        self.cancelled: asyncio.Queue[provisioning_pb2.StreamLogsRequest] = asyncio.Queue()

    def stream(self, *parts: Page | Fault | Hang | WaitFor, times: int = 1) -> None:
        """Write down what the next StreamLogs does, or the next few."""
        self.streams.extend([parts] * times)

    async def StartProvisioning(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.StartProvisioningRequest, context: Context
    ) -> provisioning_pb2.StartProvisioningResponse:
        await self._arrive("StartProvisioning", request, context)
        return provisioning_pb2.StartProvisioningResponse(status=self._acknowledge())

    async def GetStatus(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.GetStatusRequest, context: Context
    ) -> provisioning_pb2.GetStatusResponse:
        await self._arrive("GetStatus", request, context)
        return provisioning_pb2.GetStatusResponse(status=self._status())

    async def WatchStatus(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.WatchStatusRequest, context: Context
    ) -> AsyncIterator[provisioning_pb2.WatchStatusResponse]:
        await self._arrive("WatchStatus", request, context)
        self.watched.put_nowait(request)
        for part in self.watches.popleft() if self.watches else [*self.statuses]:
            if isinstance(part, tenant_pb2.TenantStatus):
                yield provisioning_pb2.WatchStatusResponse(status=part)
            else:
                await _play(part, context)

    async def ListTenants(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.ListTenantsRequest, context: Context
    ) -> provisioning_pb2.ListTenantsResponse:
        await self._arrive("ListTenants", request, context)
        return self.pages.popleft() if len(self.pages) > 1 else self.pages[0]

    async def Continue(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.ContinueRequest, context: Context
    ) -> provisioning_pb2.ContinueResponse:
        await self._arrive("Continue", request, context)
        return provisioning_pb2.ContinueResponse(status=self._acknowledge())

    async def Retry(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.RetryRequest, context: Context
    ) -> provisioning_pb2.RetryResponse:
        await self._arrive("Retry", request, context)
        return provisioning_pb2.RetryResponse(status=self._acknowledge())

    async def SkipStep(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.SkipStepRequest, context: Context
    ) -> provisioning_pb2.SkipStepResponse:
        await self._arrive("SkipStep", request, context)
        answer: provisioning_pb2.SkipStepResponse = self.answers.get(
            "SkipStep", provisioning_pb2.SkipStepResponse()
        )
        answer.status.CopyFrom(self._acknowledge())
        return answer

    async def Cancel(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.CancelRequest, context: Context
    ) -> provisioning_pb2.CancelResponse:
        await self._arrive("Cancel", request, context)
        answer: provisioning_pb2.CancelResponse = self.answers.get(
            "Cancel", provisioning_pb2.CancelResponse()
        )
        answer.status.CopyFrom(self._acknowledge())
        return answer

    async def Deprovision(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.DeprovisionRequest, context: Context
    ) -> provisioning_pb2.DeprovisionResponse:
        await self._arrive("Deprovision", request, context)
        answer: provisioning_pb2.DeprovisionResponse = self.answers.get(
            "Deprovision", provisioning_pb2.DeprovisionResponse()
        )
        answer.status.CopyFrom(self._acknowledge())
        return answer

    async def AdoptCompany(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.AdoptCompanyRequest, context: Context
    ) -> provisioning_pb2.AdoptCompanyResponse:
        await self._arrive("AdoptCompany", request, context)
        answer: provisioning_pb2.AdoptCompanyResponse = self.answers.get(
            "AdoptCompany", provisioning_pb2.AdoptCompanyResponse()
        )
        answer.status.CopyFrom(self._acknowledge())
        return answer

    async def Release(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.ReleaseRequest, context: Context
    ) -> provisioning_pb2.ReleaseResponse:
        await self._arrive("Release", request, context)
        answer: provisioning_pb2.ReleaseResponse = self.answers.get(
            "Release", provisioning_pb2.ReleaseResponse()
        )
        answer.status.CopyFrom(self._acknowledge())
        return answer

    async def Diagnose(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.DiagnoseRequest, context: Context
    ) -> provisioning_pb2.DiagnoseResponse:
        await self._arrive("Diagnose", request, context)
        if self.looks_meet is not None:
            await self.looks_meet.wait()
        of_tenant = self.diagnoses_of.get(request.tenant_id)
        if of_tenant is None:
            found = self.diagnoses.popleft() if self.diagnoses else self.diagnosis
            return provisioning_pb2.DiagnoseResponse(diagnosis=found)
        part = of_tenant.popleft() if len(of_tenant) > 1 else of_tenant[0]
        if isinstance(part, Fault):
            await part.raise_in(context)
        return provisioning_pb2.DiagnoseResponse(diagnosis=part)

    async def Plan(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.PlanRequest, context: Context
    ) -> provisioning_pb2.PlanResponse:
        await self._arrive("Plan", request, context)
        return self.plan

    async def Verify(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.VerifyRequest, context: Context
    ) -> provisioning_pb2.VerifyResponse:
        await self._arrive("Verify", request, context)
        return self.drift

    async def StreamLogs(  # noqa: N802 - gRPC fixes the name
        self, request: provisioning_pb2.StreamLogsRequest, context: Context
    ) -> AsyncIterator[provisioning_pb2.StreamLogsResponse]:
        await self._arrive("StreamLogs", request, context)
        self.opened.put_nowait(request)
        try:
            stream = self.streams.popleft() if self.streams else [self.log] if self.log else []
            for part in stream:
                if isinstance(part, list):
                    yield provisioning_pb2.StreamLogsResponse(entries=part, cursor=part[-1].cursor)
                else:
                    await _play(part, context)
        except (asyncio.CancelledError, GeneratorExit):
            # Where the call is cancelled while gRPC still sends what was given last, gRPC is told
            # of it and drops the rest.
            self.cancelled.put_nowait(request)
            raise

    async def _arrive(self, method: str, request: Message, context: Context) -> None:
        self.requests[method].append(request)
        if self.faults[method]:
            await _play(self.faults[method].popleft(), context)

    def _acknowledge(self) -> TenantStatus:
        return self.acknowledged or self._status()

    def _status(self) -> TenantStatus:
        return self.statuses.popleft() if len(self.statuses) > 1 else self.statuses[0]


async def _play(part: Fault | Hang | WaitFor, context: Context) -> None:
    match part:
        case Fault():
            await part.raise_in(context)
        case WaitFor():
            await part.signal.wait()
        case Hang():
            await asyncio.Event().wait()


async def _not_scripted(context: Context) -> Never:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no script for it")


class FakeFleet(FleetServiceServicer):
    """The other service of the same script."""

    def __init__(self, script: FakeService) -> None:
        self._script = script

    async def ListEngines(  # noqa: N802 - gRPC fixes the name
        self,
        request: fleet_pb2.ListEnginesRequest,
        context: Context,
    ) -> fleet_pb2.ListEnginesResponse:
        return fleet_pb2.ListEnginesResponse(engines=self._script.engines)

    async def AcceptSite(  # noqa: N802 - gRPC fixes the name
        self,
        request: fleet_pb2.AcceptSiteRequest,
        context: Context,
    ) -> fleet_pb2.AcceptSiteResponse:
        self._script.requests["AcceptSite"].append(request)
        site = self._script.site
        return fleet_pb2.AcceptSiteResponse(site=site, accepted=not request.validate_only)

    async def Sweep(  # noqa: N802 - gRPC fixes the name
        self,
        request: fleet_pb2.SweepRequest,
        context: Context,
    ) -> fleet_pb2.SweepResponse:
        return await self._scripted("Sweep", request, self._script.sweep, context)

    async def ListSweeps(  # noqa: N802 - gRPC fixes the name
        self,
        request: fleet_pb2.ListSweepsRequest,
        context: Context,
    ) -> fleet_pb2.ListSweepsResponse:
        return await self._scripted("ListSweeps", request, self._script.sweeps, context)

    async def ListFindings(  # noqa: N802 - gRPC fixes the name
        self,
        request: fleet_pb2.ListFindingsRequest,
        context: Context,
    ) -> fleet_pb2.ListFindingsResponse:
        return await self._scripted("ListFindings", request, self._script.findings, context)

    async def GetHealingReport(  # noqa: N802 - gRPC fixes the name
        self,
        request: fleet_pb2.GetHealingReportRequest,
        context: Context,
    ) -> fleet_pb2.GetHealingReportResponse:
        return await self._scripted("GetHealingReport", request, self._script.report, context)

    async def _scripted(
        self, method: str, request: Message, answer: Answered | None, context: Context
    ) -> Answered:
        self._script.requests[method].append(request)
        if answer is None:
            await _not_scripted(context)
        return answer


class Serving:
    """The scripted service behind a port, which can go away and come back."""

    def __init__(self, service: FakeService) -> None:
        self.service = service
        self._port = 0
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        # Without SO_REUSEPORT: two servers on one port would share the calls.
        self._server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
        provisioning_pb2_grpc.add_ProvisioningServiceServicer_to_server(self.service, self._server)
        add_FleetServiceServicer_to_server(FakeFleet(self.service), self._server)
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(grace=None)
            self._server = None


@contextlib.asynccontextmanager
async def serving(service: FakeService) -> AsyncIterator[Serving]:
    """Serve `service` on a free port."""
    server = Serving(service)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
