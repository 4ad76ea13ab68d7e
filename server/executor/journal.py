"""Records what becomes of attempts and of the run: beginning, end, wait and close.

Every way in which an attempt or a run can end has one method here. The end of an attempt is kept
in memory until the next write, so that it and what follows are one operation.

Methods that write raise `Replaced` if another worker drives the run now, and `StoreUnavailable`
if the database can't be written.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from server.executor.mishaps import class_of, evidence
from server.executor.settling import settle_documents
from server.model.budget import Counts
from server.model.derive import closed_state
from server.model.identifiers import AttemptId, new_id
from server.model.left_behind import in_words, missed, unaccounted
from server.model.made_often import replace
from server.model.records import Attempt, WaitingFor
from server.model.states import (
    DONE_STEP_STATES,
    AttemptOutcome,
    GateState,
    LogLevel,
    Order,
    RunState,
    StepState,
    TenantState,
    WaitingCode,
)
from server.store.operations import Healing

if TYPE_CHECKING:
    from datetime import datetime

    from server.errors import EngineError
    from server.executor.state import DrivenRun
    from server.model.blueprint import StepType
    from server.model.budget import Next
    from server.model.identifiers import WorkerId
    from server.model.records import Hold
    from server.model.states import ErrorClass
    from server.model.step_context import EngineHealth, Found

_GATE_CODES = {
    GateState.DOWN: WaitingCode.ENGINE_DOWN,
    GateState.MISCONFIGURED: WaitingCode.ENGINE_MISCONFIGURED,
}


class Journal:
    """The record of one driven run, as its drive writes it."""

    def __init__(
        self, driven: DrivenRun, worker_id: WorkerId, *, in_line: Attempt | None = None
    ) -> None:
        """Take the run; `in_line` is the attempt that stood in line for the site's slot."""
        self._driven = driven
        self._worker_id = worker_id
        self._in_line = in_line
        self._attempt: Attempt | None = None

    def counts(self, kind: StepType) -> Counts:
        """Return how much of its budgets a step has spent in this run."""
        step = self._driven.steps[kind.key]
        return Counts(tries=step.tries, races=step.races, losses=step.losses)

    def goes_on(self, kind: StepType) -> bool:
        """Tell whether the next attempt of a step is the one that stood in line."""
        return self._in_line is not None and self._in_line.step_key == kind.key

    async def began(self, kind: StepType) -> int:
        """Write that an attempt begins, before it does.

        One that stood in line for the site's slot continues: waiting was not a try.

        Returns:
            Its number, from 1 for each step of the run.

        Raises:
            Replaced, StoreUnavailable: as all methods that write; the attempt must not begin.
        """
        driven, now = self._driven, self._driven.now()
        waited, self._in_line = self._in_line, None
        if waited is not None and waited.step_key == kind.key:
            driven.deadline_at = now + timedelta(seconds=kind.deadline_seconds)
            self._attempt = replace(
                waited, worker_id=self._worker_id, deadline_at=driven.deadline_at
            )
            driven.put_attempt(self._attempt)
            driven.run = replace(driven.run, state=RunState.RUNNING, waiting_for=None)
            await driven.write()
            return waited.number
        if waited is not None:
            self._attempt = waited
            self.end(AttemptOutcome.LOST, code="WORKER_STOPPED", message="Its step changed.")
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
            worker_id=self._worker_id,
            started_at=now,
            deadline_at=driven.deadline_at,
        )
        driven.put_attempt(self._attempt)
        if driven.run.state is not RunState.RUNNING or driven.run.waiting_for is not None:
            driven.run = replace(driven.run, state=RunState.RUNNING, waiting_for=None)
        driven.say(
            f"{kind.title}: attempt {number} begins.",
            event="step.began",
            level=LogLevel.DEBUG,
            step_key=kind.key,
            attempt=number,
        )
        await driven.write()
        return number

    def done(self, kind: StepType, found: Found, *, writes: int) -> None:
        """Collect the rows of a step that is done or skipped, for the next write.

        Args:
            kind: The step.
            found: What the last look saw.
            writes: How many requests this attempt sent that could change something.
        """
        driven, now = self._driven, self._driven.now()
        step, number = driven.steps[kind.key], driven.attempt_numbers[kind.key]
        settled_ours = settle_documents(driven, kind, found)
        for note in found.notes:
            driven.say(note, event="step.note", step_key=kind.key, attempt=number)
        # A removal takes nothing over: what it saw is what stays.
        removes = driven.run.order is Order.DEPROVISION
        adopted = bool(found.documents) and writes == 0 and not settled_ours and not removes
        driven.put_step(
            replace(
                step,
                state=StepState.SKIPPED if found.skip else StepState.COMPLETED,
                adopted=adopted and not found.skip,
                tries=step.tries + 1,
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
        self.end(outcome, message=found.skip or None)
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

    async def again(self, kind: StepType, error: EngineError, following: Next) -> None:
        """Write that a step will be tried again, and when; the run is handed back until then.

        Args:
            kind: The step.
            error: What the attempt ended with.
            following: The pause, and the step's budgets with this attempt.
        """
        driven, now = self._driven, self._driven.now()
        until = now + timedelta(seconds=following.pause_seconds)
        self._blame(kind, error, following.counts, StepState.RUNNING)
        self.end_with(AttemptOutcome.RETRY, error)
        driven.run = replace(
            driven.run,
            state=RunState.WAITING,
            worker_id=None,
            due_at=until,
            waiting_for=WaitingFor(
                code=WaitingCode.RETRY,
                message=f"{kind.title} is tried again: {error.told}",
                until=until,
            ),
        )
        driven.say(
            f"{kind.title}: {error.told} Tried again in {following.pause_seconds:.1f} s.",
            event="step.retry",
            level=LogLevel.WARNING,
            step_key=kind.key,
            attempt=driven.attempt_numbers[kind.key],
            code=error.code,
            error_class=error.error_class.value,
        )
        await driven.write()

    def failed(self, kind: StepType, error: EngineError, counts: Counts) -> None:
        """Collect, for the next write, that a step failed for good.

        Args:
            kind: The step.
            error: What the attempt ended with.
            counts: The step's budgets with this attempt.
        """
        driven = self._driven
        self._blame(kind, error, counts, StepState.FAILED)
        self.end_with(AttemptOutcome.FAILED, error)
        driven.say(
            f"{kind.title} failed: {error.told}",
            event="step.failed",
            level=LogLevel.ERROR,
            step_key=kind.key,
            attempt=driven.attempt_numbers[kind.key],
            code=error.code,
            error_class=error.error_class.value,
        )

    def end_with(self, outcome: AttemptOutcome, error: EngineError) -> None:
        """End the attempt under way with an error, with the next write.

        Args:
            outcome: How it ended.
            error: What it ended with; what may name other tenants is kept for operators.
        """
        self.end(
            outcome,
            error_class=error.error_class,
            code=error.code,
            message=error.told,
            facts=evidence(error),
        )

    def end(
        self,
        outcome: AttemptOutcome,
        *,
        error_class: ErrorClass | None = None,
        code: str | None = None,
        message: str | None = None,
        facts: dict[str, str] | None = None,
    ) -> None:
        """End the attempt under way, if there is one, with the next write.

        Args:
            outcome: How it ended.
            error_class: The class of its error; None without one.
            code: The error's code, or what the run waits for.
            message: What is told of it to whoever sees the tenant.
            facts: The evidence, kept with the attempt.
        """
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
                evidence=facts or {},
            )
        )
        self._attempt = None
        self._driven.deadline_at = None

    async def met_shut_gate(self, error: EngineError, health: EngineHealth) -> None:
        """End, uncounted, an attempt that met an engine which takes no work; hand the run back.

        Args:
            error: What the attempt met.
            health: What the prober found, which decides what the run waits for.
        """
        self.end(
            AttemptOutcome.WAIT_ENGINE,
            error_class=class_of(health),
            code=health.code,
            message=error.told,
            facts=evidence(error),
        )
        await self.wait_for_gate(health)

    async def wait_for_gate(self, health: EngineHealth) -> None:
        """Hand the run back until the prober opens the gate; nothing is counted."""
        driven = self._driven
        self._hand_back(
            WaitingFor(
                code=_GATE_CODES.get(health.state, WaitingCode.ENGINE_DOWN),
                message=health.message,
                until=None,
            )
        )
        driven.say(
            f"Waiting for the engine, no try is counted: {health.message}",
            event="run.waits_for_engine",
            level=LogLevel.WARNING,
            code=health.code,
        )
        await driven.write()

    async def stand_in_line(self, kind: StepType) -> None:
        """Hand the run back until the site's line has moved on; the attempt stays open."""
        self._attempt = None
        self._driven.deadline_at = None
        self._hand_back(
            WaitingFor(
                code=WaitingCode.SITE_SLOT,
                message=(
                    f"{kind.title} waits for its turn at the site: ERPNext takes one such "
                    "document at a time, and tenants go in the order in which they were ordered."
                ),
                until=None,
            )
        )
        await self._driven.write()

    async def wait_out(self, kind: StepType, code: WaitingCode, why: str, until: datetime) -> None:
        """End the attempt uncounted, if there is one, and hand the run back until a time.

        Args:
            kind: The step.
            code: What the run waits for.
            why: The same in a sentence, for whoever sees the tenant.
            until: When it is due again, in UTC.
        """
        driven = self._driven
        self.end(AttemptOutcome.WAIT_ENGINE, code=code.value, message=why)
        self._hand_back(WaitingFor(code=code, message=why, until=until), due_at=until)
        driven.say(
            f"{kind.title} waits until {until:%H:%M:%S} UTC, no try is counted: {why}",
            event="run.waits",
            level=LogLevel.WARNING,
            step_key=kind.key,
            code=code.value,
        )
        await driven.write()

    async def hand_back_until(self, code: WaitingCode, why: str, until: datetime) -> None:
        """Hand the run back until a time, between two attempts.

        Args:
            code: What the run waits for.
            why: The same in a sentence, for whoever sees the tenant.
            until: When it is due again, in UTC.
        """
        self._hand_back(WaitingFor(code=code, message=why, until=until), due_at=until)
        self._driven.say(
            f"Waits until {until:%H:%M:%S} UTC: {why}", event="run.waits", code=code.value
        )
        await self._driven.write()

    async def interrupted(self) -> None:
        """Record that this worker stops, and hand the run back.

        What became of a request that is out stays unknown. A run that is not under way (closed, or
        handed back already) is left as it is.
        """
        driven = self._driven
        if driven.run.state is not RunState.RUNNING:
            return  # already closed or handed back
        self.end(AttemptOutcome.LOST, code="WORKER_STOPPED", message="The worker stopped.")
        driven.say("The worker stops; another one goes on.", event="run.handed_back")
        self._hand_back(None)
        await driven.write()

    async def close(self, hold: Hold | None = None) -> None:
        """Close the run with the state its steps give.

        Args:
            hold: Why only a person may move the tenant from now on; None if anybody may.
        """
        self._leave_line()
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
        removes = driven.run.order is Order.DEPROVISION
        left = ""
        if removes:
            lost = unaccounted(missed(driven.run, driven.steps.values()))
            told = (in_words(driven.resources.values()), lost)
            left = "".join(f" {each}" for each in told if each)
        driven.say(
            f"The run ended {state.value}: {done} of {len(driven.steps)} steps are done.{left}",
            event="run.closed",
            level=LogLevel.INFO if completed else LogLevel.ERROR,
            state=state.value,
        )
        await driven.write(
            hold=hold,
            completed_at=now if completed and not removes else None,
            release_binding=completed and removes,
            healing=Healing(count=0, at=None) if completed else None,
        )

    def _leave_line(self) -> None:
        """End the attempt that stood in line and will not continue: it had no request out."""
        if self._in_line is not None:
            self._attempt, self._in_line = self._in_line, None
            self.end(
                AttemptOutcome.WAIT_ENGINE,
                code=WaitingCode.SITE_SLOT.value,
                message="It waited for the site's slot, and nothing was sent meanwhile.",
            )

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
                error_message=error.told,
                error_at=now,
                completed_at=now if state is StepState.FAILED else None,
            )
        )

    def _hand_back(self, waiting_for: WaitingFor | None, *, due_at: datetime | None = None) -> None:
        """Leave the run to whoever takes it next: at once, or when its wait is over."""
        self._leave_line()
        driven = self._driven
        driven.run = replace(
            driven.run,
            state=RunState.QUEUED if waiting_for is None else RunState.WAITING,
            worker_id=None,
            due_at=due_at or driven.now(),
            waiting_for=waiting_for,
        )
