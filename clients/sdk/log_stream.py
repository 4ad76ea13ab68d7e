"""Reads a tenant's log as one unbroken sequence, whatever happens to the connection.

Promises each entry once and in order. A stream that breaks (because the service restarts, the
connection is cut, or the service ends it after an hour) is opened again after the last cursor.
Gives up only after a number of failures in a row without a single new entry.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from clients.sdk.resuming import MAX_FAILURES, ResumingStream
from provisioner.v1.provisioning_pb2 import StreamLogsRequest, StreamLogsResponse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import grpc.aio

    from provisioner.v1.provisioning_pb2 import LogEntry

    Call = grpc.aio.UnaryStreamCall[StreamLogsRequest, StreamLogsResponse]


class LogStream(ResumingStream[StreamLogsRequest, StreamLogsResponse]):
    """An async iterator of log entries that resumes by itself.

    Attributes:
        cursor: The cursor of the last entry returned; before the first, where reading began.
    """

    def __init__(
        self,
        open_stream: Callable[[StreamLogsRequest], Call],
        tenant_id: str,
        *,
        after_cursor: int,
        follow: bool,
        pause: Callable[[float], Awaitable[object]],
        max_failures: int = MAX_FAILURES,
        tls: bool = False,
    ) -> None:
        """Open nothing yet.

        Args:
            open_stream: Opens one connection.
            tenant_id: Whose log is read.
            after_cursor: The cursor after which to begin; 0 for the whole log.
            follow: Whether to stay until the tenant is at rest.
            pause: Waits, for a number of seconds, before the next connection.
            max_failures: How many failures in a row to bridge before the error is raised.
            tls: Whether TLS is spoken; errors are then explained accordingly.
        """
        super().__init__(
            open_stream, StreamLogsResponse, pause=pause, max_failures=max_failures, tls=tls
        )
        self.cursor = after_cursor
        self._tenant_id = tenant_id
        self._follow = follow
        self._page: deque[LogEntry] = deque()

    async def __anext__(self) -> LogEntry:
        """Return the next entry.

        Raises:
            ProvisionerError: opening the stream again does not help, or failed too often.
        """
        while True:
            while self._page:
                entry = self._page.popleft()
                # A page may overlap what was read before the connection broke.
                if entry.cursor > self.cursor:
                    self.cursor = entry.cursor
                    self._failures = 0
                    return entry
            if self._ended:
                raise StopAsyncIteration
            answer = await self._answer()
            if answer is not None:
                self._page = deque(answer.entries)

    async def aclose(self) -> None:
        """End the stream, here and at the server; reading on returns nothing more."""
        self._page.clear()
        await super().aclose()

    def _request(self) -> StreamLogsRequest:
        return StreamLogsRequest(
            tenant_id=self._tenant_id, after_cursor=self.cursor, follow=self._follow
        )
