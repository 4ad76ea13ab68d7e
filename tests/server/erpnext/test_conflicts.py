"""What stands in the way is named, never taken and never overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.erpnext.codes import Code
from server.erpnext.requests import make
from server.errors import EngineError
from server.model.states import ErrorClass
from tests.server.erpnext.context import MemoryContext, drive, drive_step, kenyan
from tests.server.erpnext.sitework import (
    TILL_USER,
    add_company,
    add_row,
    add_till_user,
    document,
    fault,
    names,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.erpnext.client import ErpNextEngine
    from server.standin.app import StandIn

CHART = "step_3_chart_of_accounts"
WAREHOUSES = "step_4_warehouses"
SETTINGS = "step_5_settings"
ITEMS = "step_6_items"
CUSTOMER = "step_7_customer"
PROFILE = "step_8_pos_profile"
TILL = "step_9_pos_session"
FINAL = "step_10_post_sale_updates"
ORDER = (
    "step_0_engine_check",
    "step_1_platform_setup",
    "step_2_company",
    CHART,
    WAREHOUSES,
    SETTINGS,
    ITEMS,
    CUSTOMER,
    PROFILE,
    TILL,
)


async def up_to(engine: ErpNextEngine, key: str, **changes: object) -> MemoryContext:
    """Drive a tenant up to a step, that one left out."""
    context = MemoryContext(engine=engine, spec=kenyan(**changes))
    await drive(context, *ORDER[: ORDER.index(key)])
    context.sent.clear()
    return context


async def refused(context: MemoryContext, key: str) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await drive_step(context, key)
    return caught.value


async def stopped(context: MemoryContext, key: str) -> EngineError:
    """Expect a conflict, and that nothing was written because of it."""
    error = await refused(context, key)
    assert error.error_class is ErrorClass.PERMANENT
    assert not context.writes
    return error


# step_1


async def test_masters_that_are_missing_are_made_and_roots_are_not(
    site: StandIn, engine: ErpNextEngine
) -> None:
    for doctype, name in (
        ("Warehouse Type", "Transit"),
        ("UOM", "Nos"),
        ("Customer Group", "Individual"),
    ):
        site.site.remove(document(site, doctype, name))
    context = MemoryContext(engine=engine, spec=kenyan())
    await drive(context, *ORDER[:2])
    assert document(site, "UOM", "Nos")["must_be_whole_number"] == 1
    group = document(site, "Customer Group", "Individual")
    assert group["parent_customer_group"] == "All Customer Groups"
    assert all(intent.shared for intent in context.intents)
    assert context.outputs("step_1_platform_setup")["site_identity"]


@pytest.mark.parametrize(
    ("doctype", "name"), [("Item Group", "All Item Groups"), ("Territory", "All Territories")]
)
async def test_a_site_without_its_roots_was_not_set_up(
    site: StandIn, engine: ErpNextEngine, doctype: str, name: str
) -> None:
    site.site.remove(document(site, doctype, name))
    spec = kenyan(country_code="UG", currency="UGX")  # so that the root Territory is needed
    context = MemoryContext(engine=engine, spec=spec)
    await drive(context, ORDER[0])
    assert (await stopped(context, ORDER[1])).code == Code.SITE_NOT_SET_UP


async def test_a_disabled_fiscal_year_over_today_is_for_an_operator(
    site: StandIn, engine: ErpNextEngine
) -> None:
    document(site, "Fiscal Year", "2026")["disabled"] = 1
    context = MemoryContext(engine=engine, spec=kenyan())
    await drive(context, ORDER[0])
    error = await stopped(context, ORDER[1])
    assert error.code == Code.FISCAL_YEAR_OVERLAPS
    assert "'2026'" in error.message


async def test_a_fiscal_year_for_another_company_is_not_ours(
    site: StandIn, engine: ErpNextEngine
) -> None:
    year = document(site, "Fiscal Year", "2026")
    rows: list[Mapping[str, object]] = [{"company": "Base Company"}]
    year["companies"] = site.site.table(year, "companies", rows)
    context = MemoryContext(engine=engine, spec=kenyan())
    await drive(context, ORDER[0])
    assert (await stopped(context, ORDER[1])).code == Code.FISCAL_YEAR_OVERLAPS


async def test_a_later_year_in_the_way_is_only_noted(site: StandIn, engine: ErpNextEngine) -> None:
    body = {
        "year": "2027",
        "year_start_date": "2027-01-01",
        "year_end_date": "2027-12-31",
        "disabled": 1,
    }
    await engine.send(make("Fiscal Year", "2027", body))
    context = MemoryContext(engine=engine, spec=kenyan())
    await drive(context, *ORDER[:2])
    assert "'2027'" in context.found[ORDER[1]].notes[0]
    assert "2028" in names(site, "Fiscal Year")


async def test_a_year_that_overlaps_after_all_is_looked_at_again(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await fault(site, method="POST", doctype="Fiscal Year", status=409, exc_type="NameError")
    context = MemoryContext(engine=engine, spec=kenyan())
    with pytest.raises(AssertionError, match="2027"):  # the executor's second look
        await drive(context, *ORDER[:2])
    assert any("2027" in note for note in context.notes)


async def test_a_disabled_means_of_payment_is_shared_and_stays(
    site: StandIn, engine: ErpNextEngine
) -> None:
    document(site, "Mode of Payment", "Cash")["enabled"] = 0
    context = MemoryContext(engine=engine, spec=kenyan())
    await drive(context, *ORDER[:2])
    assert "Cash" in context.found[ORDER[1]].notes[0]


# step_3


async def test_a_company_without_accounts_is_for_an_operator(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, CHART)
    for account in site.site.every("Account"):
        if account["company"] == context.spec.company_name:
            site.site.remove(account)
    assert (await stopped(context, CHART)).code == Code.CHART_MISSING


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("write_off_account", ""),
        ("write_off_account", "Write Off - BC"),
        ("default_cash_account", "Nothing - MNT"),
        ("cost_center", "Main - BC"),
    ],
)
async def test_a_default_that_is_unset_or_of_another_company_is_named(
    site: StandIn, engine: ErpNextEngine, field: str, value: str
) -> None:
    context = await up_to(engine, CHART)
    document(site, "Company", context.spec.company_name)[field] = value
    await drive(context, "step_2_company")
    error = await stopped(context, CHART)
    assert error.code == Code.COMPANY_DEFAULT_MISSING
    assert field in error.message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("is_group", 1),
        ("disabled", 1),
        ("account_type", "Receivable"),
        ("account_currency", "UGX"),
    ],
)
async def test_an_account_that_is_not_as_needed_is_a_conflict(
    site: StandIn, engine: ErpNextEngine, field: str, value: object
) -> None:
    context = await up_to(engine, WAREHOUSES)
    document(site, "Account", "M-Pesa - MNT")[field] = value
    assert (await stopped(context, CHART)).code == Code.DOCUMENT_DIFFERS


async def test_an_account_of_the_name_that_is_another_companys_names_both(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, WAREHOUSES)
    document(site, "Account", "M-Pesa - MNT")["company"] = "Base Company"
    error = await refused(context, CHART)
    assert error.code == Code.DOCUMENT_NOT_OURS
    assert "'Base Company', wanted 'Mama Njeri Traders'" in error.message
    # What was asked for in vain was refused as there already.
    assert document(site, "Account", "M-Pesa - MNT")["company"] == "Base Company"


async def test_a_chart_without_a_bank_group_is_for_an_operator(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, CHART)
    document(site, "Account", "Bank Accounts - MNT")["account_type"] = ""
    assert (await stopped(context, CHART)).code == Code.CHART_MISSING


async def test_a_bank_group_of_another_name_is_found_by_its_type(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, CHART)
    group = document(site, "Account", "Bank Accounts - MNT")
    site.site.remove(group)
    site.site.add({**group, "name": "1200 - Bank Accounts - MNT"})
    await drive_step(context, CHART)
    assert document(site, "Account", "M-Pesa - MNT")["parent_account"].startswith("1200")


# step_4


@pytest.mark.parametrize(
    ("field", "value"),
    [("is_group", 1), ("disabled", 1), ("parent_warehouse", "All Warehouses - BC")],
)
async def test_a_warehouse_that_is_not_as_needed_is_a_conflict(
    site: StandIn, engine: ErpNextEngine, field: str, value: object
) -> None:
    context = await up_to(engine, SETTINGS)
    document(site, "Warehouse", "POS Store - MNT")[field] = value
    error = await stopped(context, WAREHOUSES)
    assert error.code == Code.DOCUMENT_DIFFERS
    assert "POS Store - MNT" in error.message


async def test_a_warehouse_of_our_name_and_another_company_is_told_after_the_answer(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, SETTINGS)
    document(site, "Warehouse", "Main Store - MNT")["company"] = "Base Company"
    error = await refused(context, WAREHOUSES)
    assert error.code == Code.DOCUMENT_NOT_OURS
    assert "Base Company" in error.message


async def test_a_root_warehouse_in_another_language_is_found(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, WAREHOUSES)
    root = document(site, "Warehouse", "All Warehouses - MNT")
    site.site.remove(root)
    site.site.add({**root, "name": "Tous les entrepôts - MNT"})
    await drive_step(context, WAREHOUSES)
    store = document(site, "Warehouse", "Main Store - MNT")
    assert store["parent_warehouse"] == "Tous les entrepôts - MNT"


async def test_without_a_root_no_second_one_is_made(site: StandIn, engine: ErpNextEngine) -> None:
    context = await up_to(engine, WAREHOUSES)
    site.site.remove(document(site, "Warehouse", "All Warehouses - MNT"))
    assert (await stopped(context, WAREHOUSES)).code == Code.REFERENCE_MISSING


async def test_a_tenant_without_pos_store_sells_from_the_main_store(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, TILL, pos_store_enabled=False)
    assert "POS Store - MNT" not in names(site, "Warehouse")
    assert document(site, "POS Profile", "POS MNT")["warehouse"] == "Main Store - MNT"
    assert context.outputs(WAREHOUSES)["selling_warehouse"] == "Main Store - MNT"


# step_5


async def test_site_settings_are_changed_only_where_they_differ(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, SETTINGS)
    document(site, "Selling Settings", "Selling Settings")["cust_master_name"] = "Naming Series"
    await drive_step(context, SETTINGS)
    puts = [request for request in context.writes if request.method == "PUT"]
    assert [(put.doctype, put.body) for put in puts] == [
        ("Selling Settings", {"cust_master_name": "Customer Name"})
    ]
    settings = next(intent for intent in context.intents if intent.update)
    assert settings.shared


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
