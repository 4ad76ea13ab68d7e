"""Makes an open run this worker's, in one operation that also puts its record in order.

A claim raises the tenant's fencing token in the same operation that ends the attempts a dead
worker left open, so that the dead worker's writes are refused from then on (promise 4). A run
that lacks step rows gets them back, to be probed.
"""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from server.errors import Replaced
from server.executor.context import CompanyFacts
from server.executor.drive import Drive
from server.executor.state import DrivenRun
from server.model.actor import RECONCILER_NAME
from server.model.blueprint import BLUEPRINTS
from server.model.budget import Counts, Move, after_error
from server.model.made_often import replace
from server.model.ownership import resource_key
from server.model.records import STEP_ORDERED, Step, WaitingFor
from server.model.states import (
    OPEN_RUN_STATES,
    AttemptOutcome,
    ErrorClass,
    LogLevel,
    Order,
    RunState,
    StepState,
    WaitingCode,
)
from server.store.operations import RunRow, TenantOperation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from server.executor.gates import Gates
    from server.executor.lease import Lease
    from server.executor.slots import Slots
    from server.model.blueprint import Blueprint
    from server.model.budget import Pacing
    from server.model.identifiers import WorkerId
    from server.model.records import Attempt, Run
    from server.model.step_context import Engine
    from server.store.claims import Claim
    from server.store.database import Database
    from server.store.found import DueRun

_log = structlog.get_logger(__name__)

# What may have happened to a worker whose lease is over; there is no way to tell from here.
_LOST = "it died, was suspended, or could not reach the database"

# A tenant that got past this step has a Company (server.model.ownership).
COMPANY_STEP = "step_2_company"


class Claims:
    """Claims runs for one worker."""

    def __init__(
        self,
        database: Database,
        engines: Mapping[str, Engine],
        *,
        lease: Lease,
        gates: Gates,
        slots: Slots,
        pacing: Pacing,
        now: Callable[[], datetime],
        stopping: Callable[[], bool],
    ) -> None:
        self._database = database
        self._engines = engines  # by site
        self._lease = lease
        self._gates = gates
        self._slots = slots
        self._pacing = pacing
        self._now = now
        self._stopping = stopping

    async def claim(
        self, due: DueRun, claim: Claim | None, arrived: Callable[[], None]
    ) -> Drive | float | None:
        """Make the run ours: with its drive's first write, or at once if its record needs mending.

        Args:
            due: The run.
            claim: What is stored about its tenant, or None if that is gone.
            arrived: To be called when the run reaches the line to which it was called up.

        Returns:
            Its drive; the seconds it must wait first; or None if there is nothing to drive.

        Raises:
            Replaced: another worker got it.
            StoreUnavailable: the database can't be read or written.
        """
        if claim is None:
            return None
        if claim.record.run is None or claim.record.run.id != due.run_id:
            await self._close_stray(due)
            return None
        record, run, now = claim.record, claim.record.run, self._now()
        if run.state not in OPEN_RUN_STATES:
            return None
        if run.token != due.token:
            # A living worker claimed it between the two looks: nothing of it was lost.
            raise Replaced(f"run {run.id} is driven by somebody else now")
        blueprint = BLUEPRINTS.get(run.blueprint)
        if blueprint is None:
            _log.error("run.unknown_blueprint", tenant=due.tenant_id, name=run.blueprint)
            return None
        driven = self._driven(claim, run, blueprint)
        left = [attempt for attempt in claim.attempts if attempt.outcome is None]
        # A run that stood in line for the site's slot was driven by nobody: nothing was lost.
        in_line = left.pop() if left and _stood_in_line(run) else None
        pauses = [self._lose(driven, attempt) for attempt in left]
        pause = max(pauses, default=0.0)
        self._restore_rows(driven, blueprint)
        driven.run = _claimed(run, self._lease.worker_id, now, pause)
        driven.claim(record.tenant.revision)
        if driven.unwritten:
            # The end of a lost worker's attempts, and restored rows, must not wait for a step.
            await driven.write()
        if pause > 0.0:
            return pause
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
                ordered_step=_ordered_step(run),
            ),
            pacing=self._pacing,
            stopping=self._stopping,
            arrived=arrived,
            in_line=in_line,
        )

    def _driven(self, claim: Claim, run: Run, blueprint: Blueprint) -> DrivenRun:
        record = claim.record
        numbers: dict[str, int] = {}
        limited: Counter[str] = Counter()
        for attempt in claim.attempts:
            numbers[attempt.step_key] = max(numbers.get(attempt.step_key, 0), attempt.number)
            again = attempt.error_code == WaitingCode.SITE_PAUSED.value
            limited[attempt.step_key] = limited[attempt.step_key] + 1 if again else 0
        return DrivenRun(
            self._database,
            tenant=record.tenant,
            run=run,
            steps={step.key: step for step in record.steps},
            blueprint=blueprint,
            resources={
                resource_key(resource.doctype, resource.name): resource
                for resource in claim.resources_at(self._now())
            },
            attempt_numbers=numbers,
            rate_limited=limited,
            token=record.tenant.fencing_token,
            now=self._now,
        )

    def _lose(self, driven: DrivenRun, attempt: Attempt) -> float:
        """End an attempt whose worker was lost. It counts only if one of its requests was out.

        Nobody can tell a worker that died from one that was suspended or cut off from the
        database. Its lease is over, and whatever it still does, its writes are refused.

        Returns:
            Seconds to wait before the step is tried again: a request that was out each time a
            worker was lost may be what kills the workers.
        """
        driven.put_attempt(
            replace(
                attempt,
                ended_at=self._now(),
                outcome=AttemptOutcome.LOST,
                error_class=ErrorClass.LOST,
                error_code="WORKER_LOST",
                message=f"The worker was lost during this attempt: {_LOST}.",
            )
        )
        driven.say(
            f"The worker was lost during this attempt: {_LOST}. This one takes over, and "
            "looks at the engine before anything is sent again.",
            event="attempt.lost",
            level=LogLevel.WARNING,
            step_key=attempt.step_key,
            attempt=attempt.number,
            worker=attempt.worker_id,
        )
        step = driven.steps.get(attempt.step_key)
        # A run that waits for the site's slot may have an intent stored, but this attempt of it
        # has no request out. A change or removal may kill workers just as the making of a document.
        was_out = driven.run.waiting_for is None and driven.unknown
        if step is None or not was_out:
            return 0.0
        counts = Counts(tries=step.tries, races=step.races, losses=step.losses)
        following = after_error(
            ErrorClass.LOST,
            counts,
            pacing=self._pacing,
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
                    f"A worker was lost {step.losses} times in a row while a request of this "
                    f"step was out: {_LOST}. See the server's log for which."
                ),
                error_at=self._now(),
            )
        driven.put_step(step)
        return following.pause_seconds

    def _restore_rows(self, driven: DrivenRun, blueprint: Blueprint) -> None:
        """Give a damaged run its step rows back, to be probed like any others."""
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
            f"{len(missing)} of {len(kinds)} step rows of this run were lost. They are made again, "
            "and the engine is probed.",
            event="record.rebuilt",
            level=LogLevel.WARNING,
        )

    async def _close_stray(self, due: DueRun) -> None:
        """Close an open run that is not its tenant's latest: damage left it behind."""
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


def _stood_in_line(run: Run) -> bool:
    waiting = run.waiting_for
    return (
        run.state is RunState.WAITING
        and waiting is not None
        and waiting.code is WaitingCode.SITE_SLOT
    )


def _ordered_step(run: Run) -> str:
    """Return the step that a person ordered again by name; "" if there is none.

    A Retry of all steps is what people type first when something looks wrong, and a Retry of
    another step merely passes through this one. Neither may create new, empty books for a shop
    whose Company is gone.
    """
    by_person = run.order is Order.RETRY and run.actor != RECONCILER_NAME
    return run.options.get(STEP_ORDERED, "") if by_person else ""


def _claimed(run: Run, worker_id: WorkerId, now: datetime, pause: float) -> Run:
    """Return the run as its new worker takes it: under way, or waiting out a pause in seconds."""
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
            message="A worker was lost repeatedly at this step; it is tried again.",
            until=until,
        ),
        started_at=started_at,
    )
