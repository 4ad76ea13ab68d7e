"""Counts tries within a time, by account and by address, in a bounded memory.

A try counts from its begin, or many at once would all slip in; one that was not wrong is taken
back at its end. So a key can be full only for as long as tries of it are under way.

Each process counts for itself: with N servers behind one address N times as many tries
are possible, which argon2 makes dear enough.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# So many keys are remembered; whoever sends more names than this only forgets his own.
_MAX_KEYS = 20_000


class Throttle:
    """At most `most` tries a key in any `seconds`."""

    def __init__(self, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._tries: OrderedDict[str, deque[float]] = OrderedDict()
        self._under_way: Counter[str] = Counter()

    def wait_seconds(self, key: str) -> float:
        """Return how long until the next try; 0.0 if it may be made now."""
        tries = self._recent(key)
        if tries is None or len(tries) < self._most:
            return 0.0
        return max(0.0, tries[0] + self._seconds - self._clock())

    def is_used_up(self, key: str) -> bool:
        """Tell whether no try may be made even if all that are under way turn out good."""
        return len(self._recent(key) or ()) - self._under_way[key] >= self._most

    def begin(self, key: str) -> None:
        """Count a try whose result is not known yet."""
        tries = self._recent(key)
        if tries is None:
            tries = self._tries[key] = deque(maxlen=self._most)
        tries.append(self._clock())
        self._under_way[key] += 1
        self._tries.move_to_end(key)
        while len(self._tries) > _MAX_KEYS:
            self._tries.popitem(last=False)

    def end(self, key: str, *, wrong: bool) -> None:
        """Say what became of a try that was begun; one that was not wrong is taken back."""
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
