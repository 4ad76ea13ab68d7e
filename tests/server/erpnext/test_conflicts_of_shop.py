"""What stands in the way of a shop's prices, customer, means of payment and POS Profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.erpnext.codes import Code
from server.model.states import ErrorClass
from tests.server.erpnext.context import MemoryContext, drive, drive_step, kenyan
from tests.server.erpnext.driven import (
    CUSTOMER,
    FINAL,
    ITEMS,
    PROFILE,
    SETTINGS,
    TILL,
    WAREHOUSES,
    refused,
    stopped,
    up_to,
)
from tests.server.erpnext.sitework import (
    TILL_USER,
    add_company,
    add_row,
    add_till_user,
    document,
    fault,
)

if TYPE_CHECKING:
    from server.erpnext.client import ErpNextEngine
    from server.standin.app import StandIn


@pytest.mark.parametrize(("field", "value"), [("currency", "UGX"), ("enabled", 0), ("selling", 0)])
async def test_a_price_list_that_is_not_as_needed_is_never_changed(
    site: StandIn, engine: ErpNextEngine, field: str, value: object
) -> None:
    context = await up_to(engine, CUSTOMER)
    document(site, "Price List", "Retail MNT")[field] = value
    assert (await stopped(context, SETTINGS)).code == Code.DOCUMENT_DIFFERS


# step_6 and step_7


async def test_a_demo_item_in_another_group_is_a_conflict(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, CUSTOMER, include_demo_data=True)
    document(site, "Item", "DEMO-MNT-002")["item_group"] = "Products"
    assert (await stopped(context, ITEMS)).code == Code.DOCUMENT_DIFFERS


async def test_only_the_demo_items_that_are_missing_are_made(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, CUSTOMER, include_demo_data=True)
    price = next(
        each for each in site.site.every("Item Price") if each["item_code"] == "DEMO-MNT-003"
    )
    site.site.remove(price)
    await drive_step(context, ITEMS)
    assert [request.doctype for request in context.writes] == ["Item Price"]


async def test_a_disabled_walk_in_customer_is_a_conflict(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, PROFILE)
    document(site, "Customer", "Walk-In Customer - MNT")["disabled"] = 1
    assert (await stopped(context, CUSTOMER)).code == Code.DOCUMENT_DIFFERS


# step_8


@pytest.mark.parametrize("account", ["Bank Accounts - MNT", "Debtors - MNT"])
async def test_a_payment_row_on_a_group_or_a_wrong_type_is_named(
    engine: ErpNextEngine, account: str
) -> None:
    context = await up_to(engine, PROFILE)
    await add_row(engine, "M-Pesa", context.spec.company_name, account)
    error = await stopped(context, PROFILE)
    assert error.code == Code.PAYMENT_ACCOUNT_WRONG
    assert account in error.message


async def test_a_payment_row_that_people_set_to_another_leaf_is_kept(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, PROFILE)
    await add_row(engine, "M-Pesa", context.spec.company_name, "Cash - MNT")
    await drive_step(context, PROFILE)
    assert [request.doctype for request in context.writes] == ["POS Profile"]


async def test_a_payment_account_that_is_gone_is_not_put_into_a_row(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, PROFILE)
    site.site.remove(document(site, "Account", "M-Pesa - MNT"))
    assert (await stopped(context, PROFILE)).code == Code.PAYMENT_ACCOUNT_WRONG


async def test_a_payment_row_that_met_another_writer_is_a_race(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, PROFILE)
    await fault(
        site,
        method="POST",
        doctype="frappe.client.insert",
        status=417,
        exc_type="TimestampMismatchError",
    )
    error = await refused(context, PROFILE)
    assert (error.error_class, error.code) == (ErrorClass.RACE, Code.DOCUMENT_CHANGED)
    await drive_step(context, PROFILE)


async def test_a_lost_answer_to_a_payment_row_makes_no_second_one(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, PROFILE)
    await fault(site, method="POST", doctype="frappe.client.insert", when="after", action="cut")
    assert (await refused(context, PROFILE)).code == Code.OUTCOME_UNKNOWN
    await drive_step(context, PROFILE)
    rows = document(site, "Mode of Payment", "M-Pesa")["accounts"]
    assert len(rows) == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("warehouse", "All Warehouses - MNT"),
        ("currency", "UGX"),
        ("selling_price_list", "Standard Selling"),
        ("write_off_account", "Write Off - BC"),
        ("write_off_cost_center", "Main - BC"),
        ("disabled", 1),
        ("payments", []),
    ],
)
async def test_a_profile_that_is_not_as_needed_says_what_it_has_and_should_have(
    site: StandIn, engine: ErpNextEngine, field: str, value: object
) -> None:
    context = await up_to(engine, TILL)
    document(site, "POS Profile", "POS MNT")[field] = value
    error = await stopped(context, PROFILE)
    assert error.code == Code.POS_PROFILE_DIFFERS
    if isinstance(value, str):
        assert f"{field} is {value!r}, wanted" in error.message


async def test_a_profile_that_lacks_a_means_of_payment_says_which_it_has(
    site: StandIn, engine: ErpNextEngine
) -> None:
    """A profile of the old system with Cash alone was said to have none at all."""
    context = await up_to(engine, TILL)
    profile = document(site, "POS Profile", "POS MNT")
    profile["payments"] = [row for row in profile["payments"] if row["mode_of_payment"] == "Cash"]
    error = await stopped(context, PROFILE)
    assert "payments is 'Cash', wanted 'Cash, M-Pesa'" in error.message


@pytest.mark.parametrize(
    ("field", "doctype", "name"),
    [
        ("write_off_account", "Account", "Round Off - MNT"),
        ("write_off_cost_center", "Cost Center", "Shop - MNT"),
    ],
)
async def test_where_a_shop_writes_off_is_its_own_business(
    site: StandIn, engine: ErpNextEngine, field: str, doctype: str, name: str
) -> None:
    """A default that was changed in the Company stopped the retry of a shop that sells."""
    context = await up_to(engine, TILL)
    used = document(site, "POS Profile", "POS MNT")[field]
    if site.site.find(doctype, name) is None:
        site.site.add({**document(site, doctype, used), "name": name})
    default = "cost_center" if doctype == "Cost Center" else field
    document(site, "Company", context.spec.company_name)[default] = name
    await drive(context, "step_2_company")
    await drive_step(context, PROFILE)
    assert not context.writes

    # It must be a leaf of the Company all the same.
    for value in ({"is_group": 1}, {"is_group": 0, "company": "Base Company"}):
        document(site, doctype, used).update(value)
        error = await stopped(context, PROFILE)
        assert error.code == Code.POS_PROFILE_DIFFERS
        assert f"{field} is {used!r}, wanted {name!r}" in error.message


async def test_a_profile_of_our_name_and_another_company_is_a_conflict(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, TILL)
    document(site, "POS Profile", "POS MNT")["company"] = "Base Company"
    error = await refused(context, PROFILE)
    assert error.code == Code.DOCUMENT_NOT_OURS
    assert "Base Company" in error.message


async def test_a_till_user_with_another_default_profile_keeps_it(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await add_till_user(engine)
    context = await up_to(engine, PROFILE, till_user=TILL_USER)
    await fault(
        site,
        method="POST",
        doctype="POS Profile",
        status=417,
        exc_type="ValidationError",
        message="Already set default in pos profile X for user Y, kindly disabled default",
    )
    await drive_step(context, PROFILE)
    rows = document(site, "POS Profile", "POS MNT")["applicable_for_users"]
    assert [(row["user"], row["default"]) for row in rows] == [(TILL_USER, 0)]


async def test_a_till_user_who_does_not_exist_is_named(engine: ErpNextEngine) -> None:
    context = await up_to(engine, PROFILE, till_user="nobody@example.com")
    error = await refused(context, PROFILE)
    assert error.code == Code.REFERENCE_MISSING
    assert "nobody@example.com" in error.message


async def test_a_usable_legacy_profile_is_adopted_and_a_useless_one_is_not(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, TILL)
    profile = document(site, "POS Profile", "POS MNT")
    site.site.remove(profile)
    legacy = "Default POS Profile - POS Store - MNT"
    site.site.add({**profile, "name": legacy})
    await drive_step(context, PROFILE)
    assert context.outputs(PROFILE)["pos_profile"] == legacy
    assert not context.writes

    document(site, "POS Profile", legacy)["warehouse"] = "All Warehouses - MNT"
    await drive_step(context, PROFILE)
    assert context.outputs(PROFILE)["pos_profile"] == "POS MNT"
    assert legacy in context.found[PROFILE].notes[0]


async def test_a_profile_only_for_others_is_noted(site: StandIn, engine: ErpNextEngine) -> None:
    await add_till_user(engine)
    context = await up_to(engine, TILL, till_user=TILL_USER)
    row = document(site, "POS Profile", "POS MNT")["applicable_for_users"][0]
    row["user"] = "somebody@example.com"
    await drive_step(context, PROFILE)
    assert TILL_USER in context.found[PROFILE].notes[0]


# step_10


async def test_the_final_check_names_every_required_step_that_differs(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, TILL)
    document(site, "Price List", "Retail MNT")["enabled"] = 0
    site.site.remove(document(site, "Customer", "Walk-In Customer - MNT"))
    error = await stopped(context, FINAL)
    assert error.code == Code.FINAL_CHECK_FAILED
    assert SETTINGS in error.message
    assert CUSTOMER in error.message
    assert WAREHOUSES not in error.message


async def test_the_final_check_only_names_optional_steps_that_are_not_done(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await add_till_user(engine)
    context = await up_to(engine, TILL, till_user=TILL_USER)
    await drive_step(context, FINAL)
    notes = context.found[FINAL].notes
    assert len(notes) == 1
    assert notes[0].startswith(TILL)


async def test_the_final_check_leaves_an_outage_to_the_executor(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, TILL)
    await fault(site, method="GET", doctype="Price List", status=503, exc_type="SessionStopped")
    assert (await refused(context, FINAL)).error_class is ErrorClass.TRANSIENT


async def test_another_tenants_company_keeps_its_documents(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await add_company(engine, "Other Shop", "OS")
    before = [
        dict(each) for each in site.site.every("Warehouse") if each["company"] == "Other Shop"
    ]
    await drive(MemoryContext(engine=engine, spec=kenyan()))
    after = [each for each in site.site.every("Warehouse") if each["company"] == "Other Shop"]
    assert [each["name"] for each in after] == [each["name"] for each in before]
