"""What all orders share: a judgement on the tenant as it is now, and one durable operation.

An order judges a tenant at one revision, and is written only if the tenant still has that
revision; otherwise the order looks again. An order repeated with its request id is the same
order (promise 10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.access.policy import unknown_tenant
from server.errors import (
    InvalidInput,
    Refused,
    RevisionChanged,
    StoreUnavailable,
    Violation,
)
from server.model.blueprint import blueprint_of
from server.model.damaged import ROW_DAMAGED, why_unwritable
from server.model.derive import Standing, derive
from server.model.elsewhere import (
    ENGINE_ELSEWHERE,
    is_elsewhere,
    start_here,
    why_nothing_moves,
    why_other_site,
)
from server.model.states import TenantState
from server.store.operations import (
    Outcome,
    Refusal,
    RequestOperation,
    TenantOperation,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from datetime import datetime

    from server.commands.asked import Asked, OrderTerms
    from server.commands.opening import EngineEntry
    from server.model.actor import Actor
    from server.model.identifiers import RequestKey, TenantId
    from server.model.records import Record
    from server.model.step_context import Engine
    from server.probing import Prober
    from server.store.database import Database
    from server.store.found import Live

    Written = TenantOperation | RequestOperation
    Judge = Callable[[Live], Awaitable[Written | None]]

# How often an order looks again if the tenant changes meanwhile. A tenant in motion refuses
# orders, so two looks are rare, and ten were never seen.
MAX_LOOKS = 10


class OrderDesk:
    """Takes orders for one store; each family of orders is a subclass."""

    def __init__(
        self,
        database: Database,
        *,
        engines: Mapping[str, EngineEntry],
        default_engine: str | None,
        now: Callable[[], datetime],
        adapters: Mapping[str, Engine] | None = None,
        prober: Prober | None = None,
    ) -> None:
        """Take the parts that orders need.

        Args:
            database: The store.
            engines: The configured engines, by id.
            default_engine: The engine for specs that name none.
            now: The clock.
            adapters: The engines' adapters, for orders that look at an engine before they judge.
            prober: Looks at engines for who asks what an order would do; None if nobody can.
        """
        self._database = database
        self._engines = engines
        self._default_engine = default_engine
        self._now = now
        self._adapters = adapters or {}
        self._prober = prober

    async def _carry_out(self, asked: Asked, judge: Judge) -> TenantId:
        """Judge a tenant and write the result; again, if the tenant changed in between.

        Args:
            asked: The order.
            judge: Returns what carries the order out on the tenant as it is now; None if there
                is nothing to do and nothing to remember.

        Raises:
            NotFound: there is no such tenant.
            Refused: the order does not fit the tenant's state.
            RevisionChanged: the tenant no longer has the expected revision.
            StoreUnavailable: nothing was written.
        """
        for _ in range(MAX_LOOKS):
            known = await self._replayed(asked.key)
            if known is not None:
                return known
            live = await self._live(asked.tenant_id)
            try:
                check_revision(live.record, asked.terms)
                operation = await judge(live)
            except (Refused, RevisionChanged):
                # What stands in the way may be this very order, sent before and carried out
                # between our look at the request ids and our look at the tenant.
                known = await self._replayed(asked.key)
                if known is None:
                    raise
                return known
            if operation is None:
                return asked.tenant_id
            outcome = await self._database.submit(operation)
            if outcome.applied:
                return asked.tenant_id
            _refuse_if_final(outcome, operation, asked.terms)
        raise StoreUnavailable("The order kept colliding with other orders. Repeat it.")

    async def _live(self, tenant_id: TenantId) -> Live:
        live = await self._database.reads.live(tenant_id)
        if live is None:
            raise unknown_tenant(tenant_id)
        if why := why_unwritable(live.record):
            raise Refused(why, code=ROW_DAMAGED)
        return live

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
                            "was used for another order before. Send the same fields to repeat "
                            "that one, or another request_id for a new one."
                        ),
                    ),
                ),
                code="REQUEST_ID_REUSED",
            )
        return known.tenant_id

    def _entry(self, record: Record) -> EngineEntry:
        engine_id = record.tenant.spec.engine_id
        entry = self._engines.get(engine_id)
        # A tenant registered for another kind of engine lives on no site, even if an engine of
        # that name was configured since: it would wait for ever.
        if is_elsewhere(record.tenant):
            raise refused(
                f"Tenant {record.tenant.id} can't be driven on. {why_nothing_moves(record.tenant)}",
                then=start_here(record.tenant),
                code=ENGINE_ELSEWHERE,
            )
        if entry is not None:
            if other := why_other_site(record.tenant, entry.site):
                # Its run would wait for a worker for ever.
                raise Refused(
                    f"Tenant {record.tenant.id} can't be moved. {other}",
                    code="ENGINE_NOT_CONFIGURED",
                    facts={"next_command": f"provisioner diagnose {record.tenant.id}"},
                )
            return entry
        raise Refused(
            f"Engine {engine_id!r} of tenant {record.tenant.id} is not configured here. Add "
            f"[engines.{engine_id}] to PROVISIONER_ENGINES_FILE and start the server again.",
            code="ENGINE_NOT_CONFIGURED",
            facts={"next_command": f"provisioner diagnose {record.tenant.id}"},
        )

    def _standing(self, record: Record, entry: EngineEntry) -> Standing:
        """Return the derived state of a tenant as it is now."""
        return derive(
            stored=record.tenant.state,
            run=record.run,
            steps=record.steps,
            step_types=blueprint_of(record.run, entry.blueprint).steps_for(record.tenant.spec),
            at=record.tenant.updated_at,
        )

    def _remember(self, asked: Asked) -> RequestOperation | None:
        """Remember an order that changes nothing, so that repeated later it still does not."""
        if asked.key is None:
            return None
        return RequestOperation(tenant_id=asked.tenant_id, at=self._now(), request=asked.key)


def check_revision(record: Record, terms: OrderTerms) -> None:
    """Refuse an order that was based on another revision.

    Raises:
        RevisionChanged: the tenant no longer has the expected revision.
    """
    expected, found = terms.expected_revision, record.tenant.revision
    if expected is not None and expected != found:
        raise RevisionChanged(
            f"Tenant {record.tenant.id} has revision {found}, the order judged {expected}. "
            "Look at it again, then order again."
        )


def refuse_to_healer(actor: Actor, record: Record, state: TenantState) -> None:
    """Refuse to let anybody but a person move a tenant that is held or cancelled.

    Raises:
        Refused: the tenant is held or cancelled, and the caller is not a person.
    """
    if actor.is_person:
        return
    tenant = record.tenant
    if tenant.hold is not None:
        raise Refused(
            f"Tenant {tenant.id} is held ({tenant.hold.reason}); a person must continue it.",
            code="TENANT_HELD",
        )
    if state is TenantState.CANCELLED:
        raise Refused(
            f"Tenant {tenant.id} was cancelled by a person; a person must continue it.",
            code="TENANT_CANCELLED",
        )


def refused(message: str, *, then: str, code: str) -> Refused:
    """Return a refusal that ends with the command that helps, for people and for programs.

    Args:
        message: What is wrong, without punctuation at its end: the command follows.
        then: The complete command to give next.
        code: The stable code.
    """
    return Refused(f"{message}: {then}", code=code, facts={"next_command": then})


def refuse_in_motion(record: Record, standing: Standing) -> None:
    """Refuse an order that a tenant in motion does not accept.

    Raises:
        Refused: the tenant has an open run.
    """
    if standing.state is TenantState.IN_PROGRESS and not standing.record_lost:
        raise refused(
            f"Tenant {record.tenant.id} is in motion: a run is open and goes on by itself. Watch "
            "it with",
            then=f"provisioner status {record.tenant.id} --watch",
            code="TENANT_IN_MOTION",
        )


def _refuse_if_final(outcome: Outcome, operation: Written, terms: OrderTerms) -> None:
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
