"""step_2: whose a Company is, which abbreviation it gets, and what a refusal leads to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from server.erpnext.codes import Code
from server.erpnext.steps.step_2_company import LONGEST_SECONDS, SHORTEST_SECONDS, make_seconds
from server.errors import EngineError
from server.model.ownership import Resource
from server.model.states import ErrorClass, ResourceState
from tests.server.erpnext.context import NOON, MemoryContext, drive, drive_step, kenyan
from tests.server.erpnext.sitework import add_company, document, fault, names

if TYPE_CHECKING:
    from server.erpnext.client import ErpNextEngine
    from server.standin.app import StandIn

STEP = "step_2_company"
NAME = "Mama Njeri Traders"
KEY = ("Company", "mama njeri traders")


def record(state: ResourceState, hours_ago: float = 0) -> dict[tuple[str, str], Resource]:
    at = NOON - timedelta(hours=hours_ago)
    return {KEY: Resource(doctype="Company", name=NAME, state=state, intended_at=at)}


async def ready(engine: ErpNextEngine, **changes: object) -> MemoryContext:
    context = MemoryContext(engine=engine, spec=kenyan())
    for name, value in changes.items():
        setattr(context, name, value)
    await drive(context, "step_0_engine_check", "step_1_platform_setup")
    context.sent.clear()
    return context


async def refused(context: MemoryContext) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await drive_step(context, STEP)
    return caught.value


async def test_the_abbreviation_is_bound_before_the_company_is_asked_for(
    engine: ErpNextEngine,
) -> None:
    context = await ready(engine)
    await drive_step(context, STEP)
    post = next(request for request in context.writes if request.doctype == "Company")
    assert post.body is not None
    assert post.body["abbr"] == context.abbreviation == "MNT"
    assert post.timeout_seconds == SHORTEST_SECONDS


async def test_an_engine_check_that_is_old_is_repeated_before_the_long_call(
    engine: ErpNextEngine,
) -> None:
    context = await ready(engine)
    context.time += timedelta(minutes=5)
    await drive_step(context, STEP)
    post = next(request for request in context.writes if request.doctype == "Company")
    before = context.sent[context.sent.index(post) - 1]
    assert before.path.endswith("get_logged_user")


@pytest.mark.parametrize(
    ("companies", "seconds"),
    [(1, SHORTEST_SECONDS), (400, 204.0), (10_000, LONGEST_SECONDS)],
)
def test_the_time_limit_of_a_company_follows_the_number_of_companies(
    companies: int, seconds: float
) -> None:
    assert make_seconds(companies) == pytest.approx(seconds)


async def test_a_bound_abbreviation_is_used_again_in_a_retry(engine: ErpNextEngine) -> None:
    context = await ready(engine, abbreviation="MNT7")
    await drive_step(context, STEP)
    assert context.outputs(STEP)["abbreviation"] == "MNT7"


async def test_abbreviations_of_the_site_and_of_other_tenants_are_passed_over(
    engine: ErpNextEngine,
) -> None:
    await add_company(engine, "My New Thing", "MNT")
    context = await ready(engine, taken_elsewhere={"mnt2"})
    await drive_step(context, STEP)
    assert context.abbreviation == "MNT3"


async def test_a_refusal_of_the_abbreviation_leads_to_the_next_one(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await ready(engine)
    await fault(
        site,
        method="POST",
        doctype="Company",
        status=417,
        exc_type="ValidationError",
        message="Abbreviation already used for another company",
    )
    await drive_step(context, STEP)
    assert context.abbreviation == "MNT2"
    assert document(site, "Company", NAME)["abbr"] == "MNT2"
    assert any("MNT was taken" in note for note in context.notes)


async def test_endless_refusals_of_abbreviations_end(site: StandIn, engine: ErpNextEngine) -> None:
    context = await ready(engine)
    await fault(
        site,
        method="POST",
        doctype="Company",
        status=417,
        exc_type="ValidationError",
        message="Abbreviation already used for another company",
        times=100,
    )
    assert (await refused(context)).code == Code.ABBREVIATION_TAKEN
    assert len(context.writes) == 10


async def test_hundreds_of_companies_of_the_same_initials_leave_one_free(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await add_company(engine, "My New Thing", "MNT")
    there = document(site, "Company", "My New Thing")
    for number in range(2, 1200):
        name = f"My New Thing {number}"
        site.site.add({**there, "name": name, "company_name": name, "abbr": f"MNT{number}"})
    context = await ready(engine)
    await drive_step(context, STEP)
    assert context.abbreviation == "MNT1200"


async def test_no_free_abbreviation_is_told(engine: ErpNextEngine) -> None:
    taken = {"MNT", *(f"MNT{number}" for number in range(2, 300))}
    context = await ready(engine, taken_elsewhere=taken)
    assert (await refused(context)).code == Code.ABBREVIATIONS_EXHAUSTED
    assert not context.writes


async def test_a_deadlock_is_left_to_the_executor(site: StandIn, engine: ErpNextEngine) -> None:
    context = await ready(engine)
    await fault(site, method="POST", doctype="Company", status=500, exc_type="QueryDeadlockError")
    assert (await refused(context)).error_class is ErrorClass.RACE
    assert len(context.writes) == 1
    assert context.abbreviation == "MNT"


async def test_a_company_whose_answer_was_lost_is_recognised_as_ours(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await ready(engine)
    await fault(site, method="POST", doctype="Company", when="after", action="cut")
    assert (await refused(context)).code == Code.OUTCOME_UNKNOWN
    context.sent.clear()
    await drive_step(context, STEP)
    assert not context.writes
    assert context.resources[KEY].state is ResourceState.CREATED


async def test_a_company_of_somebody_else_is_not_taken(engine: ErpNextEngine) -> None:
    await add_company(engine, NAME, "XX")
    context = await ready(engine)
    error = await refused(context)
    assert error.code == Code.COMPANY_NOT_OURS
    assert error.error_class is ErrorClass.PERMANENT
    assert "'XX'" in error.message
    assert "Find out whose it is" in error.message
    # It has no abbreviation yet, which is nothing to say as a word of Python.
    assert "any abbreviation" in error.message
    assert "None" not in error.message
    assert not context.writes


async def test_a_company_made_before_we_asked_for_it_is_not_ours(engine: ErpNextEngine) -> None:
    await add_company(engine, NAME, "XX")
    context = await ready(engine, resources=record(ResourceState.INTENDED, hours_ago=-1))
    assert (await refused(context)).code == Code.COMPANY_NOT_OURS


async def test_a_company_that_an_operator_adopted_is_bound_and_used(
    engine: ErpNextEngine,
) -> None:
    await add_company(engine, NAME, "XX")
    context = await ready(engine, resources=record(ResourceState.ADOPTED))
    await drive_step(context, STEP)
    assert not context.writes
    assert context.abbreviation == "XX"


async def test_an_adopted_company_whose_abbreviation_another_tenant_has_is_a_conflict(
    engine: ErpNextEngine,
) -> None:
    await add_company(engine, NAME, "XX")
    context = await ready(engine, resources=record(ResourceState.ADOPTED), taken_elsewhere={"XX"})
    assert (await refused(context)).code == Code.COMPANY_NOT_OURS


async def test_a_company_that_is_gone_is_not_made_again_by_itself(engine: ErpNextEngine) -> None:
    context = await ready(engine, resources=record(ResourceState.CREATED), abbreviation="MNT")
    error = await refused(context)
    assert (error.code, error.hold) == (Code.COMPANY_VANISHED, True)
    assert not context.writes


async def test_a_persons_order_makes_a_company_anew(site: StandIn, engine: ErpNextEngine) -> None:
    context = await ready(
        engine,
        resources=record(ResourceState.CREATED),
        abbreviation="MNT",
        ordered_to_make_again=True,
    )
    await drive_step(context, STEP)
    assert NAME in names(site, "Company")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [("default_currency", "UGX", "currency"), ("country", "Uganda", "country")],
)
async def test_a_company_of_ours_that_became_another_is_a_conflict(
    site: StandIn, engine: ErpNextEngine, field: str, value: str, said: str
) -> None:
    context = await ready(engine)
    await drive_step(context, STEP)
    document(site, "Company", NAME)[field] = value
    error = await refused(context)
    assert error.code == Code.COMPANY_DIFFERS
    assert said in error.message


async def test_another_letter_case_finds_the_company_and_its_own_spelling_is_used(
    engine: ErpNextEngine,
) -> None:
    await add_company(engine, NAME.upper(), "MNT")
    context = await ready(engine, resources=record(ResourceState.ADOPTED))
    await drive_step(context, STEP)
    assert context.outputs(STEP)["company"] == NAME.upper()
    await drive_step(context, "step_4_warehouses")
    assert context.writes[0].body is not None
    assert context.writes[0].body["company"] == NAME.upper()


async def test_a_name_too_long_for_its_cost_center_is_refused_before_it_is_sent(
    engine: ErpNextEngine,
) -> None:
    context = await ready(engine, abbreviation="ABCDEFGHIJ", spec=kenyan(company_name="L" * 128))
    error = await refused(context)
    assert error.code == Code.COMPANY_NAME_TOO_LONG
    assert "127" in error.message
    assert not context.writes


async def test_a_chart_that_does_not_exist_becomes_standard_with_a_note(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await ready(engine, spec=kenyan(chart_template="Kenya"))
    await drive_step(context, STEP)
    assert document(site, "Company", NAME)["chart_of_accounts"] == "Standard"
    assert any("'Kenya'" in note for note in context.notes)


async def test_an_unknown_country_code_is_refused_before_anything_is_made(
    engine: ErpNextEngine,
) -> None:
    context = MemoryContext(engine=engine, spec=replace(kenyan(), country_code="XX"))
    with pytest.raises(EngineError) as caught:
        await drive(context)
    assert caught.value.code == Code.COUNTRY_UNKNOWN
    assert not context.writes
