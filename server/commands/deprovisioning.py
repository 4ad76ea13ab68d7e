"""The order Deprovision: a separate run that removes what we made for a tenant.

Only what the record says we made is removed, in the order that the engine accepts; what existed
before, and what tenants share, stays. Once that is done the tenant is DEPROVISIONED, its company
name is free, and Start with the same spec makes it anew. A run that stops half-way leaves the
tenant DEPROVISIONING; giving the same order again continues, by probing everything again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.commands.asked import Asked, OrderTerms, ask, demand_person
from server.commands.audited import audited
from server.commands.desk import OrderDesk, check_revision, refused
from server.commands.opening import run_in_place_of_last
from server.model.actor import Right
from server.model.left_behind import UNACCOUNTED, TenantDocument, documents_of, missed
from server.model.states import (
    OPEN_RUN_STATES,
    ErrorClass,
    Order,
    StepState,
    TenantState,
)
from server.model.undo import UNSETTLED_AT, UndoOptions, moments_stored
from server.store.operations import Healing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from server.model.actor import Actor
    from server.model.identifiers import TenantId
    from server.model.ownership import Resource
    from server.model.records import Record, Tenant
    from server.store.found import Live
    from server.store.operations import RequestOperation, TenantOperation


_UNASKED = ", says the record; the engine could not be asked whether it is still so"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Removal:
    asked: Asked
    options: UndoOptions


class Deprovisioning(OrderDesk):
    """Removes tenants."""

    @audited("Deprovision")
    async def deprovision(
        self, actor: Actor, tenant_id: str, terms: OrderTerms, *, options: UndoOptions
    ) -> TenantId:
        """Open a run that removes what we made for a tenant.

        Raises:
            InvalidInput, NotAllowed, NotFound, RevisionChanged, StoreUnavailable: as for
                `continue_`.
            Refused: the tenant has an open run.
        """
        asked = ask(
            actor,
            tenant_id,
            terms,
            method="Deprovision",
            body=dict(options.stored()),
            right=Right.REMOVE,
        )
        demand_person(actor)
        removal = _Removal(asked=asked, options=options)

        async def judge(live: Live) -> TenantOperation | RequestOperation | None:
            return self._judge_removal(removal, live.record, await self._database.restored_to())

        return await self._carry_out(asked, judge)

    async def documents(
        self, actor: Actor, tenant_id: str, *, expected_revision: int | None = None
    ) -> tuple[TenantDocument, ...]:
        """Return what is left of a tenant at the engine, according to the record.

        Raises:
            InvalidInput, NotAllowed, NotFound, RevisionChanged, StoreUnavailable: as for
                `continue_`.
        """
        _, resources = await self._recorded(actor, tenant_id, expected_revision)
        return documents_of(resources)

    async def foreseen(
        self, actor: Actor, tenant_id: str, *, expected_revision: int | None = None
    ) -> tuple[TenantDocument, ...]:
        """Return what a removal would do with each document of a tenant.

        What a removal would delete is looked up at the engine first, as the removal does. If the
        engine can't be asked now, the answer is the record's, and each document says so.

        Raises:
            InvalidInput, NotAllowed, NotFound, RevisionChanged, StoreUnavailable: as for
                `continue_`.
        """
        tenant, resources = await self._recorded(actor, tenant_id, expected_revision)
        recorded = documents_of(resources)
        if not any(each.removed for each in recorded):
            return recorded
        restored_to = await self._database.restored_to()
        seen = None
        if self._prober is not None:
            seen = await self._prober.removal(tenant, resources, restored_to=restored_to)
        if seen is not None:
            return documents_of(resources, seen)
        return tuple(
            replace(each, why=f"{each.why}{_UNASKED}") if each.removed else each
            for each in recorded
        )

    async def _recorded(
        self, actor: Actor, tenant_id: str, expected_revision: int | None
    ) -> tuple[Tenant, Sequence[Resource]]:
        terms = OrderTerms(expected_revision=expected_revision)
        asked = ask(actor, tenant_id, terms, method="Deprovision", body={}, right=Right.READ)
        live = await self._live(asked.tenant_id)
        check_revision(live.record, terms)
        tenant = live.record.tenant
        return tenant, await self._database.reads.resources(tenant.id)

    def _judge_removal(
        self, removal: _Removal, record: Record, restored_to: Sequence[datetime]
    ) -> TenantOperation | RequestOperation | None:
        asked, run = removal.asked, record.run
        standing = self._standing(record, self._entry(record))
        if standing.state is TenantState.DEPROVISIONED:
            return self._remember(asked)
        if run is not None and run.state in OPEN_RUN_STATES:
            same = run.order is Order.DEPROVISION and run.cancellation is None
            if same and UndoOptions.read(run.options) == removal.options:
                return self._remember(asked)
            raise refused(
                f"A run of tenant {asked.tenant_id} is open. Stop it first, so that nothing is "
                "made while it is removed",
                then=f"provisioner cancel {asked.tenant_id}",
                code="TENANT_IN_MOTION",
            )
        return self._removed(removal, record, restored_to)

    def _removed(
        self, removal: _Removal, record: Record, restored_to: Sequence[datetime]
    ) -> TenantOperation:
        asked, now = removal.asked, self._now()
        operation = run_in_place_of_last(
            record,
            order=Order.DEPROVISION,
            entry=self._entry(record),
            actor=asked.actor,
            reason=asked.terms.reason,
            now=now,
            options=run_options(removal.options, record, now, restored_to),
        )
        return replace(operation, healing=Healing(count=0, at=None), request=asked.key)


def run_options(
    options: UndoOptions, record: Record, now: datetime, restored_to: Sequence[datetime]
) -> dict[str, str]:
    """Return what a run that removes is told.

    Args:
        options: What was ordered.
        record: The tenant, with its run before.
        now: The time.
        restored_to: The moments to which the database was restored.
    """
    return {
        **options.stored(),
        **_unsettled(record, now),
        **_missed(record),
        **moments_stored(restored_to),
    }


def _unsettled(record: Record, now: datetime) -> dict[str, str]:
    """Note that the engine may still carry out a request of the run before.

    A removal waits for that: the document must not appear after it was looked for.
    """
    lost = {ErrorClass.UNKNOWN_OUTCOME, ErrorClass.LOST}
    left = any(step.error_class in lost or step.state is StepState.RUNNING for step in record.steps)
    return {UNSETTLED_AT: now.isoformat()} if left else {}


def _missed(record: Record) -> dict[str, str]:
    """Pass on what the removal that this one continues could not account for."""
    if record.run is None or record.run.order is not Order.DEPROVISION:
        return {}
    names = missed(record.run, record.steps)
    return {UNACCOUNTED: names} if names else {}
