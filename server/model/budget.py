"""What follows an error: how often each class is tried again, and after what pause.

There are three separate budgets, so that one cannot use up another: tries (the tenant's or the
engine's fault), races (two writers collided in the engine) and losses (our worker died while a
request was out). Waiting for an engine that is down counts as none of them (promise 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from server.model.states import ErrorClass

MAX_TRIES = 5
MAX_RACES = 20
MAX_LOSSES = 10
# After the first two losses the step is repeated immediately: a deployment or a crash says
# nothing about the request. From the third on, the request itself is suspect: it may be what
# kills us.
FREE_LOSSES = 2
# With the site's own pause of ten minutes at most this stays below an hour: a due time further
# ahead is taken for one of a clock that was set back.
_LONGEST_STEP_BACK_SECONDS = 2700.0
_MOST_DOUBLINGS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """Pauses between tries, in seconds.

    Attributes:
        transient_base: Upper bound of the pause after the first try; it doubles with each try.
        transient_cap: The most that this upper bound can become.
        race_low: Shortest pause after a race (recording
            12-concurrent-companies-with-retry used 0.5 to 3 s).
        race_high: Longest pause after a race.
    """

    transient_base: float = 2.0
    transient_cap: float = 60.0
    race_low: float = 0.3
    race_high: float = 1.5


class Move(Enum):
    """What the error of an attempt leads to."""

    AGAIN = auto()
    WAIT_ENGINE = auto()
    STOP = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many tries, races in a row and losses in a row a step has had so far."""

    tries: int = 0
    races: int = 0
    losses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What follows an error.

    Attributes:
        counts: The counts to store; those given if this attempt does not count.
        pause_seconds: For how long to wait at least; for WAIT_ENGINE, what the engine asked for.
    """

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
        error_class: The class of the error.
        counts: The step's counts before this attempt.
        pacing: The pauses to use.
        random: A number from [0, 1): full jitter, so that many tenants do not return at once.
        retry_after_seconds: The pause that the engine asked for; ours is never shorter. None if it
            asked for none.

    Returns:
        The move, the counts including this attempt (if it counts), and the pause.
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
    """Decide what follows if it can't be seen what became of a request that holds its site's slot.

    Nobody else gets the slot meanwhile. So the next look comes soon, and does not count as a
    try of the tenant: the slot's own time limit ends this.

    Args:
        counts: The step's counts, which stay as they are.
        pacing: The pauses to use.
        random: A number from [0, 1): the pause is from half to all of `transient_base`.
        retry_after_seconds: The pause that the engine asked for; ours is never shorter. None if it
            asked for none.
    """
    pause = pacing.transient_base * (1.0 + random) / 2
    floor = retry_after_seconds or 0.0
    return Next(move=Move.AGAIN, counts=counts, pause_seconds=max(pause, floor))


def steps_back_seconds(times: int, asked_seconds: float) -> float:
    """Return for how many seconds longer than its site a run waits that met a rate limit again.

    The site is left alone by all its tenants, and then those ordered first go first. A run that
    meets the limit whenever it goes, perhaps alone, would keep all the others waiting for ever.

    Args:
        times: How often in a row the same step of the run has met it before.
        asked_seconds: For how long the site asked to be left alone this time.
    """
    if times == 0:
        return 0.0
    return min(asked_seconds * 2.0 ** min(times, _MOST_DOUBLINGS), _LONGEST_STEP_BACK_SECONDS)


def _again_unless(spent: bool, counts: Counts, pause: float, floor: float) -> Next:  # noqa: FBT001 - private
    if spent:
        return Next(move=Move.STOP, counts=counts)
    return Next(move=Move.AGAIN, counts=counts, pause_seconds=max(pause, floor))


def _exponential(number: int, pacing: Pacing) -> float:
    return min(pacing.transient_cap, pacing.transient_base * 2.0 ** (number - 1))


# The reconciler drives on a tenant that ended in a passing error five times: at once, then
# after each of these pauses. A person's order or COMPLETED restores the budget.
HEALING_PAUSES_SECONDS = (0.0, 60.0, 300.0, 1500.0, 7500.0)
