"""Tenants as the old clients make them: registered, then begun with options; or kept elsewhere.

A tenant of another kind of engine is known here, but never has a run. A tenant that is registered
but not begun gets its options with its first run; one that was begun keeps those it has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from server.access.policy import demand, demand_any
from server.commands.asked import OrderTerms
from server.commands.audited import audited
from server.commands.desk import MAX_LOOKS, refused
from server.commands.driving_on import DrivingOn
from server.commands.opening import open_run, started_entry
from server.commands.starting import Starting
from server.countries import CURRENCY_OF_COUNTRY, nearest_country
from server.errors import AlreadyExists, InvalidInput, StoreUnavailable, Violation
from server.model.actor import Right
from server.model.derive import Standing
from server.model.identifiers import TenantId, new_id
from server.model.spec import DEFAULT_COUNTRY_CODE, TenantSpec
from server.model.states import LogLevel, Order, TenantState
from server.store.operations import BindingRow, LogDraft, NewTenant, RunRow, TenantOperation
from server.validation import RawSpec, validate_spec, validate_tenant_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.commands.starting import MovingIn
    from server.model.actor import Actor
    from server.model.records import Record, Tenant

# The site of a tenant of another kind of engine: none of ours.
NO_SITE = ""

# A sweep need never look at a tenant that never has a run.
_NEVER = datetime(9999, 12, 31, tzinfo=UTC)

_MAX_KIND = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class BeginOptions:
    """The options old clients may give when they begin a tenant; None for one not given."""

    include_demo_data: bool | None = None
    pos_store_enabled: bool | None = None
    chart_template: str | None = None

    def on(self, spec: TenantSpec) -> TenantSpec:
        """Return the spec with these options applied."""
        said = {
            name: value
            for name in ("include_demo_data", "pos_store_enabled", "chart_template")
            if (value := getattr(self, name)) is not None
        }
        return replace(spec, **said)


def chart_of(country_template: str | None) -> str | None:
    """Return the chart of accounts that a `country_template` names, or None.

    The old web page sends the name of a country there, which is not the name of any chart.
    """
    template = (country_template or "").strip()
    return None if not template or nearest_country(template) else template


class Registering(Starting, DrivingOn):
    """Registers tenants for the old clients, and begins them."""

    @audited("CreateTenant")
    async def register_elsewhere(
        self,
        actor: Actor,
        *,
        name: str,
        country_code: str,
        kind: str,
        facts: Mapping[str, str],
        household: MovingIn | None = None,
    ) -> TenantId:
        """Register a tenant of another kind of engine: it is known here, but has no runs.

        Args:
            actor: Who gives the order.
            name: The company's name.
            country_code: ISO 3166-1 alpha-2.
            kind: The kind of engine, such as "odoo".
            facts: Further facts for the log.
            household: Returns the people who come with the tenant, as for `start`.

        Raises:
            InvalidInput: a field is wrong.
            NotAllowed: the caller may not give this order.
            StoreUnavailable: nothing was written.
        """
        demand_any(actor, Right.CREATE)
        now = self._now()
        spec = _spec_elsewhere(name, country_code, kind)
        if spec.engine_id in self._engines:
            raise _wrong_kind(f"{spec.engine_id} is an engine of this service. Start it there.")
        tenant_id = TenantId(new_id(now))
        operation = TenantOperation(
            tenant_id=tenant_id,
            at=now,
            create=NewTenant(spec=spec, site=NO_SITE),
            standing=Standing(
                state=TenantState.PENDING,
                current_step="",
                steps_completed=0,
                total_steps=0,
                errors=(),
            ),
            look_at=_NEVER,
            log=(
                LogDraft(
                    level=LogLevel.INFO,
                    event="tenant.registered",
                    message=(
                        f"{actor.name} registered {spec.company_name!r}, which lives on "
                        f"{spec.engine_id}: no steps are done for it here."
                    ),
                    fields={"actor": actor.name, **facts},
                ),
            ),
        )
        for _ in range(MAX_LOOKS):
            people = None if household is None else await household(tenant_id)
            if (await self._database.submit(replace(operation, household=people))).applied:
                return tenant_id
            # USER_TAKEN: a user with that address was added meanwhile; look again.
        raise StoreUnavailable("The order kept colliding with other orders. Repeat it.")

    @audited("StartProvisioning")
    async def begin(self, actor: Actor, tenant_id: str, options: BeginOptions) -> TenantId:
        """Open the first run of a registered tenant with options, or drive on one that was begun.

        Raises:
            InvalidInput, NotAllowed, StoreUnavailable: as for `start`.
            NotFound: there is no such tenant.
            AlreadyExists: it was begun with other options.
            Refused: it is in motion, or held and not begun, or it is of another kind of engine.
        """
        checked = validate_tenant_id(tenant_id)
        demand(actor, Right.ORDER, checked)
        record = (await self._live(checked)).record
        if record.tenant.state is TenantState.PENDING and record.run is None:
            _refuse_held(record.tenant)
            operation = self._first_run(actor, record, options)
            if (await self._database.submit(operation)).applied:
                return checked
            # Somebody else was faster, or the name is taken: Continue says which.
        elif record.tenant.state is TenantState.DEPROVISIONED:
            _demand_same(record, options)
            # All of it was removed: it begins anew, as with Start.
            return await self.start(actor, _raw(record.tenant.spec), tenant_id=checked)
        elif record.tenant.state is not TenantState.IN_PROGRESS:
            _demand_same(record, options)
        return await self.continue_(actor, checked, OrderTerms())

    def _first_run(self, actor: Actor, record: Record, options: BeginOptions) -> TenantOperation:
        tenant, now = record.tenant, self._now()
        entry = self._entry(record)
        spec = options.on(tenant.spec)
        opened = open_run(
            tenant_id=tenant.id,
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
            tenant_id=tenant.id,
            at=now,
            revision=tenant.revision,
            raise_token=True,
            respec=spec,
            standing=opened.standing(entry.blueprint.steps_for(spec), now),
            run_id=opened.run.id,
            runs=(RunRow(run=opened.run, site=entry.site),),
            steps=opened.steps,
            binding=BindingRow(site=entry.site, company_name=spec.company_name, abbreviation=None),
            log=(started_entry(opened, spec, actor),),
        )


def _raw(spec: TenantSpec) -> RawSpec:
    """Return a spec as a caller would send it."""
    return RawSpec(
        company_name=spec.company_name,
        country_code=spec.country_code,
        currency=spec.currency,
        chart_template=spec.chart_template,
        include_demo_data=spec.include_demo_data,
        pos_store_enabled=spec.pos_store_enabled,
        till_user=spec.till_user,
        engine_id=spec.engine_id,
        payment_methods=spec.payment_methods,
        opening_amount=spec.opening_amount,
    )


def _spec_elsewhere(name: str, country_code: str, kind: str) -> TenantSpec:
    country = country_code.strip().upper() or DEFAULT_COUNTRY_CODE
    kind = kind.strip().lower()
    if not kind or len(kind) > _MAX_KIND or not kind.isprintable():
        raise _wrong_kind(
            f"must be 1 to {_MAX_KIND} printable characters, such as erpnext or odoo."
        )
    return validate_spec(
        RawSpec(
            company_name=name,
            country_code=country,
            # Of no use there, but a spec needs one; some countries have none in the list.
            currency=CURRENCY_OF_COUNTRY.get(country, "KES"),
        ),
        engines=(kind,),
        default_engine=kind,
    )


def _wrong_kind(description: str) -> InvalidInput:
    return InvalidInput((Violation(field="engine", description=description),))


def _refuse_held(tenant: Tenant) -> None:
    """Refuse a first run under a hold, which would stay: the finished tenant would show FAILED.

    Nor is the hold lifted in passing: somebody who begins a tenant has not said that they looked.
    """
    if tenant.hold is not None:
        raise refused(
            f"Tenant {tenant.id} is held by {tenant.hold.by} ({tenant.hold.reason.rstrip('. ')}). "
            "Continue lifts the hold and drives it on as it is. To begin it with options, "
            "lift the hold first",
            then=f"provisioner release {tenant.id}",
            code="TENANT_HELD",
        )


def _demand_same(record: Record, options: BeginOptions) -> None:
    spec = record.tenant.spec
    if options.on(spec) != spec:
        raise AlreadyExists(
            f"Tenant {record.tenant.id} was begun with other options. Start it without "
            "options to drive it on as it is.",
            code="SPEC_DIFFERS",
            facts={"tenant_id": record.tenant.id},
        )
