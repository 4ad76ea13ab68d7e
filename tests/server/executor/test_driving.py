"""A tenant from its order to COMPLETED, and looked at again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from server.executor.choosing import POLL_SECONDS
from server.model.blueprint import ERPNEXT
from server.model.states import ResourceState, StepState
from tests.server.executor.scene import TILL, WHOLE

if TYPE_CHECKING:
    import pytest

    from server.store.due import DueAsked
    from server.store.found import DueRun
    from tests.server.executor.scene import Shop


async def test_a_tenant_goes_to_completed_and_everything_is_on_record(shop: Shop) -> None:
    tenant = await shop.completed("Kijani Stores")

    record = await shop.record(tenant)
    assert {step.state for step in record.steps} == {StepState.COMPLETED}
    assert [step.tries for step in record.steps] == [1] * 10
    assert await shop.outcomes(tenant) == {step.key: ["APPLIED"] for step in record.steps}
    assert record.tenant.first_completed_at is not None
    resources = {
        (each.doctype, each.name): each.state
        for each in await shop.store.database.reads.resources(tenant)
    }
    assert resources["Company", "Kijani Stores"] is ResourceState.CREATED
    assert resources["Warehouse", "Main Store - KS"] is ResourceState.CREATED
    assert resources["POS Opening Entry", "POS-OPE-KS-1"] is ResourceState.CREATED
    assert ResourceState.INTENDED not in resources.values()
    binding = await shop.store.database.reads.binding(tenant)
    assert binding is not None
    assert binding.abbreviation == "KS"
    assert await shop.belongings("Kijani Stores") == WHOLE


async def test_a_run_is_claimed_by_the_write_that_begins_its_first_step(shop: Shop) -> None:
    tenant = await shop.completed()

    mine = [op for op, _ in shop.store.written if op.tenant_id == tenant]
    claims = [op for op in mine if op.raise_token]
    assert [attempt.number for op in claims for attempt in op.attempts] == [1]
    assert [op.revision for op in claims] == [1]
    # Nothing that is driven is written before it.
    assert mine.index(claims[0]) == 1


async def test_runs_under_way_are_read_twice_a_second_not_with_each_new_one(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = shop.store.database.reads
    due_runs = reads.due_runs
    looks: list[bool] = []

    async def noted(asked: DueAsked) -> list[DueRun]:
        if asked.tenants is None:
            looks.append(asked.left)
        return await due_runs(asked)

    monkeypatch.setattr(reads, "due_runs", noted)
    began = time.monotonic()
    for number in range(8):
        await shop.completed(f"Branch {number}")
    # Whatever a dead worker left is still found within a moment, and no more often.
    assert 1 <= looks.count(True) <= 1 + (time.monotonic() - began) / POLL_SECONDS


async def test_a_retry_of_a_finished_tenant_writes_nothing_at_the_engine(shop: Shop) -> None:
    tenant = await shop.completed()
    writes, documents = await shop.writes(), await shop.documents()

    await shop.again(tenant)
    await shop.must_complete(tenant)

    assert await shop.writes() == writes
    assert await shop.documents() == documents
    outcomes = await shop.outcomes(tenant)
    for key in ("step_2_company", "step_4_warehouses", "step_8_pos_profile", TILL):
        assert outcomes[key] == ["ADOPTED"]
    assert {step.key for step in (await shop.record(tenant)).steps if step.adopted} >= {
        "step_2_company",
        TILL,
    }


async def test_a_retry_makes_what_was_lost_at_the_engine_again(shop: Shop) -> None:
    tenant = await shop.completed()
    documents = await shop.documents()
    del shop.site.site.documents["Price List"]["retail ks"]

    await shop.again(tenant, step_key="step_5_settings")
    await shop.must_complete(tenant)

    assert await shop.documents() == documents
    outcomes = await shop.outcomes(tenant)
    assert outcomes["step_5_settings"] == ["APPLIED"]
    assert "step_2_company" not in outcomes  # carried over


async def test_demo_data_adds_a_step(shop: Shop) -> None:
    tenant = await shop.completed(include_demo_data=True)

    assert [step.key for step in (await shop.record(tenant)).steps] == [
        kind.key for kind in ERPNEXT.steps
    ]


async def test_without_a_till_user_the_till_is_skipped(shop: Shop) -> None:
    tenant = await shop.completed(till_user=None)

    till = next(step for step in (await shop.record(tenant)).steps if step.key == TILL)
    assert till.state is StepState.SKIPPED
    assert "till_user" in till.note
    assert (await shop.belongings("Kijani Stores"))["POS Opening Entry"] == 0


async def test_a_clash_of_abbreviations_gives_a_numbered_one(shop: Shop) -> None:
    first = await shop.completed("Kijani Stores")
    second = await shop.completed("Kisumu Supplies")

    bindings = [await shop.store.database.reads.binding(each) for each in (first, second)]
    assert [each.abbreviation for each in bindings if each] == ["KS", "KS2"]
    companies = {each["name"]: each["abbr"] for each in (await shop.look())["documents"]["Company"]}
    assert companies["Kisumu Supplies"] == "KS2"


async def test_no_more_runs_are_driven_at_once_than_allowed(still: Shop) -> None:
    """Of runs that ask for no slot: who stands in a site's line is not driven (test_line)."""
    first = await still.drive()
    tenants = [await still.completed(f"Shop {letter} Ltd") for letter in "ABCDE"]
    await still.leave(first)
    store = await still.open(max_runs=2)
    most = 0
    submit = store.database.submit

    async def counted(operation):  # type: ignore[no-untyped-def]  # as it is
        nonlocal most
        outcome = await submit(operation)
        running = still.sql("SELECT count(*) FROM attempts WHERE outcome IS NULL")[0][0]
        most = max(most, running)
        return outcome

    store.database.submit = counted  # type: ignore[method-assign]  # the test looks on
    for tenant in tenants:
        await still.again(tenant)
    await store.executor.start()

    await still.must_complete(*tenants)
    assert most == 2


async def test_many_tenants_at_once_all_complete(shop: Shop) -> None:
    tenants = [await shop.order(f"Branch {number} Traders") for number in range(8)]

    await shop.must_complete(*tenants)

    for number in range(8):
        assert await shop.belongings(f"Branch {number} Traders") == WHOLE
