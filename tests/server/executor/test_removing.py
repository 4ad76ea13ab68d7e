"""Deprovision: what we made goes, in the engine's order, and nothing else; through outages too.

Shops that sold or opened a till are in test_removing_used_shops; what people renamed, deleted or
made anew beside us is in test_removing_beside_people.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from server.commands import OrderTerms
from server.erpnext.codes import Code
from server.erpnext.seeing import conflict
from server.erpnext.timeouts import Timeouts
from server.erpnext.undo import removing
from server.erpnext.undo.final_check import NothingIsLeft
from server.executor import quarantine
from server.model.actor import LOCAL
from server.model.states import ResourceState, TenantState
from server.validation import RawSpec
from tests.server.executor.removals import NAME, made_by_tenant, removed
from tests.server.executor.scene import PATIENCE_SECONDS, TILL_USER, WHOLE, now

if TYPE_CHECKING:
    import pytest

    from server.model.step_context import Found
    from tests.server.executor.scene import Shop


async def test_what_we_made_is_removed_and_the_same_spec_makes_it_anew(shop: Shop) -> None:
    before = await shop.documents()
    tenant = await shop.completed(NAME, include_demo_data=True)
    shared = await shop.documents()
    await removed(shop, tenant)
    assert not await made_by_tenant(shop)
    after = await shop.documents()
    # What tenants share stays: years, means of payment.
    for doctype in ("Fiscal Year", "Mode of Payment"):
        assert after[doctype] == shared[doctype]
    assert after["Company"] == before["Company"]
    assert shop.sql("SELECT count(*) FROM bindings") == [(0,)]
    states = {row[0] for row in shop.sql("SELECT state FROM resources WHERE NOT shared")}
    assert states == {ResourceState.REMOVED}
    assert (await shop.lines(tenant))[-1].endswith("Nothing of it is left at the engine.")
    raw = RawSpec(company_name=NAME, include_demo_data=True, till_user=TILL_USER)
    assert await shop.commands.start(LOCAL, raw, tenant_id=tenant) == tenant
    await shop.must_complete(tenant)
    assert await shop.belongings(NAME) == WHOLE
    assert (await shop.record(tenant)).tenant.first_completed_at is not None


async def test_a_removal_repeated_finds_nothing_and_changes_nothing(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    await removed(shop, tenant)
    writes, runs = await shop.writes(), shop.sql("SELECT count(*) FROM runs")
    await removed(shop, tenant)
    assert (await shop.writes(), shop.sql("SELECT count(*) FROM runs")) == (writes, runs)


async def test_a_new_life_is_no_live_shop_and_has_no_company_that_vanished(shop: Shop) -> None:
    """Promise 8 protects a shop that was COMPLETED; a removed one is none any more."""
    tenant = await shop.completed(NAME)
    await removed(shop, tenant)
    await shop.faults({"method": "POST", "doctype": "Company", "status": 417, "times": 1})
    raw = RawSpec(company_name=NAME, till_user=TILL_USER)
    await shop.commands.start(LOCAL, raw, tenant_id=tenant)
    await shop.rest(tenant)
    assert (await shop.record(tenant)).tenant.first_completed_at is None
    await shop.proceed(tenant)
    await shop.must_complete(tenant)
    assert await shop.belongings(NAME) == WHOLE


async def test_a_removal_that_stopped_half_way_is_taken_back(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    await shop.faults({"method": "DELETE", "doctype": "Company", "status": 417})
    await shop.remove(tenant)
    assert await shop.rest(tenant) == [TenantState.DEPROVISIONING]
    assert (await made_by_tenant(shop))["POS Profile"] == 0
    await shop.faults()
    await shop.commands.cancel(LOCAL, tenant, OrderTerms(reason="another shop was meant"))
    # Its answer was lost: it is given again, and nothing happens twice.
    await shop.commands.cancel(LOCAL, tenant, OrderTerms(reason="another shop was meant"))
    assert await shop.rest(tenant) == [TenantState.CANCELLED]
    await shop.proceed(tenant)
    await shop.must_complete(tenant)
    # But the till: people open those of a shop that was in use.
    assert await shop.belongings(NAME) == WHOLE - Counter(["POS Opening Entry"])


async def test_a_removal_is_taken_back_though_the_company_is_gone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What we removed ourselves did not vanish: nobody need look where it went."""

    async def stops(_step: NothingIsLeft, _context: object) -> Found:
        raise conflict(Code.STILL_LINKED, "Something is left.")

    tenant = await shop.completed(NAME)
    with monkeypatch.context() as patched:
        patched.setattr(NothingIsLeft, "probe", stops)
        await shop.remove(tenant)
        assert await shop.rest(tenant) == [TenantState.DEPROVISIONING]
    assert not await made_by_tenant(shop)
    await shop.commands.cancel(LOCAL, tenant, OrderTerms(reason="another shop was meant"))
    assert await shop.rest(tenant) == [TenantState.CANCELLED]
    await shop.proceed(tenant)
    await shop.must_complete(tenant)
    assert await shop.belongings(NAME) == WHOLE - Counter(["POS Opening Entry"])


async def test_what_was_there_before_stays(shop: Shop) -> None:
    """Only CREATED is ever deleted."""
    tenant = await shop.completed(NAME)
    shop.sql("UPDATE resources SET state = 'ADOPTED' WHERE doctype IN ('Company', 'Customer')")
    await removed(shop, tenant)
    held = (await shop.look())["documents"]
    assert NAME in [each["name"] for each in held["Company"]]
    assert "Walk-In Customer - KS" in [each["name"] for each in held["Customer"]]
    assert not held.get("POS Profile")
    # Made by us inside a Company that is not: warehouses go, payment rows and accounts stay.
    assert "Main Store - KS" not in [each["name"] for each in held["Warehouse"]]
    assert "Stores - KS" in [each["name"] for each in held["Warehouse"]]
    assert any("Left at the engine" in line for line in await shop.lines(tenant))


async def test_a_tenant_for_which_nothing_was_made_is_removed_too(shop: Shop) -> None:
    await shop.faults(
        {"method": "POST", "doctype": "Company", "status": 417, "exc_type": "ValidationError"}
    )
    tenant = await shop.order(NAME)
    assert await shop.rest(tenant) == [TenantState.FAILED]
    await shop.faults()
    await removed(shop, tenant)
    assert not await shop.belongings(NAME)


async def test_an_outage_in_the_middle_of_a_removal_costs_nothing(shop: Shop) -> None:
    """Promise 6."""
    tenant = await shop.completed(NAME)
    await shop.faults({"method": "DELETE", "doctype": "Customer", "status": 503, "times": 1})
    await removed(shop, tenant)
    assert not await made_by_tenant(shop)


async def test_a_removal_goes_on_where_a_dead_worker_left_it(still: Shop) -> None:
    first = await still.drive()
    tenant = await still.completed(NAME)
    gone = still.site.arrivals("DELETE", "POS Profile")
    await still.faults({"method": "DELETE", "doctype": "POS Profile", "hang_seconds": 60})
    await still.remove(tenant)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await still.site.arrived("DELETE", "POS Profile", gone + 1)
    await still.leave(first)
    await still.faults()
    still.site.hurry()
    # The next worker comes when the time of the request without an answer is over: until then
    # nothing of the tenant is removed (test_quarantine).
    over = timedelta(seconds=removing.REMOVE_SECONDS + quarantine.GRACE_SECONDS + 1)
    await still.drive(clock=lambda: now() + over)
    await still.rest(tenant)
    assert await still.state(tenant) is TenantState.DEPROVISIONED
    assert not await made_by_tenant(still)
    # What the dead worker may have deleted was not somebody else.
    assert (await still.lines(tenant))[-1].endswith("Nothing of it is left at the engine.")


async def test_what_a_slow_engine_may_still_make_is_waited_for_before_it_is_called_gone(
    shop: Shop,
) -> None:
    """The engines file may allow five minutes for an answer; what came later stayed for ever."""
    shop.store.engine._timeouts = Timeouts(seconds=300.0)
    await shop.faults({"method": "POST", "doctype": "Price List", "cut": "before", "times": None})
    tenant = await shop.order(NAME)
    assert await shop.rest(tenant) == [TenantState.FAILED]
    await shop.faults()
    ordered = now()
    await shop.remove(tenant)
    await shop.until_waiting(tenant, "RETRY")
    run = (await shop.record(tenant)).run
    assert run is not None
    assert run.waiting_for is not None
    assert run.waiting_for.until is not None
    assert "may still be made" in run.waiting_for.message
    assert run.waiting_for.until >= ordered + timedelta(seconds=300)


async def test_a_removal_that_stands_in_line_has_nothing_out(shop: Shop) -> None:
    """Else it would wait for minutes for its own request, whenever its worker died in line."""
    first, second = await shop.completed(NAME), await shop.completed("Patient Traders")
    await shop.faults({"method": "DELETE", "doctype": "POS Opening Entry", "hang_seconds": 600})
    await shop.remove(first)
    await shop.site.arrived("DELETE", "POS Opening Entry")
    await shop.remove(second)
    await shop.until_waiting(second, "SITE_SLOT")
    busy = "SELECT DISTINCT tenant_id FROM resources WHERE busy_until IS NOT NULL"
    assert shop.sql(busy) == [(first,)]

    shop.site.hurry()
    assert await shop.rest(first, second) == [TenantState.DEPROVISIONED] * 2
