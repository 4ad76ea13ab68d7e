"""The client: one method a rpc, every call with a deadline, every order with a request id.

An order is repeated by the channel while the service is not available, always with the
same `request_id`, so it is carried out once. Whoever repeats an order across processes
passes a `request_id` of his own.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast

from clients.sdk.access import AccessCalls
from clients.sdk.channel import SignedChannel, Tls, open_channel
from clients.sdk.fleet import FleetCalls
from clients.sdk.log_stream import LogStream
from clients.sdk.orders import OrderCalls
from clients.sdk.resuming import MAX_FAILURES
from clients.sdk.status_stream import StatusStream
from provisioner.v1 import (
    access_pb2_grpc,
    fleet_pb2_grpc,
    provisioning_pb2,
    provisioning_pb2_grpc,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from types import TracebackType

    import grpc.aio

    from provisioner.v1.diagnosis_pb2 import Diagnosis
    from provisioner.v1.listing_pb2 import TenantSummary
    from provisioner.v1.provisioning_pb2 import (
        ListTenantsRequest,
        ListTenantsResponse,
        PlanResponse,
        VerifyResponse,
    )
    from provisioner.v1.tenant_pb2 import TenantSpec, TenantStatus

DEFAULT_ADDRESS = "127.0.0.1:50051"
DEFAULT_TIMEOUT_SECONDS = 10.0
# The service ends a stream after an hour; a minute more leaves it the last word.
_FOLLOW_TIMEOUT_SECONDS = 3660.0
LONGEST_TIMEOUT_SECONDS = 86_400


def not_open() -> RuntimeError:
    """Return what a call meets before there is a connection, or after it."""
    return RuntimeError(
        "This client is not open. Use it as a context manager, and call it inside: "
        "`async with ProvisionerClient(address) as client:` (`with` for a BlockingClient)."
    )


class _NotOpen:
    """Stands where the calls of an open connection are."""

    def __getattr__(self, name: str) -> NoReturn:
        raise not_open()


class ProvisionerClient(OrderCalls, FleetCalls, AccessCalls):
    """A connection to the service, used as an async context manager.

    All methods raise `clients.sdk.errors.ProvisionerError` and its kin.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        token: str = "",
        tls: Tls | None = None,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
        make_request_id: Callable[[], str] = lambda: str(uuid.uuid4()),
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """Name the service to talk to; nothing is opened yet.

        Args:
            address: `host:port`, or any gRPC target.
            token: A user's token or a machine's key, sent with every call; "" for none.
            tls: Speak TLS, and whom to trust; None: plain text.
            timeout_seconds: Longest time a call may take, with its repetitions; at most a day.
            make_request_id: Makes the id of an order whose caller gave none.
            pause: Waits between two connections of a log stream.

        Raises:
            ValueError: the time is none that a call can have.
        """
        # gRPC takes such a one for over already, and would say that the service does not answer.
        if not 0 < timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
            raise ValueError(
                f"timeout_seconds is {timeout_seconds}: give more than 0 and at most "
                f"{LONGEST_TIMEOUT_SECONDS}."
            )
        self.address = address
        self._token = token
        self._tls = tls
        self._timeout_seconds = timeout_seconds
        self._make_request_id = make_request_id
        self._pause = pause
        self._channel: grpc.aio.Channel | None = None
        self._shut()

    async def __aenter__(self) -> Self:
        if self._channel is not None:
            raise RuntimeError(
                "This client is open already: leaving the inner block would close it for the "
                "outer one. Use the one that is open, or make another."
            )
        self._channel = channel = open_channel(self.address, self._tls)
        if self._token:
            channel = cast("grpc.aio.Channel", SignedChannel(channel, self._token))
        self._stub = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
        self._fleet = fleet_pb2_grpc.FleetServiceStub(channel)
        self._access = access_pb2_grpc.AccessServiceStub(channel)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        channel, self._channel = self._channel, None
        self._shut()
        if channel is not None:
            await channel.close()

    @property
    def is_open(self) -> bool:
        """Whether calls can be made: not before it is entered, nor after it is left."""
        return self._channel is not None

    def _shut(self) -> None:
        """Let each call say that the client is not open."""
        closed: Any = _NotOpen()
        self._stub, self._fleet, self._access = closed, closed, closed

    async def start_provisioning(
        self, spec: TenantSpec, *, tenant_id: str | None = None, request_id: str | None = None
    ) -> TenantStatus:
        """Register a tenant and open its first run.

        Args:
            spec: What the tenant should have; only the company name is needed.
            tenant_id: A UUID; the service makes one if it is left out.
            request_id: Names this order; made here if it is left out.

        Returns:
            Where the tenant stands. It exists durably from here on.
        """
        request = provisioning_pb2.StartProvisioningRequest(
            tenant_id=tenant_id, spec=spec, request_id=self._order_id(request_id)
        )
        return (await self._call(self._stub.StartProvisioning, request)).status

    async def get_status(self, tenant_id: str) -> TenantStatus:
        """Return where a tenant stands."""
        request = provisioning_pb2.GetStatusRequest(tenant_id=tenant_id)
        return (await self._call(self._stub.GetStatus, request)).status

    async def list_tenants(self, request: ListTenantsRequest | None = None) -> ListTenantsResponse:
        """Return one page of tenants, as the service cut it (`tenants` gives them one by one)."""
        return await self._call(
            self._stub.ListTenants, request or provisioning_pb2.ListTenantsRequest()
        )

    async def tenants(
        self, request: ListTenantsRequest | None = None
    ) -> AsyncGenerator[TenantSummary, None]:
        """Give the tenants of a list one by one, asking for page after page.

        Args:
            request: Filters, order, and page size; all tenants, newest first, if left out.
        """
        asked = provisioning_pb2.ListTenantsRequest()
        asked.CopyFrom(request or asked)
        while True:
            page = await self.list_tenants(asked)
            for tenant in page.tenants:
                yield tenant
            # A page may be empty although more follow.
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    async def continue_(
        self,
        tenant_id: str,
        *,
        reason: str = "",
        expected_revision: int | None = None,
        request_id: str | None = None,
    ) -> TenantStatus:
        """Drive on the steps that are not done, with fresh budgets.

        Args:
            tenant_id: The tenant.
            reason: Why, for the record.
            expected_revision: Only if the tenant still has this revision.
            request_id: Names this order; made here if it is left out.
        """
        request = provisioning_pb2.ContinueRequest(
            tenant_id=tenant_id,
            request_id=self._order_id(request_id),
            expected_revision=expected_revision,
            reason=reason,
        )
        return (await self._call(self._stub.Continue, request)).status

    async def retry(
        self,
        tenant_id: str,
        *,
        step_key: str = "",
        reason: str = "",
        expected_revision: int | None = None,
        request_id: str | None = None,
    ) -> TenantStatus:
        """Look again at all steps, or at one and those that need it.

        Args:
            tenant_id: The tenant.
            step_key: The step to begin with; all steps if it is left out.
            reason: Why, for the record.
            expected_revision: Only if the tenant still has this revision.
            request_id: Names this order; made here if it is left out.
        """
        request = provisioning_pb2.RetryRequest(
            tenant_id=tenant_id,
            request_id=self._order_id(request_id),
            expected_revision=expected_revision,
            reason=reason,
            step_key=step_key,
        )
        return (await self._call(self._stub.Retry, request)).status

    async def diagnose(self, tenant_id: str, *, skip_engine: bool = False) -> Diagnosis:
        """Say why a tenant stands where it stands: causes, evidence, remedies.

        Args:
            tenant_id: The tenant, in any state.
            skip_engine: Look at the database only.
        """
        request = provisioning_pb2.DiagnoseRequest(tenant_id=tenant_id, skip_engine=skip_engine)
        return (await self._call(self._stub.Diagnose, request)).diagnosis

    async def plan(self, spec: TenantSpec | None = None, *, tenant_id: str = "") -> PlanResponse:
        """Say what a run would find and make; nothing is written, here or at the engine.

        Args:
            spec: What a new tenant should have; None for an existing one.
            tenant_id: The existing tenant; "" with a spec.
        """
        request = provisioning_pb2.PlanRequest(tenant_id=tenant_id, spec=spec)
        return await self._call(self._stub.Plan, request)

    async def verify(self, tenant_id: str) -> VerifyResponse:
        """Say how a tenant at rest differs from what it should have; writes nothing."""
        request = provisioning_pb2.VerifyRequest(tenant_id=tenant_id)
        return await self._call(self._stub.Verify, request)

    def watch_status(
        self,
        tenant_id: str,
        *,
        max_failures: int = MAX_FAILURES,
        on_lost: Callable[[], object] | None = None,
    ) -> StatusStream:
        """Tell where a tenant stands, at once and at each change, until it is at rest.

        Args:
            tenant_id: The tenant.
            max_failures: Failures in a row without a status before it gives up.
            on_lost: Called when the connection is lost, once an outage.

        Returns:
            An async iterator; leave it with `async with` or `aclose`.
        """
        return StatusStream(
            lambda request: self._stub.WatchStatus(request, timeout=_FOLLOW_TIMEOUT_SECONDS),
            tenant_id,
            pause=self._pause,
            max_failures=max_failures,
            tls=self._tls is not None,
            on_lost=on_lost,
        )

    def stream_logs(
        self,
        tenant_id: str,
        *,
        after_cursor: int = 0,
        follow: bool = False,
        max_failures: int = MAX_FAILURES,
    ) -> LogStream:
        """Read a tenant's log: each entry once, in order, across lost connections.

        Args:
            tenant_id: The tenant.
            after_cursor: Begin after this entry; 0 is from the beginning.
            follow: Go on as the log grows, until the tenant is at rest.
            max_failures: Failures in a row without a new entry before it gives up.

        Returns:
            An async iterator; leave it with `async with` or `aclose`.
        """
        # Without `follow` the deadline holds for one connection: a log too long for it
        # is read on from the last cursor, so only standing still counts as a failure.
        timeout = _FOLLOW_TIMEOUT_SECONDS if follow else self._timeout_seconds
        return LogStream(
            lambda request: self._stub.StreamLogs(request, timeout=timeout),
            tenant_id,
            after_cursor=after_cursor,
            follow=follow,
            pause=self._pause,
            max_failures=max_failures,
            tls=self._tls is not None,
        )
