"""Reads a tenant's log as one unbroken sequence, whatever happens to the connection.

Promises each entry once and in order. A stream that breaks (the service restarts, the
connection is cut, the service ends it after an hour) is opened again after the last
cursor. Gives up only after a number of failures in a row without a single new entry.

Close it when you stop early (`async with`, or `aclose`): a stream that is merely
dropped can stay open at the server until the channel closes (grpc/grpc#43462).
"""

from __future__ import annotations

import random
from collections import deque
from typing import TYPE_CHECKING, Self

import grpc.aio

from clients.sdk.errors import Unreachable, from_rpc_error
from provisioner.v1 import provisioning_pb2

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from provisioner.v1.provisioning_pb2 import LogEntry, StreamLogsRequest, StreamLogsResponse

    Call = grpc.aio.UnaryStreamCall[StreamLogsRequest, StreamLogsResponse]
    OpenStream = Callable[[StreamLogsRequest], Call]

# With the pauses below ten failures in a row are about 25 s: longer than a restart of
# the service and a takeover by another worker, shorter than a person's patience.
MAX_FAILURES = 10
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
# The service ends each stream after an hour; that is no failure.
TIME_OVER = "STREAM_TIME_OVER"


class LogStream:
    """An async iterator of log entries that resumes by itself.

    Attributes:
        cursor: Cursor of the last entry given, or where reading began.
    """

    def __init__(
        self,
        open_stream: OpenStream,
        tenant_id: str,
        *,
        after_cursor: int,
        follow: bool,
        pause: Callable[[float], Awaitable[object]],
        max_failures: int = MAX_FAILURES,
    ) -> None:
        self.cursor = after_cursor
        self._open_stream = open_stream
        self._tenant_id = tenant_id
        self._follow = follow
        self._pause = pause
        self._max_failures = max_failures
        self._failures = 0
        self._call: Call | None = None
        self._page: deque[LogEntry] = deque()
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> LogEntry:
        """Return the next entry; raises a `ProvisionerError` that resuming can't mend."""
        while True:
            while self._page:
                entry = self._page.popleft()
                # A page may overlap with what was read before the connection broke.
                if entry.cursor > self.cursor:
                    self.cursor = entry.cursor
                    self._failures = 0
                    return entry
            if self._ended:
                raise StopAsyncIteration
            await self._read_page()

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
        """End the stream here and at the server; reading on gives nothing more."""
        self._ended = True
        self._page.clear()
        self._cancel()

    def __del__(self) -> None:
        # A `break` out of `async for` drops the iterator without a word.
        if getattr(self, "_call", None) is not None:
            self._cancel()

    async def _read_page(self) -> None:
        if self._call is None:
            self._call = self._open_stream(
                provisioning_pb2.StreamLogsRequest(
                    tenant_id=self._tenant_id, after_cursor=self.cursor, follow=self._follow
                )
            )
        try:
            answer = await self._call.read()
        except grpc.aio.AioRpcError as error:
            self._cancel()
            await self._recover(error)
        except BaseException:
            self._cancel()
            raise
        else:
            if isinstance(answer, provisioning_pb2.StreamLogsResponse):
                self._page = deque(answer.entries)
            else:  # grpc.aio.EOF
                self._ended = True
                self._cancel()

    async def _recover(self, error: grpc.aio.AioRpcError) -> None:
        """Wait before the next connection; raise if there is no point in one."""
        failure = from_rpc_error(error)
        if not isinstance(failure, Unreachable):
            self._ended = True
            raise failure from error
        if failure.reason != TIME_OVER:
            self._failures += 1
        if self._failures > self._max_failures:
            self._ended = True
            raise failure from error
        await self._pause(failure.retry_delay_seconds or pause_seconds(self._failures))

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()


def pause_seconds(failures: int) -> float:
    """Return an exponential pause, between half and all of it, so that followers spread."""
    longest = min(_FIRST_PAUSE_SECONDS * 2.0**failures, _LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards no secret
