"""What follows an error: how often each class is tried again, and after what pause.

Three budgets are kept apart, so that one cannot eat the other: tries (the tenant's or
the engine's fault), races (two writers of the engine met) and losses (our worker died
with a request out). Waiting for an engine that is down counts as none of them
(promise 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from server.model.states import ErrorClass

MAX_TRIES = 5
MAX_RACES = 20
MAX_LOSSES = 10
# The first two losses are repeated at once: a deploy or a crash says nothing about the
# request. From the third on the request itself is suspect (it may be what kills us).
FREE_LOSSES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """Pauses between tries, in seconds.

    Attributes:
        transient_base: Upper bound of the pause after the first try; doubles with each.
        transient_cap: Upper bound that it never passes.
        race_low: Shortest pause after a race (recording
            12-concurrent-companies-with-retry used 0.5 to 3 s).
        race_high: Longest pause after a race.
    """

    transient_base: float = 2.0
    transient_cap: float = 60.0
    race_low: float = 0.3
    race_high: float = 1.5


class Move(Enum):
    """What an attempt's error leads to."""

    AGAIN = auto()
    WAIT_ENGINE = auto()
    STOP = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How often a step was tried, raced and lost so far, this time included."""

    tries: int = 0
    races: int = 0
    losses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What follows, and the counts to store."""

    move: Move
    counts: Counts
    pause_seconds: float = 0.0


def after_error(
    error_class: ErrorClass,
    counts: Counts,
    *,
    pacing: Pacing,
    random: float,
    retry_after_seconds: float | None = None,
) -> Next:
    """Decide what follows an error.

    Args:
        error_class: Of the error.
        counts: Of the step before this attempt.
        pacing: Pauses.
        random: From [0, 1): full jitter, so that many tenants do not come back at once.
        retry_after_seconds: What the engine asked for; the pause is never shorter.

    Returns:
        The move, the counts with this attempt counted where it counts, and the pause.
    """
    floor = retry_after_seconds or 0.0
    if error_class in {ErrorClass.ENGINE_DOWN, ErrorClass.ENGINE_MISCONFIGURED}:
        return Next(move=Move.WAIT_ENGINE, counts=counts, pause_seconds=floor)
    if error_class is ErrorClass.RACE:
        raced = Counts(tries=counts.tries, races=counts.races + 1, losses=0)
        span = pacing.race_high - pacing.race_low
        return _again_unless(
            raced.races >= MAX_RACES, raced, pacing.race_low + random * span, floor
        )
    if error_class is ErrorClass.LOST:
        lost = Counts(tries=counts.tries, races=counts.races, losses=counts.losses + 1)
        beyond = lost.losses - FREE_LOSSES
        pause = _exponential(beyond, pacing) * random if beyond > 0 else 0.0
        return _again_unless(lost.losses >= MAX_LOSSES, lost, pause, floor)
    tried = Counts(tries=counts.tries + 1, races=0, losses=0)
    if error_class is ErrorClass.PERMANENT:
        return Next(move=Move.STOP, counts=tried)
    return _again_unless(
        tried.tries >= MAX_TRIES, tried, _exponential(tried.tries, pacing) * random, floor
    )


def after_a_look(
    *, counts: Counts, pacing: Pacing, random: float, retry_after_seconds: float | None = None
) -> Next:
    """Decide what follows a failed look at what became of a request that holds up its site.

    Nobody else gets the site's slot meanwhile. So it is looked again soon, and the tenant's
    tries are not spent on it: the slot's own time ends this.
    """
    pause = pacing.transient_base * (1.0 + random) / 2
    floor = retry_after_seconds or 0.0
    return Next(move=Move.AGAIN, counts=counts, pause_seconds=max(pause, floor))


def _again_unless(spent: bool, counts: Counts, pause: float, floor: float) -> Next:  # noqa: FBT001 - private
    if spent:
        return Next(move=Move.STOP, counts=counts)
    return Next(move=Move.AGAIN, counts=counts, pause_seconds=max(pause, floor))


def _exponential(number: int, pacing: Pacing) -> float:
    return min(pacing.transient_cap, pacing.transient_base * 2.0 ** (number - 1))


# The reconciler drives on what ended in a passing error: at once, then after these
# pauses; five times. A person's order or COMPLETED gives the budget back.
HEALING_PAUSES_SECONDS = (0.0, 60.0, 300.0, 1500.0, 7500.0)
