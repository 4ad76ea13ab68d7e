"""Drives one claimed run to its end, or to where it must wait.

First it is written that an attempt begins, then it begins. Whatever happens at any
`await` below, the rows say what was under way, and whoever takes the run over ends the
attempt as LOST and probes before anything is sent again (promise 5).
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from server.errors import EngineError, Replaced, StoreUnavailable
from server.executor.context import DrivingContext
from server.model.budget import Counts, Move, after_error
from server.model.derive import closed_state
from server.model.identifiers import AttemptId, new_id
from server.model.ownership import Resource, resource_key, settle
from server.model.records import Attempt, Hold, WaitingFor
from server.model.states import (
    DONE_STEP_STATES,
    AttemptOutcome,
    ErrorClass,
    GateState,
    LogLevel,
    ResourceState,
    RunState,
    StepState,
    TenantState,
    WaitingCode,
)
from server.model.step_context import EngineHealth
from server.store.operations import Healing, ResourceRow

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
    from server.model.ownership import Document
    from server.model.step_context import Engine, Found

_log = structlog.get_logger(__name__)

_GATE_CODES = {
    GateState.DOWN: WaitingCode.ENGINE_DOWN,
    GateState.MISCONFIGURED: WaitingCode.ENGINE_MISCONFIGURED,
}


class Drive:
    """One run under one claim."""

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
        self._attempt: Attempt | None = None

    async def run(self) -> float | None:
        """Do step after step.

        Returns:
            Seconds until the run is due again, or None if it is closed or waits for
            something else than time.

        Raises:
            Replaced: somebody else drives the run now.
            StoreUnavailable: the database can't write; the run stays claimed.
        """
        while True:
            kind = self._next()
            if kind is None:
                await self._close()
                return None
            if self._stopping():
                await self.interrupted()
                return None
            gate = self._gates.gate(self._driven.tenant.site)
            if gate is not None and gate.state is not GateState.UP:
                health = EngineHealth(state=gate.state, code=gate.code, message=gate.message)
                await self._wait_for_gate(health)
                return None
            pause = await self._one_attempt(kind)
            if pause is not None:
                return pause
            if self._driven.run.state is not RunState.RUNNING:
                return None

    async def interrupted(self) -> None:
        """Record that this worker stops, and hand the run back."""
        driven = self._driven
        if driven.run.state is not RunState.RUNNING:
            return  # closed or handed back already
        if self._attempt is not None:
            self._end(AttemptOutcome.LOST, code="WORKER_STOPPED", message="The worker stopped.")
        driven.say("The worker stops; another one goes on.", event="run.handed_back")
        driven.run = replace(
            driven.run,
            state=RunState.QUEUED,
            worker_id=None,
            due_at=driven.now(),
            waiting_for=None,
        )
        await driven.write()

    def _next(self) -> StepType | None:
        """Return the step to do, or None if the run is to be closed."""
        steps = self._driven.steps
        settled = {StepState.COMPLETED, StepState.SKIPPED, StepState.FAILED}
        if any(step.state is StepState.FAILED and step.required for step in steps.values()):
            return None
        last = None
        for kind in self._driven.kinds:
            step = steps[kind.key]
            if step.state in settled:
                continue
            if kind.last:
                last = last or kind
                continue
            if all(steps[need].state in DONE_STEP_STATES for need in kind.needs if need in steps):
                return kind
        return last

    async def _one_attempt(self, kind: StepType) -> float | None:
        """Try one step once; return the pause until it is due again, if it must pause."""
        context = await self._begin(kind)
        try:
            async with asyncio.timeout(kind.deadline_seconds) as timeout:
                context.timeout = timeout
                found = await self._carry_out(kind, context)
            self._gates.came_through(self._driven.tenant.site)
            self._done(kind, context, found)
        except (Replaced, StoreUnavailable):
            raise
        except TimeoutError:
            return await self._after(kind, _too_late(kind))
        except EngineError as error:
            return await self._after(kind, error)
        except Exception as error:  # noqa: BLE001 - recorded and bounded, below
            # A bug of ours or of a library, met at a step: recorded with its cause, tried
            # again a bounded number of times, and never the end of the worker.
            _log.exception("step.bug", tenant=self._driven.tenant.id, step=kind.key)
            return await self._after(kind, _bug(error))
        finally:
            self._abbreviation = context.abbreviation
        return None

    async def _begin(self, kind: StepType) -> DrivingContext:
        driven, now = self._driven, self._driven.now()
        number = driven.attempt_numbers.get(kind.key, 0) + 1
        driven.attempt_numbers[kind.key] = number
        driven.deadline_at = now + timedelta(seconds=kind.deadline_seconds)
        step = driven.steps[kind.key]
        driven.put_step(replace(step, state=StepState.RUNNING, started_at=step.started_at or now))
        self._attempt = Attempt(
            id=AttemptId(new_id(now)),
            tenant_id=driven.tenant.id,
            run_id=driven.run.id,
            step_key=kind.key,
            number=number,
            worker_id=self._lease.worker_id,
            started_at=now,
            deadline_at=driven.deadline_at,
        )
        driven.put_attempt(self._attempt)
        driven.run = replace(driven.run, state=RunState.RUNNING, waiting_for=None)
        driven.say(
            f"{kind.title}: attempt {number} begins.",
            event="step.began",
            level=LogLevel.DEBUG,
            step_key=kind.key,
            attempt=number,
        )
        await driven.write()
        return DrivingContext(
            driven,
            kind,
            number,
            engine=self._engine,
            lease=self._lease,
            slots=self._slots,
            facts=replace(self._facts, abbreviation=self._abbreviation),
        )

    async def _carry_out(self, kind: StepType, context: DrivingContext) -> Found:
        """Probe, apply what is missing, probe again: the second look decides."""
        step = self._engine.step(kind.key)
        found = await step.probe(context)
        if found.done or found.skip:
            return found
        await step.apply(context, found)
        found = await step.probe(context)
        if found.done or found.skip:
            return found
        raise EngineError(
            ErrorClass.TRANSIENT,
            "NOT_DONE_AFTER_APPLY",
            f"{kind.title}: the engine took the requests, yet this is missing: "
            + "; ".join(found.missing),
        )

    def _done(self, kind: StepType, context: DrivingContext, found: Found) -> None:
        """Collect the rows of a step that is done or skipped."""
        driven, now = self._driven, self._driven.now()
        step, number = driven.steps[kind.key], driven.attempt_numbers[kind.key]
        settled_ours = self._settle(kind, found)
        for note in found.notes:
            driven.say(note, event="step.note", step_key=kind.key, attempt=number)
        adopted = bool(found.documents) and context.writes == 0 and not settled_ours
        counts = Counts(tries=step.tries, races=step.races, losses=step.losses)
        driven.put_step(
            replace(
                step,
                state=StepState.SKIPPED if found.skip else StepState.COMPLETED,
                adopted=adopted and not found.skip,
                tries=counts.tries + 1,
                losses=0,
                error_code=None,
                error_class=None,
                error_message=None,
                error_at=None,
                completed_at=now,
                outputs=dict(found.outputs),
                note=found.skip,
            )
        )
        outcome = AttemptOutcome.ADOPTED if adopted else AttemptOutcome.APPLIED
        self._end(outcome, message=found.skip or None)
        said = {True: "was there already and is taken over", False: "done"}[adopted]
        names = ", ".join(
            f"{doc.doctype} {doc.name!r}" for doc in found.documents if not doc.shared
        )
        text = f"{kind.title}: skipped: {found.skip}" if found.skip else f"{kind.title}: {said}."
        driven.say(
            f"{text} {names}".strip() if adopted else text,
            event="step.skipped" if found.skip else "step.adopted" if adopted else "step.done",
            step_key=kind.key,
            attempt=number,
            outcome=outcome.value,
        )

    def _settle(self, kind: StepType, found: Found) -> bool:
        """Decide for each document that was seen who made it; True if one was settled ours."""
        driven, now = self._driven, self._driven.now()
        check = driven.steps.get("step_0_engine_check")
        api_user = "" if check is None else check.outputs.get("api_user", "")
        ours = False
        for document in found.documents:
            known = driven.resources.get(resource_key(document.doctype, document.name))
            if known is None and document.shared:
                continue
            state = settle(known, document, api_user)
            if known is not None and known.state is state:
                continue
            if known is not None and known.state is ResourceState.INTENDED:
                # What was out when its answer was lost has been seen: others may go on.
                driven.free_slot()
            if state is ResourceState.CREATED:
                ours = True
                driven.say(
                    f"{document.doctype} {document.name!r} was made by an earlier request of "
                    "ours whose answer was lost.",
                    event="document.settled",
                    step_key=kind.key,
                    doctype=document.doctype,
                    name=document.name,
                )
            driven.put_resource(
                ResourceRow(
                    resource=_resource(document, state, known, now),
                    shared=document.shared,
                    run_id=driven.run.id,
                    step_key=kind.key,
                    settled_at=now,
                )
            )
        return ours

    async def _after(self, kind: StepType, error: EngineError) -> float | None:
        """Decide and write what follows an error."""
        if error.ask_prober:
            health = await self._gates.ask(self._driven.tenant.site)
            if health.state is not GateState.UP:
                self._end(
                    AttemptOutcome.WAIT_ENGINE,
                    error_class=_class_of(health),
                    code=health.code,
                    message=error.message,
                    evidence=_evidence(error),
                )
                await self._wait_for_gate(health)
                return None
        step = self._driven.steps[kind.key]
        counts = Counts(tries=step.tries, races=step.races, losses=step.losses)
        following = after_error(
            error.error_class,
            counts,
            pacing=self._pacing,
            random=random.random(),  # noqa: S311 - jitter, no secret
            retry_after_seconds=error.retry_after_seconds,
        )
        if following.move is Move.WAIT_ENGINE:
            return await self._after(kind, _asking(error))
        if following.move is Move.STOP:
            await self._failed(kind, error, following.counts)
            return None
        return await self._again(kind, error, following)

    async def _again(self, kind: StepType, error: EngineError, following: Next) -> float:
        driven, now = self._driven, self._driven.now()
        until = now + timedelta(seconds=following.pause_seconds)
        self._blame(kind, error, following.counts, StepState.RUNNING)
        self._end(
            AttemptOutcome.RETRY,
            error_class=error.error_class,
            code=error.code,
            message=error.message,
            evidence=_evidence(error),
        )
        driven.run = replace(
            driven.run,
            state=RunState.WAITING,
            worker_id=None,
            due_at=until,
            waiting_for=WaitingFor(
                code=WaitingCode.RETRY,
                message=f"{kind.title} is tried again: {error.message}",
                until=until,
            ),
        )
        driven.say(
            f"{kind.title}: {error.message} Tried again in {following.pause_seconds:.1f} s.",
            event="step.retry",
            level=LogLevel.WARNING,
            step_key=kind.key,
            attempt=driven.attempt_numbers[kind.key],
            code=error.code,
            error_class=error.error_class.value,
        )
        await driven.write()
        return following.pause_seconds

    async def _failed(self, kind: StepType, error: EngineError, counts: Counts) -> None:
        """Record that a step failed for good; the run goes on or is closed by `run`."""
        driven, now = self._driven, self._driven.now()
        self._blame(kind, error, counts, StepState.FAILED)
        self._end(
            AttemptOutcome.FAILED,
            error_class=error.error_class,
            code=error.code,
            message=error.message,
            evidence=_evidence(error),
        )
        driven.say(
            f"{kind.title} failed: {error.message}",
            event="step.failed",
            level=LogLevel.ERROR,
            step_key=kind.key,
            attempt=driven.attempt_numbers[kind.key],
            code=error.code,
            error_class=error.error_class.value,
        )
        if error.hold:
            await self._close(hold=Hold(reason=error.message, by="run", since=now))

    def _blame(self, kind: StepType, error: EngineError, counts: Counts, state: StepState) -> None:
        now = self._driven.now()
        self._driven.put_step(
            replace(
                self._driven.steps[kind.key],
                state=state,
                tries=counts.tries,
                races=counts.races,
                losses=counts.losses,
                error_code=error.code,
                error_class=error.error_class,
                error_message=error.message,
                error_at=now,
                completed_at=now if state is StepState.FAILED else None,
            )
        )

    def _end(
        self,
        outcome: AttemptOutcome,
        *,
        error_class: ErrorClass | None = None,
        code: str | None = None,
        message: str | None = None,
        evidence: dict[str, str] | None = None,
    ) -> None:
        """End the attempt under way; written with the next write."""
        if self._attempt is None:
            return
        self._driven.put_attempt(
            replace(
                self._attempt,
                ended_at=self._driven.now(),
                outcome=outcome,
                error_class=error_class,
                error_code=code,
                message=message,
                evidence=evidence or {},
            )
        )
        self._attempt = None
        self._driven.deadline_at = None

    async def _wait_for_gate(self, health: EngineHealth) -> None:
        """Hand the run back until the prober opens the gate: nothing is counted."""
        driven, now = self._driven, self._driven.now()
        driven.run = replace(
            driven.run,
            state=RunState.WAITING,
            worker_id=None,
            due_at=now,
            waiting_for=WaitingFor(
                code=_GATE_CODES.get(health.state, WaitingCode.ENGINE_DOWN),
                message=health.message,
                until=None,
            ),
        )
        driven.say(
            f"Waiting for the engine, no try is counted: {health.message}",
            event="run.waits_for_engine",
            level=LogLevel.WARNING,
            code=health.code,
        )
        await driven.write()

    async def _close(self, hold: Hold | None = None) -> None:
        driven, now = self._driven, self._driven.now()
        state = closed_state(tuple(driven.steps.values()))
        driven.run = replace(
            driven.run,
            state=RunState(state.value),
            worker_id=None,
            waiting_for=None,
            finished_at=now,
        )
        driven.deadline_at = None
        done = sum(step.state in DONE_STEP_STATES for step in driven.steps.values())
        completed = state is TenantState.COMPLETED
        driven.say(
            f"The run ended {state.value}: {done} of {len(driven.steps)} steps are done.",
            event="run.closed",
            level=LogLevel.INFO if completed else LogLevel.ERROR,
            state=state.value,
        )
        await driven.write(
            hold=hold,
            completed_at=now if completed else None,
            healing=Healing(count=0, at=None) if completed else None,
        )


def _class_of(health: EngineHealth) -> ErrorClass:
    if health.state is GateState.MISCONFIGURED:
        return ErrorClass.ENGINE_MISCONFIGURED
    return ErrorClass.ENGINE_DOWN


def _asking(error: EngineError) -> EngineError:
    """Turn an engine-down word of a step into one the prober decides on."""
    return EngineError(
        ErrorClass.TRANSIENT,
        error.code,
        error.message,
        status=error.status,
        exc_type=error.exc_type,
        engine_message=error.engine_message,
        retry_after_seconds=error.retry_after_seconds,
        ask_prober=True,
    )


def _too_late(kind: StepType) -> EngineError:
    return EngineError(
        ErrorClass.UNKNOWN_OUTCOME,
        "STEP_DEADLINE",
        f"{kind.title} took longer than {kind.deadline_seconds:.0f} s and was cut. What was "
        "made is found by the next probe.",
        ask_prober=True,
    )


def _bug(error: Exception) -> EngineError:
    return EngineError(
        ErrorClass.TRANSIENT,
        "INTERNAL_ERROR",
        f"The step met a bug of the provisioner ({type(error).__name__}). It is tried again; "
        "the server's log has the traceback.",
    )


def _evidence(error: EngineError) -> dict[str, str]:
    facts = {
        "status": str(error.status) if error.status else "",
        "exc_type": error.exc_type,
        "engine_message": error.engine_message,
        **error.evidence,
    }
    return {key: value for key, value in facts.items() if value}


def _resource(
    document: Document, state: ResourceState, known: Resource | None, now: datetime
) -> Resource:
    if known is not None:
        return replace(known, state=state)
    return Resource(doctype=document.doctype, name=document.name, state=state, intended_at=now)
