"""Carries out what a step may do: reads, writes with intent and slot, the abbreviation."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from server.errors import EngineError, Replaced
from server.executor import cancelling, quarantine, settling
from server.executor.slots import LineIsLong
from server.model.made_often import replace
from server.model.ownership import CompanyRecord, Resource, had_till, resource_key
from server.model.records import WaitingFor
from server.model.states import ErrorClass, ResourceState, WaitingCode
from server.model.step_context import AnswerKind
from server.model.undo import UNSETTLED_AT, Removal, UndoOptions
from server.store.operations import (
    BindingRow,
    Refusal,
    ResourceRow,
    SlotFree,
    SlotTake,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from server.executor.lease import Lease
    from server.executor.slots import Slots, Turn
    from server.executor.state import DrivenRun
    from server.model.blueprint import StepType
    from server.model.spec import TenantSpec
    from server.model.step_context import Answer, Engine, Intent, Request

# For how long after its time limit an unanswered request keeps the slot, or the tenant's names
# in quarantine: the engine may still be working on it (recording 11-client-timeout).
GRACE_SECONDS = 30.0
# How often to try again for a slot held by another process, in case nobody says that it is free.
_SLOT_PAUSE_SECONDS = 0.25
# Twenty of these (the budget of races) last longer than a request's time limit and its grace.
_LOOK_AGAIN_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyFacts:
    """What the record said about the tenant's Company when the run was claimed.

    `ordered_step` is the one step that a person ordered again by name; "" if there is none.
    """

    abbreviation: str | None
    passed_company_step: bool
    only_tenant_of_name: bool
    ordered_step: str


class DrivingContext:
    """The context of one attempt of one step."""

    def __init__(
        self,
        driven: DrivenRun,
        kind: StepType,
        number: int,
        *,
        engine: Engine,
        lease: Lease,
        slots: Slots,
        facts: CompanyFacts,
        may_go: Callable[[], bool],
        arrived: Callable[[], None],
        goes_on: bool = False,
        looks: bool = False,
    ) -> None:
        """Take what the attempt works with.

        Args:
            driven: The run.
            kind: The step.
            number: The number of the attempt.
            engine: The adapter.
            lease: This worker's right to send.
            slots: The lines for the sites' slots.
            facts: What the record said about the Company when the run was claimed.
            may_go: Tells whether the site takes work.
            arrived: To be called when the run reaches the line to which it was called up.
            goes_on: Whether the attempt continues after standing in line: what it did before
                counts as its own.
            looks: Whether it only looks, to settle what a cancelled run left unknown.
        """
        self._driven = driven
        self._kind = kind
        self._number = number
        self._engine = engine
        self._lease = lease
        self._slots = slots
        self._facts = facts
        self.abbreviation_changed: str | None = facts.abbreviation
        self._may_go = may_go
        self._arrived = arrived
        # Whether an earlier request for the document being written may have been out at the last
        # look, so that the engine might make it twice.
        self._must_look_again = False
        self.timeout: asyncio.Timeout | None = None
        self.writes = int(goes_on)
        self._looks = looks
        # Whether it waits for the site's slot and so has no request out.
        self.in_line = False

    @property
    def spec(self) -> TenantSpec:
        """What the tenant should have."""
        return self._driven.tenant.spec

    @property
    def abbreviation(self) -> str | None:
        """The bound abbreviation, or None before step_2 chose one."""
        return self.abbreviation_changed

    @property
    def company_record(self) -> CompanyRecord:
        """What the record says about the tenant's Company."""
        key = resource_key("Company", self.spec.company_name)
        return CompanyRecord(
            resource=self._driven.resources.get(key),
            abbreviation=self.abbreviation,
            passed_company_step=self._facts.passed_company_step,
            completed_once=self.completed_once,
            only_tenant_of_name=self._facts.only_tenant_of_name,
            ordered_to_make_again=self._facts.ordered_step == self._kind.key,
            had_till=had_till(self._driven.resources.values()),
        )

    @property
    def completed_once(self) -> bool:
        """Whether the tenant was ever COMPLETED, and so is a live shop."""
        return self._driven.tenant.first_completed_at is not None

    def outputs(self, step_key: str) -> Mapping[str, str]:
        """Return the outputs of an earlier step of this run; empty if it has no such step."""
        step = self._driven.steps.get(step_key)
        return {} if step is None else step.outputs

    @property
    def removal(self) -> Removal:
        """What to remove, and how, if the tenant is being removed."""
        options = self._driven.run.options
        unsettled = options.get(UNSETTLED_AT)
        return Removal(
            options=UndoOptions.read(options),
            resources=tuple(self._driven.resources.values()),
            unsettled_at=None if unsettled is None else datetime.fromisoformat(unsettled),
            may_come=timedelta(seconds=self._engine.timeout_seconds + GRACE_SECONDS),
        )

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return self._driven.now()

    async def note(self, message: str) -> None:
        """Write a line into the tenant's log, with the next write."""
        self._driven.say(message, event="step.note", step_key=self._kind.key, attempt=self._number)

    async def read(self, request: Request) -> Answer:
        """Send a request that changes nothing, and return the answer.

        Raises:
            CancelOrdered: a person cancelled the run, and this attempt does not only look.
            Replaced: this worker's lease is over.
            EngineError: every answer that is neither OK nor MISSING.
        """
        if not self._looks:
            cancelling.check(self._driven)
        self._lease.check()
        return await self._engine.send(request)

    async def write(self, intent: Intent, request: Request) -> Answer:
        """Store the intent, take the slot if it needs one, send, settle the intent.

        Returns:
            The engine's answer.

        Raises:
            CancelOrdered: a person cancelled the run; nothing was sent.
            InQuarantine: an earlier change may still be carried out; nothing was sent.
            LineIsLong: the run gives its place in line back; nothing was sent.
            Replaced: another worker has the run, or this worker's lease is over.
            StoreUnavailable: the database can't be read or written.
            EngineError: every answer that is neither OK nor EXISTS; or SLOT_BUSY if the document
                must be looked for again first.
        """
        cancelling.check(self._driven)
        self.writes += 1
        quarantine.check(self._driven, intent)
        settling.say_if_made_again(self._driven, self._kind, intent)
        if not intent.slot:
            self._intend(intent)
            self._mark(intent, request)
            await self._driven.write()
            await self._make_sure_of_lease(intent)
            return await self._send(intent, request)
        async with self._slot(intent, request) as turn:
            await self._make_sure_of_lease(intent)
            try:
                answer = await self._send(intent, request)
            except EngineError as error:
                if error.error_class is not ErrorClass.UNKNOWN_OUTCOME:
                    await self._free_slot(turn)
                # Otherwise the slot outlives us: the engine may still be working on it.
                raise
            await self._free_slot(turn)
            return answer

    async def bind_abbreviation(self, abbreviation: str) -> bool:
        """Store the Company's abbreviation before it is used; return False if it is taken.

        Raises:
            EngineError: COMPANY_NAME_TAKEN if the name is bound to another tenant.
            Replaced: another worker drives the run.
            StoreUnavailable: the database can't be written.
        """
        tenant = self._driven.tenant
        refusal = await self._driven.try_write(
            binding=BindingRow(
                site=tenant.site,
                company_name=tenant.spec.company_name,
                abbreviation=abbreviation,
            )
        )
        if refusal is None:
            self.abbreviation_changed = abbreviation
            return True
        if refusal is Refusal.ABBREVIATION_TAKEN:
            return False
        raise EngineError(
            ErrorClass.PERMANENT,
            "COMPANY_NAME_TAKEN",
            f"Company name {tenant.spec.company_name!r} is bound to another tenant of this "
            "site. Decide which tenant owns the Company, then continue this one.",
        )

    def _mark(self, intent: Intent, request: Request) -> None:
        seconds = request.timeout_seconds + GRACE_SECONDS
        quarantine.mark(self._driven, self._kind, intent, seconds)

    async def _make_sure_of_lease(self, intent: Intent) -> None:
        """Make sure that the lease still holds; if not, take back what was stored of the request.

        Nothing was sent, so that whoever comes next need not wait for an answer.

        Raises:
            Replaced: the lease is over, for example because the database hung.
        """
        try:
            self._lease.check()
        except Replaced:
            quarantine.lift(self._driven, self._kind, intent)
            if not self._driven.unknown:
                # Otherwise an earlier request may still be out.
                self._driven.free_slot()
            await self._driven.write()
            raise

    async def _send(self, intent: Intent, request: Request) -> Answer:
        # It stays True unless an answer comes, or an error that tells what became of the request.
        before, self._driven.unknown = self._driven.unknown, True
        try:
            answer = await self._engine.send(request)
        except EngineError as error:
            if error.error_class is not ErrorClass.UNKNOWN_OUTCOME:
                self._answered(intent, unknown_before=before)
            raise
        self._answered(intent, unknown_before=before)
        if answer.kind is AnswerKind.OK and not intent.update:
            self._made(intent)
        elif intent.removes:
            self._gone(intent)
        elif answer.kind is AnswerKind.EXISTS:
            self._driven.say(
                f"{intent.doctype} {intent.name!r} was there already.",
                event="document.exists",
                step_key=self._kind.key,
                attempt=self._number,
                doctype=intent.doctype,
                name=intent.name,
            )
        return answer

    def _answered(self, intent: Intent, *, unknown_before: bool) -> None:
        """Record, with the next write, that the request was answered, whatever it made."""
        self._driven.unknown = unknown_before
        quarantine.lift(self._driven, self._kind, intent)
        if intent.update or unknown_before:
            return  # an earlier request may still be out
        known = self._driven.resources[resource_key(intent.doctype, intent.name)]
        self._put(replace(known, settled_at=self.now()), shared=intent.shared)

    def _intend(self, intent: Intent) -> None:
        if intent.update:
            return
        known = self._driven.resources.get(resource_key(intent.doctype, intent.name))
        self._must_look_again = known is not None and not intent.repeatable
        if known is not None:
            # Keep the time of the first intent: whatever was made since then is ours.
            if known.state is not ResourceState.INTENDED:
                known = replace(known, state=ResourceState.INTENDED, intended_at=self.now())
            known = replace(known, settled_at=None)
        else:
            known = Resource(
                doctype=intent.doctype,
                name=intent.name,
                state=ResourceState.INTENDED,
                intended_at=self.now(),
            )
        self._put(known, shared=intent.shared)

    def _made(self, intent: Intent) -> None:
        known = self._driven.resources[resource_key(intent.doctype, intent.name)]
        self._put(
            replace(known, state=ResourceState.CREATED, settled_at=self.now()),
            shared=intent.shared,
        )
        self._driven.say(
            f"Made {intent.doctype} {intent.name!r}.",
            event="document.made",
            step_key=self._kind.key,
            attempt=self._number,
            doctype=intent.doctype,
            name=intent.name,
        )

    def _gone(self, intent: Intent) -> None:
        known = self._driven.resources.get(resource_key(intent.doctype, intent.name))
        if known is not None:
            self._put(
                replace(known, state=ResourceState.REMOVED, settled_at=self.now()),
                shared=intent.shared,
            )
        self._driven.say(
            f"Removed {intent.doctype} {intent.name!r}.",
            event="document.removed",
            step_key=self._kind.key,
            attempt=self._number,
            doctype=intent.doctype,
            name=intent.name,
        )

    def _put(self, resource: Resource, *, shared: bool) -> None:
        self._driven.put_resource(
            ResourceRow(
                resource=resource,
                shared=shared,
                run_id=self._driven.run.id,
                step_key=self._kind.key,
            )
        )

    @asynccontextmanager
    async def _slot(self, intent: Intent, request: Request) -> AsyncIterator[Turn | None]:
        """Stand in the site's line, take the slot in the database with the intent, go on.

        Waiting does not count against the attempt's deadline: its clock stands still meanwhile.

        Yields:
            The turn; None for a run that has a request out, and so does not stand in line.

        Raises:
            LineIsLong: the run is to give its place back, and will be called up later.
            CancelOrdered: a person cancelled the run while it waited.
            EngineError: SLOT_BUSY if the document must be looked for again first.
        """
        self.in_line = True
        line = self._slots.of(self._driven.tenant.site)
        place = (self._driven.run.created_at, self._driven.run.id)
        left = self._stop_clock()
        # A run with a request out goes first: nobody else gets the slot until that is settled.
        # It does not even wait for runs on their way here, which would wait for it.
        first = self._driven.unknown and await self._driven.holds_slot()
        if first:
            self._arrived()
        elif not line.seats(place) or not self._may_go():
            line.gave_place_back(place)
            self._arrived()
            raise LineIsLong
        say = partial(self._say_waiting, intent)
        turn_of = nullcontext() if first else line.turn(place, arrived=self._arrived, waits=say)
        async with turn_of as turn:
            heard = line.heard
            while not await self._take_slot(intent, request, left):
                if self._must_look_again:
                    raise _looked_too_early(intent)
                if not self._may_go():
                    line.gave_place_back(place)
                    raise LineIsLong
                if self._driven.run.waiting_for is None:
                    await self._say_waiting(intent)
                await line.news(heard, longest=_SLOT_PAUSE_SECONDS)
                if turn is not None:
                    await turn.let_earlier_go()
                heard = line.heard
            self._start_clock(left)
            self.in_line = False
            cancelling.check(self._driven)
            yield turn

    async def _take_slot(self, intent: Intent, request: Request, left: float | None) -> bool:
        now = self.now()
        self._driven.deadline_at = None if left is None else now + timedelta(seconds=left)
        waiting, self._driven.run = self._driven.run, replace(self._driven.run, waiting_for=None)
        before = self._driven.noted(intent.doctype, intent.name)
        # Only now: a run in line has nothing out, and the time of its intent begins with the slot.
        self._intend(intent)
        self._mark(intent, request)
        take = SlotTake(
            site=self._driven.tenant.site,
            doctype=intent.doctype,
            name=intent.name,
            seconds=request.timeout_seconds + GRACE_SECONDS,
            repeatable=intent.repeatable,
            since=self._driven.run.created_at,
        )
        try:
            refusal = await self._driven.try_write(slot=take)
        except asyncio.CancelledError:
            if self._driven.unwritten:
                # It was refused.
                self._driven.take_back(intent.doctype, intent.name, before)
            elif not self._driven.unknown:
                # Taken, but nothing was sent; the run's next worker may come late.
                self._driven.free_slot()
            raise
        if refusal is None:
            return True
        self._driven.take_back(intent.doctype, intent.name, before)
        self._driven.run = waiting
        return False

    async def _free_slot(self, turn: Turn | None) -> None:
        """Give the slot back, and let the next run take it in the same commit.

        The next run's operation is written right behind this one. If this one is refused or
        fails, the next run finds the slot taken, and waits for it as for another process's.
        """
        giving = asyncio.ensure_future(
            self._driven.write(slot=SlotFree(site=self._driven.tenant.site))
        )
        if turn is not None:
            turn.leave()
        try:
            await asyncio.shield(giving)
        except asyncio.CancelledError:
            # It is written all the same, and memory has to follow.
            await giving
            raise

    async def _say_waiting(self, intent: Intent) -> None:
        self._driven.run = replace(
            self._driven.run,
            waiting_for=WaitingFor(
                code=WaitingCode.SITE_SLOT,
                message=(
                    f"Waiting for the site's slot to make {intent.doctype} {intent.name!r}: "
                    "ERPNext takes one such document at a time."
                ),
                until=None,
            ),
        )
        self._driven.deadline_at = None
        await self._driven.write()

    def _stop_clock(self) -> float | None:
        """Stop the attempt's clock; return the seconds it has left, None if it has no deadline."""
        if self.timeout is None or (when := self.timeout.when()) is None:
            return None
        self.timeout.reschedule(None)
        return when - asyncio.get_running_loop().time()

    def _start_clock(self, left: float | None) -> None:
        if self.timeout is not None and left is not None:
            self.timeout.reschedule(asyncio.get_running_loop().time() + left)


def _looked_too_early(intent: Intent) -> EngineError:
    """Return the error of a slot that is taken while a request for the same document may be out."""
    return EngineError(
        ErrorClass.RACE,
        "SLOT_BUSY",
        f"The site's slot is taken, and this engine would make {intent.doctype} "
        f"{intent.name!r} twice: it is looked for again first.",
        retry_after_seconds=_LOOK_AGAIN_SECONDS,
    )
