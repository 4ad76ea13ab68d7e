"""The line for each site's one slot, within this process.

The slot itself is in the database (`engines`), so that it outlives this process. Here a few runs
per site stand ready in memory, so that the slot never lies idle between two of them. A run that
comes when all these seats are taken gives its place back, and is called up when its turn comes
(`Reads.slot_line`). Runs go in the order in which they were ordered: a tenant that is nearly done
does not wait behind all those that are beginning, and nobody can be overtaken for ever. For the
same reason the line waits a moment for a run that was ordered earlier and is on its way.

A run that stands in line here is not driving: it takes none of the worker's places.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Container, Sequence
    from datetime import datetime

# A Company takes seconds. Meanwhile the tenants whose Companies were made before come with their
# small documents, one each: an account, two warehouses, a customer, a payment row, a till. With
# room for these and for the tenants whose Companies are next, no run gives its place back only to
# be called up a moment later. Each seat costs the memory of one driven run.
SEATS = 12
# How long the slot may lie idle for a run that was ordered earlier and is on its way: as long as
# the reads before its first document take on a healthy site. Longer would make everybody wait for
# one run whose reads hang.
COMING_SECONDS = 2.0

# How many runs of a site are prepared at a time when all seats are taken. More would only get in
# the way of those that have something to send; some are needed, as not every run needs the slot.
_AHEAD = 2

Place = tuple["datetime", str]


class LineIsLong(Exception):  # noqa: N818 - no error: the run gives its place back
    """All seats are taken by earlier runs, or the site takes no work: the run must leave."""


@dataclass(frozen=True, slots=True, eq=False)
class _Coming:
    """A run on its way; `until` is when to stop waiting for it, by the event loop's clock."""

    until: float


async def _nothing() -> None:
    """Do nothing: for a run that need not say that it waits."""


class Line:
    """The line of one site, within this process; used on the event loop's thread only.

    A place is the time at which a run was ordered, and its id: the earlier goes first.

    Attributes:
        heard: How often it was heard that the slot may be free; for `news`.
    """

    def __init__(self, *, moved: Callable[[], None], wanted: Callable[[], None]) -> None:
        """Take the callbacks.

        Args:
            moved: Called when the line has moved on.
            wanted: Called when runs must be called up.
        """
        self._moved = moved
        self._wanted = wanted
        self._taken = False
        self._waiting: list[tuple[Place, asyncio.Future[None]]] = []
        # Runs on their way to the line.
        self._coming: dict[Place, _Coming] = {}
        # Those that gave their place back here and have not been called up since, in order; and
        # until when the slot lies idle for them, unless one of them is called up meanwhile.
        self._away: list[Place] = []
        self._missed_until: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._news = asyncio.Event()
        # How often it was heard that the slot may be free.
        self.heard = 0

    @property
    def taken(self) -> bool:
        """Whether some run of this process has the turn."""
        return self._taken

    @property
    def last(self) -> Place | None:
        """The place of the last run that waits here; None if none does."""
        return self._waiting[-1][0] if self._waiting else None

    @property
    def seated(self) -> int:
        """How many runs wait here for their turn."""
        return len(self._waiting)

    @property
    def free_seats(self) -> int:
        """How many more runs may wait here."""
        return max(0, SEATS - len(self._waiting))

    @property
    def may_begin(self) -> int | None:
        """How many more runs may be prepared if all seats are taken; None for any number."""
        if len(self._waiting) < SEATS:
            return None
        now = asyncio.get_running_loop().time()
        return max(0, _AHEAD - sum(each.until > now for each in self._coming.values()))

    def seats(self, place: Place) -> bool:
        """Tell whether a run with that place would get a seat, perhaps that of a later run."""
        return sum(each < place for each, _ in self._waiting) < SEATS

    def expect(self, place: Place, *, pause: float = 0.0) -> Callable[[], None]:
        """Note that a run is on its way to the line, or will be once a pause is over.

        Args:
            place: The run's place.
            pause: Seconds until it sets out.

        Returns:
            A callback for when it is there, or is not coming; calling it twice does no harm.
        """
        mine = _Coming(asyncio.get_running_loop().time() + pause + COMING_SECONDS)
        self._coming[place] = mine
        at = bisect_left(self._away, place)
        if self._away[at : at + 1] == [place]:
            self._forget_away(at)

        def came() -> None:
            if self._coming.get(place) is mine:
                del self._coming[place]
                self._let_next_go()

        return came

    def called_up(
        self,
        places: Sequence[Place],
        *,
        nobody_else: bool,
        before: datetime | None,
        leaving: Container[str],
    ) -> None:
        """Hear which of the runs that gave their place back, here or elsewhere, come first.

        Args:
            places: The first ones, in order, which are called up now.
            nobody_else: Whether there are no others.
            before: If given, only runs ordered before this were looked for.
            leaving: The ids of runs of this process that may be about to give their place back, and
                so were not seen there yet.
        """
        end = bisect_right(self._away, places[-1]) if places else 0
        if nobody_else:
            end = len(self._away) if before is None else bisect_left(self._away, (before, ""))
        for at in reversed(range(end)):
            if self._away[at][1] not in leaving:
                self._forget_away(at)
        self._let_next_go()

    @asynccontextmanager
    async def turn(
        self,
        place: Place,
        *,
        arrived: Callable[[], None] = lambda: None,
        waits: Callable[[], Awaitable[None]] = _nothing,
    ) -> AsyncIterator[Turn]:
        """Wait for the turn, and keep it for the duration of the block.

        Args:
            place: The run's place.
            arrived: Called when the run has a seat or the turn.
            waits: Awaited if the run has to wait, once it has its seat.

        Yields:
            The turn.

        Raises:
            LineIsLong: earlier runs take all seats, now or while it waits; or the line is cleared.
        """
        turn = Turn(self, place)
        await turn.come(arrived, waits)
        try:
            yield turn
        finally:
            turn.leave()

    def clear(self) -> None:
        """Send away every run that waits here; the one that has the turn keeps it."""
        waiting, self._waiting = self._waiting, []
        for place, turn in waiting:
            self._send_away(place, turn)

    async def sit(
        self,
        place: Place,
        *,
        arrived: Callable[[], None] = lambda: None,
        waits: Callable[[], Awaitable[None]] = _nothing,
        give_on: bool = False,
    ) -> None:
        """Take a seat until the turn comes.

        Args:
            place: The run's place.
            arrived: Called when it has its seat.
            waits: Awaited if it has to wait.
            give_on: Whether it has the turn now, and passes it on to the first in line.

        Raises:
            LineIsLong: earlier runs take all seats, now or while it waits; or the line is cleared.
        """
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        insort(self._waiting, (place, turn), key=lambda each: each[0])
        if len(self._waiting) > SEATS:
            self._send_away(*self._waiting.pop())
        arrived()
        if give_on:
            self.give_on()
        else:
            self._let_next_go()
        try:
            if not turn.done():
                await waits()
                if turn.done():
                    # The turn came meanwhile. The run that passed it on gives the slot back in
                    # the next iteration of the event loop, and must reach the writer first.
                    await asyncio.sleep(0)
            await turn
        except BaseException:
            self._waiting = [each for each in self._waiting if each[1] is not turn]
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # It was cancelled at the very moment its turn came: the next one must not wait.
                self.give_on()
            raise

    def take(self, place: Place) -> bool:
        """Take the turn if nobody has it and nobody goes first.

        Returns:
            Whether it was taken; then it must be given on (`give_on`).
        """
        if self._taken or self.earlier(place) or self._wait_for(place) is not None:
            return False
        self._taken = True
        return True

    def earlier(self, place: Place) -> bool:
        """Tell whether a run waits here that goes before that place."""
        return any(each < place for each, _ in self._waiting)

    def moved(self) -> None:
        """Report that the line has moved on."""
        self._moved()

    def give_on(self) -> None:
        """Pass the turn on directly, so that nobody slips in; the caller must have it."""
        self._taken = False
        self._let_next_go()

    def freed(self) -> None:
        """Hear that the slot may be free: a run that has the turn and was refused tries again."""
        self.heard += 1
        self._news.set()

    async def news(self, heard: int, *, longest: float) -> None:
        """Wait until it is heard again that the slot may be free.

        Args:
            heard: What `self.heard` was when the slot was last tried for; if it differs by now,
                there is nothing to wait for.
            longest: The longest wait, in seconds.
        """
        if self.heard != heard:
            return
        self._news.clear()
        try:
            async with asyncio.timeout(longest):
                await self._news.wait()
        except TimeoutError:
            return

    def _let_next_go(self) -> None:
        """Give the turn to the first run that waits, unless one on its way goes first."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and not self._taken:
            place, turn = self._waiting[0]
            pause = self._wait_for(place)
            if pause is not None and not turn.done():
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(pause, self._let_next_go)
                return
            self._waiting.pop(0)
            if not turn.done():
                self._taken = True
                turn.set_result(None)

    def _wait_for(self, place: Place) -> float | None:
        """Return for how many seconds to wait for runs that go first; None if there are none."""
        now = asyncio.get_running_loop().time()
        ends = [
            each.until for whose, each in self._coming.items() if whose < place and each.until > now
        ]
        if self._away and self._away[0] < place:
            if self._missed_until is None:
                self._missed_until = now + COMING_SECONDS
                self._wanted()
            if self._missed_until > now:
                ends.append(self._missed_until)
            else:
                # Nobody has called them up: the site takes no work, or they can't be driven.
                del self._away[: bisect_left(self._away, place)]
                self._missed_until = None
        return max(ends) - now if ends else None

    def _forget_away(self, at: int) -> None:
        del self._away[at]
        self._missed_until = None

    def _send_away(self, place: Place, turn: asyncio.Future[None]) -> None:
        if not turn.done():
            self.gave_place_back(place)
            turn.set_exception(LineIsLong())

    def gave_place_back(self, place: Place) -> None:
        """Note that a run leaves the line until it is called up.

        The slot lies idle for it for up to `COMING_SECONDS` when a later one would have its turn.
        """
        insort(self._away, place)


class Turn:
    """One run's turn at a line; once `come` has returned, `leave` must be called."""

    def __init__(self, line: Line, place: Place) -> None:
        self._line = line
        self._place = place
        self._mine = False

    async def come(self, arrived: Callable[[], None], waits: Callable[[], Awaitable[None]]) -> None:
        """Wait until the turn comes.

        Args:
            arrived: As for `Line.turn`.
            waits: As for `Line.turn`.

        Raises:
            LineIsLong: as `Line.turn`.
        """
        if not self._line.take(self._place):
            await self._line.sit(self._place, arrived=arrived, waits=waits)
            self._mine = True
            return
        self._mine = True
        arrived()
        try:
            # Another run may have left it in this very iteration of the event loop: see `sit`.
            await asyncio.sleep(0)
        except BaseException:
            self.leave()
            raise

    async def let_earlier_go(self) -> None:
        """Let a run that goes first have the turn while the slot itself is taken.

        Otherwise two processes could wait for each other: the run with the turn in each of them
        for one that stands in the other's line.

        Raises:
            LineIsLong: the run lost its place in line meanwhile.
        """
        if self._line.earlier(self._place):
            self._mine = False
            await self._line.sit(self._place, give_on=True)
            self._mine = True

    def leave(self) -> None:
        """Pass the turn on, if the run has it, and report that the line has moved on."""
        if self._mine:
            self._mine = False
            self._line.give_on()
        self._line.moved()
