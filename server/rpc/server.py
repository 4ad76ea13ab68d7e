"""Listens for gRPC: the services, health and reflection, started and stopped as one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, cast

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

from provisioner.v1 import access_pb2, fleet_pb2, provisioning_pb2
from provisioner.v1.access_pb2_grpc import add_AccessServiceServicer_to_server
from provisioner.v1.fleet_pb2_grpc import add_FleetServiceServicer_to_server
from provisioner.v1.provisioning_pb2_grpc import add_ProvisioningServiceServicer_to_server
from server.errors import SettingsError
from server.limits import HEAD_SECONDS, MAX_HEADER_BYTES, MAX_REQUEST_BYTES
from server.rpc.certificates import Certificates, demand_taken
from server.rpc.malformed import Registry

if TYPE_CHECKING:
    from server.rpc.fleet import FleetService
    from server.rpc.identity import Context
    from server.rpc.service import ProvisioningService
    from server.rpc.signing_in import AccessService
    from server.settings import Tls

ACCESS = access_pb2.DESCRIPTOR.services_by_name["AccessService"].full_name
SERVICE = provisioning_pb2.DESCRIPTOR.services_by_name["ProvisioningService"].full_name
FLEET = fleet_pb2.DESCRIPTOR.services_by_name["FleetService"].full_name
# The name under which the health service is asked about this process's sweeps.
RECONCILER = "reconciler"
# And about the database.
DATABASE = "database"


def _options() -> tuple[tuple[str, int], ...]:
    return (
        ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_HEADER_BYTES),
        # As for the head of an HTTP request: who only connects keeps one of this process's files
        # open, for two minutes by gRPC's default.
        ("grpc.server_handshake_timeout_ms", int(HEAD_SECONDS * 1000)),
        # Two servers on one port would silently share the callers at random.
        ("grpc.so_reuseport", 0),
        # Find clients whose machine is gone: their streams would stay open for an hour.
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.max_pings_without_data", 0),
        # A follower pings while it hears nothing. By default gRPC takes pings more often than every
        # five minutes for abuse, and closes the connection.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    )


class RpcServer:
    """A gRPC server at one address.

    Attributes:
        port: The port that it listens on; 0 before `start`.
    """

    def __init__(
        self,
        service: ProvisioningService,
        address: str,
        *,
        fleet: FleetService | None = None,
        access: AccessService | None = None,
        tls: Tls | None = None,
    ) -> None:
        """Prepare to listen; nothing is opened yet.

        Args:
            service: The service for one tenant's calls.
            address: `host:port`; port 0 for a free one, which `port` then tells.
            fleet: The service for the whole fleet; None to leave it out.
            access: The service for signing in; None to leave it out.
            tls: The certificate to show; None to speak plain text.
        """
        self.port = 0
        self._access = access
        self._tls = tls
        self._certificates = None if tls is None else Certificates(tls)
        self._address = address
        self._service = service
        self._fleet = fleet
        self._server: grpc.aio.Server | None = None
        self._served: tuple[str, ...] = ()
        self._there = True
        self._health = _Health(fleet)

    async def start(self) -> None:
        """Listen, answer calls, and report healthy.

        Raises:
            SettingsError: it can't listen at the address, or gRPC can't use the certificate.
        """
        if self._tls is not None:
            await demand_taken(self._tls)
        server = grpc.aio.server(options=_options())
        registry = cast("grpc.aio.Server", Registry(server))
        add_ProvisioningServiceServicer_to_server(self._service, registry)
        served = [SERVICE]
        if self._fleet is not None:
            add_FleetServiceServicer_to_server(self._fleet, registry)
            served.append(FLEET)
        if self._access is not None:
            add_AccessServiceServicer_to_server(self._access, registry)
            served.append(ACCESS)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, registry)
        names = (*served, health.SERVICE_NAME, reflection.SERVICE_NAME)
        # Not with `enable_server_reflection`, which registers its method by name (see `Registry`).
        reflecting = reflection.aio.ReflectionServicer(names)
        serve = add_ServerReflectionServicer_to_server
        serve(reflecting, registry)  # type: ignore[no-untyped-call]  # its stubs give no types
        try:
            self.port = self._bind(server)
        except RuntimeError as error:
            await server.stop(None)
            raise SettingsError(
                f"PROVISIONER_GRPC_ADDRESS: cannot listen at {self._address}: it is in use, or not "
                "an address of this machine. Stop what listens there, or choose another, such as "
                "127.0.0.1:50052."
            ) from error
        await server.start()
        self._server = server
        self._served = (*served, DATABASE)
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)
        await self.serving(self._there)

    async def serving(self, there: bool) -> None:  # noqa: FBT001 - a listener's signature
        """Report whether the services can do their work, which needs the database.

        The server itself (no name) stays SERVING: a restart would not help. What is reported before
        `start` is told from then on.
        """
        self._there = there
        words = health_pb2.HealthCheckResponse
        status = words.SERVING if there else words.NOT_SERVING
        for service in self._served:
            await self._health.set(service, status)

    def take(self, tls: Tls) -> None:
        """Show a renewed certificate to new connections."""
        if self._certificates is not None:
            self._certificates.take(tls)

    def _bind(self, server: grpc.aio.Server) -> int:
        if self._certificates is None:
            return server.add_insecure_port(self._address)
        return server.add_secure_port(self._address, self._certificates.credentials)

    async def stop(self, grace: float = 5.0) -> None:
        """Report unhealthy, send followers away, let the calls under way finish, then close.

        Args:
            grace: Longest time for the calls under way, in seconds; what is left of it then is cut.
        """
        if self._server is None:
            return
        await self._health.enter_graceful_shutdown()
        ends = asyncio.get_running_loop().time() + grace
        # Before the server is stopped, because it does not wait for calls that are being aborted
        # (grpc/grpc#37239), and followers must be told to come back.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(ends):
                await self._service.streams.stop()
        await self._server.stop(max(0.0, ends - asyncio.get_running_loop().time()))
        self._server = None


class _Health(health.aio.HealthServicer):
    """The health service; it also answers for this process's sweeps, which it checks when asked."""

    def __init__(self, fleet: FleetService | None) -> None:
        super().__init__()
        self._fleet = fleet

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Answer for a service; the reconciler is NOT_SERVING if its sweeps do not come."""
        watch = None if self._fleet is None else self._fleet.watch()
        if request.service != RECONCILER or watch is None:
            answer: health_pb2.HealthCheckResponse = await super().Check(request, context)
            return answer
        healthy = watch.healthy
        return health_pb2.HealthCheckResponse(
            status=(
                health_pb2.HealthCheckResponse.SERVING
                if healthy
                else health_pb2.HealthCheckResponse.NOT_SERVING
            )
        )
