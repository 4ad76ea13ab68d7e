"""Whole runs against the stand-in ERPNext over real HTTP: made once, adopted ever after."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from server.model.states import ResourceState
from tests.server.erpnext.context import NOON, MemoryContext, drive, kenyan
from tests.server.erpnext.sitework import TILL_USER, add_till_user, counts, document, names

if TYPE_CHECKING:
    from server.erpnext.client import ErpNextEngine
    from server.model.spec import TenantSpec
    from server.standin.app import StandIn

UGANDAN = kenyan(
    company_name="Kampala Fresh Foods",
    country_code="UG",
    currency="UGX",
    payment_methods=("Cash",),
    include_demo_data=True,
)
ODD_NAMES = [
    'Café "Ñandú" & Söhne/2 #1 50%? 🏦',
    "O'Brien; DROP TABLE `tabCompany`; --\\",
    "../../Duka",
    "Duka = [1, 2] {x}: y + z",
    "商店",
    "A" * 127,
    "🏦" * 127,
]

# Measured against the stand-in; a step that asks more must say why.
FRESH_REQUESTS = 74
FRESH_WRITES = 12
LATER_TENANT_REQUESTS = 59
SECOND_RUN_REQUESTS = 39


async def test_a_tenant_is_made_from_nothing_to_an_open_till(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await add_till_user(engine)
    context = MemoryContext(engine=engine, spec=kenyan(till_user=TILL_USER))
    await drive(context)
    assert [(intent.doctype, intent.name) for intent in context.intents] == [
        ("Fiscal Year", "2027"),
        ("Fiscal Year", "2028"),
        ("Mode of Payment", "M-Pesa"),
        ("Company", "Mama Njeri Traders"),
        ("Account", "M-Pesa - MNT"),
        ("Warehouse", "Main Store - MNT"),
        ("Warehouse", "POS Store - MNT"),
        ("Price List", "Retail MNT"),
        ("Customer", "Walk-In Customer - MNT"),
        ("Mode of Payment Account", "M-Pesa / Mama Njeri Traders"),
        ("POS Profile", "POS MNT"),
        ("POS Opening Entry", "POS-OPE-MNT-1"),
    ]
    till = document(site, "POS Opening Entry", "POS-OPE-MNT-1")
    assert (till["docstatus"], till["status"], till["user"]) == (1, "Open", TILL_USER)
    assert (till["period_start_date"], till["posting_date"]) == (
        "2026-11-23 15:00:00",
        "2026-11-23",
    )
    profile = document(site, "POS Profile", "POS MNT")
    assert [(row["mode_of_payment"], row["default"]) for row in profile["payments"]] == [
        ("Cash", 1),
        ("M-Pesa", 0),
    ]
    assert profile["warehouse"] == "POS Store - MNT"
    summary = context.outputs("step_10_post_sale_updates")
    assert summary == {
        "company": "Mama Njeri Traders",
        "abbreviation": "MNT",
        "selling_warehouse": "POS Store - MNT",
        "price_list": "Retail MNT",
        "customer": "Walk-In Customer - MNT",
        "pos_profile": "POS MNT",
        "opening_entry": "POS-OPE-MNT-1",
    }


async def test_what_lies_in_trees_or_has_no_name_of_its_own_takes_the_slot(
    engine: ErpNextEngine,
) -> None:
    await add_till_user(engine)
    context = MemoryContext(engine=engine, spec=kenyan(till_user=TILL_USER))
    await drive(context)
    assert {intent.doctype for intent in context.intents if intent.slot} == {
        "Company",
        "Account",
        "Warehouse",
        "Customer",
        "Mode of Payment Account",
        "POS Opening Entry",
    }
    assert {intent.doctype for intent in context.intents if intent.shared} == {
        "Fiscal Year",
        "Mode of Payment",
    }


async def test_every_write_names_the_document_of_its_intent(engine: ErpNextEngine) -> None:
    context = MemoryContext(engine=engine, spec=UGANDAN)
    await drive(context)
    assert [(request.doctype, request.name) for request in context.writes] == [
        (intent.doctype, intent.name) for intent in context.intents
    ]


async def test_everything_that_was_made_is_recorded_as_made_by_us(engine: ErpNextEngine) -> None:
    context = MemoryContext(engine=engine, spec=UGANDAN)
    await drive(context)
    made = {(intent.doctype, intent.name) for intent in context.intents}
    for resource in context.resources.values():
        wanted = (
            ResourceState.CREATED
            if (resource.doctype, resource.name) in made
            else ResourceState.ADOPTED
        )
        assert resource.state is wanted, resource


@pytest.mark.parametrize("spec", [kenyan(till_user=TILL_USER), UGANDAN], ids=["Kenya", "Uganda"])
async def test_a_second_run_only_looks(
    site: StandIn, engine: ErpNextEngine, spec: TenantSpec
) -> None:
    await add_till_user(engine)
    first = MemoryContext(engine=engine, spec=spec)
    await drive(first)
    before = counts(site)
    again = MemoryContext(
        engine=engine, spec=spec, abbreviation=first.abbreviation, resources=first.resources
    )
    await drive(again)
    assert not again.writes
    assert counts(site) == before


@pytest.mark.parametrize("spec", [kenyan(till_user=TILL_USER), UGANDAN], ids=["Kenya", "Uganda"])
async def test_a_lost_record_is_rebuilt_by_adopting_everything(
    site: StandIn, engine: ErpNextEngine, spec: TenantSpec
) -> None:
    await add_till_user(engine)
    first = MemoryContext(engine=engine, spec=spec)
    await drive(first)
    before = counts(site)
    rebuilt = MemoryContext(engine=engine, spec=spec, passed_company_step=True)
    await drive(rebuilt)
    assert not rebuilt.writes
    assert counts(site) == before
    assert rebuilt.abbreviation == first.abbreviation
    assert set(rebuilt.resources) == set(first.resources)
    assert {each.state for each in rebuilt.resources.values()} == {ResourceState.ADOPTED}


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_odd_company_names_work_in_every_step(
    site: StandIn, engine: ErpNextEngine, name: str
) -> None:
    await add_till_user(engine)
    spec = kenyan(company_name=name, include_demo_data=True, till_user=TILL_USER)
    first = MemoryContext(engine=engine, spec=spec)
    await drive(first)
    assert name in names(site, "Company")
    again = MemoryContext(
        engine=engine, spec=spec, abbreviation=first.abbreviation, resources=first.resources
    )
    await drive(again)
    assert not again.writes


async def test_a_ugandan_tenant_of_a_kenyan_site_gets_its_own_currency(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = MemoryContext(engine=engine, spec=UGANDAN)
    await drive(context)
    assert document(site, "Company", "Kampala Fresh Foods")["country"] == "Uganda"
    assert document(site, "POS Profile", "POS KFF")["currency"] == "UGX"
    prices = [each for each in site.site.every("Item Price") if each["price_list"] == "Retail KFF"]
    assert len(prices) == 4
    assert {each["currency"] for each in prices} == {"UGX"}
    # The site has the Territory of its own country only.
    customer = document(site, "Customer", "Walk-In Customer - KFF")
    assert customer["territory"] == "All Territories"
    item = document(site, "Item", "DEMO-KFF-001")
    assert item["item_defaults"][0]["default_warehouse"] == "Main Store - KFF"


async def test_tenants_of_one_site_do_not_touch_each_other(
    site: StandIn, engine: ErpNextEngine
) -> None:
    first = MemoryContext(engine=engine, spec=kenyan())
    await drive(first)
    await drive(MemoryContext(engine=engine, spec=UGANDAN))
    again = MemoryContext(
        engine=engine, spec=first.spec, abbreviation="MNT", resources=first.resources
    )
    await drive(again)
    assert not again.writes
    rows = document(site, "Mode of Payment", "Cash")["accounts"]
    assert Counter(row["company"] for row in rows)["Mama Njeri Traders"] == 1


async def test_requests_of_a_tenant_do_not_creep_up(engine: ErpNextEngine) -> None:
    await add_till_user(engine)
    first = MemoryContext(engine=engine, spec=kenyan(till_user=TILL_USER))
    await drive(first)
    later = MemoryContext(engine=engine, spec=kenyan(company_name="Kisumu Duka"))
    await drive(later)
    again = MemoryContext(
        engine=engine, spec=first.spec, abbreviation="MNT", resources=first.resources
    )
    await drive(again)
    measured = (len(first.sent), len(later.sent), len(again.sent))
    assert measured == (FRESH_REQUESTS, LATER_TENANT_REQUESTS, SECOND_RUN_REQUESTS)
    assert len(first.writes) == FRESH_WRITES


async def test_a_probe_before_there_is_a_company_says_what_is_missing(
    engine: ErpNextEngine,
) -> None:
    spec = kenyan(include_demo_data=True, till_user=TILL_USER)
    context = MemoryContext(engine=engine, spec=spec)
    await drive(context, "step_0_engine_check")
    for key in (
        "step_2_company",
        "step_3_chart_of_accounts",
        "step_4_warehouses",
        "step_5_settings",
        "step_6_items",
        "step_7_customer",
        "step_8_pos_profile",
        "step_9_pos_session",
    ):
        found = await engine.step(key).probe(context)
        assert not found.done, key
        assert found.missing, key
    assert not context.writes


async def test_steps_work_without_the_outputs_of_a_carried_over_run(
    site: StandIn, engine: ErpNextEngine
) -> None:
    first = MemoryContext(engine=engine, spec=kenyan())
    await drive(first)
    before = counts(site)
    bare = MemoryContext(
        engine=engine, spec=first.spec, abbreviation="MNT", resources=first.resources
    )
    await drive(bare, "step_4_warehouses", "step_7_customer", "step_8_pos_profile")
    assert not bare.writes
    assert counts(site) == before


async def test_times_of_documents_are_turned_from_site_time_into_utc(
    engine: ErpNextEngine,
) -> None:
    context = MemoryContext(engine=engine, spec=kenyan())
    await drive(context, "step_0_engine_check", "step_1_platform_setup", "step_2_company")
    made = context.found["step_2_company"].documents[0].created_at
    assert made is not None
    assert made.tzinfo is UTC
    assert NOON <= made < datetime(2026, 11, 23, 12, 1, tzinfo=UTC)
