"""Records damaged by SQL: the seed's PARTIAL, 0 of 10, and rows that vanish under a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.model.actor import RECONCILER
from server.model.blueprint import ERPNEXT
from server.model.derive import derive
from server.model.states import ResourceState, TenantState
from server.store.operations import TenantOperation
from tests.server.executor.scene import COMPANY, PROFILE, TILL, WAREHOUSE, WHOLE

if TYPE_CHECKING:
    from server.model.actor import Actor
    from server.model.identifiers import TenantId
    from server.store.operations import Operation, Outcome
    from tests.server.executor.scene import Shop

# What else may be gone when the step rows are.
LOSSES = {
    "steps": (),
    "steps and binding": ("DELETE FROM bindings",),
    "steps and resources": ("DELETE FROM resources",),
    "steps, binding and resources": ("DELETE FROM bindings", "DELETE FROM resources"),
    "steps and runs": ("DELETE FROM runs",),
    "all but the tenant": (
        "DELETE FROM runs",
        "DELETE FROM bindings",
        "DELETE FROM resources",
        "DELETE FROM attempts",
    ),
}


def damage(shop: Shop, tenant: TenantId, *more: str) -> None:
    """Make the record the old system left behind."""
    shop.sql("DELETE FROM steps WHERE tenant_id = ?", tenant)
    shop.sql("UPDATE runs SET state = 'PARTIAL' WHERE tenant_id = ?", tenant)
    shop.sql(
        "UPDATE tenants SET state = 'PARTIAL', current_step = 'step_0_engine_check',"
        " steps_completed = 0, error_code = NULL, first_completed_at = NULL WHERE id = ?",
        tenant,
    )
    for statement in more:
        shop.sql(f"{statement} WHERE tenant_id = ?", tenant)


@pytest.mark.parametrize("loss", LOSSES)
async def test_continue_rebuilds_a_lost_record_and_makes_nothing_twice(
    shop: Shop, loss: str
) -> None:
    tenant = await shop.completed()
    writes, documents = await shop.writes(), await shop.documents()
    damage(shop, tenant, *LOSSES[loss])

    await shop.proceed(tenant)
    await shop.must_complete(tenant)

    assert await shop.writes() == writes
    assert await shop.documents() == documents
    outcomes = await shop.outcomes(tenant)
    for key in (COMPANY, WAREHOUSE, PROFILE, TILL):
        assert outcomes[key] == ["ADOPTED"]
    adopted = [line for line in await shop.lines(tenant) if "was there already" in line]
    assert any("Company 'Kijani Stores'" in line for line in adopted)
    binding = await shop.store.database.reads.binding(tenant)
    assert binding is not None
    assert binding.abbreviation == "KS"
    resources = await shop.store.database.reads.resources(tenant)
    company = next(each for each in resources if each.doctype == "Company")
    lost = "DELETE FROM resources" in LOSSES[loss]
    assert company.state is (ResourceState.ADOPTED if lost else ResourceState.CREATED)


async def test_the_reconcilers_order_rebuilds_as_a_persons_does(shop: Shop) -> None:
    tenant = await shop.completed()
    documents = await shop.documents()
    damage(shop, tenant)

    await shop.proceed(tenant, RECONCILER)
    await shop.must_complete(tenant)

    assert await shop.documents() == documents
    run = (await shop.record(tenant)).run
    assert run is not None
    assert (run.order, run.actor) == ("REBUILD", "reconciler")


@pytest.mark.parametrize("lost", ["", " AND position % 2 = 1"], ids=["all rows", "some rows"])
async def test_a_queued_run_whose_step_rows_vanish_gets_them_back(still: Shop, lost: str) -> None:
    store = await still.open()
    tenant = await still.order()
    still.sql(f"DELETE FROM steps WHERE tenant_id = ?{lost}", tenant)  # noqa: S608 - ours

    await store.executor.start()
    await still.must_complete(tenant)

    assert len((await still.record(tenant)).steps) == 10
    assert [line for line in await still.lines(tenant) if "step rows of this run were lost" in line]


async def test_all_rows_that_vanish_under_a_worker_are_written_again(shop: Shop) -> None:
    """The worker has them in memory, and notices with its next write that they are gone."""
    await shop.faults({"method": "POST", "doctype": "Company", "hang_seconds": 60})
    tenant = await shop.order()
    await shop.site.arrived("POST", "Company")
    shop.sql("DELETE FROM steps WHERE tenant_id = ?", tenant)
    shop.site.hurry()
    await shop.must_complete(tenant)

    record = await shop.record(tenant)
    standing = derive(
        stored=record.tenant.state,
        run=record.run,
        steps=record.steps,
        step_types=ERPNEXT.steps_for(record.tenant.spec),
        at=record.tenant.updated_at,
    )
    assert not standing.record_lost
    assert standing.state is TenantState.COMPLETED
    assert await shop.belongings("Kijani Stores") == WHOLE


@pytest.mark.parametrize("actor", [None, RECONCILER], ids=["a person", "the reconciler"])
async def test_an_empty_record_of_a_tenant_without_documents_is_driven_from_the_start(
    still: Shop, actor: Actor | None
) -> None:
    store = await still.open()
    tenant = await still.order()
    damage(still, tenant)

    await (still.proceed(tenant, actor) if actor else still.proceed(tenant))
    await store.executor.start()
    await still.must_complete(tenant)

    assert (await still.outcomes(tenant))[COMPANY] == ["APPLIED"]


async def test_step_rows_deleted_while_a_worker_drives_are_written_again_at_its_next_write(
    shop: Shop,
) -> None:
    await shop.faults({"method": "POST", "doctype": "Company", "hang_seconds": 600})
    tenant = await shop.order()
    await shop.site.arrived("POST", "Company")
    shop.sql("DELETE FROM steps WHERE key IN ('step_0_engine_check', 'step_7_customer')")

    shop.site.hurry()
    await shop.must_complete(tenant)

    assert shop.sql("SELECT count(*), min(state), max(state) FROM steps") == [
        (10, "COMPLETED", "COMPLETED")
    ]
    lines = await shop.lines(tenant)
    assert sum("were deleted while it was driven" in line for line in lines) == 1
    # What was done and known is not done again.
    assert (await shop.outcomes(tenant))["step_0_engine_check"] == ["APPLIED"]


async def test_a_step_row_deleted_at_the_very_end_is_there_when_the_run_is_closed(
    shop: Shop,
) -> None:
    database, submit = shop.store.database, shop.store.database.submit

    async def robbed(operation: Operation) -> Outcome:
        closing = isinstance(operation, TenantOperation) and operation.completed_at is not None
        if closing:
            shop.sql("DELETE FROM steps WHERE key = 'step_4_warehouses'")
        return await submit(operation)

    database.submit = robbed  # type: ignore[method-assign]  # somebody's SQL
    tenant = await shop.completed()
    await shop.until(lambda: _all_there(shop))
    assert await shop.state(tenant) is TenantState.COMPLETED


async def _all_there(shop: Shop) -> bool:
    return shop.sql("SELECT count(*) FROM steps") == [(10,)]


async def test_a_stray_open_run_is_closed_and_the_tenants_own_goes_on(shop: Shop) -> None:
    tenant = await shop.completed()
    shop.sql(
        "INSERT INTO runs (id, tenant_id, site, run_order, blueprint, blueprint_version, state,"
        " total_steps, due_at, token, actor, reason, previous_state, created_at, options)"
        " SELECT 'stray', tenant_id, site, run_order, blueprint, blueprint_version, 'QUEUED',"
        " total_steps, due_at, token, actor, reason, previous_state, created_at, options"
        " FROM runs"
    )

    async def closed() -> bool:
        return shop.sql("SELECT state FROM runs WHERE id = 'stray'") == [("REPLACED",)]

    await shop.until(closed)
    assert await shop.state(tenant) is TenantState.COMPLETED


async def test_a_lost_record_of_a_shop_that_was_never_completed_opens_no_second_till(
    shop: Shop,
) -> None:
    """An optional step had failed; the shop sold, and people deleted the till's first entry."""
    fault = {"method": "POST", "doctype": "Item Group", "exc_type": "ValidationError"}
    await shop.faults(fault)
    tenant = await shop.order(include_demo_data=True)
    assert await shop.rest(tenant) == [TenantState.PARTIAL]
    await shop.faults()
    entries = shop.site.site.documents["POS Opening Entry"]
    entries.clear()
    damage(shop, tenant)

    await shop.proceed(tenant, RECONCILER)
    await shop.must_complete(tenant)
    assert not entries

    await shop.again(tenant)
    await shop.must_complete(tenant)
    assert not entries
