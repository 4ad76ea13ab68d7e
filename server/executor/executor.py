"""Looks for open runs, claims them, and drives each in a task of its own.

A claim raises the tenant's fencing token in the same operation that ends the attempts a
dead worker left open, so that from then on the dead worker's writes count no more
(promise 4). A run with step rows missing gets them back, to be probed.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from server.errors import Replaced, StoreUnavailable
from server.executor.context import CompanyFacts
from server.executor.drive import Drive
from server.executor.gates import Gates
from server.executor.lease import Lease
from server.executor.slots import Slots
from server.executor.state import DrivenRun
from server.model.actor import RECONCILER_NAME
from server.model.blueprint import BLUEPRINTS
from server.model.budget import Counts, Move, Pacing, after_error
from server.model.ownership import resource_key
from server.model.records import Step, WaitingFor
from server.model.states import (
    OPEN_RUN_STATES,
    AttemptOutcome,
    ErrorClass,
    LogLevel,
    Order,
    ResourceState,
    RunState,
    StepState,
    WaitingCode,
)
from server.store.operations import RunRow, TenantOperation

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from server.model.blueprint import Blueprint
    from server.model.identifiers import TenantId, WorkerId
    from server.model.records import Attempt, Run
    from server.model.step_context import Engine
    from server.store.claims import Claim
    from server.store.database import Database
    from server.store.operations import Outcome
    from server.store.reads import DueRun

_log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.5
# Who got past it has a Company (server.model.ownership).
COMPANY_STEP = "step_2_company"
# No due time is set further ahead than this; one that is was written by a clock that has
# been set back since.
_HORIZON = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorOptions:
    """How a process drives.

    Attributes:
        lease_seconds: How long a worker counts as alive after a heartbeat.
        max_runs: Runs driven at once.
        drain_seconds: How long `stop` waits for answers that are out.
        pacing: Pauses between tries.
    """

    lease_seconds: float = 10.0
    max_runs: int = 32
    drain_seconds: float = 25.0
    pacing: Pacing = field(default_factory=Pacing)


class Executor:
    """Drives open runs of one store against the configured engines."""

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
        self._now = now
        self._options = options
        self._lease = Lease(database, seconds=options.lease_seconds, now=now)
        self._gates = Gates(database, self._engines, now)
        self._slots = Slots()
        self._wake = asyncio.Event()
        self._stopping = False
        self._loop_task: asyncio.Task[None] | None = None
        self._driving: dict[str, asyncio.Task[None]] = {}
        self._taken: dict[str, DueRun] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        # When a full executor looks again for runs that go first.
        self._next_look = 0.0

    async def start(self) -> None:
        """Write the first heartbeat and begin to look for work."""
        await self._lease.start()
        self._database.on_applied(self._wake_on_new_run)
        self._gates.on_open(self._wake.set)
        self._loop_task = asyncio.create_task(self._loop(), name="executor")

    async def stop(self) -> None:
        """Claim no more, wait for answers, record what is unknown, hand runs back."""
        self._stopping = True
        self._wake.set()
        if self._loop_task is not None:
            await self._loop_task
        for timer in self._timers:
            timer.cancel()
        tasks = list(self._driving.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._options.drain_seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._gates.stop()
        await self._lease.stop()

    async def _loop(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                if self._may_drive():
                    await self._claim_due()
            except StoreUnavailable as error:
                _log.warning("executor.store_unavailable", tenant="", error=error.message)
            except Exception:  # noqa: BLE001 - nobody would claim any more; recorded
                _log.exception("executor.bug", tenant="")
            try:
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _may_drive(self) -> bool:
        lock = self._database.driver_lock
        return (lock is None or lock.acquire()) and self._lease.holds()

    async def _claim_due(self) -> None:
        free = self._options.max_runs - len(self._driving)
        now = asyncio.get_running_loop().time()
        if free <= 0 and now < self._next_look:
            return
        self._next_look = now + _POLL_SECONDS
        await self._gates.refresh()
        due = await self._due_first()
        if free > 0:
            on_site = Counter(run.site for run in self._taken.values())
            # Cut here, not after the limit: the runs of one site must not starve another's.
            sites = [
                site
                for site in self._engines.keys() - self._gates.shut()
                if self._gates.room(site, on_site[site])
            ]
            for run in await self._due(sites, limit=free):
                if self._gates.room(run.site, on_site[run.site]):
                    on_site[run.site] += 1
                    due.setdefault(run.run_id, run)
        if not due:
            return
        claims = await self._read_claims({run.tenant_id for run in due.values()})
        for run in due.values():
            self._taken[run.run_id] = run
            task = asyncio.create_task(
                self._take(run, claims.get(run.tenant_id)), name=f"run {run.run_id}"
            )
            self._driving[run.run_id] = task
            task.add_done_callback(partial(self._forget, run.run_id))

    async def _due_first(self) -> dict[str, DueRun]:
        """Return due runs that hold up a site, by run: they need no free place.

        A request left out when its answer was lost keeps the slot until its tenant has
        looked; runs that wait for that slot may have taken every place there is.
        """
        holders = self._gates.slot_holders() - {run.tenant_id for run in self._taken.values()}
        if not holders:
            return {}
        sites = self._engines.keys() - self._gates.shut()
        due = await self._due(sites, limit=len(holders), tenants=holders)
        return {run.run_id: run for run in due}

    async def _due(
        self, sites: Collection[str], *, limit: int, tenants: Collection[str] | None = None
    ) -> list[DueRun]:
        return await self._database.reads.due_runs(
            self._now(),
            worker_id=self._lease.worker_id,
            alone=self._database.driver_lock is not None,
            sites=sites,
            driving=self._driving.keys(),
            horizon=_HORIZON,
            limit=limit,
            tenants=tenants,
        )

    async def _read_claims(self, tenant_ids: set[TenantId]) -> dict[str, Claim]:
        """Read what claiming needs; one tenant that can't be read must not stop the others."""
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

    def _forget(self, run_id: str, _task: asyncio.Task[None]) -> None:
        self._driving.pop(run_id, None)
        self._taken.pop(run_id, None)
        self._wake.set()

    async def _take(self, due: DueRun, claim: Claim | None) -> None:
        """Claim a run and drive it; nothing raised here may end the executor."""
        try:
            drive = await self._claim(due, claim)
            if drive is None:
                # Nothing to drive though it looked so; do not look again at once.
                await asyncio.sleep(_POLL_SECONDS)
                return
            try:
                pause = await drive.run()
            except asyncio.CancelledError:
                await drive.interrupted()
                raise
            if pause is not None and not self._stopping:
                self._wake_in(pause)
        except Replaced as error:
            _log.info("run.replaced", tenant=due.tenant_id, run=due.run_id, why=error.message)
        except StoreUnavailable as error:
            # The run stays ours in the rows; the next look takes it up again.
            _log.warning(
                "run.store_unavailable", tenant=due.tenant_id, run=due.run_id, error=error.message
            )
            await asyncio.sleep(_POLL_SECONDS)
        except Exception:  # noqa: BLE001 - the task must survive; recorded below
            # A bug: it must not end the other runs; the run is taken up again.
            _log.exception("run.bug", tenant=due.tenant_id, run=due.run_id)
            await asyncio.sleep(_POLL_SECONDS)

    def _wake_in(self, seconds: float) -> None:
        def wake() -> None:
            self._timers.discard(timer)
            self._wake.set()

        timer = asyncio.get_running_loop().call_later(seconds, wake)
        self._timers.add(timer)

    def _wake_on_new_run(self, operation: TenantOperation, _outcome: Outcome) -> None:
        if any(row.run.state is RunState.QUEUED for row in operation.runs):
            self._wake.set()

    async def _claim(self, due: DueRun, claim: Claim | None) -> Drive | None:
        """Make the run ours in one operation; None if it is no longer to be had."""
        if claim is None:
            return None
        if claim.record.run is None or claim.record.run.id != due.run_id:
            await self._close_stray(due)
            return None
        record, run, now = claim.record, claim.record.run, self._now()
        if run.state not in OPEN_RUN_STATES:
            return None
        blueprint = BLUEPRINTS.get(run.blueprint)
        if blueprint is None:
            _log.error("run.unknown_blueprint", tenant=due.tenant_id, name=run.blueprint)
            return None
        driven = self._driven(claim, run, blueprint)
        pauses = [
            self._lose(driven, attempt) for attempt in claim.attempts if attempt.outcome is None
        ]
        pause = max(pauses, default=0.0)
        self._restore_rows(driven, blueprint)
        driven.run = _claimed(run, self._lease.worker_id, now, pause)
        # Judged at this revision: of two workers one gets it. The token it is driven
        # under is the one this operation gives.
        await driven.write(token=None, revision=record.tenant.revision, raise_token=True)
        if pause > 0.0:
            self._wake_in(pause)
            return None
        return Drive(
            driven,
            engine=self._engines[record.tenant.site],
            gates=self._gates,
            lease=self._lease,
            slots=self._slots,
            facts=CompanyFacts(
                abbreviation=claim.abbreviation,
                passed_company_step=claim.passed_step,
                only_tenant_of_name=claim.only_tenant_of_name,
                ordered_to_make_again=_names_a_step(run, record.steps),
            ),
            pacing=self._options.pacing,
            stopping=lambda: self._stopping,
        )

    def _driven(self, claim: Claim, run: Run, blueprint: Blueprint) -> DrivenRun:
        record = claim.record
        numbers: dict[str, int] = {}
        for attempt in claim.attempts:
            numbers[attempt.step_key] = max(numbers.get(attempt.step_key, 0), attempt.number)
        return DrivenRun(
            self._database,
            tenant=record.tenant,
            run=run,
            steps={step.key: step for step in record.steps},
            blueprint=blueprint,
            resources={
                resource_key(resource.doctype, resource.name): resource
                for resource in claim.resources
            },
            attempt_numbers=numbers,
            token=record.tenant.fencing_token,
            now=self._now,
        )

    def _lose(self, driven: DrivenRun, attempt: Attempt) -> float:
        """End an attempt whose worker died. It counts only if a request of it was out.

        Returns:
            Seconds to wait before the step is tried again: a request that was out when the
            worker died, again and again, may be what kills it.
        """
        driven.put_attempt(
            replace(
                attempt,
                ended_at=self._now(),
                outcome=AttemptOutcome.LOST,
                error_class=ErrorClass.LOST,
                error_code="WORKER_LOST",
                message="The worker died during this attempt.",
            )
        )
        driven.say(
            "The worker died during this attempt. This one takes over, and looks at the "
            "engine before anything is sent again.",
            event="attempt.lost",
            level=LogLevel.WARNING,
            step_key=attempt.step_key,
            attempt=attempt.number,
            worker=attempt.worker_id,
        )
        step = driven.steps.get(attempt.step_key)
        # A run that waits for the site's slot has stored what it wants, and sent nothing.
        was_out = driven.run.waiting_for is None and any(
            resource.state is ResourceState.INTENDED for resource in driven.resources.values()
        )
        if step is None or not was_out:
            return 0.0
        counts = Counts(tries=step.tries, races=step.races, losses=step.losses)
        following = after_error(
            ErrorClass.LOST,
            counts,
            pacing=self._options.pacing,
            random=random.random(),  # noqa: S311 - jitter, no secret
        )
        step = replace(step, losses=following.counts.losses)
        if following.move is Move.STOP:
            step = replace(
                step,
                state=StepState.FAILED,
                error_code="WORKER_LOST",
                error_class=ErrorClass.LOST,
                error_message=(
                    f"The worker died {step.losses} times in a row while a request of this "
                    "step was out. See the server's log for what kills it."
                ),
                error_at=self._now(),
            )
        driven.put_step(step)
        return following.pause_seconds

    def _restore_rows(self, driven: DrivenRun, blueprint: Blueprint) -> None:
        """Give a damaged run its step rows back; they are probed like any other."""
        kinds = blueprint.steps_for(driven.tenant.spec)
        missing = [kind for kind in kinds if kind.key not in driven.steps]
        if not missing:
            return
        for kind in missing:
            driven.put_step(
                Step(
                    run_id=driven.run.id,
                    key=kind.key,
                    position=kinds.index(kind),
                    required=kind.required,
                    state=StepState.PENDING,
                )
            )
        driven.run = replace(driven.run, total_steps=len(kinds))
        driven.say(
            f"{len(missing)} of {len(kinds)} step rows of this run were lost. They are made "
            "again and probed at the engine.",
            event="record.rebuilt",
            level=LogLevel.WARNING,
        )

    async def _close_stray(self, due: DueRun) -> None:
        """Close an open run that is not its tenant's last one: a leftover of a damage."""
        live = await self._database.reads.live(due.tenant_id)
        stray = await self._database.reads.run(due.run_id)
        if live is None or stray is None or stray.state not in OPEN_RUN_STATES:
            return
        if live.record.run is not None and live.record.run.id == stray.id:
            return
        closed = replace(stray, state=RunState.REPLACED, finished_at=self._now())
        await self._database.submit(
            TenantOperation(
                tenant_id=due.tenant_id,
                at=self._now(),
                revision=live.record.tenant.revision,
                runs=(RunRow(run=closed, site=due.site),),
            )
        )


def _names_a_step(run: Run, steps: Sequence[Step]) -> bool:
    """Tell whether a person ordered a certain step again, not all of them.

    A Retry of all steps carries none over. It is what one types first when something looks
    wrong, so it must not make new, empty books for a shop whose Company is gone.
    """
    by_person = run.order is Order.RETRY and run.actor != RECONCILER_NAME
    return by_person and any(step.carried_from is not None for step in steps)


def _claimed(run: Run, worker_id: WorkerId, now: datetime, pause: float) -> Run:
    """Return the run as its new worker has it: under way, or waiting out a pause."""
    started_at = run.started_at or now
    if pause == 0.0:
        return replace(
            run,
            state=RunState.RUNNING,
            worker_id=worker_id,
            waiting_for=None,
            started_at=started_at,
        )
    until = now + timedelta(seconds=pause)
    return replace(
        run,
        state=RunState.WAITING,
        worker_id=None,
        due_at=until,
        waiting_for=WaitingFor(
            code=WaitingCode.RETRY,
            message="The worker died again and again at this step; it is tried again.",
            until=until,
        ),
        started_at=started_at,
    )
