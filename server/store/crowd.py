"""Gathers callers that ask at nearly the same time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Crowd:
    """Tells which callers should wait a moment, to be answered together; none that asks alone.

    Answers sent in the same iteration of the event loop are one wake-up for gRPC, and the
    callers' next calls arrive together again.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        """Take the length of the moment.

        Args:
            seconds: Returns for how many seconds callers that come next are gathered, after several
                came in one iteration of the event loop.
        """
        self._seconds = seconds
        # How many asked in this iteration of the loop and were not made to wait.
        self._at_once = 0
        self._waiting: list[asyncio.Future[None]] = []
        # Until when callers have to wait, by the loop's clock.
        self._until = 0.0

    def moment(self) -> asyncio.Future[None] | None:
        """Return the future to wait for; None to go on at once."""
        loop = asyncio.get_running_loop()
        if self._waiting or loop.time() < self._until:
            if not self._waiting:
                loop.call_at(self._until, self._over)
            mine: asyncio.Future[None] = loop.create_future()
            self._waiting.append(mine)
            return mine
        if self._at_once == 0:
            loop.call_soon(self._turn_is_over)
        self._at_once += 1
        return None

    def _turn_is_over(self) -> None:
        asked, self._at_once = self._at_once, 0
        self._gather_after(asked)

    def _over(self) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.done():
                each.set_result(None)
        self._gather_after(len(waiting))

    def _gather_after(self, asked: int) -> None:
        now = asyncio.get_running_loop().time()
        self._until = now + self._seconds() if asked > 1 else 0.0
