"""Drives one claimed run to its end, or to a point where it must wait.

The beginning of an attempt is written before the attempt begins. Whatever happens at any `await`
below, the rows say what was under way, and whoever takes the run over ends the attempt as LOST
and probes before anything is sent again (promise 5).
"""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from server.errors import EngineError, Replaced, StoreUnavailable
from server.executor import cancelling, mishaps
from server.executor.context import DrivingContext
from server.executor.journal import Journal
from server.executor.line import COMING_SECONDS, LineIsLong
from server.executor.quarantine import InQuarantine, may_be_out
from server.executor.settling import free_slot_of_seen
from server.model.budget import Move, after_a_look, after_error, steps_back_seconds
from server.model.derive import closed_state
from server.model.made_often import replace
from server.model.records import Hold
from server.model.states import (
    DONE_STEP_STATES,
    ErrorClass,
    GateState,
    RunState,
    StepState,
    TenantState,
    WaitingCode,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from server.executor.context import CompanyFacts
    from server.executor.gates import Gates
    from server.executor.lease import Lease
    from server.executor.slots import Slots
    from server.executor.state import DrivenRun
    from server.model.blueprint import StepType
    from server.model.budget import Next, Pacing
    from server.model.records import Attempt, Cancellation
    from server.model.step_context import Engine, Found

_log = structlog.get_logger(__name__)

_SETTLED_STEP_STATES = DONE_STEP_STATES | {StepState.FAILED}


class Drive:
    """One run under one claim; `run` is called once."""

    def __init__(
        self,
        driven: DrivenRun,
        *,
        engine: Engine,
        gates: Gates,
        lease: Lease,
        slots: Slots,
        facts: CompanyFacts,
        pacing: Pacing,
        stopping: Callable[[], bool],
        arrived: Callable[[], None],
        in_line: Attempt | None,
    ) -> None:
        self._stopping = stopping
        self._driven = driven
        self._engine = engine
        self._gates = gates
        self._lease = lease
        self._slots = slots
        self._facts = facts
        self._pacing = pacing
        self._abbreviation = facts.abbreviation
        self._arrived = arrived
        self._journal = Journal(driven, lease.worker_id, in_line=in_line)
        # The site's identity is compared once per claim, before anything is written.
        self._site_checked = False
        self._context: DrivingContext | None = None
        self._task: asyncio.Task[float | None] | None = None

    async def run(self) -> float | None:
        """Do one step after the other.

        Returns:
            Seconds until the run is due again, or None if it is closed or waits for something
            other than time.

        Raises:
            Replaced: another worker drives the run now, or this worker's lease is over.
            StoreUnavailable: the database can't be read or written; the run stays claimed.
        """
        self._task = asyncio.current_task()
        while (kind := self._next()) is not None:
            if self.cancelling or self._stopping():
                return await self._stop_here()
            health = self._gates.health(self._driven.tenant.site)
            if health is not None:
                await self._journal.wait_for_gate(health)
                return None
            until = self._gates.paused_until(self._driven.tenant.site)
            if until is not None:
                await self._wait_out_pause(kind, until, "The site asked to be left alone.")
                return None
            pause = await self._one_attempt(kind)
            if pause is not None:
                return pause
            if self._driven.run.state is not RunState.RUNNING:
                return None
        return await self._close()

    async def _close(self, hold: Hold | None = None) -> float | None:
        """Close the run with the state its steps give, or as cancelled if that was ordered.

        Closed as one that stopped short, it would be driven on by the reconciler, against an
        order to cancel that was acknowledged while the last attempt was under way.

        Returns:
            Seconds until the run is due again if it can't be closed yet, else None.
        """
        driven = self._driven
        if closed_state(tuple(driven.steps.values())) is not TenantState.COMPLETED:
            # This drive may not have heard yet of an order given a moment ago.
            driven.run = replace(driven.run, cancellation=await driven.cancellation())
            if self.cancelling:
                return await self._cancelled()
        await self._journal.close(hold)
        return None

    async def interrupted(self) -> None:
        """Record that this worker stops, and hand the run back, or close it if it was cancelled.

        Raises:
            Replaced: another worker drives the run now.
            StoreUnavailable: the database can't be written.
        """
        driven = self._driven
        cancelled = driven.run.cancellation is not None and driven.run.state is RunState.RUNNING
        if cancelled and not driven.unknown:
            await cancelling.close(driven, self._journal)
        else:
            await self._journal.interrupted()

    def cancel(self, order: Cancellation) -> None:
        """Stop at the next point with nothing out: at once in a line, else after the next answer.

        To be called on the event loop's thread; it does not wait until the run has stopped.

        Args:
            order: Who cancelled the run, and why.
        """
        self._driven.run = replace(self._driven.run, cancellation=order)
        context = self._context
        if context is not None and context.slot.in_line and self._task is not None:
            self._task.cancel()

    @property
    def cancelling(self) -> bool:
        """Whether this drive knows of an order to cancel its run."""
        return self._driven.run.cancellation is not None

    async def _stop_here(self) -> float | None:
        """Stop between two steps: for good if that was ordered, else for another worker."""
        if self.cancelling:
            return await self._cancelled()
        await self.interrupted()
        return None

    async def _cancelled(self) -> float | None:
        """Look at what is unknown, wait for what may still be carried out, close."""
        driven = self._driven
        if not driven.unknown:
            await cancelling.close(driven, self._journal)
            return None
        health = self._gates.health(driven.tenant.site)
        if health is not None:
            await self._journal.wait_for_gate(health)
            return None
        for kind in cancelling.steps_to_look_at(driven):
            if not await self._look(kind):
                return None
        await driven.write()
        until = await cancelling.may_come_until(driven, self._engine.timeout_seconds)
        if until is not None:
            return await cancelling.wait(driven, self._journal, until)
        await cancelling.close(driven, self._journal)
        return None

    async def _look(self, kind: StepType) -> bool:
        """Look at a step; return False if the engine can't be asked now and the run waits."""
        context = await self._begin(kind, looks=True)
        found = None
        try:
            async with asyncio.timeout(kind.deadline_seconds):
                found = await self._engine.step(kind.key).probe(context)
        except EngineError as error:
            if error.ask_prober:
                health = await self._gates.ask(self._driven.tenant.site)
                if health.state is not GateState.UP:
                    await self._journal.met_shut_gate(error, health)
                    return False
        except TimeoutError:
            pass  # an unanswered look says nothing; the time that is waited out decides
        cancelling.looked(self._driven, self._journal, kind, found)
        return True

    def _next(self) -> StepType | None:
        """Return the next step to do, or None if the run is to be closed."""
        steps = self._driven.steps
        if any(step.state is StepState.FAILED and step.required for step in steps.values()):
            return None
        last = None
        for kind in self._driven.kinds:
            if steps[kind.key].state in _SETTLED_STEP_STATES:
                continue
            if kind.last:
                last = last or kind
                continue
            if all(steps[need].state in DONE_STEP_STATES for need in kind.needs if need in steps):
                return kind
        return last

    async def _one_attempt(self, kind: StepType) -> float | None:
        """Try one step once; return the seconds until it is due again, or None."""
        context = await self._begin(kind)
        try:
            async with asyncio.timeout(kind.deadline_seconds) as timeout:
                context.slot.timeout = timeout
                found = await self._carry_out(kind, context)
            await self._gates.came_through(self._driven.tenant.site)
            self._journal.done(kind, found, writes=context.writes)
        except (Replaced, StoreUnavailable):
            raise
        except cancelling.CancelOrdered:
            cancelling.cut(self._driven, self._journal, kind)
        except LineIsLong:
            await self._journal.stand_in_line(kind)
            self._slots.handed_back = True
        except InQuarantine as wait:
            await self._journal.wait_out(kind, WaitingCode.QUARANTINE, str(wait), wait.until)
            return (wait.until - self._driven.now()).total_seconds()
        except TimeoutError:
            return await self._after(kind, mishaps.too_late(kind))
        except EngineError as error:
            return await self._after(kind, error)
        except Exception as error:  # noqa: BLE001 - recorded and bounded, below
            # A bug in our code or a library: recorded with its cause, tried again a limited
            # number of times, and never the end of the worker.
            _log.exception("step.bug", tenant=self._driven.tenant.id, step=kind.key)
            return await self._after(kind, mishaps.bug(error))
        finally:
            self._abbreviation = context.abbreviation
        return None

    async def _begin(self, kind: StepType, *, looks: bool = False) -> DrivingContext:
        goes_on = self._journal.goes_on(kind)
        number = await self._journal.began(kind)
        if self._facts.abbreviation != self._abbreviation:
            self._facts = replace(self._facts, abbreviation=self._abbreviation)
        self._context = DrivingContext(
            self._driven,
            kind,
            number,
            engine=self._engine,
            lease=self._lease,
            slots=self._slots,
            facts=self._facts,
            may_go=self._may_go,
            arrived=self._arrived,
            goes_on=goes_on,
            looks=looks,
        )
        return self._context

    async def _carry_out(self, kind: StepType, context: DrivingContext) -> Found:
        """Probe, apply what is missing, probe again: the second look decides."""
        mishaps.demand_readable(self._driven)
        step = self._engine.step(kind.key)
        found = await step.probe(context)
        if not self._site_checked:
            await self._gates.watch.check(self._driven.tenant.site)
            self._site_checked = True
        if found.done or found.skip:
            return found
        free_slot_of_seen(self._driven, found)
        await step.apply(context, found)
        found = await step.probe(context)
        if found.done or found.skip:
            return found
        raise mishaps.not_done(kind, found)

    async def _after(self, kind: StepType, error: EngineError) -> float | None:
        """Decide and write what follows an error; return the seconds until the run is due again."""
        error = error.for_tenant(self._driven.tenant.id)
        if error.ask_prober:
            health = await self._gates.ask(self._driven.tenant.site)
            if health.state is not GateState.UP:
                await self._journal.met_shut_gate(error, health)
                return None
        if error.whole_site and error.retry_after_seconds is not None:
            asked = error.retry_after_seconds
            until = await self._gates.pause(self._driven.tenant.site, asked)
            times = self._driven.rate_limited.get(kind.key, 0)
            until += timedelta(seconds=steps_back_seconds(times, asked))
            await self._wait_out_pause(kind, until, error.message)
            return (until - self._driven.now()).total_seconds()
        following = await self._following(kind, error)
        if following.move is Move.WAIT_ENGINE:
            return await self._after(kind, mishaps.asking(error))
        if following.move is Move.STOP:
            self._journal.failed(kind, error, following.counts)
            if error.hold:
                hold = Hold(reason=error.told, by="run", since=self._driven.now())
                pause = await self._close(hold)
                # What only a person can mend may be a problem of the whole site.
                await self._gates.look(self._driven.tenant.site)
                return pause
            return None
        await self._journal.again(kind, error, following)
        if following.pause_seconds <= COMING_SECONDS:
            # A run that lost a race is back in a moment, and keeps its place in the site's line.
            place = (self._driven.run.created_at, self._driven.run.id)
            self._slots.of(self._driven.tenant.site).expect(place, pause=following.pause_seconds)
        return following.pause_seconds

    async def _following(self, kind: StepType, error: EngineError) -> Next:
        counts, jitter = self._journal.counts(kind), random.random()  # noqa: S311 - no secret
        if await self._holds_up_site(error):
            return after_a_look(
                counts=counts,
                pacing=self._pacing,
                random=jitter,
                retry_after_seconds=error.retry_after_seconds,
            )
        return after_error(
            error.error_class,
            counts,
            pacing=self._pacing,
            random=jitter,
            retry_after_seconds=error.retry_after_seconds,
        )

    async def _holds_up_site(self, error: EngineError) -> bool:
        """Tell whether the attempt only looked, in vain, while its lost request keeps the slot."""
        driven, context = self._driven, self._context
        if error.error_class is not ErrorClass.TRANSIENT or not driven.unknown:
            return False
        if context is None or context.writes:
            return False
        until = await driven.slot_until()
        return until is not None and may_be_out(until, driven.now())

    async def _wait_out_pause(self, kind: StepType, until: datetime, why: str) -> None:
        await self._journal.wait_out(kind, WaitingCode.SITE_PAUSED, why, until)

    def _may_go(self) -> bool:
        return not self._stopping() and self._driven.tenant.site not in self._gates.closed()
