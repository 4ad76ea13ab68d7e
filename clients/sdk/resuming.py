"""A stream that is opened again when it breaks: shared by reading a log and watching a tenant.

It gives up only after a number of failures in a row. If you stop early, close it (`async with`,
or `aclose`): a stream that is merely dropped can stay open at the server until the channel
closes (grpc/grpc#43462).
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import grpc.aio

from clients.sdk.errors import Unreachable, from_rpc_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")

# With the pauses below, ten failures in a row take about 25 s: longer than a restart of the
# service and a takeover by another worker, shorter than a person's patience.
MAX_FAILURES = 10
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
# The service ends every stream after an hour; that does not count as a failure.
TIME_OVER = "STREAM_TIME_OVER"


class ResumingStream(ABC, Generic[RequestT, AnswerT]):
    """One connection after another, each opened with a request that says where to resume.

    It is read by one task at a time.
    """

    def __init__(
        self,
        open_stream: Callable[[RequestT], grpc.aio.UnaryStreamCall[RequestT, AnswerT]],
        answers: type[AnswerT],
        *,
        pause: Callable[[float], Awaitable[object]],
        max_failures: int,
        tls: bool = False,
        on_lost: Callable[[], object] | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            open_stream: Opens one connection.
            answers: The type of its answers.
            pause: Waits, for a number of seconds, before the next connection.
            max_failures: How many failures in a row to bridge before the error is raised.
            tls: Whether TLS is spoken; errors are then explained accordingly.
            on_lost: Called when the connection is lost, once per outage.
        """
        self._open_stream = open_stream
        self._answers = answers
        self._pause = pause
        self._max_failures = max_failures
        self._tls = tls
        self._on_lost = on_lost
        self._failures = 0
        self._call: grpc.aio.UnaryStreamCall[RequestT, AnswerT] | None = None
        self._ended = False

    def __aiter__(self) -> Self:
        return self

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
        """End the stream, here and at the server; reading on returns nothing more."""
        self._ended = True
        self._cancel()

    def __del__(self) -> None:
        # A `break` out of `async for` drops the iterator without closing it.
        if getattr(self, "_call", None) is not None:
            self._cancel()

    @abstractmethod
    def _request(self) -> RequestT:
        """Return the request that opens the next connection."""

    async def _answer(self) -> AnswerT | None:
        """Return the next answer; None at the end, or if the connection broke."""
        if self._call is None:
            self._call = self._open_stream(self._request())
        try:
            answer = await self._call.read()
        except grpc.aio.AioRpcError as error:
            self._cancel()
            await self._recover(error)
            return None
        except BaseException:
            self._cancel()
            raise
        if isinstance(answer, self._answers):
            return answer
        self._ended = True  # grpc.aio.EOF
        self._cancel()
        return None

    async def _recover(self, error: grpc.aio.AioRpcError) -> None:
        """Wait before the next connection; raise if there is no point in one."""
        failure = from_rpc_error(error, tls=self._tls)
        if failure.reason != TIME_OVER:
            self._failures += 1
        if not isinstance(failure, Unreachable) or self._failures > self._max_failures:
            self._ended = True
            raise failure from error
        if self._failures == 1 and self._on_lost is not None:
            self._on_lost()
        await self._pause(failure.retry_delay_seconds or _pause_seconds(self._failures))

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()


def _pause_seconds(failures: int) -> float:
    """Return between half and all of an exponential pause, so that followers spread out."""
    longest = min(_FIRST_PAUSE_SECONDS * 2.0**failures, _LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards no secret
