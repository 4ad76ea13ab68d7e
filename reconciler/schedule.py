"""When sweeps run: at once, then at an interval. The only module that knows APScheduler.

APScheduler 3 skips a pass that becomes due while another runs, with nothing but a log line, and
a pass that hangs blocks all later ones. So each pass has its own time limit, skipped passes are
counted, and the age of the last complete sweep can be read. APScheduler goes by the wall clock:
if that is set back, it would sleep until the old time comes round again, so a guard on the event
loop's own clock wakes it.

Nothing is coordinated between processes: sweeps may run side by side anywhere.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from apscheduler.events import (
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_SCHEDULER_SHUTDOWN,
)
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from server.errors import ProvisionerError
from server.healing import Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = structlog.get_logger(__name__)

_JOB = "sweep"

# How long a sweep that was cut off may take to record what it did; then it is abandoned.
_END_SECONDS = 5.0


class Schedule:
    """Calls a sweep again and again until it is stopped.

    Attributes:
        full_passes: How many sweeps completed.
        failed_passes: How many sweeps raised an error.
        cut_passes: How many sweeps exceeded the time limit and were cut off.
        skipped_passes: How many sweeps were skipped because one was still running.
        last_error: The error of the last sweep that failed or was cut off; "" once one has
            completed.
        on_skipped: Called after each skipped pass.
    """

    def __init__(
        self,
        sweep: Callable[[], Awaitable[object]],
        *,
        seconds: float,
        timeout_seconds: float,
    ) -> None:
        """Take what to call, and when.

        Args:
            sweep: Runs one pass.
            seconds: The time from the start of one pass to the start of the next.
            timeout_seconds: The longest that one pass may take.
        """
        self._sweep = sweep
        self._seconds = seconds
        self._timeout_seconds = timeout_seconds
        self._scheduler: Any = None  # AsyncIOScheduler: the package has no types
        self._running: asyncio.Task[None] | None = None
        self._passing: asyncio.Task[Any] | None = None  # APScheduler's own, it returns its events
        self._stopping = False
        self._ended = asyncio.Event()
        self._guard: asyncio.TimerHandle | None = None
        self._last_full: float | None = None
        self._started = 0.0
        self.full_passes = 0
        self.failed_passes = 0
        self.cut_passes = 0
        self.skipped_passes = 0
        self.last_error = ""
        self.on_skipped: Callable[[], None] = _nothing

    def start(self) -> None:
        """Start, with a first pass at once; needs a running event loop.

        Raises:
            RuntimeError: it was started before.
        """
        if self._scheduler is not None:
            raise RuntimeError("A schedule is started once.")
        # Two log lines per pass would be noise; what matters about them is counted here.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        scheduler = AsyncIOScheduler(timezone=UTC)
        scheduler.add_listener(self._on_skipped, EVENT_JOB_MAX_INSTANCES | EVENT_JOB_MISSED)
        scheduler.add_listener(lambda _event: self._ended.set(), EVENT_SCHEDULER_SHUTDOWN)
        scheduler.add_job(
            self._pass,
            "interval",
            id=_JOB,
            seconds=self._seconds,
            next_run_time=datetime.now(UTC),
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )
        self._scheduler = scheduler
        self._started = asyncio.get_running_loop().time()
        scheduler.start()
        self._arm_guard()

    async def stop(self, *, grace_seconds: float = 0.0) -> None:
        """Start no further pass; let a running one end, or cut it off.

        Args:
            grace_seconds: How long a running pass may continue before it is cut off.
        """
        if self._scheduler is None or not self._scheduler.running:
            return
        self._stopping = True
        self._scheduler.remove_job(_JOB)
        if self._guard is not None:
            self._guard.cancel()
        running, passing = self._running, self._passing
        if running is not None:
            await asyncio.wait({running}, timeout=grace_seconds)
            await _cut(running)
        if passing is not None:
            await asyncio.wait({passing}, timeout=_END_SECONDS)
        self._scheduler.shutdown(wait=False)
        await self._ended.wait()

    @property
    def seconds_since_full_pass(self) -> float | None:
        """How long ago the last complete sweep ended; None before the first."""
        if self._last_full is None:
            return None
        return asyncio.get_running_loop().time() - self._last_full

    def watch(self, now: datetime) -> Watch:
        """Return the health of the sweeps.

        Args:
            now: The wall clock's time, to compute when the last complete sweep ended.
        """
        age = self.seconds_since_full_pass
        ended = None if age is None else now - timedelta(seconds=age)
        since_start = asyncio.get_running_loop().time() - self._started
        return Watch(
            last_full_sweep_at=ended,
            age_seconds=since_start if age is None else age,
            interval_seconds=self._seconds,
            # A sweep that uses all of its time is late, but comes; after this none will come.
            stale_after_seconds=2 * self._seconds + self._timeout_seconds,
            full=self.full_passes,
            failed=self.failed_passes,
            cut=self.cut_passes,
            skipped=self.skipped_passes,
            last_error=self.last_error,
        )

    async def _pass(self) -> None:
        """Run one sweep in a task of its own, so that nothing it does can end the schedule."""
        if self._stopping:  # it was about to start when the schedule was stopped
            return
        self._arm_guard()
        running = asyncio.create_task(self._run(), name="sweep")
        self._running, self._passing = running, asyncio.current_task()
        try:
            _, late = await asyncio.wait({running}, timeout=self._timeout_seconds)
            if late:
                self.cut_passes += 1
                self.last_error = f"The sweep took longer than {self._timeout_seconds:g} s."
                _log.error("sweep.cut", seconds=self._timeout_seconds)
                await _cut(running)
        finally:
            self._running = self._passing = None

    async def _run(self) -> None:
        try:
            await self._sweep()
        except Exception as error:  # noqa: BLE001 - the next pass must come, whatever this one met
            self.failed_passes += 1
            self.last_error = f"{type(error).__name__}: {error}"
            # An error raised on purpose, such as a database that is away, says all there is to say.
            is_bug = not isinstance(error, ProvisionerError)
            _log.error("sweep.failed", error=self.last_error, exc_info=is_bug)
            return
        self.full_passes += 1
        self.last_error = ""
        self._last_full = asyncio.get_running_loop().time()

    def _on_skipped(self, _event: object) -> None:
        self.skipped_passes += 1
        _log.warning("sweep.skipped", skipped=self.skipped_passes)
        self.on_skipped()

    def _arm_guard(self) -> None:
        """Wake the scheduler if no pass has begun for twice the interval."""
        if self._guard is not None:
            self._guard.cancel()
        pause = 2 * self._seconds + self._timeout_seconds
        self._guard = asyncio.get_running_loop().call_later(pause, self._wake)

    def _wake(self) -> None:
        if self._scheduler.get_job(_JOB) is not None:
            self._scheduler.modify_job(_JOB, next_run_time=datetime.now(UTC))
            self._arm_guard()


async def _cut(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait a limited time for it to end."""
    if task.done():
        return
    task.cancel()
    await asyncio.wait({task}, timeout=_END_SECONDS)


def _nothing() -> None:
    """Do nothing, for want of a listener."""
