"""Looks at a database again and again, and tells who listens when it goes away and comes back."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = structlog.get_logger(__name__)


class Watch(ABC):
    """What is known of whether a database is there; how to look is a database's own."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[bool], Awaitable[None]]] = []
        # Why it is away; "" while it is there.
        self._why = ""
        # Whether it answers questions, where it may be that it takes no writes.
        self._answers = True

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="store-pulse")

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    @property
    def there(self) -> bool:
        """Whether it is there, as far as is known."""
        return not self._why

    @property
    def answers(self) -> bool:
        """Whether it answers questions, as far as is known; it may take no writes all the same."""
        return self._answers

    def on_change(self, listener: Callable[[bool], Awaitable[None]]) -> None:
        """Call `listener` when it went away (False), when it is back (True), or answers again."""
        self._listeners.append(listener)

    @abstractmethod
    async def _run(self) -> None:
        """Look until it is stopped."""

    async def _learn(self, why: str, *, answers: bool = False) -> None:
        """Take what a look found, "" for nothing wrong; who listens hears of changes only."""
        before = (bool(self._why), self._answers)
        self._why, self._answers = why, answers or not why
        if before == (bool(why), self._answers):
            return
        if why:
            _log.error("store.away", problem=why)
        else:
            _log.info("store.back")
        for listener in self._listeners:
            await listener(not why)
