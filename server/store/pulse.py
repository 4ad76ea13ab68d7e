"""Knows whether PostgreSQL answers, so that callers hear at once when it does not.

A server that is gone refuses connections, and calls fail by themselves. A server that hangs, or a
network that drops packets, does not answer at all: every call would wait until its deadline and
could not say why. So a query is sent again and again on a connection of its own. A restart takes
a second or two, and nobody need hear of it; after that, calls are refused with the reason, and
those that already wait are cut off. The query asks for the revision of the schema, because a
process must not go on beside a version that upgraded it.
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
# For how long a write that met a full disk proves that it is full. Executors try again twice a
# second; a later write that goes through proves little, because a heartbeat needs no new page.
_NO_ROOM_SECONDS = 10.0
# The same time that the writer waits for a database that restarts.
PATIENCE_SECONDS = 3.0


class Pulse(Watch):
    """Asks PostgreSQL whether it is there, on a connection of its own."""

    def __init__(
        self,
        url: URL,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        answer_seconds: float = _ANSWER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take how to ask; `start` begins.

        Args:
            url: The database's URL.
            patience_seconds: For how long it must not answer before anybody hears of it.
            answer_seconds: How long one answer may take.
            clock: Seconds that go on whatever the wall clock is set to.
        """
        super().__init__()
        self._engine = postgres.engine(url, connections=1, seconds=answer_seconds)
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._failing_since: float | None = None
        # The error of the last write that had no room, and when that was; "" if there was none.
        self._refused, self._refused_at = "", 0.0

    async def stop(self) -> None:
        """Stop asking."""
        await super().stop()
        await self._engine.dispose()

    def demand(self) -> None:
        """Refuse what needs the database while it is down.

        Raises:
            StoreUnavailable: with the reason.
        """
        if not self.answers:
            raise StoreUnavailable(f"{self._why} Nothing was done.")

    def demand_writes(self) -> None:
        """Refuse likewise, and while the database is read-only or its disk is full.

        Raises:
            StoreUnavailable: with the reason.
        """
        self.demand()
        if self._why:
            raise StoreUnavailable(f"The database can't write now: {self._why}")

    def refused(self, error: BaseException) -> None:
        """Note the error of a write if the disk caused it: no query would find that out.

        Args:
            error: As the driver raised it; any other than a full or failing disk changes nothing.
        """
        if is_without_room(error):
            self._refused, self._refused_at = detail(error), self._clock()

    async def _run(self) -> None:
        while True:
            self._turn()
            asked_at = self._clock()
            try:
                found, writes = await self._ask()
                schema.demand(found)
            except OtherSchema as error:
                # It answered, so this is certain, and does not pass by itself.
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
        """Return the revision of the schema, and whether the database takes writes."""
        async with self._engine.connect() as connection:
            try:
                answer: Any = (await connection.exec_driver_sql(_QUESTION)).one()
                found, read_only = answer
                if read_only != "off":
                    # The next connection may lead to the new primary, and will have the role's
                    # new default; this one keeps the old one for as long as it lives.
                    await connection.invalidate()
            except BaseException:
                # A connection that does not answer is no use for the next query, and would not
                # answer a goodbye either.
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
            # One failure proves nothing: this process may have been suspended while it waited.
            self._failing_since = asked_at
            return
        if self._clock() - self._failing_since < self._patience_seconds:
            return
        await self._learn(f"The database does not answer: {why}")
