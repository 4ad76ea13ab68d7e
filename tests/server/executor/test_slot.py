"""A site's one slot: tree documents of one site are asked for one after the other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from server.errors import EngineError
from server.executor import gates
from server.model.blueprint import ERPNEXT
from server.model.budget import MAX_TRIES
from server.model.states import ErrorClass, TenantState
from server.store.apply import apply
from server.store.operations import Refusal, SlotFree, SlotTake, TenantOperation
from tests.server.executor.scene import COMPANY, INSERT, PROFILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from server.store.operations import Operation, Outcome
    from tests.server.executor.scene import Shop

TREES = {"Company", "Warehouse", "Account"}
TAKEN_ONE_BY_ONE = TREES | {INSERT}


async def test_one_tree_document_at_a_time_and_no_deadlock(shop: Shop) -> None:
    await shop.faults(latency_ms=5)
    engine, send = shop.store.engine, shop.store.engine.send
    out, most = 0, 0

    async def counted(request):  # type: ignore[no-untyped-def]  # as it is
        nonlocal out, most
        if request.method != "POST" or request.doctype not in TREES:
            return await send(request)
        out += 1
        most = max(most, out)
        try:
            return await send(request)
        finally:
            out -= 1

    engine.send = counted  # type: ignore[method-assign]  # the test looks on
    tenants = [await shop.order(f"Branch {number} Traders") for number in range(6)]
    await shop.must_complete(*tenants)

    assert most == 1
    refused = [
        row
        for row in (await shop.look())["requests"]
        if row["doctype"] in TAKEN_ONE_BY_ONE and row["status"] >= 400 and row["method"] == "POST"
    ]
    assert refused == []
    waits = [
        operation.runs[0].run.waiting_for.code
        for operation, _ in shop.store.written
        if operation.runs and operation.runs[0].run.waiting_for
    ]
    assert "SITE_SLOT" in waits
    assert shop.sql("SELECT slot_tenant_id FROM engines") == [(None,)]


async def test_the_slot_goes_from_one_to_the_next_in_one_commit(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.faults(latency_ms=20)
    commits: list[list[Operation]] = []

    def noted(connection: Connection, batch: Sequence[Operation], **more: Any) -> list[Outcome]:
        commits.append(list(batch))
        return apply(connection, batch, **more)

    monkeypatch.setattr("server.store.database.apply", noted)
    tenants = [await shop.order(f"Branch {number} Traders") for number in range(4)]
    await shop.must_complete(*tenants)

    slots = [
        [operation.slot for operation in batch if isinstance(operation, TenantOperation)]
        for batch in commits
    ]
    handed_on = [
        each
        for each in slots
        if any(isinstance(slot, SlotFree) for slot in each)
        and any(isinstance(slot, SlotTake) for slot in each)
    ]
    # Each of the four Companies but the last is followed by another one, at least.
    assert len(handed_on) >= 3
    # Nobody asked for it before it was given back.
    refused = [outcome.refusal for _, outcome in shop.store.written if not outcome.applied]
    assert Refusal.SLOT_BUSY not in refused


async def test_a_run_waits_while_another_process_holds_the_slot(shop: Shop) -> None:
    """The slot outlives its holder until the time of what was out is over."""
    shop.somebody_holds_the_slot()
    tenant = await shop.order()
    await shop.until_waiting(tenant, "SITE_SLOT")
    assert shop.site.arrivals("POST", "Company") == 0

    shop.sql("UPDATE engines SET slot_expires_at = '2000-01-01 00:00:00.000000'")
    await shop.must_complete(tenant)


CUT = {"method": "POST", "doctype": "Company", "action": "cut"}


@pytest.mark.parametrize("max_runs", [32, 2], ids=["with places free", "with every place taken"])
async def test_who_left_a_request_out_goes_before_those_who_wait_for_its_slot(
    still: Shop, max_runs: int
) -> None:
    """Else they all would wait until the time of that request is over: minutes."""
    await still.drive(max_runs=max_runs)
    await still.faults({**CUT, "hang_seconds": 600})
    tenants = [await still.order("Branch 0 Traders")]
    await still.site.arrived("POST", "Company")
    tenants += [await still.order(f"Branch {number} Traders") for number in range(1, 5)]
    await still.until_waiting(tenants[1], "SITE_SLOT")

    still.site.hurry()
    await still.must_complete(*tenants)
    assert (await still.outcomes(tenants[0]))[COMPANY] == ["RETRY", "APPLIED"]
    for tenant in tenants[1:]:
        assert (await still.outcomes(tenant))[COMPANY] == ["APPLIED"]


async def test_who_left_a_request_out_goes_first_after_an_outage_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Load comes back in waves; the first one must not be those who wait for the slot."""
    monkeypatch.setattr(gates, "PROBE_PAUSES_SECONDS", (0.02,))
    await shop.faults({**CUT, "hang_seconds": 600})
    first = await shop.order("Branch 0 Traders")
    await shop.site.arrived("POST", "Company")
    second = await shop.order("Branch 1 Traders")
    await shop.until_waiting(second, "SITE_SLOT")
    await shop.faults(down=True)
    shop.site.hurry()
    await shop.until_waiting(first, "ENGINE_DOWN")

    await shop.faults()
    await shop.must_complete(first, second)
    assert (await shop.outcomes(first))[COMPANY] == ["WAIT_ENGINE", "APPLIED"]


async def test_the_slot_is_given_back_when_what_it_was_for_is_seen_though_the_step_fails(
    shop: Shop,
) -> None:
    """Else the site would stand until the time of that request is over: a minute."""
    await shop.faults(
        {"method": "POST", "doctype": INSERT, "action": "cut", "when": "after", "times": 1},
        {"method": "POST", "doctype": "POS Profile", "status": 417},
    )
    tenant = await shop.order(payment_methods=("M-Pesa",))
    assert await shop.rest(tenant) == [TenantState.FAILED]

    assert (await shop.outcomes(tenant))[PROFILE] == ["RETRY", "FAILED"]
    assert shop.sql("SELECT slot_tenant_id FROM engines") == [(None,)]


async def test_looks_that_fail_at_what_holds_the_slot_cost_no_try(shop: Shop) -> None:
    """Its pauses grew, and when its tries were spent it kept the site until a sweep drove it on."""
    await shop.faults({"method": "POST", "doctype": "Company", "action": "cut", "when": "after"})
    engine, send = shop.store.engine, shop.store.engine.send
    left = MAX_TRIES + 3

    async def flaky(request):  # type: ignore[no-untyped-def]  # as it is
        nonlocal left
        holder = shop.sql("SELECT slot_tenant_id FROM engines")[0][0]
        if request.method == "GET" and request.doctype == "Company" and holder and left:
            left -= 1
            raise EngineError(ErrorClass.TRANSIENT, "ENGINE_ERROR", "A gateway answered 502.")
        return await send(request)

    engine.send = flaky  # type: ignore[method-assign]  # a site that is well in between
    tenant = await shop.order()
    await shop.must_complete(tenant)
    assert left == 0
    assert (await shop.outcomes(tenant))[COMPANY] == ["RETRY"] * (MAX_TRIES + 4) + ["APPLIED"]
    record = await shop.record(tenant)
    # The lost answer, and the look that saw it.
    assert {step.key: step.tries for step in record.steps}[COMPANY] == 2


async def test_looks_at_what_holds_the_slot_count_when_its_time_is_over(shop: Shop) -> None:
    """The site waits for it no more, and the tenant says what is wrong."""
    await shop.faults({"method": "POST", "doctype": "Company", "action": "cut", "when": "after"})
    engine, send = shop.store.engine, shop.store.engine.send

    async def broken(request):  # type: ignore[no-untyped-def]  # as it is
        if shop.sql("SELECT slot_tenant_id FROM engines")[0][0] and request.method == "GET":
            shop.sql("UPDATE engines SET slot_expires_at = '2020-01-01 00:00:00.000000'")
            raise EngineError(ErrorClass.TRANSIENT, "ENGINE_ERROR", "A gateway answered 502.")
        return await send(request)

    engine.send = broken  # type: ignore[method-assign]  # for good
    tenant = await shop.order()
    assert await shop.rest(tenant) == [TenantState.FAILED]
    assert (await shop.outcomes(tenant))[COMPANY] == ["RETRY"] * (MAX_TRIES - 1) + ["FAILED"]


async def test_waiting_for_the_slot_is_no_part_of_an_attempts_time(shop: Shop) -> None:
    await shop.faults({"method": "POST", "doctype": "Company", "hang_seconds": 600})
    first = await shop.order("Branch 0 Traders")
    await shop.site.arrived("POST", "Company")
    kinds = {kind.key: kind for kind in ERPNEXT.steps}
    # Shorter than the wait below, and long enough for the step itself.
    object.__setattr__(kinds[COMPANY], "deadline_seconds", 2.0)
    try:
        second = await shop.order("Branch 1 Traders")
        await shop.until_waiting(second, "SITE_SLOT")
        assert shop.sql("SELECT deadline_at FROM runs WHERE tenant_id = ?", second) == [(None,)]
        await asyncio.sleep(2.1)  # the time is what is tested
        shop.site.hurry()
        await shop.must_complete(first, second)
    finally:
        object.__setattr__(kinds[COMPANY], "deadline_seconds", 420.0)
    assert (await shop.outcomes(second))[COMPANY] == ["APPLIED"]
