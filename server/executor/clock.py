"""The time by which the workers of one database agree.

Hosts' clocks differ. When a run is due, a site is looked at again, or a document was asked for is
written by one worker and read by another: so all of them tell it by the database's clock. A host
whose clock is right within two seconds keeps its own, which is as good and never jumps.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

# So far a clock may be off: less is told no better by an answer that was on its way for a while.
_RIGHT = timedelta(seconds=2)
# An answer that took longer (this process was stopped meanwhile) does not tell the time.
_PROMPT = timedelta(seconds=1)


class CommonClock:
    """A host's clock, moved by what it differs from the database's."""

    def __init__(self, own: Callable[[], datetime]) -> None:
        self._own = own
        self._ahead = timedelta()

    @classmethod
    def of(cls, clock: Callable[[], datetime]) -> CommonClock:
        """Return a clock that can be set right: this one, if it can."""
        return clock if isinstance(clock, cls) else cls(clock)

    def __call__(self) -> datetime:
        """Return the time, in UTC."""
        return self._own() + self._ahead

    def heard(self, told: datetime | None, *, asked_at: datetime) -> None:
        """Hear what the database told.

        Args:
            told: Its time; None where it has no clock of its own.
            asked_at: When it was asked, by this clock.
        """
        now = self()
        if told is None or not timedelta() <= now - asked_at <= _PROMPT:
            return
        if abs(told - now) > _RIGHT:
            self._ahead += told - now
