"""When sweeps run: counted, cut, survived. Everything waits for signals of the sweep itself."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from reconciler.schedule import Schedule
from server.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

# As short as APScheduler keeps apart from "at once".
SHORT = 0.002
NEVER_IN_A_TEST = 3600.0
PATIENCE = 20.0


@asynccontextmanager
async def running(
    sweep: Callable[[], Awaitable[object]],
    *,
    seconds: float = SHORT,
    timeout_seconds: float = NEVER_IN_A_TEST,
) -> AsyncIterator[Schedule]:
    schedule = Schedule(sweep, seconds=seconds, timeout_seconds=timeout_seconds)
    schedule.start()
    try:
        async with asyncio.timeout(PATIENCE):
            yield schedule
    finally:
        await schedule.stop()


def patience() -> AbstractAsyncContextManager[object]:
    return asyncio.timeout(PATIENCE)


class Sweeps:
    """A sweep that tells when it begins and does as it is told."""

    def __init__(self) -> None:
        self.begun = 0
        self.at_once = 0
        self.most_at_once = 0
        self._changed = asyncio.Condition()

    async def wait_for(self, number: int) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.begun >= number)

    async def __call__(self) -> None:
        async with self._changed:
            self.begun += 1
            self._changed.notify_all()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.work()
        finally:
            self.at_once -= 1

    async def work(self) -> None:
        """Nothing found."""


class Hanging(Sweeps):
    """Never ends by itself."""

    async def work(self) -> None:
        await asyncio.Event().wait()


class Failing(Sweeps):
    """Raises."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def work(self) -> None:
        raise self._error


class Gated(Sweeps):
    """Goes on when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.let = asyncio.Event()

    async def work(self) -> None:
        await self.let.wait()


class FailingFirst(Gated):
    """Raises the first time, and goes on later when it is let."""

    async def work(self) -> None:
        if self.begun == 1:
            raise TimeoutError("the database is away")
        await super().work()


class Stubborn(Hanging):
    """Records what it did when it is cut."""

    recorded = False

    async def work(self) -> None:
        try:
            await super().work()
        finally:
            self.recorded = True


async def test_the_first_sweep_runs_at_once() -> None:
    sweeps = Sweeps()
    async with running(sweeps, seconds=NEVER_IN_A_TEST) as schedule:
        assert schedule.seconds_since_full_pass is None
        await sweeps.wait_for(1)


async def test_sweeps_follow_one_another_one_at_a_time() -> None:
    sweeps = Sweeps()
    async with running(sweeps) as schedule:
        await sweeps.wait_for(4)
        assert schedule.full_passes >= 3
        assert sweeps.most_at_once == 1
        age = schedule.seconds_since_full_pass
        assert age is not None
        assert 0 <= age < PATIENCE


async def test_a_sweep_that_hangs_is_cut_and_counted_and_the_next_one_comes() -> None:
    sweeps = Stubborn()
    async with running(sweeps, timeout_seconds=SHORT) as schedule:
        await sweeps.wait_for(3)
        assert schedule.cut_passes >= 2
        assert schedule.full_passes == 0
        assert schedule.failed_passes == 0
        assert schedule.seconds_since_full_pass is None
        assert sweeps.recorded
        assert sweeps.most_at_once == 1
        assert "longer than 0.002 s" in schedule.last_error


@pytest.mark.parametrize(
    ("error", "shown", "traced"),
    [
        pytest.param(
            StoreUnavailable("The database is away."),
            "StoreUnavailable: The database is away.",
            False,
            id="an error that says all",
        ),
        pytest.param(KeyError("it"), "KeyError: 'it'", True, id="a bug"),
    ],
)
async def test_a_sweep_that_raises_is_recorded_and_the_next_one_comes(
    error: Exception, shown: str, traced: bool
) -> None:
    sweeps = Failing(error)
    with capture_logs() as logs:
        async with running(sweeps) as schedule:
            await sweeps.wait_for(3)
            assert schedule.failed_passes >= 2
            assert schedule.cut_passes == 0
            assert schedule.last_error == shown
    failed = [(log["error"], log["exc_info"]) for log in logs if log["event"] == "sweep.failed"]
    assert set(failed) == {(shown, traced)}


async def test_the_error_of_a_sweep_is_told_until_one_has_completed() -> None:
    sweeps = FailingFirst()
    async with running(sweeps, timeout_seconds=NEVER_IN_A_TEST) as schedule:
        await sweeps.wait_for(2)
        failed = schedule.last_error
        sweeps.let.set()
        await sweeps.wait_for(3)
        assert (failed, schedule.last_error) == ("TimeoutError: the database is away", "")
        assert schedule.failed_passes == 1


async def test_passes_that_come_due_while_one_runs_are_skipped_and_counted() -> None:
    sweeps = Gated()
    skipped = asyncio.Event()
    schedule = Schedule(sweeps, seconds=SHORT, timeout_seconds=NEVER_IN_A_TEST)
    schedule.on_skipped = skipped.set
    schedule.start()
    async with patience():
        await skipped.wait()
        assert sweeps.begun == 1
        assert schedule.skipped_passes >= 1
        sweeps.let.set()
        await sweeps.wait_for(2)
        await schedule.stop()


async def test_stopping_cuts_a_running_sweep_and_waits_for_its_end() -> None:
    sweeps = Stubborn()
    schedule = Schedule(sweeps, seconds=SHORT, timeout_seconds=NEVER_IN_A_TEST)
    schedule.start()
    async with patience():
        await sweeps.wait_for(1)
        await schedule.stop()
    assert sweeps.recorded
    assert sweeps.at_once == 0
    begun = sweeps.begun
    # Nothing may come: twenty sweeps would fit in.
    await asyncio.sleep(20 * SHORT)
    assert sweeps.begun == begun


async def test_stopping_with_grace_lets_a_running_sweep_end() -> None:
    sweeps = Gated()
    schedule = Schedule(sweeps, seconds=SHORT, timeout_seconds=NEVER_IN_A_TEST)
    schedule.start()
    async with patience():
        await sweeps.wait_for(1)
        stopping = asyncio.create_task(schedule.stop(grace_seconds=NEVER_IN_A_TEST))
        await asyncio.sleep(0)
        sweeps.let.set()
        await stopping
    assert schedule.full_passes == 1


async def test_stopping_twice_or_before_the_start_is_nothing() -> None:
    sweeps = Sweeps()
    schedule = Schedule(sweeps, seconds=SHORT, timeout_seconds=NEVER_IN_A_TEST)
    await schedule.stop()
    schedule.start()
    await schedule.stop()
    await schedule.stop()
    assert sweeps.begun == 0


@pytest.mark.parametrize("turns", range(6))
async def test_stopping_at_any_moment_of_the_start_leaves_no_sweep_behind(turns: int) -> None:
    sweeps = Hanging()
    schedule = Schedule(sweeps, seconds=SHORT, timeout_seconds=NEVER_IN_A_TEST)
    schedule.start()
    for _ in range(turns):
        await asyncio.sleep(0)
    await schedule.stop()
    assert sweeps.at_once == 0
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "sweep"]


async def test_a_schedule_is_started_once() -> None:
    async with running(Sweeps()) as schedule:
        with pytest.raises(RuntimeError, match="started once"):
            schedule.start()


async def test_a_clock_that_was_set_back_does_not_stop_the_sweeps() -> None:
    sweeps = Sweeps()
    async with running(sweeps, seconds=SHORT, timeout_seconds=SHORT) as schedule:
        await sweeps.wait_for(1)
        # What APScheduler sees when the wall clock goes back: the next pass is far ahead.
        schedule._scheduler.modify_job(
            "sweep", next_run_time=datetime.now(UTC) + timedelta(hours=1)
        )
        begun = sweeps.begun
        await sweeps.wait_for(begun + 2)
        assert schedule.full_passes > begun
        assert schedule._scheduler.get_job("sweep").next_run_time < datetime.now(UTC) + timedelta(
            minutes=1
        )
