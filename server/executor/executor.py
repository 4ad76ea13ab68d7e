"""Looks for open runs, claims them, and drives each in a task of its own.

`claiming` says how a run becomes this worker's, `drive` how it is driven.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import structlog

from server.errors import Replaced, StoreUnavailable
from server.executor.choosing import POLL_SECONDS, Choosing
from server.executor.claiming import COMPANY_STEP, Claims
from server.executor.clock import CommonClock
from server.executor.gates import Gates
from server.executor.lease import Lease
from server.executor.newcomers import Newcomers
from server.executor.slots import Slots
from server.model.budget import Pacing
from server.model.states import RunState
from server.store.operations import SlotFree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from server.executor.drive import Drive
    from server.model.identifiers import TenantId
    from server.model.step_context import Engine
    from server.store.claims import Claim
    from server.store.database import Database
    from server.store.found import DueRun
    from server.store.operations import Outcome, TenantOperation

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorOptions:
    """How a process drives.

    Attributes:
        lease_seconds: How long a worker counts as alive after a heartbeat.
        max_runs: How many runs are driven at once; those that stand in a site's line don't count.
        site_runs: How many runs of one site are driven at once, by site, for sites with their own
            limit.
        drain_seconds: How long `stop` waits for outstanding answers.
        pacing: The pauses between tries.
    """

    lease_seconds: float = 10.0
    max_runs: int = 32
    site_runs: Mapping[str, int] = field(default_factory=dict)
    drain_seconds: float = 25.0
    pacing: Pacing = field(default_factory=Pacing)


class Executor:
    """Drives the open runs of one store against the configured engines.

    It is started once, and used on the event loop's thread only.
    """

    def __init__(
        self,
        database: Database,
        engines: Mapping[str, Engine],
        *,
        now: Callable[[], datetime],
        options: ExecutorOptions,
    ) -> None:
        self._database = database
        self._engines = {engine.site: engine for engine in engines.values()}
        now = CommonClock.of(now)
        self._now = now
        self._options = options
        self._lease = Lease(database, seconds=options.lease_seconds, now=now)
        self._gates = Gates(
            database,
            self._engines,
            now,
            most_runs=options.site_runs,
            engine_ids={engine.site: name for name, engine in engines.items()},
            worker_id=self._lease.worker_id,
        )
        self._slots = Slots()
        self._newcomers = Newcomers(database.reads)
        self._claims = Claims(
            database,
            self._engines,
            lease=self._lease,
            gates=self._gates,
            slots=self._slots,
            pacing=options.pacing,
            now=now,
            stopping=lambda: self._stopping,
        )
        self._choosing = Choosing(
            database,
            self._engines,
            lease=self._lease,
            gates=self._gates,
            slots=self._slots,
            newcomers=self._newcomers,
            now=now,
            max_runs=options.max_runs,
        )
        self._wake = asyncio.Event()
        self._stopping = False
        self._hurried = asyncio.Event()
        self._loop_task: asyncio.Task[None] | None = None
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._drives: dict[str, Drive] = {}
        # When to look next for runs that a person cancelled; at once if that was ordered here.
        self._next_cancellations = 0.0
        self._taken: dict[str, DueRun] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        # When an executor without a free place looks again for runs that need none.
        self._next_look = 0.0

    async def start(self) -> None:
        """Write the first heartbeat and start looking for work.

        Raises:
            StoreUnavailable: the database can't be read or written; nothing was started.
        """
        await self._gates.hear_time()
        await self._lease.start()
        self._database.on_applied(self._heard)
        self._database.on_elsewhere(self._wake_on_run_elsewhere)
        self._database.on_slot_freed_elsewhere(self._slots.freed)
        self._gates.on_open(self._wake_on_open)
        self._gates.on_shut(self._slots.clear)
        self._slots.on_move(self._wake.set)
        self._loop_task = asyncio.create_task(self._loop(), name="executor")

    async def stop(self) -> None:
        """Stop claiming, wait for answers that are out, record what is unknown, hand runs back.

        It waits for answers at most `drain_seconds`, or until `hurry`. A database that can't be
        written is logged, not raised: others then take the runs over when the lease is over.
        """
        self._stopping = True
        self._slots.clear()
        self._wake.set()
        if self._loop_task is not None:
            await self._loop_task
        for timer in self._timers:
            timer.cancel()
        tasks = list(self._driving.values())
        if tasks:
            answered = asyncio.gather(*tasks, return_exceptions=True)
            hurried = asyncio.create_task(self._hurried.wait(), name="hurry")
            await asyncio.wait(
                (answered, hurried),
                timeout=self._options.drain_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            hurried.cancel()
            for task in tasks:
                task.cancel()
            await answered
        await self._gates.stop()
        await self._lease.stop()

    def hurry(self) -> None:
        """Make `stop` wait no longer: requests still out are recorded as unknown at once."""
        self._hurried.set()

    async def _loop(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                if self._may_drive():
                    await self._pass_on_cancellations()
                    await self._claim_due()
            except StoreUnavailable as error:
                _log.warning("executor.store_unavailable", tenant="", error=error.message)
            except Exception:  # noqa: BLE001 - nobody would claim any more; recorded
                _log.exception("executor.bug", tenant="")
            try:
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _pass_on_cancellations(self) -> None:
        """Tell each drive whose run a person cancelled, here or through another process."""
        now = asyncio.get_running_loop().time()
        if now < self._next_cancellations:
            return
        self._next_cancellations = now + POLL_SECONDS
        unaware = [run_id for run_id, drive in self._drives.items() if not drive.cancelling]
        if unaware:
            for run_id, order in (await self._database.reads.cancellations(unaware)).items():
                if run_id in self._drives:
                    self._drives[run_id].cancel(order)

    def _may_drive(self) -> bool:
        lock = self._database.driver_lock
        return (lock is None or lock.acquire()) and self._lease.holds()

    async def _claim_due(self) -> None:
        # A run that stands in a site's line is not driving: another may have its place.
        free = self._options.max_runs - len(self._driving) + self._slots.seated()
        now = asyncio.get_running_loop().time()
        if free <= 0 and now < self._next_look:
            return
        self._next_look = now + POLL_SECONDS
        await self._gates.refresh()
        choice = await self._choosing.choose(self._taken, free=free)
        due = choice.due
        if not due:
            return
        try:
            wanted = {run.tenant_id for run in due.values()}
            claims = await self._newcomers.claims(wanted)
            if wanted := wanted - claims.keys():
                claims |= await self._read_claims(wanted)
        except BaseException:
            self._choosing.drop(choice)
            raise
        if not self._lease.holds():
            # It ended while this look was under way: others count this worker as dead.
            self._choosing.drop(choice)
            return
        for run in due.values():
            self._taken[run.run_id] = run
            arrived = choice.arrivals.get(run.run_id) or self._slots.expect(
                run.site, (run.since, run.run_id)
            )
            task = asyncio.create_task(
                self._take(run, claims.get(run.tenant_id), arrived), name=f"run {run.run_id}"
            )
            self._driving[run.run_id] = task
            task.add_done_callback(partial(self._forget, run.run_id, arrived))

    async def _read_claims(self, tenant_ids: set[TenantId]) -> dict[str, Claim]:
        """Read what claiming needs; one unreadable tenant must not stop the others."""
        read = self._database.reads.claims
        try:
            return await read(tenant_ids, passed_step=COMPANY_STEP)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            claims: dict[str, Claim] = {}
            for tenant_id in tenant_ids:
                try:
                    claims |= await read({tenant_id}, passed_step=COMPANY_STEP)
                except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
                    _log.exception("run.unreadable", tenant=tenant_id)
            return claims

    def _forget(self, run_id: str, arrived: Callable[[], None], _task: asyncio.Task[None]) -> None:
        arrived()
        self._driving.pop(run_id, None)
        self._drives.pop(run_id, None)
        self._taken.pop(run_id, None)
        self._wake.set()

    async def _take(self, due: DueRun, claim: Claim | None, arrived: Callable[[], None]) -> None:
        """Claim a run and drive it; nothing raised here may end the executor."""
        try:
            drive = await self._claims.claim(due, claim, arrived)
            if isinstance(drive, float):
                self._wake_in(drive)
                return
            if drive is None:
                # It looked due, but there is nothing to drive: do not look again at once.
                await asyncio.sleep(POLL_SECONDS)
                self._choosing.others_may_be_due()
                return
            self._drives[due.run_id] = drive
            try:
                pause = await drive.run()
            except asyncio.CancelledError:
                await drive.interrupted()
                raise
            if pause is not None and not self._stopping:
                self._wake_in(pause)
        except Replaced as error:
            _log.info("run.replaced", tenant=due.tenant_id, run=due.run_id, why=error.message)
            self._choosing.others_may_be_due()
        except StoreUnavailable as error:
            # The rows still name us as its worker; the next look takes it up again.
            _log.warning(
                "run.store_unavailable", tenant=due.tenant_id, run=due.run_id, error=error.message
            )
            await asyncio.sleep(POLL_SECONDS)
            self._choosing.others_may_be_due()
        except Exception:  # noqa: BLE001 - the task must survive; recorded below
            # A bug must not end the other runs; this run is taken up again.
            _log.exception("run.bug", tenant=due.tenant_id, run=due.run_id)
            await asyncio.sleep(POLL_SECONDS)
            self._choosing.others_may_be_due()

    def _wake_in(self, seconds: float) -> None:
        def wake() -> None:
            self._timers.discard(timer)
            self._choosing.pause_is_over()
            self._wake.set()

        timer = asyncio.get_running_loop().call_later(seconds, wake)
        self._timers.add(timer)

    def _wake_on_open(self) -> None:
        self._choosing.pause_is_over()
        self._wake.set()

    def _heard(self, operation: TenantOperation, outcome: Outcome) -> None:
        """Hear of an operation this process wrote (a watcher of `Database.on_applied`)."""
        was_new = self._newcomers.knows(operation.tenant_id)
        self._newcomers.heard(operation, outcome)
        if isinstance(operation.slot, SlotFree):
            self._slots.freed(operation.slot.site)
        if any(row.run.cancellation is not None for row in operation.runs):
            self._next_cancellations = 0.0
            self._wake.set()
        queued = any(row.run.state is RunState.QUEUED for row in operation.runs)
        if (queued or was_new) and not self._newcomers.knows(operation.tenant_id):
            self._choosing.others_may_be_due()
        if queued:
            self._wake.set()

    def _wake_on_run_elsewhere(self, _written: Collection[str] | None, queued: bool) -> None:  # noqa: FBT001 - a listener's shape
        if queued:
            self._choosing.others_may_be_due()
            self._wake.set()
