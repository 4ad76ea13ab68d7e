"""Looks at a database again and again, and tells listeners when it goes down and comes back."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = structlog.get_logger(__name__)

# A look and the pause after it take less than three seconds.
_STANDSTILL_SECONDS = 5.0


class Watch(ABC):
    """What is known about whether a database is there; each kind of database has its own look."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[bool], Awaitable[None]]] = []
        # Why it is down; "" while it is there.
        self._why = ""
        # Whether it answers queries, even if it may take no writes.
        self._answers = True
        self._back_at: float | None = None
        # When the last look began, by the wall clock: it goes on while the host is suspended, and
        # where it was set, signs of life look as old as if this process had stood still.
        self._turned_at: float | None = None

    def start(self) -> None:
        """Start looking."""
        self._task = asyncio.create_task(self._run(), name="store-pulse")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    @property
    def there(self) -> bool:
        """Whether the database is there, as far as is known."""
        return not self._why

    @property
    def answers(self) -> bool:
        """Whether it answers queries, as far as is known; it may still take no writes."""
        return self._answers

    @property
    def seconds_since_back(self) -> float | None:
        """How long ago it came back; None if it was never down while this process looked.

        0.0 while it is down as far as is known: whoever reads it all the same is the first to see
        it back. A standstill of this process (a suspended host) counts as the same, because the
        workers on this host stood still, too, and all signs of life are as old as it was long.
        """
        if self._why or self._stood_still():
            return 0.0
        return None if self._back_at is None else time.monotonic() - self._back_at

    def on_change(self, listener: Callable[[bool], Awaitable[None]]) -> None:
        """Call `listener` with `there` whenever that or `answers` changes.

        Args:
            listener: Awaited by the task that looks: no look is made before it returns. What it
                raises is recorded.
        """
        self._listeners.append(listener)

    @abstractmethod
    async def _run(self) -> None:
        """Look until it is stopped."""

    def _turn(self) -> None:
        """Note that a look begins, and whether this process has just stood still."""
        if self._stood_still():
            self._back_at = time.monotonic()
        self._turned_at = time.time()

    def _stood_still(self) -> bool:
        return self._turned_at is not None and time.time() - self._turned_at > _STANDSTILL_SECONDS

    async def _learn(self, why: str, *, answers: bool = False) -> None:
        """Take what a look found, "" if nothing is wrong; listeners hear only of changes."""
        before = (bool(self._why), self._answers)
        self._why, self._answers = why, answers or not why
        if before == (bool(why), self._answers):
            return
        if why:
            _log.error("store.away", problem=why)
        else:
            self._back_at = time.monotonic()
            _log.info("store.back")
        for listener in self._listeners:
            try:
                await listener(not why)
            except Exception:  # noqa: BLE001 - a listener must not end the looks; recorded
                _log.exception("store.watcher_bug")
