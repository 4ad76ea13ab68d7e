"""The time on which all workers of one database agree.

Hosts' clocks differ, but the times at which a run is due, a site is looked at again or a document
was asked for are written by one worker and read by another. So all workers go by the database's
clock. A host whose clock is within two seconds of it keeps its own, which is as good and never
jumps.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

# How far a clock may be off: an answer that took a while to arrive can't tell more exactly.
_RIGHT = timedelta(seconds=2)
# An answer that took longer, perhaps because this process was suspended, does not tell the time.
_PROMPT = timedelta(seconds=1)


class CommonClock:
    """A host's clock, corrected by its difference from the database's.

    Until it has heard from the database, it is the host's own.
    """

    def __init__(self, own: Callable[[], datetime]) -> None:
        self._own = own
        self._ahead = timedelta()

    @classmethod
    def of(cls, clock: Callable[[], datetime]) -> CommonClock:
        """Return a clock that can be corrected: the given one if it can be, else a wrapper."""
        return clock if isinstance(clock, cls) else cls(clock)

    def __call__(self) -> datetime:
        """Return the time, in UTC."""
        return self._own() + self._ahead

    def heard(self, told: datetime | None, *, asked_at: datetime) -> None:
        """Hear what time it is at the database.

        An answer that took more than a second, or that does not differ by more than two, corrects
        nothing.

        Args:
            told: The database's time, in UTC; None if it has no clock of its own.
            asked_at: When it was asked, by this clock.
        """
        now = self()
        if told is None or not timedelta() <= now - asked_at <= _PROMPT:
            return
        if abs(told - now) > _RIGHT:
            self._ahead += told - now
