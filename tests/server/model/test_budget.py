"""What follows an error (promise 6: waiting for an engine that is down costs nothing)."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.model.budget import (
    FREE_LOSSES,
    MAX_LOSSES,
    MAX_RACES,
    MAX_TRIES,
    Counts,
    Move,
    Pacing,
    after_a_look,
    after_error,
    steps_back_seconds,
)
from server.model.states import ErrorClass

PACING = Pacing()
LAST = 0.9999999
ENGINE = (ErrorClass.ENGINE_DOWN, ErrorClass.ENGINE_MISCONFIGURED)
TRIED = (ErrorClass.TRANSIENT, ErrorClass.UNKNOWN_OUTCOME)
LIMITS = {
    ErrorClass.TRANSIENT: MAX_TRIES,
    ErrorClass.UNKNOWN_OUTCOME: MAX_TRIES,
    ErrorClass.RACE: MAX_RACES,
    ErrorClass.LOST: MAX_LOSSES,
}

counts = st.builds(
    Counts, tries=st.integers(0, 30), races=st.integers(0, 30), losses=st.integers(0, 30)
)
randoms = st.floats(0, 1, exclude_max=True)
asked = st.one_of(st.none(), st.floats(0, 3600))


def repeated(error_class: ErrorClass, *, random: float) -> list[tuple[Move, float]]:
    """The moves and pauses of one class alone, up to the stop."""
    moves: list[tuple[Move, float]] = []
    so_far = Counts()
    while not moves or moves[-1][0] is Move.AGAIN:
        following = after_error(error_class, so_far, pacing=PACING, random=random)
        so_far = following.counts
        moves.append((following.move, following.pause_seconds))
    return moves


@pytest.mark.parametrize("error_class", TRIED)
def test_a_passing_error_is_tried_five_times_with_doubling_pauses(error_class: ErrorClass) -> None:
    moves = repeated(error_class, random=LAST)
    assert [round(pause) for _, pause in moves] == [2, 4, 8, 16, 0]
    assert moves[-1][0] is Move.STOP


def test_a_race_is_run_twenty_times_with_short_pauses() -> None:
    low, high = repeated(ErrorClass.RACE, random=0.0), repeated(ErrorClass.RACE, random=LAST)
    assert len(low) == len(high) == 20
    assert {round(pause, 2) for _, pause in low[:-1]} == {0.3}
    assert {round(pause, 2) for _, pause in high[:-1]} == {1.5}


def test_a_lost_worker_is_repeated_at_once_twice_and_paced_from_the_third_on() -> None:
    moves = repeated(ErrorClass.LOST, random=LAST)
    assert [round(pause) for _, pause in moves] == [0, 0, 2, 4, 8, 16, 32, 60, 60, 0]
    assert moves[-1][0] is Move.STOP
    assert FREE_LOSSES == 2


@given(before=counts, random=randoms, floor=asked)
def test_a_permanent_error_stops_at_once_and_counts_as_a_try(
    before: Counts, random: float, floor: float | None
) -> None:
    following = after_error(
        ErrorClass.PERMANENT, before, pacing=PACING, random=random, retry_after_seconds=floor
    )
    assert following.move is Move.STOP
    assert following.counts.tries == before.tries + 1


@given(error_class=st.sampled_from(ENGINE), before=counts, random=randoms, floor=asked)
def test_waiting_for_the_engine_counts_nothing(
    error_class: ErrorClass, before: Counts, random: float, floor: float | None
) -> None:
    following = after_error(
        error_class, before, pacing=PACING, random=random, retry_after_seconds=floor
    )
    assert (following.move, following.counts) == (Move.WAIT_ENGINE, before)


@given(error_class=st.sampled_from(ErrorClass), before=counts, random=randoms, floor=asked)
def test_a_pause_is_never_shorter_than_the_engine_asked_for(
    error_class: ErrorClass, before: Counts, random: float, floor: float | None
) -> None:
    following = after_error(
        error_class, before, pacing=PACING, random=random, retry_after_seconds=floor
    )
    if following.move is not Move.STOP:
        assert following.pause_seconds >= (floor or 0.0)
        assert following.pause_seconds <= max(floor or 0.0, PACING.transient_cap)


@given(error_class=st.sampled_from(sorted(LIMITS)), before=counts, random=randoms)
def test_no_budget_eats_another_one(error_class: ErrorClass, before: Counts, random: float) -> None:
    after = after_error(error_class, before, pacing=PACING, random=random).counts
    assert after.tries == before.tries + (error_class in TRIED)
    if error_class is ErrorClass.RACE:
        assert (after.races, after.losses) == (before.races + 1, 0)
    elif error_class is ErrorClass.LOST:
        assert (after.races, after.losses) == (before.races, before.losses + 1)
    else:
        assert (after.races, after.losses) == (0, 0)  # they are counted in a row


@given(error_class=st.sampled_from(sorted(LIMITS)), before=counts, random=randoms)
def test_a_spent_budget_stops_and_one_that_is_left_goes_on(
    error_class: ErrorClass, before: Counts, random: float
) -> None:
    following = after_error(error_class, before, pacing=PACING, random=random)
    used = {
        ErrorClass.RACE: following.counts.races,
        ErrorClass.LOST: following.counts.losses,
    }.get(error_class, following.counts.tries)
    assert (following.move is Move.STOP) == (used >= LIMITS[error_class])


@settings(max_examples=20)
@given(st.lists(st.sampled_from(sorted(LIMITS)), min_size=1001, max_size=1001))
def test_any_mixture_of_errors_comes_to_an_end(errors: list[ErrorClass]) -> None:
    so_far = Counts()
    for error_class in errors:
        following = after_error(error_class, so_far, pacing=PACING, random=0.5)
        if following.move is Move.STOP:
            return
        so_far = following.counts
    raise AssertionError("1001 errors without a stop")


@given(counts=counts, random=randoms, seconds=asked)
@settings(max_examples=200)
def test_a_look_that_holds_up_the_site_is_soon_looked_again_and_counts_nothing(
    counts: Counts, random: float, seconds: float | None
) -> None:
    following = after_a_look(
        counts=counts, pacing=PACING, random=random, retry_after_seconds=seconds
    )
    assert (following.move, following.counts) == (Move.AGAIN, counts)
    asked_for = seconds or 0.0
    assert asked_for <= following.pause_seconds <= max(PACING.transient_base, asked_for)
    assert following.pause_seconds >= PACING.transient_base / 2


@given(times=st.integers(0, 10_000), asked=st.floats(1.0, 600.0))
def test_who_meets_a_rate_limit_again_leaves_the_others_more_time_each_time(
    times: int, asked: float
) -> None:
    pauses = [steps_back_seconds(each, asked) for each in (times, times + 1)]
    assert steps_back_seconds(0, asked) == 0.0
    assert pauses == sorted(pauses)
    assert pauses[1] >= 2 * asked
    # Further ahead it would be taken for a time of a clock that was set back, and be due at once.
    assert pauses[1] + asked < 3600.0
