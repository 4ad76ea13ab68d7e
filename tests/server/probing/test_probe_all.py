"""A look at a whole tenant: says what a run would find and make, and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from server.erpnext.requests import make
from server.errors import EngineNotReady
from server.model.blueprint import ERPNEXT
from server.model.difference import Difference
from server.probing import Stand, Subject, Whose
from server.probing.looking import LookingContext, WroteWhileLooking
from server.rpc.failures import failure_of
from tests.server.erpnext.context import NOON, MemoryContext, drive, kenyan
from tests.server.erpnext.sitework import (
    TILL_USER,
    add_company,
    add_till_user,
    counts,
    document,
    fault,
)
from tests.server.probing.conftest import look, subject

if TYPE_CHECKING:
    from server.erpnext.client import ErpNextEngine
    from server.probing import Survey
    from server.standin.app import StandIn

STEPS = [step.key for step in ERPNEXT.steps if not step.demo_only and not step.last]


def stands(survey: Survey) -> dict[str, Stand]:
    return {step.key: step.stand for step in survey.steps}


def differs(doctype: str, name: str, field: str, have: str, want: str) -> Difference:
    return Difference(doctype=doctype, name=name, field=field, have=have, want=want)


async def finished(engine: ErpNextEngine, **changes: object) -> MemoryContext:
    await add_till_user(engine)
    context = MemoryContext(engine=engine, spec=kenyan(till_user=TILL_USER, **changes))
    await drive(context)
    return context


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("Mama Njeri Traders", {}),
        ("Mama Njeri Traders", {"include_demo_data": True, "pos_store_enabled": False}),
        ('Café "Ñandú" & Söhne/2 #1 50%? 🏦', {"payment_methods": ("M-Pesa", "Credit Card")}),
        ("Kampala Foods", {"country_code": "UG", "currency": "UGX"}),
    ],
)
async def test_a_plan_names_every_document_that_the_run_then_makes(
    site: StandIn, engine: ErpNextEngine, name: str, changes: dict[str, object]
) -> None:
    await add_till_user(engine)
    # Somebody else has the abbreviation that would come first.
    await add_company(engine, "My New Thing", "MNT")
    spec = kenyan(company_name=name, till_user=TILL_USER, **changes)
    before = counts(site)

    planned = await look(engine, Subject(spec=spec))

    assert counts(site) == before
    assert not planned.conflicts
    context = MemoryContext(engine=engine, spec=spec)
    await drive(context)
    made = [(intent.doctype, intent.name) for intent in context.intents]
    assert [(each.doctype, each.name) for step in planned.steps for each in step.missing] == made
    company = planned.step("step_2_company")
    assert company is not None
    assert company.outputs["abbreviation"] == context.abbreviation


async def test_a_finished_tenant_is_clean_and_every_document_is_its_own(
    engine: ErpNextEngine,
) -> None:
    context = await finished(engine)
    survey = await look(engine, subject(context))
    assert survey.clean
    assert stands(survey) == dict.fromkeys(STEPS, Stand.OK)
    whose = {each.whose for step in survey.steps for each in step.documents}
    assert whose == {Whose.CREATED, Whose.SHARED, Whose.ADOPTED}
    adopted = [
        each.name for step in survey.steps for each in step.documents if each.whose is Whose.ADOPTED
    ]
    # The row for Cash came with the Company.
    assert adopted == ["Cash / Mama Njeri Traders"]


@pytest.mark.parametrize(
    ("step", "value", "difference"),
    [
        (2, "Uganda", differs("Company", "Mama Njeri Traders", "country", "Uganda", "Kenya")),
        (3, 1, differs("Account", "M-Pesa - MNT", "is_group", "1", "0")),
        (4, 1, differs("Warehouse", "POS Store - MNT", "disabled", "1", "0")),
        (5, "USD", differs("Price List", "Retail MNT", "currency", "USD", "KES")),
        (7, 1, differs("Customer", "Walk-In Customer - MNT", "disabled", "1", "0")),
        (
            8,
            "Stores - BC",
            differs("POS Profile", "POS MNT", "warehouse", "Stores - BC", "POS Store - MNT"),
        ),
    ],
)
async def test_drift_is_told_field_by_field(
    site: StandIn, engine: ErpNextEngine, step: int, value: object, difference: Difference
) -> None:
    context = await finished(engine)
    document(site, difference.doctype, difference.name)[difference.field] = value
    survey = await look(engine, subject(context))
    assert not survey.clean
    found = next(each for each in survey.steps if each.key.startswith(f"step_{step}_"))
    assert found.stand is Stand.DIFFERENT
    assert found.differences == (difference,)
    assert difference.have in found.message
    assert difference.want in found.message


async def test_a_setting_of_the_site_that_somebody_changed_is_missing_with_have_and_want(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await finished(engine)
    document(site, "Stock Settings", "Stock Settings")["item_naming_by"] = "Naming Series"
    found = (await look(engine, subject(context))).step("step_5_settings")
    assert found is not None
    assert found.stand is Stand.MISSING
    assert [(each.field, each.have, each.want) for each in found.missing] == [
        ("item_naming_by", "Naming Series", "Item Code")
    ]


async def test_a_company_that_is_somebody_elses_is_foreign_and_what_hangs_on_it_unknown(
    engine: ErpNextEngine,
) -> None:
    await add_company(engine, "MAMA NJERI TRADERS", "OTH")
    survey = await look(engine, Subject(spec=kenyan()))
    found = stands(survey)
    assert found.pop("step_0_engine_check") is Stand.OK
    assert found.pop("step_1_platform_setup") is Stand.MISSING
    assert found.pop("step_2_company") is Stand.FOREIGN
    assert found.pop("step_9_pos_session") is Stand.UNKNOWN
    assert set(found.values()) == {Stand.UNKNOWN}
    company = survey.step("step_2_company")
    assert company is not None
    assert company.code == "COMPANY_NOT_OURS"
    for words in ("MAMA NJERI TRADERS", "OTH", "provisioner adopt"):
        assert words in company.message


async def test_a_profile_of_the_name_that_is_anothers_is_found_before_anything_is_made(
    engine: ErpNextEngine,
) -> None:
    other = await finished(engine, company_name="Other Shop")
    document_name = "POS MNT"
    body = {
        "name": document_name,
        "company": other.spec.company_name,
        "warehouse": f"Main Store - {other.abbreviation}",
        "write_off_account": f"Write Off - {other.abbreviation}",
        "write_off_cost_center": f"Main - {other.abbreviation}",
        "payments": [{"mode_of_payment": "Cash", "default": 1}],
    }
    await engine.send(make("POS Profile", document_name, body))
    survey = await look(engine, Subject(spec=kenyan()))
    found = survey.step("step_8_pos_profile")
    assert found is not None
    assert found.stand is Stand.FOREIGN
    assert found.code == "DOCUMENT_NOT_OURS"
    assert "Other Shop" in found.message


async def test_who_may_not_know_of_others_reads_no_name_of_theirs(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await finished(engine)
    document(site, "Warehouse", "Main Store - MNT")["company"] = "Base Company"
    survey = await look(engine, subject(context))
    whole = survey.step("step_4_warehouses")
    assert whole is not None
    assert "Base Company" in whole.message
    assert "Base Company" in str(whole.differences)
    told = survey.without_others.step("step_4_warehouses")
    assert told is not None
    assert "Base Company" not in told.message + str(told.differences)
    assert (told.code, told.stand) == (whole.code, whole.stand)


async def test_a_company_that_vanished_is_missing_with_a_code(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await finished(engine)
    site.site.remove(document(site, "Company", context.spec.company_name))
    found = (await look(engine, subject(context, completed_once=True))).step("step_2_company")
    assert found is not None
    assert (found.stand, found.code) == (Stand.MISSING, "COMPANY_VANISHED")
    assert "provisioner retry this-tenant --step" in found.message


async def test_a_step_that_names_nothing_missing_still_says_something(
    engine: ErpNextEngine,
) -> None:
    """Cash needs no account of its own: before there is a Company the step has none to name."""
    context = MemoryContext(engine=engine, spec=kenyan(payment_methods=("Cash",)))
    survey = await look(engine, subject(context))
    (accounts,) = [step for step in survey.steps if step.key == "step_3_chart_of_accounts"]
    assert (accounts.missing, accounts.message) == ((), "It is not done.")


async def test_a_till_of_a_live_shop_is_never_missing(site: StandIn, engine: ErpNextEngine) -> None:
    context = await finished(engine)
    for entry in site.site.every("POS Opening Entry"):
        site.site.remove(entry)
    live = await look(engine, subject(context, completed_once=True))
    assert live.clean
    till = live.step("step_9_pos_session")
    assert till is not None
    assert till.stand is Stand.SKIPPED


async def test_what_a_person_left_out_is_not_missing(engine: ErpNextEngine) -> None:
    """Else a shop without demo items, by order, would be reported as drifted every week."""
    context = MemoryContext(engine=engine, spec=kenyan(include_demo_data=True))
    whom = replace(
        subject(context), left_out={"step_6_items": "Left out by jane@example.com: no demo"}
    )
    items = (await look(engine, whom)).step("step_6_items")
    assert items is not None
    assert (items.stand, items.message) == (
        Stand.SKIPPED,
        "Left out by jane@example.com: no demo",
    )


async def test_an_engine_that_is_down_gives_no_survey(site: StandIn, engine: ErpNextEngine) -> None:
    await fault(site, method="GET", doctype="Customer", html=True, status=502, times=9)
    before = counts(site)
    with pytest.raises(EngineNotReady) as raised:
        await look(engine, Subject(spec=kenyan()))
    assert raised.value.code == "ENGINE_DOWN"
    assert "nothing was written" in raised.value.message
    assert counts(site) == before


async def test_a_site_that_asks_to_be_left_alone_is_looked_at_again_when_it_said(
    site: StandIn, engine: ErpNextEngine
) -> None:
    """Its callers are told so: one who comes before that is refused again."""
    await fault(
        site,
        method="GET",
        doctype="Customer",
        times=9,
        exc_type="TooManyRequestsError",
        retry_after=90,
    )
    with pytest.raises(EngineNotReady) as raised:
        await look(engine, Subject(spec=kenyan()))
    assert raised.value.code == "ENGINE_RATE_LIMITED"
    assert failure_of(raised.value, method="Verify").retry_seconds == 90.0
    away = EngineNotReady("It is away.")
    assert failure_of(away, method="Verify").retry_seconds == 15.0


async def test_a_look_survives_a_stumble_of_the_engine(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await fault(
        site, method="GET", doctype="Customer", status=500, exc_type="QueryDeadlockError", times=1
    )
    survey = await look(engine, Subject(spec=kenyan()))
    assert not survey.conflicts


async def test_a_forecast_counts_what_a_run_sends_and_grows_with_the_companies(
    site: StandIn, engine: ErpNextEngine
) -> None:
    planned = await look(engine, Subject(spec=kenyan()))
    context = MemoryContext(engine=engine, spec=kenyan())
    await drive(context)
    assert planned.expected_requests == pytest.approx(len(context.sent), rel=0.15)
    company = planned.step("step_2_company")
    assert company is not None
    assert planned.expected_seconds(company) == pytest.approx(1.8, abs=0.2)
    for number in range(5):
        await add_company(engine, f"Company {number}", f"C{number}")
    later = await look(engine, Subject(spec=kenyan(company_name="Kisumu Duka")))
    company = later.step("step_2_company")
    assert company is not None
    assert later.expected_seconds(company) == pytest.approx(3.0, abs=0.2)


async def test_a_look_can_not_write(engine: ErpNextEngine) -> None:
    context = LookingContext(engine, Subject(spec=kenyan()), now=lambda: NOON)
    with pytest.raises(WroteWhileLooking):
        await context.read(make("UOM", "Crate", {"uom_name": "Crate"}))
