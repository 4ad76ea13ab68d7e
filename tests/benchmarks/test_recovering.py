"""What counts as a run's moving again after a kill."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from benchmarks.recovering import Attempt, killed, seconds_to_move

KILLED_AT = datetime(2026, 11, 26, 2, 0, tzinfo=UTC)


def attempt(number: int, worker: str, seconds: float) -> Attempt:
    started_at = KILLED_AT + timedelta(seconds=seconds)
    return Attempt(id=f"attempt-{number}", worker_id=worker, started_at=started_at)


def test_a_run_moves_again_with_the_first_attempt_of_another_worker() -> None:
    left = [attempt(1, "dead", -2.0), attempt(2, "dead", -1.0)]
    kill = killed(KILLED_AT, left)

    assert seconds_to_move(kill, left) is None
    new = [attempt(3, "heir", 0.75), attempt(4, "heir", 1.5)]
    assert seconds_to_move(kill, [*left, *new]) == 0.75


def test_an_attempt_that_is_taken_over_in_the_line_of_its_site_is_no_move() -> None:
    kill = killed(KILLED_AT, [attempt(1, "dead", -9.0), attempt(2, "dead", -8.31)])

    taken_over = [attempt(1, "dead", -9.0), attempt(2, "heir", -8.31)]
    assert seconds_to_move(kill, taken_over) is None
    assert seconds_to_move(kill, [*taken_over, attempt(3, "heir", 0.75)]) == 0.75


def test_what_the_dead_worker_had_sent_to_the_database_is_no_move() -> None:
    left = [attempt(1, "dead", -1.0)]
    kill = killed(KILLED_AT, left)

    assert seconds_to_move(kill, [*left, attempt(2, "dead", -0.01)]) is None
