"""The healer does no harm: what is gone is not made again, what is another's is not taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.commands import OrderTerms
from server.errors import Refused
from server.model.actor import RECONCILER
from server.model.states import LogLevel, StepState, TenantState
from server.standin.naming import fold
from tests.server.executor.scene import COMPANY, TILL, WAREHOUSE, WHOLE
from tests.server.executor.test_lost_records import damage

if TYPE_CHECKING:
    from tests.server.executor.scene import Shop

NAME = "Kijani Stores"


def delete_company(shop: Shop, name: str = NAME) -> None:
    """Lose a Company as a restored backup of the site would."""
    documents = shop.site.site.documents
    for doctype, held in documents.items():
        for key in [k for k, each in held.items() if each.get("company") == name]:
            del documents[doctype][key]
    for mode in documents["Mode of Payment"].values():
        mode["accounts"] = [row for row in mode["accounts"] if row["company"] != name]
    company = next(key for key, each in documents["Company"].items() if each["name"] == name)
    del documents["Company"][company]


def rename_company(shop: Shop, new: str, old: str = NAME) -> None:
    """Rename a Company as the desk does: what belongs to it follows, its abbreviation stays."""
    documents = shop.site.site.documents
    for held in documents.values():
        for each in held.values():
            if each.get("company") == old:
                each["company"] = new
    for mode in documents["Mode of Payment"].values():
        for row in mode["accounts"]:
            row["company"] = new if row["company"] == old else row["company"]
    companies = documents["Company"]
    (key,) = (key for key, each in companies.items() if each["name"] == old)
    companies[fold(new)] = {**companies.pop(key), "name": new, "company_name": new}


@pytest.mark.parametrize("waits_at", ["Warehouse", "Customer", "POS Profile", "POS Opening Entry"])
async def test_a_company_that_is_renamed_in_the_middle_of_a_run_is_named(
    shop: Shop, waits_at: str
) -> None:
    """The run stopped at what it met next, with the advice to make that, or to correct it."""
    await shop.faults({"method": "POST", "doctype": waits_at, "hang_seconds": 600})
    tenant = await shop.order(NAME)
    await shop.site.arrived("POST", waits_at)
    rename_company(shop, "Kijani Groceries")
    shop.site.hurry()
    await shop.rest(tenant)
    assert shop.sql("SELECT error_code FROM tenants") == [("COMPANY_RENAMED",)]
    hold = (await shop.record(tenant)).tenant.hold
    assert hold is not None
    assert "is called 'Kijani Groceries' in ERPNext now" in hold.reason
    assert hold.reason.endswith(f"provisioner continue {tenant}")
    # As it says.
    await shop.faults()
    rename_company(shop, NAME, "Kijani Groceries")
    await shop.proceed(tenant)
    await shop.must_complete(tenant)
    assert await shop.belongings(NAME) == WHOLE


async def test_a_company_that_is_deleted_in_the_middle_of_a_run_is_told_of_as_gone(
    shop: Shop,
) -> None:
    await shop.faults({"method": "POST", "doctype": "Warehouse", "hang_seconds": 600})
    tenant = await shop.order(NAME)
    await shop.site.arrived("POST", "Warehouse")
    delete_company(shop)
    shop.site.hurry()
    await shop.rest(tenant)
    assert shop.sql("SELECT error_code FROM tenants") == [("COMPANY_VANISHED",)]
    assert (await shop.record(tenant)).tenant.hold is not None


async def test_no_order_makes_a_company_beside_one_that_was_renamed(shop: Shop) -> None:
    """It would have had another abbreviation, and nothing had led to the first any more."""
    tenant = await shop.completed(NAME)
    rename_company(shop, "Kijani Groceries")
    writes = await shop.writes()
    for order in ("", COMPANY):
        await shop.again(tenant, step_key=order)
        assert await shop.rest(tenant) == [TenantState.FAILED]
        assert shop.sql("SELECT error_code FROM tenants") == [("COMPANY_RENAMED",)]
    assert await shop.writes() == writes
    rename_company(shop, NAME, "Kijani Groceries")
    await shop.proceed(tenant)
    await shop.must_complete(tenant)
    assert await shop.writes() == writes


async def test_the_new_name_of_a_company_is_asked_for_once(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    rename_company(shop, "Kijani Groceries")
    lists_before = await lists_of_companies(shop)
    await shop.again(tenant, step_key=COMPANY)
    await shop.rest(tenant)
    assert await lists_of_companies(shop) - lists_before == 1


async def lists_of_companies(shop: Shop) -> int:
    """Count the answers about Companies so far that were no 404."""
    return sum(
        row["count"]
        for row in (await shop.look())["requests"]
        if (row["method"], row["doctype"], row["status"]) == ("GET", "Company", 200)
    )


async def test_a_vanished_company_is_not_made_again_by_the_reconciler(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    delete_company(shop)
    writes = await shop.writes()

    await shop.again(tenant, RECONCILER)
    assert await shop.rest(tenant) == [TenantState.FAILED]

    assert await shop.writes() == writes
    record = await shop.record(tenant)
    assert record.tenant.hold is not None
    assert "gone" in record.tenant.hold.reason
    assert f"provisioner retry {tenant} --step step_2_company" in record.tenant.hold.reason
    assert shop.sql("SELECT error_code FROM tenants") == [("COMPANY_VANISHED",)]
    with pytest.raises(Refused, match="held"):
        await shop.commands.continue_(RECONCILER, tenant, OrderTerms())


async def test_a_person_may_have_a_vanished_company_made_anew_but_no_till(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    delete_company(shop)
    await shop.again(tenant, RECONCILER)
    await shop.rest(tenant)

    await shop.again(tenant, step_key=COMPANY)
    await shop.must_complete(tenant)

    record = await shop.record(tenant)
    found = await shop.belongings(NAME)
    assert found["Company"] == 1
    assert found["POS Opening Entry"] == 0
    till = next(step for step in record.steps if step.key == TILL)
    assert till.state is StepState.SKIPPED


async def test_a_retry_of_another_step_makes_no_vanished_company(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    delete_company(shop)
    await shop.again(tenant)
    assert await shop.rest(tenant) == [TenantState.FAILED]
    writes = await shop.writes()

    await shop.again(tenant, step_key=WAREHOUSE)
    assert await shop.rest(tenant) == [TenantState.FAILED]

    record = await shop.record(tenant)
    named = next(step for step in record.steps if step.key == COMPANY)
    assert (named.carried_from, named.error_code) == (None, "COMPANY_VANISHED")
    assert any(step.carried_from is not None for step in record.steps)
    assert await shop.writes() == writes


async def test_a_retry_of_all_steps_makes_no_vanished_company(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    delete_company(shop)
    writes = await shop.writes()

    await shop.again(tenant)
    assert await shop.rest(tenant) == [TenantState.FAILED]

    assert await shop.writes() == writes
    assert shop.sql("SELECT error_code FROM tenants") == [("COMPANY_VANISHED",)]


async def test_continue_lifts_a_hold_and_makes_no_vanished_company(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    delete_company(shop)
    writes = await shop.writes()
    await shop.again(tenant, RECONCILER)
    await shop.rest(tenant)

    await shop.proceed(tenant)
    assert await shop.rest(tenant) == [TenantState.FAILED]

    assert await shop.writes() == writes
    assert shop.sql("SELECT error_code FROM tenants") == [("COMPANY_VANISHED",)]


async def test_the_final_check_holds_a_shop_whose_company_is_gone_too(shop: Shop) -> None:
    """Where it is all that is left to do, the steps before are carried over."""
    tenant = await shop.completed(NAME)
    delete_company(shop)
    await shop.again(tenant, step_key="step_10_post_sale_updates")
    assert await shop.rest(tenant) == [TenantState.PARTIAL]
    assert (await shop.record(tenant)).tenant.hold is not None
    assert shop.sql("SELECT error_code FROM tenants") == [("COMPANY_VANISHED",)]


async def test_a_lost_record_of_a_vanished_company_is_held_too(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    delete_company(shop)
    damage(shop, tenant)
    writes = await shop.writes()

    await shop.proceed(tenant, RECONCILER)
    assert await shop.rest(tenant) == [TenantState.FAILED]
    assert await shop.writes() == writes
    assert (await shop.record(tenant)).tenant.hold is not None


async def test_a_company_that_is_not_provably_ours_is_not_taken(shop: Shop) -> None:
    """Somebody made a Company of that name before the tenant was ordered."""
    stranger = await shop.completed(NAME)
    for table in ("bindings", "resources", "steps", "runs", "attempts", "log_entries"):
        shop.sql(f"DELETE FROM {table} WHERE tenant_id = ?", stranger)  # noqa: S608 - ours
    shop.sql("DELETE FROM tenants WHERE id = ?", stranger)
    documents = await shop.documents()

    tenant = await shop.order(NAME)
    assert await shop.rest(tenant) == [TenantState.FAILED]

    assert shop.sql("SELECT error_code FROM tenants") == [("COMPANY_NOT_OURS",)]
    assert await shop.documents() == documents
    outcomes = await shop.outcomes(tenant)
    assert outcomes[COMPANY] == ["FAILED"]
    binding = await shop.store.database.reads.binding(tenant)
    assert binding is not None
    assert binding.abbreviation is None


async def test_a_finished_shop_is_looked_at_without_opening_a_till_again(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    entries = shop.site.site.documents["POS Opening Entry"]
    entries.clear()

    await shop.again(tenant, RECONCILER)
    await shop.must_complete(tenant)

    assert len(entries) == 0
    till = next(step for step in (await shop.record(tenant)).steps if step.key == TILL)
    assert till.state is StepState.SKIPPED


async def test_it_is_said_that_a_document_is_made_again_which_may_have_been_renamed(
    shop: Shop,
) -> None:
    """A retry makes what is missing, and nothing tells a renamed one from a deleted one."""
    tenant = await shop.completed(NAME)
    name = "Walk-In Customer - KS"
    assert not any("made again" in line for line in await shop.lines(tenant))
    customers = shop.site.site.documents["Customer"]
    (key,) = (key for key, each in customers.items() if each["name"] == name)
    customers["counter"] = {**customers.pop(key), "name": "Counter"}
    await shop.again(tenant)
    await shop.must_complete(tenant)
    (line,) = await shop.lines(tenant, LogLevel.WARNING)
    assert line == (
        f"step_7_customer: Customer {name!r} was there before and is not any more, so it is made "
        "again. If somebody renamed it, that one is still there, under its new name."
    )
