"""Keeps count of open streams, and ends those that would go on for ever.

A client that drops a stream without cancelling it leaves it open at the server until
its connection closes (grpc/grpc#43462). So each stream has an end of its own, each peer
a number of them, and a server that stops ends them all.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc

from server.rpc.failures import Failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

# A follower may stay for an hour; then it comes again, from its last cursor.
LONGEST_SECONDS = 3600.0
# One connection of a console or a benchmark may follow hundreds of tenants; thousands
# are streams somebody forgot.
MOST_PER_PEER = 1000
# A caller may have several connections; not as many as he likes.
MOST_PER_CALLER = 2000

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
    """The server ends a stream, or does not begin it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class Streams:
    """The open streams of a server."""

    def __init__(
        self,
        *,
        longest_seconds: float = LONGEST_SECONDS,
        most_per_peer: int = MOST_PER_PEER,
        most_per_caller: int = MOST_PER_CALLER,
    ) -> None:
        self._longest_seconds = longest_seconds
        self._most = {"connection": most_per_peer, "caller": most_per_caller}
        self._ends: set[asyncio.Timeout] = set()
        self._open: Counter[tuple[str, str]] = Counter()
        self._none_left = asyncio.Event()
        self._none_left.set()
        self._stopping = False

    @property
    def count(self) -> int:
        """How many streams are open."""
        return len(self._ends)

    @asynccontextmanager
    async def one(self, *, peer: str, caller: str) -> AsyncIterator[None]:
        """Run a stream within its time.

        Args:
            peer: Whose connection.
            caller: Who asks.

        Raises:
            StreamEnded: before it begins or at any point of it.
        """
        if self._stopping:
            raise StreamEnded(STOPPING)
        owners = (("connection", peer), ("caller", caller))
        self._demand_room(owners)
        end = asyncio.timeout(self._longest_seconds)
        self._open.update(owners)
        self._ends.add(end)
        self._none_left.clear()
        try:
            async with end:
                yield
        except TimeoutError as error:
            if not end.expired():
                raise
            raise StreamEnded(self._why()) from error
        finally:
            self._ends.discard(end)
            self._leave(owners)
            if not self._ends:
                self._none_left.set()

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
        """End every stream, and begin none; return when none is left."""
        self._stopping = True
        now = asyncio.get_running_loop().time()
        for end in self._ends:
            # One that ended in this very moment can't be moved any more.
            if not end.expired():
                end.reschedule(now)
        await self._none_left.wait()


def _too_many(whose: str, most: int) -> Failure:
    return Failure(
        code=grpc.StatusCode.RESOURCE_EXHAUSTED,
        reason="TOO_MANY_STREAMS",
        message=(
            f"This {whose} has {most} streams open, the most it may have. Cancel those that "
            "are not read any more: one that is only dropped stays open."
        ),
    )
