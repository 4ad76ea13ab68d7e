"""Carries out what a step may do: reads, writes with intent and slot, the abbreviation.

`intents` keeps the record of what is asked for; `site_slot` takes the slot and gives it back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from server.errors import EngineError, Replaced
from server.executor import cancelling, quarantine
from server.executor.intents import Intents
from server.executor.site_slot import SiteSlot
from server.model.ownership import CompanyRecord, had_till, resource_key
from server.model.states import ErrorClass
from server.model.undo import UNSETTLED_AT, Removal, UndoOptions, moments_read
from server.store.operations import BindingRow, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from server.executor.lease import Lease
    from server.executor.slots import Slots
    from server.executor.state import DrivenRun
    from server.model.blueprint import StepType
    from server.model.spec import TenantSpec
    from server.model.step_context import Answer, Engine, Intent, Request


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
        self._facts = facts
        self.abbreviation_changed: str | None = facts.abbreviation
        self._intents = Intents(driven, kind, number)
        self.slot = SiteSlot(driven, self._intents, slots, may_go=may_go, arrived=arrived)
        self.writes = int(goes_on)
        self._looks = looks

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
            may_come=quarantine.longest_out(self._engine.timeout_seconds),
            restored_to=moments_read(options),
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
        self._intents.say_if_made_again(intent)
        longest_out = quarantine.longest_out(request.timeout_seconds)
        if not intent.slot:
            self._intents.store(intent, longest_out)
            await self._driven.write()
            await self._make_sure_of_lease(intent)
            return await self._send(intent, request)
        async with self.slot.taken(intent, longest_out) as turn:
            await self._make_sure_of_lease(intent)
            try:
                answer = await self._send(intent, request)
            except EngineError as error:
                if error.error_class is not ErrorClass.UNKNOWN_OUTCOME:
                    await self.slot.free(turn)
                # Otherwise the slot outlives us: the engine may still be working on it.
                raise
            await self.slot.free(turn)
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

    async def _make_sure_of_lease(self, intent: Intent) -> None:
        """Make sure that the lease still holds; if not, take back what was stored of the request.

        Nothing was sent, so that whoever comes next need not wait for an answer.

        Raises:
            Replaced: the lease is over, for example because the database hung.
        """
        try:
            self._lease.check()
        except Replaced:
            self._intents.never_sent(intent)
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
                self._intents.answered(intent, unknown_before=before)
            raise
        self._intents.answered(intent, unknown_before=before)
        self._intents.carried_out(intent, answer)
        return answer
