"""The orders that drive a tenant on: Continue does what is missing, Retry checks again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.commands.asked import Asked, OrderTerms, ask
from server.commands.audited import audited
from server.commands.desk import OrderDesk, refuse_in_motion, refuse_to_healer, refused
from server.commands.opening import EngineEntry, carried_steps, run_in_place_of_last
from server.model.records import STEP_ORDERED
from server.model.states import OPEN_RUN_STATES, LogLevel, Order, TenantState
from server.model.undo import UndoOptions
from server.model.unreadable import say_again
from server.store.operations import (
    BindingRow,
    Healing,
    LogDraft,
    RequestOperation,
    TenantOperation,
)
from server.validation import validate_step_key

if TYPE_CHECKING:
    from datetime import datetime

    from server.model.actor import Actor
    from server.model.derive import Standing
    from server.model.identifiers import TenantId
    from server.model.records import Record
    from server.store.found import Live


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drive:
    """An order to drive a tenant on: what was asked, as which order, and from which step."""

    asked: Asked
    order: Order
    step_key: str


class DrivingOn(OrderDesk):
    """Opens further runs."""

    @audited("Continue")
    async def continue_(self, actor: Actor, tenant_id: str, terms: OrderTerms) -> TenantId:
        """Resume the steps that are not done, with fresh retry budgets.

        This rebuilds a damaged record: every step is probed at the engine, and what exists and
        is ours is taken over.

        Raises:
            InvalidInput, NotAllowed, StoreUnavailable: as for `start`.
            NotFound: there is no such tenant.
            Refused: the tenant is in motion, or is held and the caller is not a person.
            RevisionChanged: it no longer has the expected revision.
        """
        return await self._drive_on(actor, tenant_id, terms, Order.CONTINUE, step_key="")

    @audited("Retry")
    async def retry(
        self, actor: Actor, tenant_id: str, terms: OrderTerms, *, step_key: str = ""
    ) -> TenantId:
        """Probe all steps again, or one and those that need it, and make what is missing or wrong.

        Raises:
            As `continue_`.
        """
        return await self._drive_on(actor, tenant_id, terms, Order.RETRY, step_key=step_key)

    async def _drive_on(
        self, actor: Actor, tenant_id: str, terms: OrderTerms, order: Order, *, step_key: str
    ) -> TenantId:
        asked = ask(
            actor, tenant_id, terms, method=order.value.capitalize(), body={"step_key": step_key}
        )
        drive = _Drive(asked=asked, order=order, step_key=step_key)

        async def judge(live: Live) -> TenantOperation | RequestOperation | None:
            return await self._judge_drive(drive, live.record)

        return await self._carry_out(asked, judge)

    async def _judge_drive(
        self, drive: _Drive, record: Record
    ) -> TenantOperation | RequestOperation | None:
        """Return what carries the order out on the tenant as it is now."""
        entry = self._entry(record)
        if drive.step_key:
            validate_step_key(drive.step_key, entry.blueprint)
        standing = self._standing(record, entry)
        refuse_to_healer(drive.asked.actor, record, standing.state)
        _refuse_if_gone(record, standing)
        refuse_in_motion(record, standing)
        if drive.order is Order.CONTINUE and standing.state is TenantState.COMPLETED:
            if record.tenant.hold is not None:
                return _lift_hold(drive.asked, record, self._now())
            return self._remember(drive.asked)
        order = Order.REBUILD if standing.record_lost else drive.order
        return await self._reopened(drive, order, record, entry)

    async def _reopened(
        self, drive: _Drive, order: Order, record: Record, entry: EngineEntry
    ) -> TenantOperation:
        asked, tenant, now = drive.asked, record.tenant, self._now()
        operation = run_in_place_of_last(
            record,
            order=order,
            entry=entry,
            actor=asked.actor,
            reason=asked.terms.reason,
            now=now,
            carried=carried_steps(record, entry.blueprint, order, drive.step_key),
            options={STEP_ORDERED: drive.step_key} if drive.step_key else None,
        )
        bound = await self._database.reads.binding(tenant.id)
        binding = None
        if bound is None:
            binding = BindingRow(
                site=tenant.site, company_name=tenant.spec.company_name, abbreviation=None
            )
        return replace(
            operation,
            # Continue says "I have looked, it may move by itself again"; Retry does not.
            lift_hold=asked.actor.is_person and drive.order is Order.CONTINUE,
            healing=Healing(count=0, at=None)
            if asked.actor.is_person
            else Healing(count=tenant.heal_count + 1, at=now),
            binding=binding,
            request=asked.key,
        )


def _refuse_if_gone(record: Record, standing: Standing) -> None:
    tenant, run = record.tenant, record.run
    if standing.state is TenantState.DEPROVISIONED:
        raise refused(
            f"Tenant {tenant.id} was removed. To make it anew, start it with the same values",
            then=say_again(tenant),
            code="TENANT_DEPROVISIONED",
        )
    if standing.state is not TenantState.DEPROVISIONING:
        return
    stop = f"Tenant {tenant.id} is being removed. To stop that: provisioner cancel {tenant.id}"
    if run is not None and run.state in OPEN_RUN_STATES:
        raise refused(
            f"{stop}. To see how far it is",
            then=f"provisioner status {tenant.id} --watch",
            code="TENANT_DEPROVISIONED",
        )
    given = UndoOptions.read({} if run is None else run.options)
    wanted = given.after({error.code for error in standing.errors})
    raise refused(
        f"{stop}. To go on with it",
        then=f"provisioner deprovision {tenant.id}{wanted.flags}",
        code="TENANT_DEPROVISIONED",
    )


def _lift_hold(asked: Asked, record: Record, now: datetime) -> TenantOperation:
    """Lift the hold of a tenant for which there is nothing else to do."""
    return TenantOperation(
        tenant_id=record.tenant.id,
        at=now,
        revision=record.tenant.revision,
        lift_hold=True,
        log=(
            LogDraft(
                level=LogLevel.INFO,
                event="hold.lifted",
                message=f"{asked.actor.name} lifted the hold; every step is done.",
                fields={"actor": asked.actor.name},
            ),
        ),
        request=asked.key,
    )
