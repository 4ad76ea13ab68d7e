"""Gives where a tenant stands and each change, whatever happens to the connection.

A stream that breaks is opened again and tells the present status first, so nothing that
lasts is missed; one that was told already is not given twice. Gives up only after a number
of failures in a row. Close it when you stop early (`async with`, or `aclose`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import grpc.aio

from clients.sdk.errors import Unreachable, from_rpc_error
from clients.sdk.log_stream import MAX_FAILURES, TIME_OVER, pause_seconds
from provisioner.v1 import provisioning_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from provisioner.v1.provisioning_pb2 import WatchStatusRequest, WatchStatusResponse
    from provisioner.v1.tenant_pb2 import TenantStatus

    Call = grpc.aio.UnaryStreamCall[WatchStatusRequest, WatchStatusResponse]
    OpenStream = Callable[[WatchStatusRequest], Call]


class StatusStream:
    """An async iterator of statuses that resumes by itself; it ends when the tenant rests."""

    def __init__(
        self,
        open_stream: OpenStream,
        tenant_id: str,
        *,
        pause: Callable[[float], Awaitable[object]],
        max_failures: int = MAX_FAILURES,
    ) -> None:
        self._open_stream = open_stream
        self._tenant_id = tenant_id
        self._pause = pause
        self._max_failures = max_failures
        self._failures = 0
        self._last: TenantStatus | None = None
        self._call: Call | None = None
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TenantStatus:
        """Return the next status; raises a `ProvisionerError` that resuming can't mend."""
        while not self._ended:
            status = await self._read()
            if status is not None and status != self._last:
                self._last = status
                return status
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the stream here and at the server."""
        self._ended = True
        self._cancel()

    def __del__(self) -> None:
        # A `break` out of `async for` drops the iterator without a word.
        if getattr(self, "_call", None) is not None:
            self._cancel()

    async def _read(self) -> TenantStatus | None:
        """Return the next status of the stream, or None at its end or when it broke."""
        if self._call is None:
            self._call = self._open_stream(
                provisioning_pb2.WatchStatusRequest(tenant_id=self._tenant_id)
            )
        try:
            answer = await self._call.read()
        except grpc.aio.AioRpcError as error:
            self._cancel()
            await self._recover(error)
            return None
        except BaseException:
            self._cancel()
            raise
        if isinstance(answer, provisioning_pb2.WatchStatusResponse):
            self._failures = 0
            return answer.status
        self._ended = True  # grpc.aio.EOF
        self._cancel()
        return None

    async def _recover(self, error: grpc.aio.AioRpcError) -> None:
        """Wait before the next connection; raise if there is no point in one."""
        failure = from_rpc_error(error)
        if failure.reason != TIME_OVER:
            self._failures += 1
        if not isinstance(failure, Unreachable) or self._failures > self._max_failures:
            self._ended = True
            raise failure from error
        await self._pause(failure.retry_delay_seconds or pause_seconds(self._failures))

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
