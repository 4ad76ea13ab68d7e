"""Sites that are not as our own stand-in is: other languages, legacy stores, damage, own rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from server.erpnext.codes import Code
from server.erpnext.requests import make
from server.errors import EngineError
from server.model.states import ErrorClass
from tests.server.erpnext.context import MemoryContext, drive, drive_step, kenyan
from tests.server.erpnext.driven import (
    CHART,
    CUSTOMER,
    ITEMS,
    ORDER,
    PROFILE,
    SETTINGS,
    TILL,
    WAREHOUSES,
    refused,
    stopped,
    up_to,
)
from tests.server.erpnext.sitework import add_company, add_row, document, names

if TYPE_CHECKING:
    from server.erpnext.client import ErpNextEngine
    from server.model.step_context import Answer, Request
    from server.standin.app import StandIn


def rename(site: StandIn, doctype: str, old: str, new: str) -> dict[str, object]:
    renamed = document(site, doctype, old)
    site.site.remove(renamed)
    renamed["name"] = new
    site.site.add(renamed)
    return renamed


# A site that was set up in another language.


async def test_roots_of_a_site_in_another_language_are_found_by_their_place(
    site: StandIn, engine: ErpNextEngine
) -> None:
    rename(site, "Item Group", "All Item Groups", "Tous les groupes d'articles")
    rename(site, "Territory", "All Territories", "Tous les territoires")
    group = document(site, "Customer Group", "Individual")
    rename(site, "Customer Group", "All Customer Groups", "Tous les groupes de clients")
    site.site.remove(group)
    for doctype, field, root in (
        ("Item Group", "parent_item_group", "Tous les groupes d'articles"),
        ("Territory", "parent_territory", "Tous les territoires"),
        ("Customer Group", "parent_customer_group", "Tous les groupes de clients"),
    ):
        for each in site.site.every(doctype):
            each[field] = root if each[field] else each[field]
    spec = kenyan(country_code="UG", currency="UGX", include_demo_data=True)
    context = MemoryContext(engine=engine, spec=spec)
    await drive(context)
    made = document(site, "Customer Group", "Individual")
    assert made["parent_customer_group"] == "Tous les groupes de clients"
    customer = document(site, "Customer", "Walk-In Customer - MNT")
    assert customer["territory"] == "Tous les territoires"
    demo = document(site, "Item Group", "Demo MNT")
    assert demo["parent_item_group"] == "Tous les groupes d'articles"


async def test_a_group_without_a_place_is_not_taken_for_a_root_beside_the_usual_one(
    site: StandIn, engine: ErpNextEngine
) -> None:
    """The system before this one made second roots where its first request failed."""
    site.site.remove(document(site, "Customer Group", "Individual"))
    stray = {**document(site, "Customer Group", "All Customer Groups"), "name": "AAA Stray"}
    site.site.add(stray)
    context = MemoryContext(engine=engine, spec=kenyan())
    await drive(context, *ORDER[:2])
    made = document(site, "Customer Group", "Individual")
    assert made["parent_customer_group"] == "All Customer Groups"


# What the system before this one left.


async def test_stores_that_the_legacy_system_counted_up_are_taken_over(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, WAREHOUSES, include_demo_data=True)
    company = context.spec.company_name
    for body in (
        {"warehouse_name": "Main Branch", "is_group": 1, "parent": "All Warehouses"},
        {"warehouse_name": "Main Store-1", "is_group": 0, "parent": "Main Branch"},
        {"warehouse_name": "POS Store-2", "is_group": 0, "parent": "Main Branch"},
    ):
        parent = f"{body.pop('parent')} - MNT"
        await engine.send(
            make("Warehouse", "", {**body, "company": company, "parent_warehouse": parent})
        )
    await drive(context, *ORDER[4:])
    assert not [request for request in context.writes if request.doctype == "Warehouse"]
    outputs = context.outputs(WAREHOUSES)
    assert outputs["main_store"] == "Main Store-1 - MNT"
    assert outputs["selling_warehouse"] == "POS Store-2 - MNT"
    assert document(site, "POS Profile", "POS MNT")["warehouse"] == "POS Store-2 - MNT"
    item = document(site, "Item", "DEMO-MNT-001")
    assert item["item_defaults"][0]["default_warehouse"] == "Main Store-1 - MNT"


async def test_a_legacy_store_is_taken_where_the_one_of_our_name_is_no_use(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, SETTINGS)
    ours = document(site, "Warehouse", "Main Store - MNT")
    site.site.add({**ours, "name": "Main Store-1 - MNT"})
    await drive_step(context, WAREHOUSES)
    assert context.outputs(WAREHOUSES)["main_store"] == "Main Store - MNT"
    ours["is_group"] = 1
    await drive_step(context, WAREHOUSES)
    assert context.outputs(WAREHOUSES)["main_store"] == "Main Store-1 - MNT"
    document(site, "Warehouse", "Main Store-1 - MNT")["disabled"] = 1
    error = await stopped(context, WAREHOUSES)
    assert "'Main Store - MNT'" in error.message


async def test_the_profile_is_compared_with_a_legacy_store_without_any_outputs(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, TILL)
    ours = rename(site, "Warehouse", "POS Store - MNT", "POS Store-1 - MNT")
    document(site, "POS Profile", "POS MNT")["warehouse"] = ours["name"]
    bare = MemoryContext(
        engine=engine, spec=context.spec, abbreviation="MNT", resources=context.resources
    )
    await drive(bare, PROFILE)
    assert not bare.writes


async def test_a_store_outside_its_companys_tree_is_a_conflict(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, SETTINGS)
    document(site, "Warehouse", "POS Store - MNT")["parent_warehouse"] = None
    assert (await stopped(context, WAREHOUSES)).code == Code.DOCUMENT_DIFFERS


async def test_a_legacy_profile_without_a_price_list_is_taken_over_and_noted(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, TILL)
    legacy = rename(site, "POS Profile", "POS MNT", "Default POS Profile - POS Store - MNT")
    legacy["selling_price_list"] = None
    await drive_step(context, PROFILE)
    assert not context.writes
    assert any("no price list" in note for note in context.found[PROFILE].notes)
    legacy["selling_price_list"] = "Standard Selling"
    assert (await stopped(context, PROFILE)).code == Code.POS_PROFILE_DIFFERS


# Documents of our names in another Company are seen before anything is asked for.


@pytest.mark.parametrize(
    ("step", "doctype", "name", "before"),
    [
        (CHART, "Account", "M-Pesa - MNT", WAREHOUSES),
        (WAREHOUSES, "Warehouse", "Main Store - MNT", SETTINGS),
        (PROFILE, "POS Profile", "POS MNT", TILL),
    ],
)
async def test_a_name_that_another_company_has_is_seen_by_the_look(
    site: StandIn, engine: ErpNextEngine, *, step: str, doctype: str, name: str, before: str
) -> None:
    context = await up_to(engine, before)
    document(site, doctype, name)["company"] = "Base Company"
    error = await stopped(context, step)
    assert error.code == Code.DOCUMENT_NOT_OURS
    assert [(each.field, each.have, each.want) for each in error.differences] == [
        ("company", "Base Company", "Mama Njeri Traders")
    ]


# Damage of others.


@pytest.mark.parametrize("gone", ["Company", "Account"])
async def test_rows_of_a_tenant_that_vanished_do_not_stop_another(
    site: StandIn, engine: ErpNextEngine, gone: str
) -> None:
    """ERPNext stores a Mode of Payment whole; what is lost in one row refuses every other."""
    await add_company(engine, "Gone Traders", "GT")
    context = await up_to(engine, PROFILE)
    await add_row(engine, "M-Pesa", "Gone Traders", "Cash - GT")
    lost = {"Company": "Gone Traders", "Account": "Cash - GT"}[gone]
    site.site.remove(document(site, gone, lost))
    with pytest.raises(EngineError):
        await add_row(engine, "M-Pesa", "Base Company", "Cash - BC")

    await drive_step(context, PROFILE)
    rows = document(site, "Mode of Payment", "M-Pesa")["accounts"]
    assert [(row["company"], row["default_account"]) for row in rows] == [
        ("Gone Traders", "Cash - GT"),
        ("Mama Njeri Traders", "M-Pesa - MNT"),
    ]
    told = " ".join(context.notes)
    assert "rows that lead nowhere" in told
    assert "Gone" not in told
    alone = [intent for intent in context.intents if not intent.repeatable]
    assert [(intent.doctype, intent.slot) for intent in alone] == [
        ("Mode of Payment Account", True)
    ]


async def test_an_engine_that_stores_no_row_alone_leaves_the_first_refusal(
    site: StandIn, engine: ErpNextEngine
) -> None:
    class Strict(MemoryContext):
        async def write(self, intent, request):  # type: ignore[no-untyped-def]  # as above it
            if request.path.endswith("/Mode%20of%20Payment%20Account"):
                raise EngineError(ErrorClass.PERMANENT, Code.ROLE_MISSING, "no")
            return await super().write(intent, request)

    await add_company(engine, "Gone Traders", "GT")
    context = await up_to(engine, PROFILE)
    await add_row(engine, "M-Pesa", "Gone Traders", "Cash - GT")
    site.site.remove(document(site, "Company", "Gone Traders"))
    strict = Strict(
        engine=engine, spec=context.spec, abbreviation="MNT", resources=context.resources
    )
    strict.found = context.found
    error = await refused(strict, PROFILE)
    assert (error.error_class, error.code) == (ErrorClass.RACE, Code.ENGINE_LINK_RACE)


# Names and settings of the site's own.


class Naming:
    """An engine that names some documents by a rule of its own."""

    def __init__(self, engine: ErpNextEngine, doctype: str) -> None:
        self._engine = engine
        self._doctype = doctype
        self.made = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    async def send(self, request: Request) -> Answer:
        if request.method != "POST" or request.doctype != self._doctype:
            return await self._engine.send(request)
        self.made += 1
        answer = await self._engine.send(
            replace(request, body={**(request.body or {}), "name": f"SERIES-{self.made}"})
        )
        return replace(answer, data={**(answer.data or {}), "name": f"SERIES-{self.made}"})


@pytest.mark.parametrize(
    ("step", "doctype"), [(CUSTOMER, "Customer"), (PROFILE, "POS Profile"), (ITEMS, "Item Group")]
)
async def test_a_document_that_came_out_under_another_name_ends_the_step(
    engine: ErpNextEngine, step: str, doctype: str
) -> None:
    context = await up_to(engine, step, include_demo_data=True)
    naming = Naming(engine, doctype)
    context.engine = naming  # type: ignore[assignment]  # all else is the engine's
    error = await refused(context, step)
    assert (error.error_class, error.code) == (ErrorClass.PERMANENT, Code.NAMED_OTHERWISE)
    assert "SERIES-1" in error.message
    assert naming.made == 1


async def test_a_setting_that_the_site_does_not_store_is_not_tried_for_ever(
    site: StandIn, engine: ErpNextEngine
) -> None:
    """A user without the right to a field is answered 200, and nothing is stored."""

    class Silent:
        def __getattr__(self, name: str) -> object:
            return getattr(engine, name)

        async def send(self, request: Request) -> Answer:
            if request.method == "PUT":
                request = replace(request, body={"nothing": 1})
            return await engine.send(request)

    context = await up_to(engine, SETTINGS)
    document(site, "Selling Settings", "Selling Settings")["cust_master_name"] = None
    context.engine = Silent()  # type: ignore[assignment]  # all else is the engine's
    error = await refused(context, SETTINGS)
    assert (error.error_class, error.code) == (ErrorClass.PERMANENT, Code.ROLE_MISSING)
    assert "cust_master_name" in error.message


# Charts.


async def test_a_chart_is_found_in_another_spelling(site: StandIn, engine: ErpNextEngine) -> None:
    context = MemoryContext(engine=engine, spec=kenyan(chart_template="standard WITH numbers"))
    await drive(context, *ORDER[:3])
    made = document(site, "Company", "Mama Njeri Traders")
    assert made["chart_of_accounts"] == "Standard with Numbers"
    assert not context.notes


async def test_a_bank_account_in_a_group_without_a_type_shows_where_accounts_go(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await up_to(engine, CHART)
    document(site, "Account", "Bank Accounts - MNT")["account_type"] = ""
    body = {
        "account_name": "Savings",
        "company": context.spec.company_name,
        "parent_account": "Bank Accounts - MNT",
        "account_type": "Bank",
        "is_group": 0,
    }
    await engine.send(make("Account", "Savings - MNT", body))
    await drive_step(context, CHART)
    assert document(site, "Account", "M-Pesa - MNT")["parent_account"] == "Bank Accounts - MNT"
    assert "Savings - MNT" in names(site, "Account")
