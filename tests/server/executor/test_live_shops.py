"""The healer does no harm: what is gone is not made again, what is another's is not taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.commands import OrderTerms
from server.errors import Refused
from server.model.actor import RECONCILER
from server.model.states import StepState, TenantState
from tests.server.executor.scene import COMPANY, TILL, WAREHOUSE
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
