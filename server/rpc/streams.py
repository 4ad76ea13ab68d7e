"""Counts open streams, and ends those that would go on for ever or may not go on.

A stream that a client drops without cancelling it stays open at the server until its connection
closes (grpc/grpc#43462). So each stream has a time limit, each connection and each caller may only
have so many, and a server that stops ends them all. Every few seconds each stream's caller is
checked again, and sent away if their rights have ended (a revoked key, an ended membership).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc

from server.limits import (
    STREAM_CHECK_SECONDS,
    STREAM_SECONDS,
    STREAMS_PER_CALLER,
    STREAMS_PER_PEER,
)
from server.rpc.failures import Failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

TIME_OVER = Failure(
    code=grpc.StatusCode.UNAVAILABLE,
    reason="STREAM_TIME_OVER",
    message="The server ends each stream after a time. Go on from the last cursor.",
    retry_seconds=0.0,
)
STOPPING = Failure(
    code=grpc.StatusCode.UNAVAILABLE,
    reason="SERVER_STOPPING",
    message="The server is stopping. Go on from the last cursor when it is back.",
    retry_seconds=1.0,
)


class StreamEnded(Exception):  # noqa: N818 - it says what happened; it never leaves the room
    """The server ends a stream, or refuses to begin one.

    Attributes:
        failure: What to tell the caller.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class Streams:
    """The open streams of a server."""

    def __init__(
        self,
        *,
        longest_seconds: float = STREAM_SECONDS,
        most_per_peer: int = STREAMS_PER_PEER,
        most_per_caller: int = STREAMS_PER_CALLER,
        check_seconds: float = STREAM_CHECK_SECONDS,
    ) -> None:
        """Begin with no streams.

        Args:
            longest_seconds: After how many seconds each stream is ended.
            most_per_peer: How many streams a connection may have open.
            most_per_caller: How many streams a caller may have open, over all connections.
            check_seconds: How often, in seconds, each stream's caller is checked again.
        """
        self._longest_seconds = longest_seconds
        self._check_seconds = check_seconds
        self._watches: dict[asyncio.Timeout, Callable[[], Awaitable[Failure | None]]] = {}
        self._watching: asyncio.Task[None] | None = None
        # Why a stream is ended before its time is over.
        self._ended: dict[asyncio.Timeout, Failure] = {}
        self._most = {"connection": most_per_peer, "caller": most_per_caller}
        self._ends: set[asyncio.Timeout] = set()
        self._open: Counter[tuple[str, str]] = Counter()
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._stopping = False

    @property
    def count(self) -> int:
        """The number of open streams."""
        return len(self._ends)

    @asynccontextmanager
    async def one(
        self,
        *,
        peer: str,
        caller: str,
        check: Callable[[], Awaitable[Failure | None]] | None = None,
    ) -> AsyncIterator[None]:
        """Run a stream within its time limit, which is the duration of the block.

        Args:
            peer: The connection it uses.
            caller: Who asked for it.
            check: Called every few seconds; returns why the stream may not go on, or None. It may
                not raise: that would end the checks of all streams.

        Raises:
            StreamEnded: before the stream begins, or at any point in it.
        """
        if self._stopping:
            raise StreamEnded(STOPPING)
        owners = (("connection", peer), ("caller", caller))
        self._demand_room(owners)
        end = asyncio.timeout(self._longest_seconds)
        self._open.update(owners)
        self._ends.add(end)
        self._none_left.clear()
        if check is not None:
            self._watch(end, check)
        try:
            async with end:
                yield
        except TimeoutError as error:
            if not end.expired():
                raise
            raise StreamEnded(self._ended.get(end) or self._why()) from error
        finally:
            self._ends.discard(end)
            self._watches.pop(end, None)
            self._ended.pop(end, None)
            self._leave(owners)
            if not self._ends:
                self._none_left.set()

    def _watch(self, end: asyncio.Timeout, check: Callable[[], Awaitable[Failure | None]]) -> None:
        self._watches[end] = check
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._look_after(), name="streams")

    async def _look_after(self) -> None:
        """Check every stream again and again, while there are any."""
        while self._watches:
            await asyncio.sleep(self._check_seconds)
            for end, check in list(self._watches.items()):
                failure = await check()
                # It may have ended by itself while it was checked.
                if failure is not None and end in self._watches and not end.expired():
                    self._ended[end] = failure
                    end.reschedule(asyncio.get_running_loop().time())

    def _demand_room(self, owners: Iterable[tuple[str, str]]) -> None:
        for whose, name in owners:
            if self._open[whose, name] >= self._most[whose]:
                raise StreamEnded(_too_many(whose, self._most[whose]))

    def _leave(self, owners: Iterable[tuple[str, str]]) -> None:
        for owner in owners:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner]

    def _why(self) -> Failure:
        return STOPPING if self._stopping else TIME_OVER

    async def stop(self) -> None:
        """End every stream and begin no more; return when none is left, however long that takes."""
        self._stopping = True
        now = asyncio.get_running_loop().time()
        for end in self._ends:
            # One that has just expired can't be rescheduled any more.
            if not end.expired():
                end.reschedule(now)
        await self._none_left.wait()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})


def _too_many(whose: str, most: int) -> Failure:
    return Failure(
        code=grpc.StatusCode.RESOURCE_EXHAUSTED,
        reason="TOO_MANY_STREAMS",
        message=(
            f"This {whose} has {most} streams open, the most it may have. Cancel those that nobody "
            "reads any more: one that is only dropped stays open."
        ),
    )
