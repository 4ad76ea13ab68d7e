"""Gathers those who ask at nearly the same time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Crowd:
    """Tells who is to wait a moment, to be answered together: nobody who asks alone.

    Answers that leave in one turn of the event loop are one wake-up for gRPC, and their next
    calls come together again.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        """Take how long the moment is that comes after several."""
        self._seconds = seconds
        # How many asked in this turn of the loop, and were not asked to wait.
        self._at_once = 0
        self._waiting: list[asyncio.Future[None]] = []
        # Until when whoever asks is to wait, in the loop's time.
        self._until = 0.0

    def moment(self) -> asyncio.Future[None] | None:
        """Return what to wait for; None to go on at once."""
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
