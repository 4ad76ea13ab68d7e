"""The client: one method per rpc, a deadline on every call, a request id on every order.

While the service is unavailable the channel repeats an order, always with the same
`request_id`, so it is carried out once. To repeat an order from another process, pass a
`request_id` of your own.
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
# The service ends a stream after an hour; a minute more lets it end the stream itself.
_FOLLOW_TIMEOUT_SECONDS = 3660.0
LONGEST_TIMEOUT_SECONDS = 86_400


def not_open() -> RuntimeError:
    """Return the error for a call on a client that is not open yet, or no longer."""
    return RuntimeError(
        "This client is not open. Use it as a context manager, and call it inside: "
        "`async with ProvisionerClient(address) as client:` (`with` for a BlockingClient)."
    )


class _NotOpen:
    """Takes the place of the stubs while there is no connection."""

    def __getattr__(self, name: str) -> NoReturn:
        raise not_open()


class ProvisionerClient(OrderCalls, FleetCalls, AccessCalls):
    """A connection to the service, used as an async context manager, on one event loop.

    Every method raises `clients.sdk.errors.ProvisionerError` or one of its subclasses, and
    RuntimeError outside the context manager. What each method raises besides is said there: any can
    raise `Unreachable`, `Unauthenticated`, `PermissionDenied` and `InvalidArgument`, and one about
    a tenant `NotFound`.
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
        """Name the service to talk to; no connection is opened yet.

        Args:
            address: `host:port`, or any gRPC target.
            token: A user's access token or a machine's key, sent with every call; "" for none.
            tls: Whom to trust, if TLS is to be spoken; None for plain text.
            timeout_seconds: The longest a call may take, including its repetitions; at most a
                day.
            make_request_id: Makes the id of an order if its caller gives none.
            pause: Waits, for a number of seconds, before a stream is opened again.

        Raises:
            ValueError: `timeout_seconds` is not a time that a call can have, or `token` has a
                character that no token has.
        """
        # gRPC would take such a deadline as already over, and say that nobody answers.
        if not 0 < timeout_seconds <= LONGEST_TIMEOUT_SECONDS:
            raise ValueError(
                f"timeout_seconds is {timeout_seconds}: give more than 0 and at most "
                f"{LONGEST_TIMEOUT_SECONDS}."
            )
        # It is not quoted: it may be most of a secret.
        if not (token.isascii() and token.isprintable()):
            raise ValueError(
                "token has a character that no token has: a line break, or one beyond ASCII."
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
        """Whether calls can be made: only between entering and leaving the context manager."""
        return self._channel is not None

    def _shut(self) -> None:
        """Make every call say that the client is not open."""
        closed: Any = _NotOpen()
        self._stub, self._fleet, self._access = closed, closed, closed

    async def start_provisioning(
        self, spec: TenantSpec, *, tenant_id: str | None = None, request_id: str | None = None
    ) -> TenantStatus:
        """Register a tenant and open its first run.

        Args:
            spec: What the tenant should have; only the company name is required.
            tenant_id: A UUID; if left out, the service makes one.
            request_id: 1 to 128 printable characters that identify this order; if left out, the
                client makes one.

        Returns:
            The tenant's status. From here on the tenant exists durably.

        Raises:
            AlreadyExists: the id is taken by a tenant with a different spec, or the company name is
                taken on that site.
            FailedPrecondition: the tenant of that id is being removed.
        """
        request = provisioning_pb2.StartProvisioningRequest(
            tenant_id=tenant_id, spec=spec, request_id=self._order_id(request_id)
        )
        return (await self._call(self._stub.StartProvisioning, request)).status

    async def get_status(self, tenant_id: str) -> TenantStatus:
        """Return the status of a tenant; never waits for the engine.

        Raises:
            NotFound: there is no such tenant, or the caller may not see it.
        """
        request = provisioning_pb2.GetStatusRequest(tenant_id=tenant_id)
        return (await self._call(self._stub.GetStatus, request)).status

    async def list_tenants(self, request: ListTenantsRequest | None = None) -> ListTenantsResponse:
        """Return one page of tenants; `tenants` goes over all pages.

        Args:
            request: Filters, order, page size and page token; if left out, the first page of all
                tenants, newest first.

        Returns:
            The page, which may be empty although more follow: only an empty `next_page_token` marks
            the end.
        """
        return await self._call(
            self._stub.ListTenants, request or provisioning_pb2.ListTenantsRequest()
        )

    async def tenants(
        self, request: ListTenantsRequest | None = None
    ) -> AsyncGenerator[TenantSummary, None]:
        """Yield the tenants of a list one by one, fetching page after page.

        Args:
            request: Filters, order and page size; if left out, all tenants, newest first.
        """
        asked = provisioning_pb2.ListTenantsRequest()
        asked.CopyFrom(request or asked)
        while True:
            page = await self.list_tenants(asked)
            for tenant in page.tenants:
                yield tenant
            # A page may be empty even though more pages follow.
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
        """Resume the steps that are not done, with fresh retry budgets.

        Args:
            tenant_id: The tenant.
            reason: Why, for the record; at most 500 characters.
            expected_revision: Give the order only if the tenant still has this revision; None to
                give it in any case.
            request_id: 1 to 128 printable characters that identify this order; if left out, the
                client makes one.

        Returns:
            The tenant's status; of a COMPLETED one, to which nothing was done.

        Raises:
            FailedPrecondition: the tenant is in motion.
            RevisionChanged: the tenant no longer has the expected revision.
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
        """Check all steps again, or one step and those that need it, and make what is missing.

        Args:
            tenant_id: The tenant.
            step_key: The step to begin with; if left out, all steps.
            reason: Why, for the record; at most 500 characters.
            expected_revision: Give the order only if the tenant still has this revision; None to
                give it in any case.
            request_id: 1 to 128 printable characters that identify this order; if left out, the
                client makes one.

        Returns:
            The tenant's status.

        Raises:
            FailedPrecondition: the tenant is in motion.
            RevisionChanged: the tenant no longer has the expected revision.
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
        """Return why a tenant is where it is: causes, evidence and remedies.

        Args:
            tenant_id: The tenant, in any state.
            skip_engine: Examine only the database, and do not ask the engine.
        """
        request = provisioning_pb2.DiagnoseRequest(tenant_id=tenant_id, skip_engine=skip_engine)
        return (await self._call(self._stub.Diagnose, request)).diagnosis

    async def plan(self, spec: TenantSpec | None = None, *, tenant_id: str = "") -> PlanResponse:
        """Return what a run would find and make; nothing is written, here or at the engine.

        Args:
            spec: What a new tenant should have; None to plan for an existing one.
            tenant_id: The existing tenant; "" if there is a spec.

        Raises:
            FailedPrecondition: the engine is not configured at the service.
            Unreachable: the engine can't be asked now; `reason` is its code.
        """
        request = provisioning_pb2.PlanRequest(tenant_id=tenant_id, spec=spec)
        return await self._call(self._stub.Plan, request)

    async def verify(self, tenant_id: str) -> VerifyResponse:
        """Return how a tenant at rest differs from what it should have; writes nothing.

        Raises:
            FailedPrecondition: the tenant is in motion, or its engine is not configured.
            Unreachable: the engine can't be asked now; `reason` is its code.
        """
        request = provisioning_pb2.VerifyRequest(tenant_id=tenant_id)
        return await self._call(self._stub.Verify, request)

    def watch_status(
        self,
        tenant_id: str,
        *,
        max_failures: int = MAX_FAILURES,
        on_lost: Callable[[], object] | None = None,
    ) -> StatusStream:
        """Stream the status of a tenant, immediately and at every change, until it is at rest.

        Args:
            tenant_id: The tenant.
            max_failures: How many failures in a row, without a status in between, to bridge before
                the error is raised.
            on_lost: Called when the connection is lost, once per outage.

        Returns:
            An async iterator; close it with `async with` or `aclose`. Errors are raised by it, not
            here.
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
        """Stream a tenant's log: each entry once, in order, across lost connections.

        Args:
            tenant_id: The tenant.
            after_cursor: Start after this entry; 0 starts at the beginning.
            follow: Continue as the log grows, until the tenant is at rest.
            max_failures: How many failures in a row, without a new entry in between, to bridge
                before the error is raised.

        Returns:
            An async iterator; close it with `async with` or `aclose`. Errors are raised by it, not
            here: among them `CursorOutOfRange` and `CursorTooOld`.
        """
        # Without `follow` the deadline applies to one connection: a log too long for it is
        # read on from the last cursor, so only a lack of progress counts as a failure.
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
