"""The order AdoptCompany: a person says that an existing Company belongs to this tenant.

The checks can be seen before they count: what the Company has, next to what the tenant should
have. Once adopted, the Company is the tenant's (as binding and resource), the hold is lifted,
and a run continues with it. We never delete it, because we did not make it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.commands.asked import Asked, OrderTerms, ask, demand_person
from server.commands.audited import audited
from server.commands.desk import OrderDesk, check_revision, refuse_in_motion, refused
from server.commands.opening import run_in_place_of_last
from server.erpnext.adoption import CompanyLook, Compared, look_at_company
from server.errors import EngineError, EngineNotReady, Refused
from server.model.actor import Right
from server.model.ownership import Resource
from server.model.records import reason_told
from server.model.states import LogLevel, Order, ResourceState, StepState, TenantState
from server.probing.subject import demand_readable
from server.store.operations import (
    BindingRow,
    Healing,
    LogDraft,
    ResourceRow,
)

if TYPE_CHECKING:
    from datetime import datetime

    from server.commands.opening import EngineEntry
    from server.model.actor import Actor
    from server.model.identifiers import RunId, TenantId
    from server.model.records import Record
    from server.store.found import Live
    from server.store.operations import RequestOperation, TenantOperation


COMPANY_STEP = "step_2_company"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What adopting a Company would be based on.

    Attributes:
        company_name: Its name, as the engine spells it; "" if there is none.
        owner: The engine's user who made it.
        made_at: When it was made, by the site's clock.
        checks: What is compared, side by side.
    """

    company_name: str
    owner: str
    made_at: str
    checks: tuple[Compared, ...]

    @property
    def possible(self) -> bool:
        """Whether there is a Company and nothing speaks against adopting it."""
        return all(check.agrees for check in self.checks)


class Adopting(OrderDesk):
    """Gives Companies to tenants."""

    async def adoption(
        self, actor: Actor, tenant_id: str, *, expected_revision: int | None = None
    ) -> Adoption:
        """Return what adopting would be based on; changes nothing.

        Raises:
            InvalidInput, NotAllowed, NotFound, RevisionChanged, StoreUnavailable: as for
                `adopt_company`.
            Refused: the tenant's spec can't be read.
            EngineNotReady: the engine could not be asked.
        """
        asked = ask(
            actor,
            tenant_id,
            OrderTerms(expected_revision=expected_revision),
            method="AdoptCompany",
            body={},
            right=Right.OVERRULE,
        )
        live = await self._live(asked.tenant_id)
        check_revision(live.record, asked.terms)
        return await self._compared(live.record, await self._look(live.record))

    @audited("AdoptCompany")
    async def adopt_company(self, actor: Actor, tenant_id: str, terms: OrderTerms) -> TenantId:
        """Make the existing Company this tenant's, lift a hold, and drive the tenant on.

        Raises:
            InvalidInput, NotAllowed, NotFound, RevisionChanged, StoreUnavailable: as for
                `continue_`.
            Refused: there is no such Company, something speaks against it, or the tenant's spec
                can't be read.
            EngineNotReady: the engine could not be asked.
        """
        asked = ask(actor, tenant_id, terms, method="AdoptCompany", body={}, right=Right.OVERRULE)
        demand_person(actor)

        async def judge(live: Live) -> TenantOperation | RequestOperation | None:
            return await self._judge_adoption(asked, live.record)

        return await self._carry_out(asked, judge)

    async def _judge_adoption(
        self, asked: Asked, record: Record
    ) -> TenantOperation | RequestOperation | None:
        entry = self._entry(record)
        standing = self._standing(record, entry)
        refuse_in_motion(record, standing)
        if standing.state in {TenantState.DEPROVISIONING, TenantState.DEPROVISIONED}:
            raise Refused(
                f"Tenant {asked.tenant_id} is {standing.state.value}; it can adopt nothing.",
                code="TENANT_DEPROVISIONED",
            )
        if _has_its_company(record):
            return self._remember(asked)
        look = await self._look(record)
        adoption = await self._compared(record, look)
        if look is None or not adoption.possible:
            raise _refused(asked.tenant_id, record, adoption)
        return self._adopted(asked, record, entry, look)

    async def _look(self, record: Record) -> CompanyLook | None:
        self._entry(record)  # raises if the engine is not configured here
        demand_readable(record.tenant)
        engine = self._adapters.get(record.tenant.spec.engine_id)
        if engine is None:
            raise EngineNotReady("This server has no connection to the tenant's engine.")
        try:
            return await look_at_company(engine.send, record.tenant.spec)
        except EngineError as error:
            raise EngineNotReady(
                f"The engine could not be asked about the Company: {error.message}",
                retry_after_seconds=error.retry_after_seconds,
            ) from error

    async def _compared(self, record: Record, look: CompanyLook | None) -> Adoption:
        tenant = record.tenant
        if look is None:
            missing = Compared(
                field="company", want=tenant.spec.company_name, have="none", agrees=False
            )
            return Adoption(company_name="", owner="", made_at="", checks=(missing,))
        reads = self._database.reads
        by_name = await reads.bound_to(tenant.site, look.name)
        by_abbreviation = await reads.bound_abbreviation(tenant.site, look.abbreviation)
        bound = [each for each in (by_name, by_abbreviation) if each is not None]
        others = sorted({each.tenant_id for each in bound} - {tenant.id})
        return Adoption(
            company_name=look.name,
            owner=look.owner,
            made_at=look.made_at,
            checks=(
                *look.compared,
                Compared(
                    field="belongs to",
                    want="no other tenant",
                    have=f"tenant {', '.join(others)}" if others else "no other tenant",
                    agrees=not others,
                ),
                Compared(field="abbreviation", want="", have=look.abbreviation, agrees=True),
            ),
        )

    def _adopted(
        self, asked: Asked, record: Record, entry: EngineEntry, look: CompanyLook
    ) -> TenantOperation:
        tenant, now = record.tenant, self._now()
        # Every step is probed again: nothing that was done before is certain to belong to this
        # Company.
        operation = run_in_place_of_last(
            record,
            order=Order.CONTINUE,
            entry=entry,
            actor=asked.actor,
            reason=asked.terms.reason,
            now=now,
        )
        run_id = operation.runs[-1].run.id
        return replace(
            operation,
            lift_hold=True,
            healing=Healing(count=0, at=None),
            resources=(_adopted_company(record, run_id, now),),
            binding=BindingRow(
                site=tenant.site,
                company_name=tenant.spec.company_name,
                abbreviation=look.abbreviation,
            ),
            log=(_adoption_entry(asked, look, run_id), *operation.log),
            request=asked.key,
        )


def _adopted_company(record: Record, run_id: RunId, now: datetime) -> ResourceRow:
    company = Resource(
        doctype="Company",
        name=record.tenant.spec.company_name,
        state=ResourceState.ADOPTED,
        intended_at=now,
        settled_at=now,
    )
    return ResourceRow(resource=company, shared=False, run_id=run_id, step_key=COMPANY_STEP)


def _adoption_entry(asked: Asked, look: CompanyLook, run_id: RunId) -> LogDraft:
    return LogDraft(
        level=LogLevel.WARNING,
        event="company.adopted",
        run_id=run_id,
        message=(
            f"{asked.actor.name} decided that the Company {look.name!r} (abbreviation "
            f"{look.abbreviation!r}, made by {look.owner}) is this tenant's. It is used from now "
            f"on and never deleted by us.{reason_told(asked.terms.reason)}"
        ),
        fields={"actor": asked.actor.name, "company": look.name},
    )


def _has_its_company(record: Record) -> bool:
    """Tell whether there is nothing to adopt, because the last run got past the Company."""
    return record.tenant.hold is None and any(
        step.key == COMPANY_STEP and step.state is StepState.COMPLETED for step in record.steps
    )


def _refused(tenant_id: TenantId, record: Record, adoption: Adoption) -> Refused:
    if not adoption.company_name:
        return refused(
            f"There is no Company {record.tenant.spec.company_name!r} at the engine. To have one "
            "made",
            then=f"provisioner continue {tenant_id}",
            code="NO_COMPANY_TO_ADOPT",
        )
    against = "; ".join(
        f"{check.field}: wanted {check.want}, there is {check.have}"
        for check in adoption.checks
        if not check.agrees
    )
    return Refused(
        f"The Company {adoption.company_name!r} can't be this tenant's: {against}. Correct it in "
        "ERPNext, or start a tenant that fits it.",
        code="COMPANY_NOT_ADOPTABLE",
    )
