"""The engine gate of each site, and the one prober that shuts and opens it.

While a gate is shut, no attempt is counted and no tenant fails; runs wait and say so. One
tenant's error never shuts it by itself: after an answer that may mean that the engine is down,
the attempt asks here, and the prober's own look decides (promise 6).

The gate is a row, so that any process can carry on where another one died: the time of the next
look is stored, and whoever finds it due takes it by a conditional update (one prober per site,
however many processes). When a gate opens, load comes back in growing waves: one run, then two,
four, … of all processes together. The wave is stored too.

All times of a gate are by the clock that the hosts share (`clock`): a host whose own clock was
ahead would keep the others from a site after it had died.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import accumulate
from typing import TYPE_CHECKING

import structlog

from server.errors import StoreUnavailable
from server.executor.clock import CommonClock
from server.executor.site_watch import SiteWatch
from server.model.identifiers import WorkerId
from server.model.states import GateState
from server.model.step_context import EngineHealth
from server.store.operations import GateOperation
from server.store.site_operations import ProbeReturn, ProbeTake, SitePause, WaveChange

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from server.model.step_context import Engine
    from server.store.database import Database
    from server.store.found import Gate

_log = structlog.get_logger(__name__)

PROBE_PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0)
# When another process may look instead of a prober that died. If a look takes longer than this,
# two processes look, which does no harm.
_LOOK_SECONDS = 15.0
# No stored time is further ahead than the longest Retry-After that is obeyed, plus a look.
_LONGEST_SECONDS = 700.0
# After a wave of this many runs there is no limit any more.
_FULL_WAVE = 64
# The first wave belongs to the process that opened the gate, which drives a run within a moment.
# If it has died, is stopping, or has no free place, any process may after this.
_FIRST_WAVE_SECONDS = 5.0


class Gates:
    """What this process knows about the sites' gates, and its probers.

    What the methods without `async` tell is what was read last, by `refresh` or after a write.
    """

    def __init__(
        self,
        database: Database,
        engines: Mapping[str, Engine],
        now: Callable[[], datetime],
        *,
        most_runs: Mapping[str, int] | None = None,
        engine_ids: Mapping[str, str] | None = None,
        worker_id: WorkerId | None = None,
    ) -> None:
        """Take the parts.

        Args:
            database: The store of the gates.
            engines: The configured engines, by site.
            now: The time, in UTC; a `CommonClock` is corrected each time the gates are read.
            most_runs: The most runs driven at once, by site, for sites that have a limit.
            engine_ids: Each site's name in the engines file, by site, for messages.
            worker_id: The worker of this process; None if it drives nothing.
        """
        self._database = database
        self._engines = engines  # by site
        self._now = CommonClock.of(now)
        self.watch = SiteWatch(database, engines, engine_ids or {})
        self._gates: dict[str, Gate] = {}
        self._worker_id = worker_id or WorkerId("")
        # How many runs other processes drive, by site, for sites whose load is coming back.
        self._elsewhere: dict[str, int] = {}
        self._asking: dict[str, asyncio.Task[EngineHealth]] = {}
        self._probers: dict[str, asyncio.Task[None]] = {}
        # Sites whose look this process has taken and not reported yet.
        self._looking: set[str] = set()
        self._opened_here: set[str] = set()
        self._most_runs = dict(most_runs or {})
        self._on_open: list[Callable[[], None]] = []
        self._on_shut: list[Callable[[str], None]] = []

    def on_open(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a site may take more work."""
        self._on_open.append(callback)

    def on_shut(self, callback: Callable[[str], None]) -> None:
        """Call `callback` with each site that is seen to have stopped taking work."""
        self._on_shut.append(callback)

    async def refresh(self) -> None:
        """Read the gates again; see that each shut gate of a configured site has a prober.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        before = self.closed()
        self._gates = await self._read()
        for site, gate in self._gates.items():
            if gate.state is not GateState.UP and site in self._engines:
                self._see_to_it(site)
        waves = [site for site, gate in self._gates.items() if gate.wave is not None]
        self._elsewhere = await self._driven_elsewhere(waves) if waves else {}
        for site in self.closed() - before:
            for callback in self._on_shut:
                callback(site)

    async def hear_time(self) -> None:
        """Learn what time it is at the database, before anything is written or told by this clock.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        await self._read()

    async def _read(self) -> dict[str, Gate]:
        """Read the gates, and with them the database's time."""
        asked_at = self._now()
        gates = await self._database.reads.gates()
        told = next((gate.read_at for gate in gates.values() if gate.read_at is not None), None)
        self._now.heard(told, asked_at=asked_at)
        return gates

    async def stop(self) -> None:
        """End the probers; the gates stay as they are for whoever comes next."""
        tasks = [*self._probers.values(), *self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            for site in self._looking:
                await self._database.submit(ProbeReturn(site=site, at=self._now()))
        except StoreUnavailable as error:
            # The next prober then waits until the look's time is over.
            _log.warning("gate.write_failed", tenant="", error=error.message)

    def closed(self) -> set[str]:
        """Return the sites that take no work now: shut, or left alone because they asked for it."""
        return {
            site
            for site, gate in self._gates.items()
            if gate.state is not GateState.UP or self.paused_until(site) is not None
        }

    def slot_holders(self) -> set[str]:
        """Return the tenants that hold the slot of an open site."""
        closed = self.closed()
        return {
            gate.slot_tenant_id
            for site, gate in self._gates.items()
            if gate.slot_tenant_id is not None and site not in closed
        }

    def gate(self, site: str) -> Gate | None:
        """Return a site's gate as last read; None if it has none."""
        return self._gates.get(site)

    def health(self, site: str) -> EngineHealth | None:
        """Return what is wrong with a site whose gate is shut; None if it is open."""
        gate = self._gates.get(site)
        if gate is None or gate.state is GateState.UP:
            return None
        return EngineHealth(state=gate.state, code=gate.code, message=gate.message)

    def paused_until(self, site: str) -> datetime | None:
        """Return until when (UTC) a site asked to be left alone; None if it need not be."""
        gate = self._gates.get(site)
        until = None if gate is None else gate.paused_until
        if until is None:
            return None
        ahead = (until - self._now()).total_seconds()
        # If it is further ahead than any site may ask for, the clock has been set back since.
        return until if 0 < ahead <= _LONGEST_SECONDS else None

    def room(self, site: str, driving: int) -> bool:
        """Tell whether one more run of a site may be driven now.

        Args:
            site: The site.
            driving: How many of its runs this process drives. While load comes back after an
                outage, those of other processes count, too.
        """
        if driving >= self._most_runs.get(site, driving + 1):
            return False
        gate = self._gates.get(site)
        if gate is None or gate.wave is None:
            return True
        age = (self._now() - gate.since).total_seconds()
        if gate.wave == 1 and site not in self._opened_here and age < _FIRST_WAVE_SECONDS:
            return False
        return driving + self._elsewhere.get(site, 0) < gate.wave

    async def _driven_elsewhere(self, sites: Collection[str]) -> dict[str, int]:
        if self._database.driver_lock is not None:
            return {}  # a process that has the lock is the only one that drives
        return await self._database.reads.driven_elsewhere(
            self._now(), sites, worker_id=self._worker_id
        )

    async def came_through(self, site: str) -> None:
        """Note that an attempt came through: the next wave may be twice as large.

        Args:
            site: The site; nothing is written if its load is not limited.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """
        gate = self._gates.get(site)
        if gate is None or gate.wave is None:
            return
        wave = None if gate.wave >= _FULL_WAVE else gate.wave * 2
        await self._database.submit(WaveChange(site=site, seen=gate.wave, wave=wave))
        self._gates = await self._read()
        self._tell_open()

    async def pause(self, site: str, seconds: float) -> datetime:
        """Leave a site alone for as long as it asked (Retry-After); load then comes back in waves.

        Args:
            site: The site.
            seconds: For how long, from now.

        Returns:
            Until when it is left alone, in UTC; later than asked for here if it asked for more
            before.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """
        now = self._now()
        until = now + timedelta(seconds=seconds)
        await self._database.submit(
            SitePause(site=site, at=now, until=until, longest=_LONGEST_SECONDS)
        )
        self._opened_here.add(site)
        await self.refresh()
        asyncio.get_running_loop().call_later(seconds, self._tell_open)
        return self.paused_until(site) or until

    async def ask(self, site: str) -> EngineHealth:
        """Ask the prober how a site is; callers at the same time share one look.

        Args:
            site: The site of a configured engine.

        Returns:
            What it found. If that is not UP, the gate is shut when this returns. Of one that is
            shut already, what is known is returned, and the engine is not asked.

        Raises:
            StoreUnavailable: the database can't be read or written.
        """
        known = self.health(site)
        if known is not None:
            # It is shut already: its prober keeps to its own rhythm, whoever asks.
            self._see_to_it(site)
            return known
        return await self.look(site)

    async def look(self, site: str) -> EngineHealth:
        """Look at a site now, whatever is known about it; returns and raises like `ask`.

        A caller that is cancelled does not end the look, which others may share.
        """
        task = self._asking.get(site)
        if task is None:
            task = asyncio.create_task(self._look(site), name=f"prober-asked {site}")
            self._asking[site] = task
            task.add_done_callback(lambda _: self._asking.pop(site, None))
        return await asyncio.shield(task)

    async def _look(self, site: str) -> EngineHealth:
        health = await self._check(site)
        if health.state is not GateState.UP:
            await self._write(site, health, pause=PROBE_PAUSES_SECONDS[0])
            self._see_to_it(site)
        return health

    async def _check(self, site: str) -> EngineHealth:
        try:
            health = await self._engines[site].check()
            if health.state is GateState.UP:
                health = await self.watch.judge(site)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - no look is no proof that it is up; recorded
            _log.exception("gate.check_bug", tenant="", site=site)
            return EngineHealth(
                state=GateState.DOWN,
                code="ENGINE_CHECK_FAILED",
                message=(
                    "The engine could not be checked: the provisioner ran into a bug "
                    f"({type(error).__name__}). The server's log has the traceback."
                ),
            )
        return health

    def _see_to_it(self, site: str) -> None:
        prober = self._probers.get(site)
        if prober is None or prober.done():
            self._probers[site] = asyncio.create_task(self._probe(site), name=f"prober {site}")

    async def _probe(self, site: str) -> None:
        """Look whenever the stored time is due and nobody else takes the look, until it opens."""
        while True:
            try:
                gate = (await self._read()).get(site)
                if gate is None or gate.state is GateState.UP:
                    return
                await asyncio.sleep(self._seconds_until(gate.next_probe_at))
                if await self._take(site):
                    self._looking.add(site)
                    health = await self._check(site)
                    age = (self._now() - gate.since).total_seconds()
                    await self._write(site, health, pause=pause_after(age))
                    self._looking.discard(site)
            except StoreUnavailable as error:
                _log.warning("gate.write_failed", tenant="", site=site, error=error.message)
                await asyncio.sleep(PROBE_PAUSES_SECONDS[0])
            except Exception:  # noqa: BLE001 - a gate without prober stays shut; recorded
                _log.exception("gate.bug", tenant="", site=site)
                await asyncio.sleep(PROBE_PAUSES_SECONDS[0])

    def _seconds_until(self, due: datetime | None) -> float:
        ahead = 0.0 if due is None else (due - self._now()).total_seconds()
        # Capped, since another process may open the gate meanwhile. A time that is too far ahead
        # was stored by a clock that has been set back since.
        return min(max(ahead, 0.0), PROBE_PAUSES_SECONDS[-1]) if ahead <= _LONGEST_SECONDS else 0.0

    async def _take(self, site: str) -> bool:
        now = self._now()
        taken = await self._database.submit(
            ProbeTake(
                site=site,
                at=now,
                until=now + timedelta(seconds=_LOOK_SECONDS),
                longest=_LONGEST_SECONDS,
            )
        )
        return taken.applied

    async def _write(self, site: str, health: EngineHealth, *, pause: float) -> None:
        now = self._now()
        up = health.state is GateState.UP
        known = self._gates.get(site)
        pause = max(pause, health.retry_after_seconds or 0.0)
        await self._database.submit(
            GateOperation(
                site=site,
                at=now,
                gate=health.state,
                code=health.code,
                message=health.message,
                next_probe_at=None if up else now + timedelta(seconds=pause),
                wave=1 if up else None,
            )
        )
        if known is None or known.state is not health.state:
            _log.warning(
                "gate.changed",
                tenant="",
                site=site,
                gate=health.state.value,
                code=health.code,
                reason=health.message,
            )
        if up:
            self._opened_here.add(site)
        await self.refresh()
        if up:
            self._tell_open()

    def _tell_open(self) -> None:
        for callback in self._on_open:
            callback()


def pause_after(age_seconds: float) -> float:
    """Return the pause after a look, in seconds: 2, 4, 8, then 15, from the outage's age alone.

    So the rhythm is the same whichever process looks.

    Args:
        age_seconds: For how long the gate has been shut.
    """
    due = zip(PROBE_PAUSES_SECONDS[1:], accumulate(PROBE_PAUSES_SECONDS), strict=False)
    return next((pause for pause, end in due if age_seconds < 2 * end), PROBE_PAUSES_SECONDS[-1])
