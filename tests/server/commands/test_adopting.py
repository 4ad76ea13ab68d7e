"""AdoptCompany: a Company that agrees becomes the tenant's."""

from __future__ import annotations

import pytest

from server.errors import EngineNotReady, Refused
from server.model.states import ResourceState, StepState, TenantState
from server.validation import RawSpec
from tests.server.commands.desk import JANE, WHY, Desk
from tests.server.commands.site import a_company, with_site


async def test_a_company_that_agrees_is_adopted_and_the_run_goes_on_over_it(desk: Desk) -> None:
    tenant_id = await desk.held()
    commands = with_site(desk, a_company())
    shown = await commands.adoption(JANE, tenant_id)
    assert shown.possible
    await commands.adopt_company(JANE, tenant_id, WHY)
    record = await desk.record(tenant_id)
    assert record.tenant.state is TenantState.IN_PROGRESS
    assert record.tenant.hold is None
    (resource,) = await desk.scene.database.reads.resources(tenant_id)
    assert (resource.doctype, resource.state) == ("Company", ResourceState.ADOPTED)
    bound = await desk.scene.database.reads.binding(tenant_id)
    assert bound is not None
    assert bound.abbreviation == "KST"


@pytest.mark.parametrize(
    ("company", "says"),
    [
        (None, "There is no Company"),
        (a_company(country="Uganda"), "country: wanted Kenya, there is Uganda"),
        (a_company(default_currency="UGX"), "currency"),
        (a_company(is_group=1), "a group of companies"),
    ],
)
async def test_a_company_that_does_not_agree_is_not_adopted(
    desk: Desk, company: dict[str, object] | None, says: str
) -> None:
    tenant_id = await desk.stopped({"step_2_company": StepState.FAILED})
    before = await desk.scene.everything()
    with pytest.raises(Refused) as caught:
        await with_site(desk, company).adopt_company(JANE, tenant_id, WHY)
    assert says in caught.value.message
    assert await desk.scene.everything() == before


async def test_a_company_bound_to_another_tenant_by_its_abbreviation_is_not_adopted(
    desk: Desk,
) -> None:
    other = await desk.stopped({"step_2_company": StepState.FAILED})
    await with_site(desk, a_company()).adopt_company(JANE, other, WHY)
    mine = await desk.commands.start(JANE, RawSpec(company_name="Bidii"))
    await desk.end(mine, {"step_2_company": StepState.FAILED})
    with pytest.raises(Refused) as caught:
        await with_site(desk, a_company(name="Bidii")).adopt_company(JANE, mine, WHY)
    assert other in caught.value.message


async def test_nothing_is_adopted_from_an_engine_that_cant_be_asked(desk: Desk) -> None:
    tenant_id = await desk.stopped({"step_2_company": StepState.FAILED})
    with pytest.raises(EngineNotReady):
        await desk.commands.adopt_company(JANE, tenant_id, WHY)
