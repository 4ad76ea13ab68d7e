"""Answers the calls of ProvisioningService: who calls, what is asked, what is answered.

Each order is answered with the tenant's status after it. An order under way is finished even if
its caller has left: the store's writer does not give up an operation that it has taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.v1 import provisioning_pb2
from provisioner.v1.provisioning_pb2_grpc import ProvisioningServiceServicer
from server.limits import STREAM_CHECK_SECONDS, STREAM_SECONDS, STREAMS_PER_CALLER, STREAMS_PER_PEER
from server.rpc import messages
from server.rpc.diagnosing import Diagnosing
from server.rpc.listing import Listing
from server.rpc.ordering import Ordering, terms_of
from server.rpc.streams import Streams
from server.rpc.surveying import Surveying
from server.rpc.watching import Watching

if TYPE_CHECKING:
    from server.commands import Commands
    from server.diagnosis import Diagnoser
    from server.model.actor import Actor
    from server.model.records import Record
    from server.queries import Queries
    from server.queries.surveys import Surveys
    from server.rpc.identity import Context, Identify


# gRPC accepts ready bytes as answers, and coroutines that write a stream.
class ProvisioningService(  # type: ignore[misc]  # the stubs know neither
    Surveying, Diagnosing, Listing, Watching, Ordering, ProvisioningServiceServicer
):
    """The service that translates to and from commands and queries."""

    def __init__(
        self,
        commands: Commands,
        queries: Queries,
        *,
        identify: Identify,
        diagnoser: Diagnoser,
        surveys: Surveys,
        longest_stream_seconds: float = STREAM_SECONDS,
        most_streams_per_peer: int = STREAMS_PER_PEER,
        most_streams_per_caller: int = STREAMS_PER_CALLER,
        stream_check_seconds: float = STREAM_CHECK_SECONDS,
    ) -> None:
        """Take the parts that answers need.

        Args:
            commands: Orders to tenants.
            queries: What is known of tenants.
            identify: Tells who calls.
            diagnoser: Says why a tenant stands where it does.
            surveys: Looks at engines.
            longest_stream_seconds: After how many seconds each stream is ended.
            most_streams_per_peer: How many streams a connection may have open.
            most_streams_per_caller: How many streams a caller may have open.
            stream_check_seconds: How often, in seconds, each stream's caller is checked again.
        """
        self.streams = Streams(
            longest_seconds=longest_stream_seconds,
            most_per_peer=most_streams_per_peer,
            most_per_caller=most_streams_per_caller,
            check_seconds=stream_check_seconds,
        )
        self._commands = commands
        self._queries = queries
        self._identify = identify
        self._diagnoser = diagnoser
        self._surveys = surveys

    async def StartProvisioning(
        self, request: provisioning_pb2.StartProvisioningRequest, context: Context
    ) -> provisioning_pb2.StartProvisioningResponse:
        """Register a tenant and open its first run."""

        async def start(actor: Actor) -> provisioning_pb2.StartProvisioningResponse:
            made: list[Record] = []
            tenant_id = await self._commands.start(
                actor,
                messages.raw_spec(request.spec) if request.HasField("spec") else None,
                tenant_id=request.tenant_id,
                request_id=request.request_id,
                made=made.append,
            )
            status = (
                messages.tenant_status(await self._queries.status_of_new(actor, made[0]))
                if made
                else await self._status(actor, tenant_id)
            )
            return provisioning_pb2.StartProvisioningResponse(status=status)

        return await self._answer(context, "StartProvisioning", start)

    async def Continue(
        self, request: provisioning_pb2.ContinueRequest, context: Context
    ) -> provisioning_pb2.ContinueResponse:
        """Resume the steps that are not done."""

        async def drive_on(actor: Actor) -> provisioning_pb2.ContinueResponse:
            tenant_id = await self._commands.continue_(actor, request.tenant_id, terms_of(request))
            return provisioning_pb2.ContinueResponse(status=await self._status(actor, tenant_id))

        return await self._answer(context, "Continue", drive_on)

    async def Retry(
        self, request: provisioning_pb2.RetryRequest, context: Context
    ) -> provisioning_pb2.RetryResponse:
        """Probe steps again, and make what is missing or wrong."""

        async def retry(actor: Actor) -> provisioning_pb2.RetryResponse:
            tenant_id = await self._commands.retry(
                actor, request.tenant_id, terms_of(request), step_key=request.step_key
            )
            return provisioning_pb2.RetryResponse(status=await self._status(actor, tenant_id))

        return await self._answer(context, "Retry", retry)
