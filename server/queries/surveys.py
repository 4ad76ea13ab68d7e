"""What an engine has for a tenant: the plan of a run, and the drift of a finished tenant.

Reads only. A tenant that is being worked on can be planned but not verified, because its
documents come and go during the check.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.access.policy import demand, demand_any, unknown_tenant
from server.errors import InvalidInput, Refused, StoreUnavailable, Violation
from server.model.actor import Right
from server.model.states import MOVING_TENANT_STATES, TenantState
from server.probing import Stand
from server.validation import validate_spec, validate_tenant_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from server.model.actor import Actor
    from server.model.identifiers import TenantId
    from server.model.records import Tenant
    from server.probing import Prober, Survey
    from server.store.database import Database
    from server.validation import RawSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would find and make.

    Attributes:
        tenant_id: "" for a spec that does not belong to a tenant yet.
        survey: Without the names of other tenants, unless the caller sees all of them.
        feasible: Whether nothing stands in its way.
    """

    tenant_id: str
    survey: Survey
    feasible: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How a tenant at rest differs from what it should have.

    Attributes:
        survey: Without the names of other tenants, unless the caller sees all of them.
        next_command: The command that lets a run correct what it can, or "".
    """

    tenant_id: str
    survey: Survey
    next_command: str


class Surveys:
    """Asks engines, on behalf of callers who may see a tenant."""

    def __init__(
        self,
        database: Database,
        prober: Prober,
        *,
        engine_ids: Collection[str],
        default_engine: str | None,
        seen_clean: Callable[[Tenant], Awaitable[None]] | None = None,
    ) -> None:
        """Take the parts.

        Args:
            database: The store of the tenants.
            prober: Examines a tenant at its engine.
            engine_ids: The ids of the configured engines.
            default_engine: The engine of a spec that names none.
            seen_clean: Called for a finished tenant that is as it should be: earlier findings
                about it are then over.
        """
        self._seen_clean = seen_clean
        self._database = database
        self._prober = prober
        self._engine_ids = engine_ids
        self._default_engine = default_engine

    async def plan(self, actor: Actor, tenant_id: str, raw: RawSpec | None) -> Plan:
        """Return what a run would find and make, for a tenant or for a spec.

        Args:
            actor: Who asks.
            tenant_id: The tenant's id as it was sent; "" if a spec was sent.
            raw: The spec as it was sent; None if an id was. Only who sees all tenants may plan one.

        Raises:
            InvalidInput: a field is wrong, or not exactly one of the two was sent.
            NotFound: there is no such tenant.
            NotAllowed: the caller may not see this.
            Refused: the tenant's engine is not configured here, or its stored spec can't be read.
            EngineNotReady: the engine can't be looked at now.
            StoreUnavailable: the database can't be read now.
        """
        demand_any(actor, Right.READ)
        if bool(tenant_id) == (raw is not None):
            raise InvalidInput(
                (
                    Violation(
                        field="tenant_id",
                        description="send either the tenant_id of a tenant or the spec of a new "
                        "one, not both.",
                    ),
                )
            )
        if raw is not None:
            # A plan tells whether a Company of that name exists, whoever it belongs to.
            demand_any(actor, Right.READ_FLEET)
            spec = validate_spec(raw, engines=self._engine_ids, default_engine=self._default_engine)
            return _plan("", await self._prober.spec(spec))
        tenant = await self._tenant(actor, tenant_id)
        return _plan(tenant.id, _for(actor, await self._prober.tenant(tenant.id)))

    async def verify(self, actor: Actor, tenant_id: str) -> Drift:
        """Return how a tenant at rest differs from what it should have.

        If a finished tenant is as it should be, the reconciler's findings about it are ended.

        Args:
            actor: Who asks.
            tenant_id: The tenant's id as it was sent.

        Raises:
            Refused: the tenant is in motion or gone, or as for `plan`.
            InvalidInput, NotFound, NotAllowed, EngineNotReady, StoreUnavailable: as for `plan`.
        """
        tenant = await self._tenant(actor, tenant_id)
        if tenant.state in MOVING_TENANT_STATES:
            raise Refused(
                f"Tenant {tenant.id} is in motion: what it has may change while it is looked at. "
                f"Watch it with: provisioner status {tenant.id} --watch",
                code="TENANT_IN_MOTION",
            )
        if tenant.state is TenantState.DEPROVISIONED:
            raise Refused(
                f"Tenant {tenant.id} was removed: there is nothing that could differ.",
                code="TENANT_DEPROVISIONED",
            )
        looked = await self._prober.tenant(tenant.id)
        if looked.clean and tenant.state is TenantState.COMPLETED and self._seen_clean:
            # The answer is known anyway; the reconciler's next look also ends the findings.
            with suppress(StoreUnavailable):
                await self._seen_clean(tenant)
        survey = _for(actor, looked)
        return Drift(
            tenant_id=tenant.id, survey=survey, next_command=_next_command(tenant.id, survey)
        )

    async def _tenant(self, actor: Actor, tenant_id: str) -> Tenant:
        checked = validate_tenant_id(tenant_id)
        demand(actor, Right.READ, checked)
        live = await self._database.reads.live(checked)
        if live is None:
            raise unknown_tenant(checked)
        return live.record.tenant


def _for(actor: Actor, survey: Survey) -> Survey:
    """Remove the names of other tenants, unless the caller sees all of them."""
    return survey if actor.scope is None else survey.without_others


def _plan(tenant_id: str, survey: Survey) -> Plan:
    return Plan(tenant_id=tenant_id, survey=survey, feasible=not survey.conflicts)


def _next_command(tenant_id: TenantId, survey: Survey) -> str:
    # A conflict is for a person to settle; a run would only stop at it again.
    missing = [step for step in survey.steps if step.stand is Stand.MISSING and not step.code]
    if survey.conflicts or not missing:
        return ""
    one = f" --step {missing[0].key}" if len(missing) == 1 else ""
    return f"provisioner retry {tenant_id}{one} --watch"
