"""The order Start: a new tenant with its first run, or the status of the one that exists."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from server.access.policy import demand, demand_any
from server.commands.asked import request_key
from server.commands.audited import audited
from server.commands.desk import MAX_LOOKS, OrderDesk, refuse_in_motion, refused
from server.commands.opening import open_run, started_entry
from server.errors import AlreadyExists, InvalidInput, StoreUnavailable, Violation
from server.model.actor import Right
from server.model.elsewhere import is_elsewhere, start_here
from server.model.identifiers import RequestKey, TenantId, canonical_uuid, new_id
from server.model.states import OPEN_RUN_STATES, LogLevel, Order, TenantState
from server.model.unreadable import as_said_again
from server.store.operations import (
    BindingRow,
    Healing,
    LogDraft,
    NewTenant,
    Refusal,
    RequestOperation,
    RunRow,
    TenantOperation,
)
from server.store.written import record_of_new
from server.validation import validate_request_id, validate_spec, validate_tenant_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from server.model.access import Household
    from server.model.actor import Actor
    from server.model.derive import Standing
    from server.model.records import Record, Tenant
    from server.model.spec import TenantSpec
    from server.store.operations import Outcome
    from server.validation import RawSpec

    MovingIn = Callable[[TenantId], Awaitable[Household]]


class Starting(OrderDesk):
    """Registers tenants."""

    @audited("StartProvisioning")
    async def start(
        self,
        actor: Actor,
        raw: RawSpec | None,
        *,
        tenant_id: str = "",
        request_id: str = "",
        facts: Mapping[str, str] | None = None,
        household: MovingIn | None = None,
        made: Callable[[Record], None] | None = None,
    ) -> TenantId:
        """Register a tenant and open its first run.

        Args:
            actor: Who gives the order.
            raw: The spec as it was sent.
            tenant_id: The caller's UUID, or "" for a new one.
            request_id: Identifies the order, or "".
            facts: What else was said about the tenant, for the first entry of its log.
            household: Returns the people who come with a new tenant and are added in the same
                transaction; called again at each look, as an address may be taken meanwhile.
            made: Called with the record of a tenant that was made, once it is durable, exactly
                as a read would return it, so that it need not be read back.

        Returns:
            The tenant's id; if this order repeats an earlier one, the id of that order's tenant.

        Raises:
            InvalidInput: a field is wrong, or the request id belongs to another order.
            AlreadyExists: the id belongs to a tenant with another spec, or the company name is
                taken.
            Refused: the tenant is being removed; or the order gives again what can't be read of
                its spec, while a run is open.
            NotAllowed: the caller may not give this order.
            StoreUnavailable: nothing was written.
        """
        _refuse_stranger(actor, tenant_id)
        spec, wanted_id, request_id = self._validate_start(raw, tenant_id, request_id)
        key = _key(actor, spec, wanted_id, request_id)
        for look in range(MAX_LOOKS):
            # A caller who leaves the id to us mostly comes for the first time; if not, the
            # write says so: a known request is refused before anything else is checked.
            known = (
                await self._known(key, actor, raw, spec, wanted_id) if wanted_id or look else None
            )
            if known is not None:
                return known
            now = self._now()
            operation: TenantOperation | RequestOperation | None
            there, spec = await self._there(actor, wanted_id, raw, spec)
            key = key if there is None else _key(actor, spec, wanted_id, request_id)
            if there is not None and not self._is_gone(there):
                operation = self._nothing_new(actor, there, spec, key=key, now=now)
                if operation is None:
                    return TenantId(wanted_id)
            else:
                operation = self._new_tenant(
                    actor,
                    spec,
                    TenantId(wanted_id or new_id(now)),
                    key=key,
                    now=now,
                    gone=there,
                    facts=facts or {},
                )
                if household is not None:
                    people = await household(operation.tenant_id)
                    operation = replace(operation, household=people)
            outcome = await self._database.submit(operation)
            if outcome.applied:
                _tell(made, operation, outcome)
                return operation.tenant_id
            if outcome.refusal is Refusal.NAME_TAKEN:
                await self._refuse_name(actor, spec)
            # TENANT_EXISTS, REQUEST_KNOWN or USER_TAKEN: somebody else was faster; look again.
        raise StoreUnavailable("The order kept colliding with other orders. Repeat it.")

    def _validate_start(
        self, raw: RawSpec | None, tenant_id: str, request_id: str
    ) -> tuple[TenantSpec, str, str]:
        violations: list[Violation] = []
        spec: TenantSpec | None = None
        try:
            spec = validate_spec(
                raw, engines=self._engines.keys(), default_engine=self._default_engine
            )
        except InvalidInput as error:
            violations.extend(error.violations)
        try:
            tenant_id = validate_tenant_id(tenant_id) if tenant_id else ""
        except InvalidInput as error:
            violations.extend(error.violations)
        try:
            request_id = validate_request_id(request_id)
        except InvalidInput as error:
            violations.extend(error.violations)
        if violations or spec is None:
            raise InvalidInput(tuple(violations))
        return spec, tenant_id, request_id

    async def _known(
        self,
        key: RequestKey | None,
        actor: Actor,
        raw: RawSpec | None,
        spec: TenantSpec,
        wanted_id: str,
    ) -> TenantId | None:
        """Return the tenant of a Start that was given before, as `_replayed` does.

        If it named no engine it is the same order, even if the default engine has changed since.
        """
        try:
            return await self._replayed(key)
        except InvalidInput:
            if key is None or raw is None or raw.engine_id is not None:
                raise
            given = await self._database.reads.request(key.caller, key.method, key.request_id)
            live = None if given is None else await self._database.reads.live(given.tenant_id)
            if given is None or live is None:
                raise
            then = replace(spec, engine_id=live.record.tenant.spec.engine_id)
            as_then = _key(actor, then, wanted_id, key.request_id)
            if as_then is None or as_then.body_hash != given.body_hash:
                raise
            return given.tenant_id

    def _is_gone(self, record: Record) -> bool:
        """Tell whether everything made for a tenant was removed, so that it begins anew."""
        return self._standing(record, self._entry(record)).state is TenantState.DEPROVISIONED

    async def _there(
        self, actor: Actor, tenant_id: str, raw: RawSpec | None, spec: TenantSpec
    ) -> tuple[Record | None, TenantSpec]:
        """Return the record of a tenant that is there with the same spec, and that spec.

        Who named no engine says the same again though the default is another one by now.
        """
        live = await self._database.reads.live(TenantId(tenant_id)) if tenant_id else None
        if live is None:
            return None, spec
        if not actor.sees(tenant_id):
            raise AlreadyExists(
                f"The id {tenant_id} is taken. Choose another, or leave it out.", code="ID_TAKEN"
            )
        said = as_said_again(live.record.tenant, spec)
        if raw is not None and raw.engine_id is None:
            spec = replace(spec, engine_id=said.engine_id)
        differences = said.differences(spec)
        if differences:
            raise AlreadyExists(
                f"Tenant {tenant_id} exists with another spec: {'; '.join(differences)}. A spec "
                f"can't be changed: {_way_on(live.record.tenant)}",
                code="SPEC_DIFFERS",
                facts={"tenant_id": tenant_id},
            )
        return live.record, spec

    def _nothing_new(
        self,
        actor: Actor,
        there: Record,
        spec: TenantSpec,
        *,
        key: RequestKey | None,
        now: datetime,
    ) -> TenantOperation | RequestOperation | None:
        """Return what is to be written if the tenant exists already; None for nothing.

        Raises:
            Refused: it is being removed; or its spec is damaged, and an open run has read it.
        """
        tenant, standing = there.tenant, self._standing(there, self._entry(there))
        if not tenant.spec_damage:
            _refuse_while_removed(there, standing)
            if key is None:
                return None
            # Remembered, so that this request id is refused with other fields (promise 10).
            return RequestOperation(tenant_id=tenant.id, at=now, request=key)
        refuse_in_motion(there, standing)
        fields = ", ".join(tenant.spec_damage)
        return TenantOperation(
            tenant_id=tenant.id,
            at=now,
            revision=tenant.revision,
            respec=spec,
            look_at=tenant.look_at,
            log=(
                LogDraft(
                    level=LogLevel.INFO,
                    event="spec.said_again",
                    message=(
                        f"{actor.name} said what could not be read of the spec again: {fields}. "
                        "Continue drives the tenant on by it."
                    ),
                    fields={"actor": actor.name},
                ),
            ),
            request=key,
        )

    async def _refuse_name(self, actor: Actor, spec: TenantSpec) -> None:
        """Refuse a company name that is taken, and say by whom if the caller may see that tenant.

        Returns if the name has become free meanwhile.
        """
        site = self._engines[spec.engine_id].site
        bound = await self._database.reads.bound_to(site, spec.company_name)
        if bound is not None and not actor.sees(bound.tenant_id):
            raise AlreadyExists(
                f"Company name {spec.company_name!r} is taken on this site; ERPNext compares "
                "names without case, accents and emoji. Choose another name.",
                code="COMPANY_NAME_TAKEN",
            )
        if bound is not None:
            raise AlreadyExists(
                f"Company name {spec.company_name!r} belongs to tenant {bound.tenant_id} "
                f"({bound.company_name!r}) on this site; ERPNext compares names without case, "
                f"accents and emoji. See it with: provisioner status {bound.tenant_id}, or "
                "choose another name.",
                code="COMPANY_NAME_TAKEN",
                facts={"tenant_id": bound.tenant_id},
            )

    def _new_tenant(
        self,
        actor: Actor,
        spec: TenantSpec,
        tenant_id: TenantId,
        *,
        key: RequestKey | None,
        now: datetime,
        gone: Record | None,
        facts: Mapping[str, str],
    ) -> TenantOperation:
        """Return what makes a new tenant, or makes one anew after everything was removed."""
        entry = self._engines[spec.engine_id]
        opened = open_run(
            tenant_id=tenant_id,
            order=Order.START,
            entry=entry,
            spec=spec,
            carried={},
            actor=actor,
            reason="",
            previous_state=TenantState.PENDING.value,
            now=now,
        )
        return TenantOperation(
            tenant_id=tenant_id,
            at=now,
            create=NewTenant(spec=spec, site=entry.site) if gone is None else None,
            respec=spec if gone is not None and gone.tenant.spec_damage else None,
            revision=None if gone is None else gone.tenant.revision,
            raise_token=gone is not None,
            new_life=gone is not None,
            lift_hold=gone is not None,
            healing=None if gone is None else Healing(count=0, at=None),
            standing=opened.standing(entry.blueprint.steps_for(spec), now),
            run_id=opened.run.id,
            runs=(RunRow(run=opened.run, site=entry.site),),
            steps=opened.steps,
            binding=BindingRow(site=entry.site, company_name=spec.company_name, abbreviation=None),
            log=(started_entry(opened, spec, actor, facts),),
            request=key,
        )


def _key(actor: Actor, spec: TenantSpec, tenant_id: str, request_id: str) -> RequestKey | None:
    body = {"spec": spec.as_ordered(), "tenant_id": tenant_id}
    return request_key(actor, "StartProvisioning", request_id, body)


def _refuse_while_removed(there: Record, standing: Standing) -> None:
    """Refuse a Start that would be answered as if the tenant were staying, which it is not.

    Raises:
        Refused: what was made for it is being removed, or its removal stopped half-way.
    """
    if standing.state is not TenantState.DEPROVISIONING:
        return
    tenant, moves = there.tenant, there.run is not None and there.run.state in OPEN_RUN_STATES
    if moves:
        how_far, then = "See how far that is", f"provisioner status {tenant.id} --watch"
    else:
        how_far, then = "What stopped that half-way", f"provisioner status {tenant.id}"
    raise refused(
        f"Tenant {tenant.id} is being removed, so it was not started. To keep it: provisioner "
        f"cancel {tenant.id}, then provisioner continue {tenant.id}. To have it made anew: start "
        f"it again once it is removed. {how_far}",
        then=then,
        code="TENANT_DEPROVISIONED",
    )


def _way_on(tenant: Tenant) -> str:
    """Say what to do about a tenant with another spec; never an order that would be refused."""
    if is_elsewhere(tenant):
        return f"to have the company on an engine of this service: {start_here(tenant)}"
    another = "for another one, deprovision the tenant and start one under another id."
    if tenant.state is TenantState.DEPROVISIONED:
        return "send the same one to make the tenant anew, or start one under another id."
    if tenant.state is TenantState.DEPROVISIONING:
        return "for another one, start one under another id. This one is being removed."
    if tenant.state is TenantState.IN_PROGRESS:
        return f"{another} A run of it is open: provisioner status {tenant.id} --watch"
    return f"{another} To drive it on as it is: provisioner continue {tenant.id}"


def _tell(
    made: Callable[[Record], None] | None,
    operation: TenantOperation | RequestOperation,
    outcome: Outcome,
) -> None:
    if made is None or not isinstance(operation, TenantOperation):
        return
    record = record_of_new(operation, outcome)
    if record is not None:
        made(record)


def _refuse_stranger(actor: Actor, tenant_id: str) -> None:
    """Refuse a caller who may neither make tenants nor give orders to this one.

    Before anything is read, so that a member gets the same answer for an id that belongs to
    somebody else as for one that is free.
    """
    wanted = canonical_uuid(tenant_id) or ""
    if actor.tenants is not None and wanted in actor.tenants:
        demand(actor, Right.ORDER, wanted)
    else:
        demand_any(actor, Right.CREATE)
