"""What stands in the way of a Company, its chart and its warehouses: named, never overwritten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.erpnext.codes import Code
from server.erpnext.requests import make
from tests.server.erpnext.context import MemoryContext, drive, drive_step, kenyan
from tests.server.erpnext.driven import (
    CHART,
    ORDER,
    SETTINGS,
    TILL,
    WAREHOUSES,
    refused,
    stopped,
    up_to,
)
from tests.server.erpnext.sitework import document, fault, names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.erpnext.client import ErpNextEngine
    from server.standin.app import StandIn


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
