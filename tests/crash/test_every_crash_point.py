"""A process dies at every point where the world can change; the next one brings it to an end.

The points are counted in a life without death, so that new code is walked without a change
here. `make test` walks a sample (another with CRASH_SEED), `make prove` all.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.crash.lives import kinds, live_through
from tests.crash.ports import Death, Point, When
from tests.support import proof

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# A deadlock, an answer lost after the work was done, an error page, a busy site: what a
# run meets on an ordinary day.
FAULTS: tuple[dict[str, Any], ...] = (
    {"method": "POST", "doctype": "Company", "status": 500, "exc_type": "QueryDeadlockError"},
    {"method": "POST", "doctype": "Warehouse", "action": "cut", "when": "after"},
    {"method": "POST", "doctype": "Customer", "status": 502, "html": True},
    {"method": "POST", "doctype": "POS Profile", "status": 500, "html": True, "when": "after"},
)
SAMPLE = 8
# Second deaths after each first one.
PAIRS = 3


def deaths(points: Sequence[Point]) -> list[Death]:
    """Give every way to die: at a read once, at a change before, after and on the way."""
    return [Death(number=point.number, when=when) for point in points for when in _whens(point)]


def _whens(point: Point) -> Iterator[When]:
    yield When.BEFORE
    if point.changes:
        yield When.AFTER
        if point.port == "engine":
            yield When.LATE


def chance(name: str) -> random.Random:
    """Make a chance that is the same for the same CRASH_SEED."""
    return random.Random(f"{name} {seed()}")


def seed() -> str:
    """Return what the chance is made of."""
    return os.environ.get("CRASH_SEED", "0")


async def broken_by(
    all_deaths: Sequence[Sequence[Death]], faults: Sequence[dict[str, Any]]
) -> list[str]:
    """Live through each of some ways to die; return those after which a promise was broken."""
    failures = []
    for each in all_deaths:
        try:
            await live_through(*each, faults=faults)
        except (AssertionError, TimeoutError) as error:
            failures.append(f"{each}: {type(error).__name__} {str(error)[:1500]}")
    return failures


@pytest.mark.parametrize("faults", [(), FAULTS], ids=["a good day", "a bad day"])
async def test_a_death_at_some_points_is_survived(faults: Sequence[dict[str, Any]]) -> None:
    points = (await live_through(faults=faults)).lives[0].points
    ways = deaths(points)
    print(f"{len(points)} points, {len(ways)} deaths: {kinds(points)}")
    chosen = chance(f"some {bool(faults)}").sample(
        [way for way in ways if points[way.number].changes], SAMPLE
    )
    assert await broken_by([[way] for way in chosen], faults) == []


@pytest.mark.prove
@pytest.mark.parametrize("faults", [(), FAULTS], ids=["a good day", "a bad day"])
async def test_a_death_at_every_point_is_survived(faults: Sequence[dict[str, Any]]) -> None:
    points = (await live_through(faults=faults)).lives[0].points
    ways = deaths(points)
    proof.note(points=len(points), kinds=len(kinds(points)), deaths=len(ways), faults=len(faults))
    assert await broken_by([[way] for way in ways], faults) == []


async def test_two_deaths_are_survived() -> None:
    points = (await live_through()).lives[0].points
    dice = chance("two")
    assert await broken_by([_pair(points, dice) for _ in range(4)], ()) == []


@pytest.mark.prove
async def test_pairs_of_deaths_around_claim_commit_and_write_are_survived() -> None:
    points = (await live_through()).lives[0].points
    firsts = [
        way
        for way in deaths(points)
        if points[way.number].port == "engine" and points[way.number].changes
    ]
    firsts += [Death(number=number, when=When.AFTER) for number in (0, 1, 2)]
    # A second life begins with the order repeated, the claim and the begin of an attempt;
    # then it looks, and writes: all of its first points. Each first death is followed by a
    # few of them, so that all are met many times, and another CRASH_SEED meets others.
    seconds = [
        Death(number=number, when=when)
        for number in range(12)
        for when in (When.BEFORE, When.AFTER)
    ]
    dice = chance("pairs")
    pairs = [[first, second] for first in firsts for second in dice.sample(seconds, PAIRS)]
    assert {second for _, second in pairs} == set(seconds)
    proof.note(pairs=len(pairs), first_deaths=len(firsts), seed=seed())
    assert await broken_by(pairs, ()) == []


def _pair(points: Sequence[Point], dice: random.Random) -> list[Death]:
    changing = [point for point in points if point.changes]
    first = dice.choice(deaths([dice.choice(changing)]))
    return [first, Death(number=dice.randrange(12), when=dice.choice([When.BEFORE, When.AFTER]))]


@pytest.mark.parametrize("when", [When.CLOCK_ON, When.CLOCK_BACK])
async def test_a_clock_that_is_set_changes_nothing(when: When) -> None:
    points = (await live_through()).lives[0].points
    chosen = chance(when.value).sample(points, 3)
    assert await broken_by([[Death(number=point.number, when=when)] for point in chosen], ()) == []


@pytest.mark.prove
@pytest.mark.parametrize("when", [When.CLOCK_ON, When.CLOCK_BACK])
async def test_a_clock_that_is_set_at_any_point_changes_nothing(when: When) -> None:
    points = (await live_through()).lives[0].points
    proof.note(points=len(points))
    assert await broken_by([[Death(number=point.number, when=when)] for point in points], ()) == []


async def test_a_death_after_the_clock_was_set_back_is_survived() -> None:
    """What the dead one wrote lies in the future of the one that follows."""
    points = (await live_through()).lives[0].points
    writes = [point for point in points if point.port == "engine" and point.changes]
    point = chance("back").choice(writes)
    assert await broken_by([[Death(number=point.number, when=When.AFTER), _BACK_AT_ONCE]], ()) == []


_BACK_AT_ONCE = Death(number=0, when=When.CLOCK_BACK)
