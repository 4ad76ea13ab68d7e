"""One read for all callers that ask for the same thing at the same time.

Dozens of runs ask for the gates at the same moment. If each made its own read, connections would
be opened and closed again right away, and each of those costs more than all the reads together
(docs/decisions/0044).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")


class Shared(Generic[T]):
    """A shared read. Calls made during one share the next: no answer is older than its call."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        # Each caller has its own future: one that leaves takes nobody along.
        self._waiting: list[asyncio.Future[T]] = []
        self._task: asyncio.Task[None] | None = None

    async def read(self) -> T:
        """Return the result of a read, the same for all callers that share it.

        Raises:
            Exception: whatever the read raises.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="shared-read")
        return await future

    async def _run(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                found = await self._read()
            except asyncio.CancelledError:
                for future in (*waiting, *self._waiting):
                    future.cancel()
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait get it
                _fail(waiting, error)
                continue
            for future in waiting:
                if not future.done():
                    future.set_result(found)


def _fail(waiting: Sequence[asyncio.Future[T]], error: Exception) -> None:
    for future in waiting:
        if not future.done():
            future.set_exception(error)
            # Retrieved here, since nobody may be waiting any more.
            future.exception()
