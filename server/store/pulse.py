"""Knows whether PostgreSQL answers, so that callers hear at once when it does not.

A server that is gone refuses connections, and a call fails by itself. One that hangs, or a
network that drops packets, answers nothing: each call would wait its whole time and could
not say why. So a question is asked again and again on a connection of its own. A restart
takes a second or two, and nobody need hear of it; after that calls are refused with the
reason, and those that wait already are cut off.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from server.errors import StoreUnavailable
from server.store import postgres
from server.store.failures import DRIVER_ERRORS, detail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import URL

_log = structlog.get_logger(__name__)

_PAUSE_SECONDS = 1.0
_AGAIN_SECONDS = 0.25
_ANSWER_SECONDS = 1.5
# As long as the writer waits for a database that restarts.
PATIENCE_SECONDS = 3.0


class Pulse:
    """Asks PostgreSQL whether it is there."""

    def __init__(
        self,
        url: URL,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        answer_seconds: float = _ANSWER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = postgres.engine(url, connections=1, seconds=answer_seconds)
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._listeners: list[Callable[[bool], Awaitable[None]]] = []
        self._failing_since: float | None = None
        # Why it is away; "" while it is there.
        self._why = ""

    def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.create_task(self._run(), name="store-pulse")

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._engine.dispose()

    @property
    def there(self) -> bool:
        """Whether it answers, as far as is known."""
        return not self._why

    def demand(self) -> None:
        """Refuse what needs the database while it is away.

        Raises:
            StoreUnavailable: with the reason.
        """
        if self._why:
            raise StoreUnavailable(f"The database does not answer: {self._why} Nothing was done.")

    def demand_writes(self) -> None:
        """Refuse likewise: whether PostgreSQL takes writes, it says with each of them.

        Raises:
            StoreUnavailable: with the reason.
        """
        self.demand()

    def on_change(self, listener: Callable[[bool], Awaitable[None]]) -> None:
        """Call `listener` when it went away (False), and when it is back (True)."""
        self._listeners.append(listener)

    async def _run(self) -> None:
        while True:
            asked_at = self._clock()
            try:
                await self._ask()
            except (*DRIVER_ERRORS, StoreUnavailable) as error:
                await self._failed(detail(error), asked_at)
                await asyncio.sleep(_AGAIN_SECONDS)
            except Exception as error:  # noqa: BLE001 - it must go on asking; recorded
                _log.exception("store.pulse_bug")
                await self._failed(type(error).__name__, asked_at)
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                await self._answered()
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _ask(self) -> None:
        async with self._engine.connect() as connection:
            try:
                await connection.exec_driver_sql("SELECT 1")
            except BaseException:
                # A connection that does not answer is no good to the next question, and would
                # not answer a farewell either.
                postgres.cut(self._engine)
                await connection.invalidate()
                raise

    async def _answered(self) -> None:
        self._failing_since = None
        if self._why:
            self._why = ""
            _log.info("store.back")
            await self._tell(there=True)

    async def _failed(self, why: str, asked_at: float) -> None:
        if self._failing_since is None:
            # Once is no proof: this process may have been stopped while it waited.
            self._failing_since = asked_at
            return
        if self._clock() - self._failing_since < self._patience_seconds:
            return
        known, self._why = self._why, why
        if not known:
            _log.error("store.away", problem=why)
            await self._tell(there=False)

    async def _tell(self, *, there: bool) -> None:
        for listener in self._listeners:
            await listener(there)
