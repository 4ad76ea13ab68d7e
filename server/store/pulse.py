"""Knows whether PostgreSQL answers, so that callers hear at once when it does not.

A server that is gone refuses connections, and a call fails by itself. One that hangs, or a
network that drops packets, answers nothing: each call would wait its whole time and could
not say why. So a question is asked again and again on a connection of its own. A restart
takes a second or two, and nobody need hear of it; after that calls are refused with the
reason, and those that wait already are cut off. What is asked for is the revision of the
schema: a process must not go on beside a version that upgraded it.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import structlog

from server.errors import StoreUnavailable
from server.store import postgres, schema
from server.store.failures import (
    DRIVER_ERRORS,
    READ_ONLY,
    OtherSchema,
    detail,
    is_without_room,
)
from server.store.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL

_log = structlog.get_logger(__name__)

_QUESTION = f"SELECT {schema.FOUND}, current_setting('transaction_read_only')"
_PAUSE_SECONDS = 1.0
_AGAIN_SECONDS = 0.25
_ANSWER_SECONDS = 1.5
# So long a write that met a full disk speaks for it. Who drives tries again twice a second; a
# later one that goes through proves little, for a heartbeat needs no new page.
_NO_ROOM_SECONDS = 10.0
# As long as the writer waits for a database that restarts.
PATIENCE_SECONDS = 3.0


class Pulse(Watch):
    """Asks PostgreSQL whether it is there."""

    def __init__(
        self,
        url: URL,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        answer_seconds: float = _ANSWER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._engine = postgres.engine(url, connections=1, seconds=answer_seconds)
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._failing_since: float | None = None
        # What a write met that had no room, and when; "" where none did.
        self._refused, self._refused_at = "", 0.0

    async def stop(self) -> None:
        """Ask no more."""
        await super().stop()
        await self._engine.dispose()

    def demand(self) -> None:
        """Refuse what needs the database while it is away.

        Raises:
            StoreUnavailable: with the reason.
        """
        if not self.answers:
            raise StoreUnavailable(f"{self._why} Nothing was done.")

    def demand_writes(self) -> None:
        """Refuse likewise, and while it is read-only, or its disk full.

        Raises:
            StoreUnavailable: with the reason.
        """
        self.demand()
        if self._why:
            raise StoreUnavailable(f"The database can't write now: {self._why}")

    def refused(self, error: BaseException) -> None:
        """Note what a write met, where that is the disk's fault: no question finds it."""
        if is_without_room(error):
            self._refused, self._refused_at = detail(error), self._clock()

    async def _run(self) -> None:
        while True:
            asked_at = self._clock()
            try:
                found, writes = await self._ask()
                schema.demand(found)
            except OtherSchema as error:
                # It answered: that is no doubt of ours which passes.
                self._failing_since = None
                await self._learn(error.message)
                await asyncio.sleep(_PAUSE_SECONDS)
            except (*DRIVER_ERRORS, StoreUnavailable) as error:
                await self._failed(detail(error), asked_at)
                await asyncio.sleep(_AGAIN_SECONDS)
            except Exception as error:  # noqa: BLE001 - it must go on asking; recorded
                _log.exception("store.pulse_bug")
                await self._failed(type(error).__name__, asked_at)
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                await self._answered(writes=writes)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _ask(self) -> tuple[str | None, bool]:
        """Return the revision of the schema, and whether writes are taken."""
        async with self._engine.connect() as connection:
            try:
                answer: Any = (await connection.exec_driver_sql(_QUESTION)).one()
                found, read_only = answer
                if read_only != "off":
                    # The next connection may lead to the new primary, and has the role's new
                    # default: this one keeps its own for as long as it lives.
                    await connection.invalidate()
            except BaseException:
                # A connection that does not answer is no good to the next question, and would
                # not answer a farewell either.
                postgres.cut(self._engine)
                await connection.invalidate()
                raise
            return found, read_only == "off"

    async def _answered(self, *, writes: bool) -> None:
        self._failing_since = None
        if self._clock() - self._refused_at > _NO_ROOM_SECONDS:
            self._refused = ""
        await self._learn(self._refused if writes else READ_ONLY, answers=True)

    async def _failed(self, why: str, asked_at: float) -> None:
        if self._failing_since is None:
            # Once is no proof: this process may have been stopped while it waited.
            self._failing_since = asked_at
            return
        if self._clock() - self._failing_since < self._patience_seconds:
            return
        await self._learn(f"The database does not answer: {why}")
