"""The line before each site's one slot, within this process.

The slot itself is in the database (`engines`), so that it outlives this process. Here a few
runs a site stand ready in memory, so that the slot never lies idle between two of them; who
comes when all these seats are taken gives its place back and is called up by its turn
(`Reads.slot_line`). Who was ordered first goes first: a tenant that is nearly done does not
wait behind everybody who begins, and nobody can be overtaken for ever.

Who stands in line here is not driving: it takes none of the worker's places.
"""

from __future__ import annotations

import asyncio
from bisect import insort
from collections import Counter, defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

# Enough that one is always ready while another one's request is out; each costs the memory
# of one driven run.
SEATS = 4

Place = tuple["datetime", str]


class LineIsLong(Exception):  # noqa: N818 - no error: the run gives its place back
    """All seats are taken by runs that were ordered earlier, or the site takes no work."""


class Line:
    """The line of one site."""

    def __init__(self, moved: Callable[[], None]) -> None:
        self._moved = moved
        self._taken = False
        self._waiting: list[tuple[Place, asyncio.Future[None]]] = []

    @property
    def taken(self) -> bool:
        """Whether somebody of this process has the turn."""
        return self._taken

    @property
    def last(self) -> Place | None:
        """The place of the last one who waits here."""
        return self._waiting[-1][0] if self._waiting else None

    @property
    def seated(self) -> int:
        """How many wait here for their turn."""
        return len(self._waiting)

    def seats(self, place: Place) -> bool:
        """Tell whether a run of that place would get a seat."""
        return sum(each < place for each, _ in self._waiting) < SEATS

    @asynccontextmanager
    async def turn(self, place: Place) -> AsyncIterator[Turn]:
        """Wait for the turn, and have it for the time of the block.

        Raises:
            LineIsLong: if all seats are taken by earlier ones, now or later.
        """
        turn = Turn(self, place)
        await turn.come()
        try:
            yield turn
        finally:
            turn.leave()

    def clear(self) -> None:
        """Send everybody who waits here away; the one who has the turn keeps it."""
        waiting, self._waiting = self._waiting, []
        for _, turn in waiting:
            if not turn.done():
                turn.set_exception(LineIsLong())

    async def sit(self, place: Place, *, give_on: bool = False) -> None:
        """Take a seat until the turn comes; `give_on` gives the own turn to the first one."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        insort(self._waiting, (place, turn), key=lambda each: each[0])
        if len(self._waiting) > SEATS:
            _, last = self._waiting.pop()
            if not last.done():
                last.set_exception(LineIsLong())
        if give_on:
            self.give_on()
        try:
            await turn
        except BaseException:
            self._waiting = [each for each in self._waiting if each[1] is not turn]
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # Cancelled in the very moment its turn came: the next one must not wait.
                self.give_on()
            raise

    def take(self) -> bool:
        """Take the turn if nobody has it."""
        free, self._taken = not self._taken, True
        return free

    def earlier(self, place: Place) -> bool:
        """Tell whether somebody waits here who goes first."""
        return any(each < place for each, _ in self._waiting)

    def moved(self) -> None:
        """Say that the line moved on."""
        self._moved()

    def give_on(self) -> None:
        """Give the turn on without letting it go in between: nobody slips in."""
        while self._waiting:
            _, turn = self._waiting.pop(0)
            if not turn.done():
                turn.set_result(None)
                return
        self._taken = False


class Turn:
    """One run's turn at a line."""

    def __init__(self, line: Line, place: Place) -> None:
        self._line = line
        self._place = place
        self._mine = False

    async def come(self) -> None:
        """Wait until it is there."""
        if not self._line.take():
            await self._line.sit(self._place)
        self._mine = True

    async def let_earlier_go(self) -> None:
        """Let whoever goes first have the turn, while the slot itself is not to be had.

        Two processes would else wait for each other: each one's turn for the other's line.
        """
        if self._line.earlier(self._place):
            self._mine = False
            await self._line.sit(self._place, give_on=True)
            self._mine = True

    def leave(self) -> None:
        """Give the turn on."""
        if self._mine:
            self._mine = False
            self._line.give_on()
        self._line.moved()


class Slots:
    """One line a site."""

    def __init__(self) -> None:
        self._called: Counter[str] = Counter()
        self._on_move: list[Callable[[], None]] = []
        self._lines: defaultdict[str, Line] = defaultdict(lambda: Line(self._moved))
        # Whether some run gave its place back since somebody was last called up in vain.
        self.handed_back = True

    def of(self, site: str) -> Line:
        """Return the line of a site."""
        return self._lines[site]

    def on_move(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a line moves on."""
        self._on_move.append(callback)

    def seated(self, site: str = "") -> int:
        """Count who waits for a turn, at one site or at all."""
        if site:
            return self._lines[site].seated
        return sum(line.seated for line in self._lines.values())

    def room(self, site: str) -> tuple[int, datetime | None]:
        """Tell how many may be called up to a site's line, and how early they must be ordered.

        Where all seats are taken one may come who goes before the last of them: else whoever
        comes by just as a seat is free would keep those away who wait longer.
        """
        line, called = self._lines[site], self._called[site]
        free = max(0, SEATS - line.seated - called)
        if free or called or line.last is None:
            return free, None
        return 1, line.last[0]

    def call_up(self, site: str) -> Callable[[], None]:
        """Note that a run of the line is on its way to its seat.

        Returns:
            To be called when it is there, or goes another way; again does no harm.
        """
        self._called[site] += 1
        on_the_way = True

        def came() -> None:
            nonlocal on_the_way
            if on_the_way:
                on_the_way = False
                self._called[site] -= 1

        return came

    def clear(self, site: str = "") -> None:
        """Send away who waits at a site, or everywhere."""
        for each in [self._lines[site]] if site else list(self._lines.values()):
            each.clear()

    def _moved(self) -> None:
        for callback in self._on_move:
            callback()
