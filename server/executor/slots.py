"""The lines of all sites, within this process: who is seated, and how many may be called up."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from server.executor.line import Line

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from server.executor.line import Place


class Slots:
    """One line per site, made when it is first asked for.

    Attributes:
        handed_back: Whether a run may have given its place back since there was last nobody to call
            up.
    """

    def __init__(self) -> None:
        self._called: Counter[str] = Counter()
        self._on_move: list[Callable[[], None]] = []
        self._lines: defaultdict[str, Line] = defaultdict(
            lambda: Line(moved=self._moved, wanted=self._wanted)
        )
        # Whether a run may have given its place back since there was last nobody to call up.
        self.handed_back = True

    def of(self, site: str) -> Line:
        """Return the line of a site."""
        return self._lines[site]

    def on_move(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a line moves on."""
        self._on_move.append(callback)

    def seated(self, site: str = "") -> int:
        """Count the runs that wait for a turn, at one site or, without a site, at all of them."""
        if site:
            return self._lines[site].seated
        return sum(line.seated for line in self._lines.values())

    def may_begin(self, site: str) -> int | None:
        """Tell how many runs of a site may begin now; None for any number.

        It is limited only while all seats of the site's line are taken.
        """
        return self._lines[site].may_begin

    def room(self, site: str) -> tuple[int, datetime | None]:
        """Tell how many runs may be called up to a site's line.

        If all seats are taken, one may come that goes before the last of them. Otherwise runs that
        happen to come by when a seat is free would keep out those that have waited longer.

        Returns:
            How many, and before when (UTC) they must have been ordered; None for any time.
        """
        line, called = self._lines[site], self._called[site]
        free = max(0, line.free_seats - called)
        if free or called or line.last is None:
            return free, None
        return 1, line.last[0]

    def expect(self, site: str, place: Place, *, called_up: bool = False) -> Callable[[], None]:
        """Note that a run is on its way to a site's line, if it has a document to ask for.

        Args:
            site: The site.
            place: The run's place.
            called_up: Whether a seat is kept for it.

        Returns:
            A callback for when it is there, or is not coming; calling it twice does no harm.
        """
        came_to_line = self._lines[site].expect(place)
        self._called[site] += called_up
        on_the_way = called_up

        def came() -> None:
            nonlocal on_the_way
            if on_the_way:
                on_the_way = False
                self._called[site] -= 1
            came_to_line()

        return came

    def freed(self, site: str = "") -> None:
        """Hear that a site's slot may be free or, without a site, that any may be."""
        for each in [self._lines[site]] if site else list(self._lines.values()):
            each.freed()

    def clear(self, site: str = "") -> None:
        """Send away the runs that wait at a site or, without a site, at all of them."""
        for each in [self._lines[site]] if site else list(self._lines.values()):
            each.clear()

    def _wanted(self) -> None:
        self.handed_back = True
        self._moved()

    def _moved(self) -> None:
        for callback in self._on_move:
            callback()
