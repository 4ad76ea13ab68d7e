"""Examines a whole tenant without changing anything: what Plan, Verify and Diagnose build on.

`Prober` finds the record and the engine, `probe_all` looks, `Survey` says what was found.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakValueDictionary

from server.access.policy import unknown_tenant
from server.erpnext.tracing import find_draft_tills, trace_companies
from server.erpnext.undo.foresight import foresee_removal
from server.errors import EngineError, EngineNotReady, Refused
from server.limits import LOOK_SECONDS
from server.model.elsewhere import (
    ENGINE_ELSEWHERE,
    is_elsewhere,
    start_here,
    why_not_here,
    why_nothing_moves,
)
from server.model.states import GateState
from server.probing.looking import LookingContext
from server.probing.probe_all import probe_all
from server.probing.subject import Subject, demand_readable, subject_of
from server.probing.survey import DocumentSeen, Stand, StepLook, Survey, Whose

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from server.erpnext.tracing import Send
    from server.model.blueprint import Blueprint
    from server.model.identifiers import TenantId
    from server.model.left_behind import Foreseen
    from server.model.legacy import CompanyEvidence, CompanyTraced
    from server.model.ownership import Resource
    from server.model.records import Tenant
    from server.model.spec import TenantSpec
    from server.model.step_context import Engine
    from server.store.database import Database
    from server.store.found import Binding

__all__ = [
    "DocumentSeen",
    "Prober",
    "Stand",
    "StepLook",
    "Subject",
    "Survey",
    "Whose",
    "probe_all",
]

T = TypeVar("T")

COMPANY_STEP = "step_2_company"
# How many looks at one site at once: tenants that are being made must not notice them.
_AT_ONCE = 2
# A removal is foretold from the record if the engine takes longer: somebody waits for the answer.
_REMOVAL_SECONDS = 5.0


class Prober:
    """Examines tenants and specs on the configured engines.

    Looks at one site wait for each other, a few at a time; the wait counts as part of the look.
    """

    def __init__(
        self,
        database: Database,
        engines: Mapping[str, Engine],
        blueprints: Mapping[str, Blueprint],
        *,
        now: Callable[[], datetime],
        seconds: float = LOOK_SECONDS,
    ) -> None:
        """Take the parts; nothing is sent.

        Args:
            database: The store that holds the records.
            engines: The configured engines, by id.
            blueprints: Their blueprints, by name.
            now: Returns the time, in UTC.
            seconds: The longest that one look may take, in seconds.
        """
        self._database = database
        self._engines = engines
        self._blueprints = blueprints
        self._now = now
        self._seconds = seconds
        self._turns = {engine.site: asyncio.Semaphore(_AT_ONCE) for engine in engines.values()}
        # Who asks about one tenant again and again, and may know of no other, waits for his own
        # looks and not everybody else for them.
        self._lines: WeakValueDictionary[TenantId, asyncio.Lock] = WeakValueDictionary()

    async def tenant(self, tenant_id: TenantId) -> Survey:
        """Examine a tenant that has a record.

        Raises:
            NotFound: no such tenant.
            Refused: its engine is of a kind that this service does not drive, is not configured
                here or has another site now; or its spec can't be read.
            EngineNotReady: its engine can't be looked at now: its gate is shut, it gives no usable
                answer, or it did not answer in time.
            StoreUnavailable: the database can't be read.
        """
        claims = await self._database.reads.claims({tenant_id}, passed_step=COMPANY_STEP)
        claim = claims.get(tenant_id)
        if claim is None:
            raise unknown_tenant(tenant_id)
        tenant = claim.record.tenant
        if is_elsewhere(tenant):
            raise Refused(
                f"Tenant {tenant_id} can't be looked at. {why_nothing_moves(tenant)}: "
                f"{start_here(tenant)}",
                code=ENGINE_ELSEWHERE,
                facts={"next_command": start_here(tenant)},
            )
        demand_readable(tenant)
        engine = self._engine_of(tenant)
        subject = subject_of(claim, self._bound(engine, but_of=tenant_id))
        return await self._look(engine, subject, self._line(tenant_id))

    async def spec(self, spec: TenantSpec) -> Survey:
        """Examine a spec that nobody has started yet.

        Returns:
            What was found. If another tenant of the site has the company name, which the engine
            can't tell, that is the conflict of the Company's step.

        Raises:
            Refused, EngineNotReady, StoreUnavailable: as for `tenant`.
        """
        engine = self._engine(spec.engine_id)
        subject = Subject(spec=spec, is_bound_elsewhere=self._bound(engine))
        survey = await self._look(engine, subject)
        holder = await self._database.reads.bound_to(engine.site, spec.company_name)
        return survey if holder is None else _name_taken(survey, holder)

    async def unrecorded(
        self, spec: TenantSpec, *, passed_company_step: bool, only_tenant_of_name: bool
    ) -> Survey:
        """Examine a tenant whose record is another system's.

        Args:
            spec: What the tenant should have.
            passed_company_step: Whether that record says that its Company was made.
            only_tenant_of_name: Whether no other tenant has its company name.

        Raises:
            Refused, EngineNotReady, StoreUnavailable: as for `tenant`.
        """
        engine = self._engine(spec.engine_id)
        subject = Subject(
            spec=spec,
            passed_company_step=passed_company_step,
            only_tenant_of_name=only_tenant_of_name,
            is_bound_elsewhere=self._bound(engine),
        )
        return await self._look(engine, subject)

    async def trace(self, engine_id: str, evidence: CompanyEvidence) -> tuple[CompanyTraced, ...]:
        """Return the Companies that another system's record leads to.

        Args:
            engine_id: The engine's name in the engines file.
            evidence: What that record says of the Company.

        Returns:
            As `trace_companies`.

        Raises:
            Refused, EngineNotReady, StoreUnavailable: as for `tenant`.
        """
        return await self._asked(engine_id, lambda send: trace_companies(send, evidence))

    async def draft_tills(self, engine_id: str, company: str) -> tuple[str, ...]:
        """Return the drafts of a Company's till that another system left; none if one was opened.

        Args:
            engine_id: The engine's name in the engines file.
            company: The Company's name.

        Returns:
            As `find_draft_tills`.

        Raises:
            Refused, EngineNotReady, StoreUnavailable: as for `tenant`.
        """
        return await self._asked(engine_id, lambda send: find_draft_tills(send, company))

    async def _asked(self, engine_id: str, ask: Callable[[Send], Awaitable[T]]) -> T:
        engine = self._engine(engine_id)
        try:
            async with self._turn(engine, self._seconds):
                return await ask(engine.send)
        except (TimeoutError, EngineError) as error:
            raise EngineNotReady(
                f"The engine could not be asked for what an old run left: {error}",
                code="ENGINE_NO_ANSWER",
            ) from error

    async def removal(
        self, tenant: Tenant, resources: Sequence[Resource], *, restored_to: Sequence[datetime]
    ) -> Foreseen | None:
        """Look up what a removal would find of a tenant's documents.

        Args:
            tenant: Whose documents they are.
            resources: What the record says about them.
            restored_to: The moments to which the database was restored.

        Returns:
            What was found; None if the engine can't be asked now, or is another one than theirs.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        try:
            demand_readable(tenant)
            engine = self._engine_of(tenant)
            subject = Subject(spec=tenant.spec, restored_to=restored_to)
            context = LookingContext(engine, subject, now=self._now)
            async with self._turn(engine, _REMOVAL_SECONDS, self._line(tenant.id)):
                return await foresee_removal(context, resources)
        except (Refused, EngineNotReady, EngineError, TimeoutError):
            return None

    @asynccontextmanager
    async def _turn(
        self, engine: Engine, seconds: float, line: asyncio.Lock | None = None
    ) -> AsyncIterator[None]:
        """Wait for a turn to look at a site; give it up with the end of the block.

        Args:
            engine: The engine of the site.
            seconds: The longest that the wait and the look together may take.
            line: A line to stand in before the site's.

        Raises:
            EngineNotReady: the site's gate is shut.
            TimeoutError: that time is over.
        """
        await self.check_gate(engine.site)
        async with asyncio.timeout(seconds), line or nullcontext(), self._turns[engine.site]:
            yield

    async def check_gate(self, site: str) -> None:
        """Refuse a look at a site whose gate is shut.

        Raises:
            EngineNotReady: with the gate's code, and since when.
            StoreUnavailable: the database can't be read.
        """
        gate = (await self._database.reads.gates()).get(site)
        if gate is None or gate.state is GateState.UP:
            return
        raise EngineNotReady(
            f"The engine's gate is shut since {gate.since:%Y-%m-%d %H:%M:%S} UTC, so nothing was "
            f"asked and nothing was written. {gate.message} See: provisioner engines list",
            code=gate.code or "ENGINE_DOWN",
            facts={"next_command": "provisioner engines list"},
        )

    def _engine(self, engine_id: str) -> Engine:
        engine = self._engines.get(engine_id)
        if engine is None:
            raise Refused(
                f"Engine {engine_id!r} is not configured here. Add [engines.{engine_id}] to "
                "PROVISIONER_ENGINES_FILE and start the server again.",
                code="ENGINE_NOT_CONFIGURED",
            )
        return engine

    def _engine_of(self, tenant: Tenant) -> Engine:
        """Return a tenant's engine, unless that is another site, which says nothing about it."""
        engine = self._engines.get(tenant.spec.engine_id)
        why = why_not_here(tenant, None if engine is None else engine.site)
        if engine is None or why:
            raise Refused(
                f"Tenant {tenant.id} can't be looked at. {why}",
                code="ENGINE_NOT_CONFIGURED",
                facts={"next_command": f"provisioner diagnose {tenant.id}"},
            )
        return engine

    def _bound(self, engine: Engine, *, but_of: str = "") -> Callable[[str], Awaitable[bool]]:
        """Return a function that tells whether another tenant of the site has an abbreviation."""

        async def is_bound(abbreviation: str) -> bool:
            # Read by its key: a site has as many abbreviations as tenants.
            holder = await self._database.reads.bound_abbreviation(engine.site, abbreviation)
            return holder is not None and holder.tenant_id != but_of

        return is_bound

    def _line(self, tenant_id: TenantId) -> asyncio.Lock:
        """Return the lock of a tenant's looks, of which only one at a time waits for the site."""
        line = self._lines.get(tenant_id)
        if line is None:
            line = self._lines[tenant_id] = asyncio.Lock()
        return line

    async def _look(
        self, engine: Engine, subject: Subject, line: asyncio.Lock | None = None
    ) -> Survey:
        try:
            async with self._turn(engine, self._seconds, line):
                return await probe_all(
                    engine, self._blueprints[engine.blueprint_name], subject, now=self._now
                )
        except TimeoutError as error:
            raise EngineNotReady(
                f"The engine did not answer all questions within {self._seconds:.0f} s; nothing "
                "was written. Try again later, or look at it with: provisioner engines check "
                f"{subject.spec.engine_id}",
                code="ENGINE_NO_ANSWER",
            ) from error


def _name_taken(survey: Survey, holder: Binding) -> Survey:
    """Add to a spec's survey that another tenant has its company name: Start would refuse it."""
    steps = tuple(
        replace(
            step,
            stand=Stand.FOREIGN,
            code="COMPANY_NAME_TAKEN",
            message=(
                f"Company name {survey.spec.company_name!r} belongs to tenant {holder.tenant_id} "
                f"({holder.company_name!r}) on this site; ERPNext compares names without case, "
                f"accents and emoji. See it with: provisioner status {holder.tenant_id}, or "
                "choose another name."
            ),
        )
        if step.key == COMPANY_STEP
        else step
        for step in survey.steps
    )
    return replace(survey, steps=steps)
