"""What a tenant's people read names no other tenant; who sees all tenants reads that, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.commands import EngineEntry
from server.diagnosis import Diagnoser
from server.model.actor import LOCAL, Actor, Role
from server.model.blueprint import ERPNEXT
from server.model.states import TenantState
from tests.server.executor.scene import WAREHOUSE, now

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from tests.server.executor.scene import Shop

OTHER = "Rival Traders"
OURS = "Main Store - KS"


async def evidence(shop: Shop, tenant: TenantId, actor: Actor) -> str:
    entries = {"main": EngineEntry(site=shop.store.engine.site, blueprint=ERPNEXT)}
    diagnoser = Diagnoser(shop.store.database, engines=entries, now=now, lease_seconds=6.0)
    found = await diagnoser.diagnose(actor, tenant)
    return " ".join(fact.fact for cause in found.causes for fact in cause.evidence)


async def test_a_conflict_with_another_tenant_is_named_to_operators_only(shop: Shop) -> None:
    tenant = await shop.completed()
    shop.site.site.require("Warehouse", OURS)["company"] = OTHER
    await shop.again(tenant, step_key=WAREHOUSE)
    assert await shop.rest(tenant) == [TenantState.FAILED]

    read = " ".join(await shop.lines(tenant))
    read += " ".join(str(step.error_message) for step in (await shop.record(tenant)).steps)
    assert f'{OURS!r} is there, but company is "another\'s"' in read
    assert OTHER not in read

    member = Actor(name="jane", role=Role.VIEWER, tenants={tenant: Role.VIEWER})
    assert OTHER not in await evidence(shop, tenant, member)
    shown = await evidence(shop, tenant, LOCAL)
    assert OTHER in shown
    # A key of ours is no word for people.
    assert "for_operators" not in shown


async def test_erpnexts_words_about_others_are_for_operators(shop: Shop) -> None:
    words = f"Could not find Row #2: Company: {OTHER}"
    fault = {"method": "POST", "doctype": "Company", "status": 417, "times": 25}
    await shop.faults({**fault, "exc_type": "LinkValidationError", "message": words})
    tenant = await shop.order()
    assert await shop.rest(tenant) == [TenantState.FAILED]

    read = " ".join(await shop.lines(tenant))
    read += " ".join(str(step.error_message) for step in (await shop.record(tenant)).steps)
    assert "An operator sees which." in read
    assert OTHER not in read
    member = Actor(name="jane", role=Role.VIEWER, tenants={tenant: Role.VIEWER})
    assert OTHER not in await evidence(shop, tenant, member)
    shown = await evidence(shop, tenant, LOCAL)
    assert OTHER in shown
    # A key of ours is no word for people.
    assert "for_operators" not in shown
