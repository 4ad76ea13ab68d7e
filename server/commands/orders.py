"""The orders that can be given: rights, validation, and one durable operation each.

An order judges a tenant at a revision and is written only if the tenant still has it;
otherwise it looks again. An order repeated with its request id is the same order
(promise 10). Opening a run writes the run and all its step rows in one operation
(promise 1).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.commands.opening import (
    EngineEntry,
    carried_steps,
    closed_runs,
    open_run,
    opened_entry,
    previous_state,
)
from server.errors import (
    AlreadyExists,
    InvalidInput,
    NotAllowed,
    NotFound,
    Refused,
    RevisionChanged,
    StoreUnavailable,
    Violation,
)
from server.model.actor import Right
from server.model.derive import derive
from server.model.identifiers import TenantId, new_id
from server.model.states import (
    LogLevel,
    Order,
    TenantState,
)
from server.store.operations import (
    BindingRow,
    Healing,
    LogDraft,
    NewTenant,
    Outcome,
    Refusal,
    RequestKey,
    RequestOperation,
    RunRow,
    TenantOperation,
)
from server.validation import (
    validate_reason,
    validate_request_id,
    validate_revision,
    validate_spec,
    validate_step_key,
    validate_tenant_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from server.model.actor import Actor
    from server.model.records import Record
    from server.model.spec import TenantSpec
    from server.store.database import Database
    from server.validation import RawSpec

# How often an order looks again when the tenant changes under its hands. A run in
# motion refuses orders, so two looks are rare and ten never seen.
_MAX_LOOKS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTerms:
    """What every order on an existing tenant carries.

    Attributes:
        request_id: Names the order; "" if it can't be recognised.
        expected_revision: Carry it out only at this revision, or None.
        reason: Why, for the record.
    """

    request_id: str = ""
    expected_revision: int | None = None
    reason: str = ""


class Commands:
    """Carries out orders on one store."""

    def __init__(
        self,
        database: Database,
        *,
        engines: Mapping[str, EngineEntry],
        default_engine: str | None,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._engines = engines
        self._default_engine = default_engine
        self._now = now

    async def start(
        self, actor: Actor, raw: RawSpec | None, *, tenant_id: str = "", request_id: str = ""
    ) -> TenantId:
        """Register a tenant and open its first run.

        Args:
            actor: Who orders.
            raw: The spec as sent.
            tenant_id: The caller's UUID, or "" for a new one.
            request_id: Names the order, or "".

        Returns:
            The tenant's id; of the first order's tenant where this one repeats it.

        Raises:
            InvalidInput: a field is wrong, or the request id names another order.
            AlreadyExists: the id has another spec, or the company name is taken.
            NotAllowed: not the caller's to order.
            StoreUnavailable: nothing was written.
        """
        _demand(actor, Right.ORDER)
        spec, wanted_id, request_id = self._validate_start(raw, tenant_id, request_id)
        key = _request_key(
            actor, "StartProvisioning", request_id, {"spec": repr(spec), "tenant_id": wanted_id}
        )
        for _ in range(_MAX_LOOKS):
            known = await self._replayed(key)
            if known is not None:
                return known
            if wanted_id and await self._exists(TenantId(wanted_id), spec):
                return TenantId(wanted_id)
            now = self._now()
            operation = self._new_tenant(actor, spec, TenantId(wanted_id or new_id(now)), key, now)
            outcome = await self._database.submit(operation)
            if outcome.applied:
                return operation.tenant_id
            if outcome.refusal is Refusal.NAME_TAKEN:
                await self._refuse_name(spec)
            # TENANT_EXISTS or REQUEST_KNOWN: somebody was faster with the same; look again.
        raise StoreUnavailable("The order met other orders again and again. Repeat it.")

    async def continue_(self, actor: Actor, tenant_id: str, terms: OrderTerms) -> TenantId:
        """Drive on the steps that are not done, with fresh budgets.

        On a damaged record this rebuilds it: every step is probed at the engine and what
        is there and ours is taken over.

        Raises:
            InvalidInput, NotAllowed, StoreUnavailable: as for `start`.
            NotFound: no such tenant.
            Refused: the tenant is in motion, or held and the caller is no person.
            RevisionChanged: it has no longer the expected revision.
        """
        return await self._order(actor, tenant_id, terms, Order.CONTINUE, step_key="")

    async def retry(
        self, actor: Actor, tenant_id: str, terms: OrderTerms, *, step_key: str = ""
    ) -> TenantId:
        """Probe all steps again, or one and those that need it, and make what is wrong.

        Raises:
            As `continue_`.
        """
        return await self._order(actor, tenant_id, terms, Order.RETRY, step_key=step_key)

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

    async def _replayed(self, key: RequestKey | None) -> TenantId | None:
        """Return the tenant of an order given before, or None for a new order."""
        if key is None:
            return None
        known = await self._database.reads.request(key.caller, key.method, key.request_id)
        if known is None:
            return None
        if known.body_hash != key.body_hash:
            raise InvalidInput(
                (
                    Violation(
                        field="request_id",
                        description=(
                            "named another order before. Send the same fields to repeat that "
                            "one, or another request_id for a new one."
                        ),
                    ),
                ),
                code="REQUEST_ID_REUSED",
            )
        return known.tenant_id

    async def _exists(self, tenant_id: TenantId, spec: TenantSpec) -> bool:
        live = await self._database.reads.live(tenant_id)
        if live is None:
            return False
        if live.record.tenant.spec != spec:
            raise AlreadyExists(
                f"Tenant {tenant_id} exists with another spec. To see it: provisioner status "
                f"{tenant_id}. To drive it on as it is: provisioner continue {tenant_id}.",
                code="SPEC_DIFFERS",
                facts={"tenant_id": tenant_id},
            )
        return True

    async def _refuse_name(self, spec: TenantSpec) -> None:
        """Say who has the name; return if it was given back meanwhile."""
        site = self._engines[spec.engine_id].site
        bound = await self._database.reads.bound_to(site, spec.company_name)
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
        key: RequestKey | None,
        now: datetime,
    ) -> TenantOperation:
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
            create=NewTenant(spec=spec, site=entry.site),
            standing=derive(
                stored=None,
                run=opened.run,
                steps=opened.steps,
                step_types=entry.blueprint.steps_for(spec),
                at=now,
            ),
            run_id=opened.run.id,
            runs=(RunRow(run=opened.run, site=entry.site),),
            steps=opened.steps,
            binding=BindingRow(site=entry.site, company_name=spec.company_name, abbreviation=None),
            log=(
                LogDraft(
                    level=LogLevel.INFO,
                    event="run.opened",
                    run_id=opened.run.id,
                    message=(
                        f"Provisioning of {spec.company_name!r} was ordered by {actor.name}: "
                        f"{len(opened.steps)} steps on engine {spec.engine_id}."
                    ),
                    fields={"order": Order.START.value, "actor": actor.name},
                ),
            ),
            request=key,
        )

    async def _order(
        self, actor: Actor, tenant_id: str, terms: OrderTerms, order: Order, *, step_key: str
    ) -> TenantId:
        _demand(actor, Right.ORDER)
        checked = validate_tenant_id(tenant_id)
        terms = OrderTerms(
            request_id=validate_request_id(terms.request_id),
            expected_revision=validate_revision(terms.expected_revision),
            reason=validate_reason(terms.reason),
        )
        key = _request_key(
            actor,
            order.value.capitalize(),
            terms.request_id,
            {
                "tenant_id": checked,
                "step_key": step_key,
                "reason": terms.reason,
                "expected_revision": terms.expected_revision,
            },
        )
        asked = _Asked(actor=actor, terms=terms, order=order, step_key=step_key, key=key)
        for _ in range(_MAX_LOOKS):
            known = await self._replayed(key)
            if known is not None:
                return known
            operation = await self._judge(asked, checked)
            if operation is None:
                return checked
            outcome = await self._database.submit(operation)
            if outcome.applied:
                return checked
            await self._refuse_if_final(outcome, operation, terms)
        raise StoreUnavailable("The order met other orders again and again. Repeat it.")

    async def _judge(
        self, asked: _Asked, tenant_id: TenantId
    ) -> TenantOperation | RequestOperation | None:
        """Return what carries the order out on the tenant as it is now."""
        live = await self._database.reads.live(tenant_id)
        if live is None:
            raise NotFound(
                f"No tenant {tenant_id}. Start one with StartProvisioning "
                "(provisioner start NAME), or check the id."
            )
        record = live.record
        entry = self._entry(record)
        if asked.step_key:
            validate_step_key(asked.step_key, entry.blueprint)
        _check_revision(record, asked.terms)
        standing = derive(
            stored=record.tenant.state,
            run=record.run,
            steps=record.steps,
            step_types=entry.blueprint.steps_for(record.tenant.spec),
            at=record.tenant.updated_at,
        )
        _refuse_unless_movable(asked.actor, record, standing.state, lost=standing.record_lost)
        if asked.order is Order.CONTINUE and standing.state is TenantState.COMPLETED:
            if record.tenant.hold is not None:
                return _lift_hold(asked, record, self._now())
            if asked.key is None:
                return None
            # Remembered, so that the same order given later still does nothing.
            return RequestOperation(tenant_id=tenant_id, at=self._now(), request=asked.key)
        return await self._reopen(asked, record, entry, lost=standing.record_lost)

    def _entry(self, record: Record) -> EngineEntry:
        engine_id = record.tenant.spec.engine_id
        entry = self._engines.get(engine_id)
        if entry is not None:
            return entry
        raise Refused(
            f"Engine {engine_id!r} of tenant {record.tenant.id} is not configured here. Add "
            f"[engines.{engine_id}] to PROVISIONER_ENGINES_FILE and start the server again.",
            code="ENGINE_NOT_CONFIGURED",
        )

    async def _reopen(
        self, asked: _Asked, record: Record, entry: EngineEntry, *, lost: bool
    ) -> TenantOperation:
        tenant, now = record.tenant, self._now()
        order = Order.REBUILD if lost else asked.order
        opened = open_run(
            tenant_id=tenant.id,
            order=order,
            entry=entry,
            spec=tenant.spec,
            carried=carried_steps(record, entry.blueprint, order, asked.step_key),
            actor=asked.actor,
            reason=asked.terms.reason,
            previous_state=previous_state(record),
            now=now,
        )
        bound = await self._database.reads.binding(tenant.id)
        binding = None
        if bound is None:
            binding = BindingRow(
                site=tenant.site, company_name=tenant.spec.company_name, abbreviation=None
            )
        return TenantOperation(
            tenant_id=tenant.id,
            at=now,
            revision=tenant.revision,
            raise_token=True,
            standing=derive(
                stored=None,
                run=opened.run,
                steps=opened.steps,
                step_types=entry.blueprint.steps_for(tenant.spec),
                at=now,
            ),
            run_id=opened.run.id,
            # Of all orders only Continue says "I looked, let it go on by itself again".
            lift_hold=asked.actor.is_person and asked.order is Order.CONTINUE,
            healing=Healing(count=0, at=None)
            if asked.actor.is_person
            else Healing(count=tenant.heal_count + 1, at=now),
            runs=(*closed_runs(record, tenant.site, now), RunRow(run=opened.run, site=tenant.site)),
            steps=opened.steps,
            binding=binding,
            log=(opened_entry(opened, order, asked.actor, asked.terms.reason),),
            request=asked.key,
        )

    async def _refuse_if_final(
        self,
        outcome: Outcome,
        operation: TenantOperation | RequestOperation,
        terms: OrderTerms,
    ) -> None:
        binding = operation.binding if isinstance(operation, TenantOperation) else None
        if outcome.refusal is Refusal.NAME_TAKEN and binding is not None:
            raise Refused(
                f"Company name {binding.company_name!r} of tenant "
                f"{operation.tenant_id} is bound to another tenant of this site now. Decide "
                "which tenant owns the Company before this one is driven on.",
                code="COMPANY_NAME_TAKEN",
            )
        if outcome.refusal is Refusal.REPLACED and terms.expected_revision is not None:
            raise RevisionChanged(
                f"Tenant {operation.tenant_id} has changed since revision "
                f"{terms.expected_revision}. Look at it again, then order again."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """An order as it was given."""

    actor: Actor
    terms: OrderTerms
    order: Order
    step_key: str
    key: RequestKey | None


def _lift_hold(asked: _Asked, record: Record, now: datetime) -> TenantOperation:
    """Take the hold off a tenant for which there is nothing to do."""
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


def _demand(actor: Actor, right: Right) -> None:
    if not actor.may(right):
        raise NotAllowed(
            f"{actor.name} has role {actor.role} and may not give orders. Ask an operator."
        )


def _request_key(
    actor: Actor, method: str, request_id: str, body: Mapping[str, object]
) -> RequestKey | None:
    if not request_id:
        return None
    text = json.dumps(body, sort_keys=True, ensure_ascii=False)
    return RequestKey(
        caller=actor.name,
        method=method,
        request_id=request_id,
        body_hash=hashlib.sha256(text.encode()).hexdigest(),
    )


def _check_revision(record: Record, terms: OrderTerms) -> None:
    expected, found = terms.expected_revision, record.tenant.revision
    if expected is not None and expected != found:
        raise RevisionChanged(
            f"Tenant {record.tenant.id} has revision {found}, the order judged {expected}. "
            "Look at it again, then order again."
        )


def _refuse_unless_movable(actor: Actor, record: Record, state: TenantState, *, lost: bool) -> None:
    tenant = record.tenant
    if tenant.hold is not None and not actor.is_person:
        raise Refused(
            f"Tenant {tenant.id} is held ({tenant.hold.reason}); a person must continue it.",
            code="TENANT_HELD",
        )
    if state is TenantState.CANCELLED and not actor.is_person:
        raise Refused(
            f"Tenant {tenant.id} was cancelled by a person; a person must continue it.",
            code="TENANT_CANCELLED",
        )
    if state in {TenantState.DEPROVISIONING, TenantState.DEPROVISIONED}:
        raise Refused(f"Tenant {tenant.id} is {state}.", code="TENANT_DEPROVISIONED")
    if state is TenantState.IN_PROGRESS and not lost:
        raise Refused(
            f"Tenant {tenant.id} is in motion: a run is open and goes on by itself. Watch it "
            f"with: provisioner status {tenant.id} --watch",
            code="TENANT_IN_MOTION",
        )
