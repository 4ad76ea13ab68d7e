"""Takes a site's slot for one request, and gives it back.

A run first waits for its turn in the line of this process (`line`), and then takes the slot in
the database, in one operation with the intent of its request.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from server.errors import EngineError
from server.executor import cancelling
from server.executor.line import LineIsLong
from server.model.made_often import replace
from server.model.records import WaitingFor
from server.model.states import ErrorClass, WaitingCode
from server.store.operations import SlotFree, SlotTake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from server.executor.intents import Intents
    from server.executor.line import Turn
    from server.executor.slots import Slots
    from server.executor.state import DrivenRun
    from server.model.step_context import Intent

# How often to try again for a slot held by another process, in case nobody says that it is free.
_PAUSE_SECONDS = 0.25
# Twenty of these (the budget of races) last longer than a request's time limit and its grace.
_LOOK_AGAIN_SECONDS = 5.0


class SiteSlot:
    """The site's slot, as one attempt takes it for one request after the other."""

    def __init__(
        self,
        driven: DrivenRun,
        intents: Intents,
        slots: Slots,
        *,
        may_go: Callable[[], bool],
        arrived: Callable[[], None],
    ) -> None:
        """Take what the attempt works with.

        Args:
            driven: The run.
            intents: What the attempt asks for.
            slots: The lines for the sites' slots.
            may_go: Tells whether the site takes work.
            arrived: To be called when the run reaches the line to which it was called up.
        """
        self._driven = driven
        self._intents = intents
        self._slots = slots
        self._may_go = may_go
        self._arrived = arrived
        # The attempt's deadline.
        self.timeout: asyncio.Timeout | None = None
        # Whether the attempt waits for the slot and so has no request out.
        self.in_line = False

    @asynccontextmanager
    async def taken(self, intent: Intent, longest_out: timedelta) -> AsyncIterator[Turn | None]:
        """Stand in the site's line, take the slot in the database with the intent, go on.

        Waiting does not count against the attempt's deadline: its clock stands still meanwhile.
        Whether the slot is given back (`free`) is for the block to decide.

        Args:
            intent: What the request does, and to which document.
            longest_out: From when the slot is taken, for how long the request may be out.

        Yields:
            The turn; None for a run that has a request out, and so does not stand in line.

        Raises:
            LineIsLong: the run is to give its place back, and will be called up later.
            CancelOrdered: a person cancelled the run while it waited.
            EngineError: SLOT_BUSY if the document must be looked for again first.
        """
        self.in_line = True
        line = self._slots.of(self._driven.tenant.site)
        place = (self._driven.run.created_at, self._driven.run.id)
        left = self._stop_clock()
        # A run with a request out goes first: nobody else gets the slot until that is settled.
        # It does not even wait for runs on their way here, which would wait for it.
        first = self._driven.unknown and await self._driven.holds_slot()
        if first:
            self._arrived()
        elif not line.seats(place) or not self._may_go():
            line.gave_place_back(place)
            self._arrived()
            raise LineIsLong
        say = partial(self._say_waiting, intent)
        turn_of = nullcontext() if first else line.turn(place, arrived=self._arrived, waits=say)
        async with turn_of as turn:
            heard = line.heard
            while not await self._take(intent, longest_out, left):
                if self._intents.may_be_made_twice(intent):
                    raise _looked_too_early(intent)
                if not self._may_go():
                    line.gave_place_back(place)
                    raise LineIsLong
                if self._driven.run.waiting_for is None:
                    await self._say_waiting(intent)
                await line.news(heard, longest=_PAUSE_SECONDS)
                if turn is not None:
                    await turn.let_earlier_go()
                heard = line.heard
            self._start_clock(left)
            self.in_line = False
            cancelling.check(self._driven)
            yield turn

    async def free(self, turn: Turn | None) -> None:
        """Give the slot back, and let the next run take it in the same commit.

        The next run's operation is written right behind this one. If this one is refused or
        fails, the next run finds the slot taken, and waits for it as for another process's.
        """
        giving = asyncio.ensure_future(
            self._driven.write(slot=SlotFree(site=self._driven.tenant.site))
        )
        if turn is not None:
            turn.leave()
        try:
            await asyncio.shield(giving)
        except asyncio.CancelledError:
            # It is written all the same, and memory has to follow.
            await giving
            raise

    async def _take(self, intent: Intent, longest_out: timedelta, left: float | None) -> bool:
        now = self._driven.now()
        self._driven.deadline_at = None if left is None else now + timedelta(seconds=left)
        waiting, self._driven.run = self._driven.run, replace(self._driven.run, waiting_for=None)
        before = self._driven.noted(intent.doctype, intent.name)
        # Only now: a run in line has nothing out, and the time of its intent begins with the slot.
        self._intents.store(intent, longest_out)
        take = SlotTake(
            site=self._driven.tenant.site,
            doctype=intent.doctype,
            name=intent.name,
            seconds=longest_out.total_seconds(),
            repeatable=intent.repeatable,
            since=self._driven.run.created_at,
        )
        try:
            refusal = await self._driven.try_write(slot=take)
        except asyncio.CancelledError:
            if self._driven.unwritten:
                # It was refused.
                self._driven.take_back(intent.doctype, intent.name, before)
            elif not self._driven.unknown:
                # Taken, but nothing was sent; the run's next worker may come late.
                self._driven.free_slot()
            raise
        if refusal is None:
            return True
        self._driven.take_back(intent.doctype, intent.name, before)
        self._driven.run = waiting
        return False

    async def _say_waiting(self, intent: Intent) -> None:
        self._driven.run = replace(
            self._driven.run,
            waiting_for=WaitingFor(
                code=WaitingCode.SITE_SLOT,
                message=(
                    f"Waiting for the site's slot to make {intent.doctype} {intent.name!r}: "
                    "ERPNext takes one such document at a time."
                ),
                until=None,
            ),
        )
        self._driven.deadline_at = None
        await self._driven.write()

    def _stop_clock(self) -> float | None:
        """Stop the attempt's clock; return the seconds it has left, None if it has no deadline."""
        if self.timeout is None or (when := self.timeout.when()) is None:
            return None
        self.timeout.reschedule(None)
        return when - asyncio.get_running_loop().time()

    def _start_clock(self, left: float | None) -> None:
        if self.timeout is not None and left is not None:
            self.timeout.reschedule(asyncio.get_running_loop().time() + left)


def _looked_too_early(intent: Intent) -> EngineError:
    """Return the error of a slot that is taken while a request for the same document may be out."""
    return EngineError(
        ErrorClass.RACE,
        "SLOT_BUSY",
        f"The site's slot is taken, and this engine would make {intent.doctype} "
        f"{intent.name!r} twice: it is looked for again first.",
        retry_after_seconds=_LOOK_AGAIN_SECONDS,
    )
