"""A spec that was damaged by SQL: nothing is made by defaults, and it can be said again."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pytest

from server.commands import Commands, EngineEntry, OrderTerms
from server.errors import AlreadyExists, InvalidInput, Refused
from server.model.actor import LOCAL, RECONCILER
from server.model.blueprint import ERPNEXT
from server.model.states import TenantState
from server.model.undo import UndoOptions
from server.model.unreadable import say_again
from server.probing import Prober
from server.validation import RawSpec
from tests.server.executor.scene import TILL_USER, now

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from tests.server.executor.scene import Shop

GONE = "UPDATE tenants SET spec = '{}' WHERE id = ?"
NO_CURRENCY = "UPDATE tenants SET spec = replace(spec, '\"UGX\"', '7') WHERE id = ?"
UGANDAN = {"country_code": "UG", "currency": "UGX", "till_user": TILL_USER}


async def ordered(still: Shop) -> TenantId:
    return await still.order("Kijani Stores", **UGANDAN)


async def stopped(still: Shop, damage: str) -> TenantId:
    """Return a tenant whose spec was damaged before its first step, where its run stopped."""
    store = await still.open()
    tenant = await ordered(still)
    still.sql(damage, tenant)
    await store.executor.start()
    await still.rest(tenant)
    return tenant


def raw(**fields: object) -> RawSpec:
    return RawSpec(**({"company_name": "Kijani Stores"} | UGANDAN | fields))  # type: ignore[arg-type]  # by name


async def test_nothing_is_made_by_defaults_and_a_person_is_called(still: Shop) -> None:
    tenant = await stopped(still, NO_CURRENCY)

    record = await still.record(tenant)
    assert record.tenant.state is TenantState.FAILED
    assert record.tenant.spec_damage == ("currency",)
    assert record.tenant.hold is not None
    assert "stored spec currency can" in record.tenant.hold.reason
    assert await still.writes() == 0
    assert still.sql("SELECT error_code FROM tenants") == [("SPEC_UNREADABLE",)]
    with pytest.raises(Refused, match="is held"):
        await still.proceed(tenant, RECONCILER)


async def test_said_again_the_tenant_is_driven_on_by_it(still: Shop) -> None:
    tenant = await stopped(still, GONE)

    assert await still.commands.start(LOCAL, raw(), tenant_id=tenant) == tenant
    record = await still.record(tenant)
    assert record.tenant.spec_damage == ()
    assert record.tenant.hold is not None, "who says it does not yet order that it go on"
    await still.proceed(tenant)
    await still.must_complete(tenant)

    companies = (await still.look())["documents"]["Company"]
    currencies = {each["name"]: each["default_currency"] for each in companies}
    assert currencies["Kijani Stores"] == "UGX"
    assert [line for line in await still.lines(tenant) if "said what could not be read" in line]


async def test_only_what_can_not_be_read_may_be_said_otherwise(still: Shop) -> None:
    tenant = await stopped(still, NO_CURRENCY)

    with pytest.raises(AlreadyExists, match="country_code is 'UG', not 'KE'"):
        await still.commands.start(LOCAL, raw(country_code="KE"), tenant_id=tenant)
    assert (await still.record(tenant)).tenant.spec_damage == ("currency",)
    await still.commands.start(LOCAL, raw(), tenant_id=tenant)
    with pytest.raises(AlreadyExists, match="currency is 'UGX', not 'USD'"):
        await still.commands.start(LOCAL, raw(currency="USD"), tenant_id=tenant)


async def test_while_a_run_is_open_that_has_read_it_it_is_not_changed(still: Shop) -> None:
    await still.open()
    tenant = await ordered(still)
    still.sql(GONE, tenant)
    with pytest.raises(Refused, match="in motion"):
        await still.commands.start(LOCAL, raw(), tenant_id=tenant)


async def test_the_order_to_say_it_again_is_one_order(still: Shop) -> None:
    tenant = await stopped(still, GONE)

    for _ in range(2):
        await still.commands.start(LOCAL, raw(), tenant_id=tenant, request_id="once")
    assert len([each for each in await still.lines(tenant) if "said what" in each]) == 1
    with pytest.raises(InvalidInput):
        await still.commands.start(LOCAL, raw(currency="USD"), tenant_id=tenant, request_id="once")


async def test_a_shop_is_removed_without_its_spec_and_begins_anew_with_it(shop: Shop) -> None:
    tenant = await shop.completed("Kijani Stores", **UGANDAN)
    shop.sql(GONE, tenant)
    await shop.commands.deprovision(
        LOCAL, tenant, OrderTerms(reason="a test"), options=UndoOptions()
    )
    assert await shop.rest(tenant) == [TenantState.DEPROVISIONED]

    await shop.commands.start(LOCAL, raw(), tenant_id=tenant)
    await shop.must_complete(tenant)
    assert (await shop.record(tenant)).tenant.spec_damage == ()


async def test_a_live_shop_is_not_made_over_by_defaults(shop: Shop) -> None:
    tenant = await shop.completed("Kijani Stores", **UGANDAN)
    writes, documents = await shop.writes(), await shop.documents()
    shop.sql(GONE, tenant)

    await shop.again(tenant)
    await shop.rest(tenant)

    assert (await shop.writes(), await shop.documents()) == (writes, documents)
    assert (await shop.record(tenant)).tenant.hold is not None


async def test_the_command_that_says_it_again_says_all_that_is_known(still: Shop) -> None:
    await still.open()
    tenant = await still.order(
        "Kijani & Sons", **UGANDAN, pos_store_enabled=False, payment_methods=("Cash", "Cheque")
    )
    still.sql(NO_CURRENCY, tenant)
    words = shlex.split(say_again((await still.record(tenant)).tenant))
    assert words[:5] == ["provisioner", "start", "Kijani & Sons", "--tenant-id", tenant]
    assert " ".join(words[5:]) == (
        "--engine main --country UG --currency CURRENCY --chart Standard "
        f"--till-user {TILL_USER} --payment Cash --payment Cheque --opening-amount 0 "
        "--no-demo-data --no-pos-store"
    )


async def test_nothing_is_compared_with_defaults(shop: Shop) -> None:
    tenant = await shop.completed("Kijani Stores", **UGANDAN)
    shop.sql(NO_CURRENCY, tenant)
    entries = {"main": EngineEntry(site=shop.store.engine.site, blueprint=ERPNEXT)}
    commands = Commands(
        shop.store.database,
        engines=entries,
        default_engine="main",
        now=now,
        adapters={"main": shop.store.engine},
    )
    with pytest.raises(Refused, match="currency can't be read"):
        await commands.adoption(LOCAL, tenant)
    prober = Prober(
        shop.store.database, {"main": shop.store.engine}, {ERPNEXT.name: ERPNEXT}, now=now
    )
    with pytest.raises(Refused, match="currency can't be read") as refusal:
        await prober.tenant(tenant)
    assert refusal.value.facts["next_command"].startswith("provisioner start 'Kijani Stores'")
