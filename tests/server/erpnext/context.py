"""A step context in memory, and a driver that carries steps out as the executor does.

It stores the intent before a write and settles it after the answer, keeps outputs from step
to step, and counts requests. It decides no retry: an error ends the drive.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from server.erpnext.undo import UNDO_STEPS
from server.model.blueprint import ERPNEXT
from server.model.naming import fold_name
from server.model.ownership import CompanyRecord, Resource, had_till, settle
from server.model.spec import TenantSpec
from server.model.states import ResourceState
from server.model.step_context import Answer, AnswerKind, Engine, Found, Intent, Request
from server.model.undo import Removal, UndoOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

NOON = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


def kenyan(**changes: object) -> TenantSpec:
    """A tenant in Kenya with Cash and M-Pesa and a till."""
    values: dict[str, object] = {
        "company_name": "Mama Njeri Traders",
        "country_code": "KE",
        "currency": "KES",
        "engine_id": "main",
    }
    return TenantSpec(**{**values, **changes})  # type: ignore[arg-type]  # values of any field


@dataclass(slots=True, kw_only=True)
class MemoryContext:
    """What the executor gives a step, without a store."""

    engine: Engine
    spec: TenantSpec
    time: datetime = NOON
    abbreviation: str | None = None
    passed_company_step: bool = False
    completed_once: bool = False
    ordered_to_make_again: bool = False
    taken_elsewhere: set[str] = field(default_factory=set)
    resources: dict[tuple[str, str], Resource] = field(default_factory=dict)
    found: dict[str, Found] = field(default_factory=dict)
    sent: list[Request] = field(default_factory=list)
    intents: list[Intent] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    undo: UndoOptions = field(default_factory=UndoOptions)

    @property
    def company_record(self) -> CompanyRecord:
        return CompanyRecord(
            resource=self.resources.get(("Company", fold_name(self.spec.company_name))),
            abbreviation=self.abbreviation,
            passed_company_step=self.passed_company_step,
            completed_once=self.completed_once,
            only_tenant_of_name=True,
            ordered_to_make_again=self.ordered_to_make_again,
            had_till=had_till(self.resources.values()),
        )

    @property
    def writes(self) -> list[Request]:
        return [request for request in self.sent if request.method != "GET"]

    def outputs(self, step_key: str) -> Mapping[str, str]:
        found = self.found.get(step_key)
        return found.outputs if found else {}

    @property
    def removal(self) -> Removal:
        return Removal(options=self.undo, resources=tuple(self.resources.values()))

    def now(self) -> datetime:
        return self.time

    async def read(self, request: Request) -> Answer:
        assert request.method == "GET"
        self.sent.append(request)
        answer = await self.engine.send(request)
        assert answer.kind is not AnswerKind.EXISTS
        return answer

    async def write(self, intent: Intent, request: Request) -> Answer:
        key = (intent.doctype, fold_name(intent.name))
        if not intent.update:
            self.resources.setdefault(
                key,
                Resource(
                    doctype=intent.doctype,
                    name=intent.name,
                    state=ResourceState.INTENDED,
                    intended_at=self.time,
                ),
            )
        self.intents.append(intent)
        self.sent.append(request)
        answer = await self.engine.send(request)
        if answer.kind is AnswerKind.OK and not intent.update:
            self._keep(key, ResourceState.CREATED)
        return answer

    async def bind_abbreviation(self, abbreviation: str) -> bool:
        if fold_name(abbreviation) in {fold_name(each) for each in self.taken_elsewhere}:
            return False
        self.abbreviation = abbreviation
        return True

    async def note(self, message: str) -> None:
        self.notes.append(message)

    def take(self, step_key: str, found: Found) -> None:
        """Record what a look saw, as the executor does after it."""
        self.found[step_key] = found
        api_user = self.outputs("step_0_engine_check").get("api_user", "")
        for document in found.documents:
            key = (document.doctype, fold_name(document.name))
            state = settle(self.resources.get(key), document, api_user)
            if key not in self.resources:
                self.resources[key] = Resource(
                    doctype=document.doctype,
                    name=document.name,
                    state=state,
                    intended_at=self.time,
                )
            else:
                self._keep(key, state)

    def _keep(self, key: tuple[str, str], state: ResourceState) -> None:
        old = self.resources[key]
        self.resources[key] = Resource(
            doctype=old.doctype, name=old.name, state=state, intended_at=old.intended_at
        )


async def drive(context: MemoryContext, *keys: str) -> None:
    """Probe, apply, probe again: all steps of the tenant's run, or those of `keys`."""
    for step_type in ERPNEXT.steps_for(context.spec):
        if keys and step_type.key not in keys:
            continue
        await drive_step(context, step_type.key)


async def drive_step(context: MemoryContext, key: str) -> None:
    step = context.engine.step(key)
    found = await step.probe(context)
    context.take(key, found)
    if not found.done:
        await step.apply(context, found)
        found = await step.probe(context)
        context.take(key, found)
    assert found.done, f"{key}: {found.missing}"
    if key == "step_2_company":
        context.passed_company_step = True


async def made_and_removed(engine: Engine, **spec: Any) -> MemoryContext:  # Any: a spec's fields
    """Make a Kenyan tenant, then remove what was made; return what was asked for it all."""
    context = MemoryContext(engine=engine, spec=kenyan(**spec))
    await drive(context)
    for step in UNDO_STEPS.values():
        found = await step.probe(context)
        if not found.done:
            await step.apply(context, found)
    return context
