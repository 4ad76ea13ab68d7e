"""Errors of each class: how often they are repeated, and where a tenant stands after them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.erpnext.requests import delete
from server.model.budget import MAX_TRIES, Pacing
from server.model.states import ErrorClass, RunState, StepState, TenantState
from tests.server.executor.scene import COMPANY, TILL, WAREHOUSE

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from server.model.records import Step
    from tests.server.executor.scene import Shop

DEADLOCK = {"status": 500, "exc_type": "QueryDeadlockError"}


async def step(shop: Shop, tenant: TenantId, key: str) -> Step:
    return next(each for each in (await shop.record(tenant)).steps if each.key == key)


async def test_races_are_repeated_and_counted_apart(shop: Shop) -> None:
    await shop.faults({"method": "POST", "doctype": "Company", "times": 3, **DEADLOCK})
    tenant = await shop.completed()

    assert (await shop.outcomes(tenant))[COMPANY] == ["RETRY"] * 3 + ["APPLIED"]
    company = await step(shop, tenant, COMPANY)
    assert (company.tries, company.races) == (1, 3)
    assert (await shop.belongings("Kijani Stores"))["Company"] == 1
    classes = [each.error_class for each in await shop.attempts(tenant) if each.error_class]
    assert classes == [ErrorClass.RACE] * 3


async def test_more_races_than_tries_do_no_harm(shop: Shop) -> None:
    await shop.faults(
        {"method": "POST", "doctype": "Warehouse", "times": MAX_TRIES + 3, **DEADLOCK}
    )

    tenant = await shop.completed()
    assert (await shop.outcomes(tenant))[WAREHOUSE] == ["RETRY"] * (MAX_TRIES + 3) + ["APPLIED"]


async def test_a_passing_error_waits_for_its_next_try_and_says_so(still: Shop) -> None:
    # So long a pause that nothing else can happen before the test has looked.
    await still.drive(pacing=Pacing(transient_base=3600, transient_cap=3600))
    await still.faults(
        {"method": "POST", "doctype": "Company", "status": 500, "exc_type": "OddError"}
    )
    tenant = await still.order()
    await still.until_waiting(tenant, "RETRY")

    record = await still.record(tenant)
    assert record.run is not None
    assert record.run.state is RunState.WAITING
    assert record.run.waiting_for is not None
    assert record.run.waiting_for.until == record.run.due_at
    assert record.tenant.state is TenantState.IN_PROGRESS
    company = await step(still, tenant, COMPANY)
    assert company.tries == 1
    assert company.error_class is ErrorClass.TRANSIENT

    # By hand, so that the test does not wait for it.
    still.sql("UPDATE runs SET due_at = created_at")
    await still.must_complete(tenant)
    assert (await still.outcomes(tenant))[COMPANY] == ["RETRY", "APPLIED"]


async def test_five_tries_then_the_tenant_fails_and_continue_completes_it(shop: Shop) -> None:
    await shop.faults(
        {
            "method": "POST",
            "doctype": "Warehouse",
            "status": 500,
            "exc_type": "OddError",
            "times": None,
        }
    )
    tenant = await shop.order()

    assert await shop.rest(tenant) == [TenantState.FAILED]
    assert (await shop.outcomes(tenant))[WAREHOUSE] == ["RETRY"] * (MAX_TRIES - 1) + ["FAILED"]
    failed = await step(shop, tenant, WAREHOUSE)
    assert failed.state is StepState.FAILED
    assert failed.tries == MAX_TRIES
    assert failed.error_code
    assert failed.error_message
    assert failed.error_at
    assert shop.sql("SELECT error_code, current_step FROM tenants") == [
        (failed.error_code, WAREHOUSE)
    ]

    await shop.faults()
    await shop.proceed(tenant)
    await shop.must_complete(tenant)
    outcomes = await shop.outcomes(tenant)
    assert outcomes[WAREHOUSE] == ["APPLIED"]
    assert COMPANY not in outcomes  # carried over


async def test_a_permanent_error_fails_at_once_and_continue_completes(shop: Shop) -> None:
    refused = {"method": "POST", "doctype": "Company", "status": 417, "exc_type": "MandatoryError"}
    await shop.faults(refused)
    tenant = await shop.order()

    assert await shop.rest(tenant) == [TenantState.FAILED]
    assert (await shop.outcomes(tenant))[COMPANY] == ["FAILED"]
    company = await step(shop, tenant, COMPANY)
    assert company.error_class is ErrorClass.PERMANENT
    assert shop.sql("SELECT error_code FROM tenants") == [(company.error_code,)]
    assert company.error_code

    await shop.proceed(tenant)
    await shop.must_complete(tenant)


@pytest.mark.parametrize("field", ["default_cash_account", "write_off_account", "cost_center"])
async def test_what_a_person_sets_in_the_company_is_seen_by_continue(
    shop: Shop, field: str
) -> None:
    """The step that looked at the Company is carried over: it saw it as it was before."""
    await shop.faults({"method": "POST", "doctype": "Account", "status": 417})
    tenant = await shop.order()
    assert await shop.rest(tenant) == [TenantState.FAILED]
    await shop.faults()
    company = shop.site.site.require("Company", "Kijani Stores")
    right, company[field] = company[field], None
    await shop.again(tenant)
    assert await shop.rest(tenant) == [TenantState.FAILED]
    chart = await step(shop, tenant, "step_3_chart_of_accounts")
    assert chart.error_code == "COMPANY_DEFAULT_MISSING"
    company[field] = right
    await shop.proceed(tenant)
    await shop.must_complete(tenant)
    assert (await step(shop, tenant, COMPANY)).carried_from is not None


async def test_continue_holds_a_tenant_whose_company_is_gone_since_the_run_before(
    shop: Shop,
) -> None:
    """Promise 8, where the step that would notice is carried over."""
    await shop.faults({"method": "POST", "doctype": "Account", "status": 417})
    tenant = await shop.order()
    assert await shop.rest(tenant) == [TenantState.FAILED]
    await shop.faults()
    await shop.store.engine.send(delete("Company", "Kijani Stores"))
    await shop.proceed(tenant)
    await shop.rest(tenant)
    chart = await step(shop, tenant, "step_3_chart_of_accounts")
    assert chart.error_code == "COMPANY_VANISHED"
    record = await shop.record(tenant)
    assert record.tenant.hold is not None
    assert not await shop.belongings("Kijani Stores")


async def test_an_optional_step_that_fails_leaves_a_usable_tenant_and_the_reason(
    shop: Shop,
) -> None:
    gone = "Could not find User: till@example.com"
    await shop.faults(
        {
            "method": "POST",
            "doctype": "POS Opening Entry",
            "exc_type": "LinkValidationError",
            "message": gone,
        }
    )
    tenant = await shop.order()

    assert await shop.rest(tenant) == [TenantState.PARTIAL]
    till = await step(shop, tenant, TILL)
    assert till.state is StepState.FAILED
    assert gone in (till.error_message or "")
    outcomes = await shop.outcomes(tenant)
    assert outcomes[TILL] == ["FAILED"]
    assert outcomes["step_10_post_sale_updates"]  # runs though another one failed
    assert shop.sql("SELECT error_code FROM tenants") == [(till.error_code,)]

    await shop.proceed(tenant)
    await shop.must_complete(tenant)


async def test_a_bug_met_at_a_step_is_recorded_and_costs_only_its_tenant(
    shop: Shop, monkeypatch: object
) -> None:
    engine = shop.store.engine
    send = engine.send
    left = 2

    async def broken(request):  # type: ignore[no-untyped-def]  # as it is
        nonlocal left
        if left and request.doctype == "Warehouse" and request.method == "POST":
            left -= 1
            raise KeyError("oops")
        return await send(request)

    engine.send = broken  # type: ignore[method-assign]  # the bug
    tenant = await shop.completed()
    codes = [each.error_code for each in await shop.attempts(tenant) if each.error_code]
    assert codes == ["INTERNAL_ERROR"] * 2
