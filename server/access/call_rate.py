"""Limits how many calls one caller may make, so that one in a loop leaves others their share.

Each caller has a bucket, which holds the calls of `BURST_SECONDS` and fills at the rate in the
settings. Each process counts for itself, in bounded memory. Signing in has limits of its own
(`sign_in`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.errors import Throttled
from server.limits import BURST_SECONDS
from server.model.actor import ANONYMOUS, LOCAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.model.actor import Actor

# This many callers are remembered; one that was forgotten starts with a full bucket.
_MAX_CALLERS = 20_000
# Many people have these names, so they are told apart by their addresses.
_NOBODY_IN_PARTICULAR = frozenset({LOCAL.name, ANONYMOUS})
# A caller over the limit gains nothing by coming back within a second.
_SHORTEST_WAIT_SECONDS = 1.0


class CallRate:
    """Allows each caller so many calls per second."""

    def __init__(self, per_second: float, clock: Callable[[], float]) -> None:
        """Start counting.

        Args:
            per_second: Calls that one caller may make per second; 0 for no limit.
            clock: A clock in seconds, which nobody sets.
        """
        self._per_second = per_second
        self._full = max(1.0, per_second * BURST_SECONDS)
        self._clock = clock
        # By caller: the calls left in the bucket, and when that was worked out.
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, actor: Actor) -> None:
        """Count a call.

        Args:
            actor: Who calls: counted by name, or by address if many share the name.

        Raises:
            Throttled: it is one too many, and must not be carried out; it says after how many
                seconds another one may be made.
        """
        if not self._per_second:
            return
        caller = actor.origin if actor.name in _NOBODY_IN_PARTICULAR else actor.name
        now = self._clock()
        # Put back below at the end of the line: whoever was seen longest ago is forgotten first.
        known = self._left.pop(caller, None)
        if known is None:
            left = self._full
            if len(self._left) >= _MAX_CALLERS:
                del self._left[next(iter(self._left))]
        else:
            left = min(self._full, known[0] + (now - known[1]) * self._per_second)
        self._left[caller] = (left if left < 1 else left - 1, now)
        if left < 1:
            wait = max(_SHORTEST_WAIT_SECONDS, (1 - left) / self._per_second)
            raise Throttled(
                f"Too many calls: {caller} may make {self._per_second:g} a second. Try again in "
                f"{wait:.0f} s, and ask less often; to follow a tenant use a stream.",
                retry_after_seconds=wait,
                code="TOO_MANY_CALLS",
            )
