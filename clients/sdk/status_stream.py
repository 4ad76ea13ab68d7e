"""Follows the status of a tenant, whatever happens to the connection.

A stream that breaks is opened again and begins with the current status, so no lasting change is
missed; a status that was returned already is not returned again. Gives up only after a number
of failures in a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clients.sdk.resuming import MAX_FAILURES, ResumingStream
from provisioner.v1.provisioning_pb2 import WatchStatusRequest, WatchStatusResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc.aio

    from provisioner.v1.tenant_pb2 import TenantStatus

    Call = grpc.aio.UnaryStreamCall[WatchStatusRequest, WatchStatusResponse]


class StatusStream(ResumingStream[WatchStatusRequest, WatchStatusResponse]):
    """An async iterator of statuses that resumes by itself; ends once the tenant is at rest."""

    def __init__(
        self,
        open_stream: Callable[[WatchStatusRequest], Call],
        tenant_id: str,
        *,
        pause: Callable[[float], Awaitable[object]],
        max_failures: int = MAX_FAILURES,
        tls: bool = False,
        on_lost: Callable[[], object] | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            open_stream: Opens one connection.
            tenant_id: Whose status is followed.
            pause: Waits, for a number of seconds, before the next connection.
            max_failures: How many failures in a row to bridge before the error is raised.
            tls: Whether TLS is spoken; errors are then explained accordingly.
            on_lost: Called when the connection is lost, once per outage.
        """
        super().__init__(
            open_stream,
            WatchStatusResponse,
            pause=pause,
            max_failures=max_failures,
            tls=tls,
            on_lost=on_lost,
        )
        self._tenant_id = tenant_id
        self._last: TenantStatus | None = None

    async def __anext__(self) -> TenantStatus:
        """Return the next status.

        Raises:
            ProvisionerError: opening the stream again does not help, or failed too often.
        """
        while not self._ended:
            answer = await self._answer()
            if answer is None:
                continue
            self._failures = 0
            if answer.status != self._last:
                self._last = answer.status
                return answer.status
        raise StopAsyncIteration

    def _request(self) -> WatchStatusRequest:
        return WatchStatusRequest(tenant_id=self._tenant_id)
