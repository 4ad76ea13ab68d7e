"""Counts tries within a time, by account and by address, in bounded memory.

A try counts from its beginning, or many at once would all slip through; one that was not wrong is
taken back at its end. So a key can be full just because of tries that are still under way.

Each process counts for itself: with N servers behind one address, N times as many tries are
possible, which argon2 makes expensive enough.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# This many keys are remembered; the one that was tried longest ago is forgotten first.
_MAX_KEYS = 20_000


class Throttle:
    """Allows at most `most` tries per key within any `seconds`."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        """Start counting.

        Args:
            most: How many tries a key has within any `seconds`.
            seconds: For how long a try counts.
            clock: A clock in seconds, which nobody sets.
        """
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._tries: OrderedDict[str, deque[float]] = OrderedDict()
        self._under_way: Counter[str] = Counter()

    def wait_seconds(self, key: str) -> float:
        """Return the seconds until the next try; 0.0 if it may be made now.

        If tries are under way, one may be taken back before then (`is_used_up`).
        """
        tries = self._recent(key)
        if tries is None or len(tries) < self._most:
            return 0.0
        return max(0.0, tries[0] + self._seconds - self._clock())

    def is_used_up(self, key: str) -> bool:
        """Tell whether no try may be made even if all that are under way turn out right."""
        return len(self._recent(key) or ()) - self._under_way[key] >= self._most

    def begin(self, key: str) -> None:
        """Count a try whose result is not yet known; `end` must follow, whatever becomes of it."""
        tries = self._recent(key)
        if tries is None:
            tries = self._tries[key] = deque(maxlen=self._most)
        tries.append(self._clock())
        self._under_way[key] += 1
        self._tries.move_to_end(key)
        while len(self._tries) > _MAX_KEYS:
            self._tries.popitem(last=False)

    def end(self, key: str, *, wrong: bool) -> None:
        """End a try that was begun.

        Args:
            key: The key that was given to `begin`.
            wrong: Whether it counts; one that was not wrong is taken back.
        """
        self._under_way[key] -= 1
        if not self._under_way[key]:
            del self._under_way[key]
        tries = self._tries.get(key)
        if tries and not wrong:
            tries.pop()

    def _recent(self, key: str) -> deque[float] | None:
        tries = self._tries.get(key)
        if tries is None:
            return None
        begin = self._clock() - self._seconds
        while tries and tries[0] <= begin:
            tries.popleft()
        if not tries:
            del self._tries[key]
            return None
        return tries
