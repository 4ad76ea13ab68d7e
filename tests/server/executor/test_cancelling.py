"""Cancel: a run stops where nothing is out, and never leaves it unknown what became of one."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from server.commands import OrderTerms
from server.erpnext.requests import make
from server.erpnext.steps import step_2_company
from server.erpnext.timeouts import Timeouts
from server.errors import EngineError
from server.executor import drive, quarantine
from server.executor.executor import Executor
from server.executor.line import SEATS
from server.model.actor import LOCAL
from server.model.budget import Pacing
from server.model.states import ErrorClass, GateState, RunState, TenantState
from server.model.step_context import DEFAULT_TIMEOUT_SECONDS, EngineHealth
from server.store.columns import time_text
from tests.server.executor.scene import TILL, WHOLE, draft_of_till, now

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from server.model.step_context import Answer, Request
    from tests.server.executor.scene import Shop

NAME = "Kijani Stores"
WHY = OrderTerms(reason="the customer left")


async def cancel(shop: Shop, tenant: TenantId) -> None:
    await shop.commands.cancel(LOCAL, tenant, WHY)


async def told(shop: Shop, tenant: TenantId) -> str:
    (line,) = [each for each in await shop.lines(tenant) if "cancelled the run" in each]
    return line


async def test_a_request_that_is_out_is_waited_for_and_then_nothing_more_is_sent(
    shop: Shop,
) -> None:
    before = shop.site.arrivals("POST", "Company")
    await shop.faults({"method": "POST", "doctype": "Company", "hang_seconds": 60})
    tenant = await shop.order(NAME)
    await shop.site.arrived("POST", "Company", before + 1)
    await cancel(shop, tenant)
    record = await shop.record(tenant)
    assert record.tenant.state is TenantState.IN_PROGRESS
    assert record.run is not None
    assert record.run.cancellation is not None
    warehouses = shop.site.arrivals("POST", "Warehouse")
    shop.site.hurry()
    assert await shop.rest(tenant) == [TenantState.CANCELLED]
    assert "Company 'Kijani Stores'" in await told(shop, tenant)
    assert "(perhaps)" not in await told(shop, tenant)
    assert shop.site.arrivals("POST", "Warehouse") == warehouses
    assert shop.sql("SELECT slot_tenant_id FROM engines") == [(None,)]
    # A person may drive it on, or have removed what is left.
    await shop.proceed(tenant)
    await shop.must_complete(tenant)
    assert await shop.belongings(NAME) == WHOLE


async def test_no_further_document_of_a_step_is_asked_for(shop: Shop) -> None:
    """A step that makes several stops between two of them, too."""
    before = shop.site.arrivals("POST", "Warehouse")
    await shop.faults({"method": "POST", "doctype": "Warehouse", "hang_seconds": 60})
    tenant = await shop.order(NAME)
    await shop.site.arrived("POST", "Warehouse", before + 1)
    await cancel(shop, tenant)
    shop.site.hurry()
    assert await shop.rest(tenant) == [TenantState.CANCELLED]
    assert shop.site.arrivals("POST", "Warehouse") == before + 1
    assert "Warehouse 'Main Store - KS'" in await told(shop, tenant)
    assert "POS Store" not in await told(shop, tenant)


async def test_a_run_in_line_for_the_sites_slot_stops_at_once(shop: Shop) -> None:
    before = shop.site.arrivals("POST", "Company")
    await shop.faults({"method": "POST", "doctype": "Company", "hang_seconds": 60})
    first = await shop.order("Bidii")
    await shop.site.arrived("POST", "Company", before + 1)
    second = await shop.order(NAME)
    await shop.until_waiting(second, "SITE_SLOT")
    await cancel(shop, second)
    assert await shop.rest(second) == [TenantState.CANCELLED]
    shop.site.hurry()
    await shop.must_complete(first)
    assert not await shop.belongings(NAME)


async def test_who_never_got_the_slot_has_nothing_out_and_leaves_nothing(shop: Shop) -> None:
    """Seated in the line, or called up later as all seats are taken: nothing was asked for."""
    shop.somebody_holds_the_slot()
    tenants = [await shop.order(f"Branch {number} Traders") for number in range(SEATS + 3)]
    for tenant in tenants:
        await shop.until_waiting(tenant, "SITE_SLOT")
    for tenant in (tenants[-1], tenants[SEATS // 2], tenants[0]):
        await cancel(shop, tenant)
        assert await shop.rest(tenant) == [TenantState.CANCELLED]
        assert "perhaps" not in await told(shop, tenant)
    assert shop.sql("SELECT doctype, name FROM resources WHERE doctype = 'Company'") == []


async def test_what_a_dead_worker_left_out_is_looked_up_before_the_run_is_closed(
    still: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    _soon(monkeypatch)
    monkeypatch.setattr(step_2_company, "make_seconds", lambda _companies: 3.0)
    first = await still.drive(drain_seconds=0.1)
    before = still.site.arrivals("POST", "Company")
    await still.faults({"method": "POST", "doctype": "Company", "hang_seconds": 60})
    tenant = await still.order(NAME)
    await still.site.arrived("POST", "Company", before + 1)
    await still.open()
    await still.leave(first)
    await cancel(still, tenant)
    assert (await still.record(tenant)).tenant.state is TenantState.IN_PROGRESS
    still.site.hurry()
    await still.faults()
    await still.store.executor.start()
    assert await still.rest(tenant) == [TenantState.CANCELLED]
    held = await still.belongings(NAME)
    said = await told(still, tenant)
    assert ("Company 'Kijani Stores'" in said) == bool(held["Company"])


async def test_a_request_that_was_repeated_late_is_waited_for_from_when_it_was_sent(
    still: Shop,
) -> None:
    """A document keeps the time it was first asked for, which may be long ago by now."""
    entry = ("POST", "Price List")
    before = still.site.arrivals(*entry)
    await still.faults({"method": entry[0], "doctype": entry[1], "hang_seconds": 60})
    first = await still.drive(drain_seconds=0.1)
    tenant = await still.order(NAME)
    await still.site.arrived(*entry, before + 1)
    second = await still.open(drain_seconds=0.1)
    await still.leave(first)
    still.sql(
        "UPDATE resources SET intended_at = ? WHERE doctype = 'Price List'",
        time_text(now() - timedelta(hours=1)),
    )
    await second.executor.start()
    await still.site.arrived(*entry, before + 2)
    await still.open()
    await still.leave(second)
    await cancel(still, tenant)
    await still.faults()
    await still.store.executor.start()
    await still.until_waiting(tenant, "CANCELLING")
    still.site.hurry()


async def test_a_slow_engine_is_waited_for_as_long_as_its_own_limit_says(still: Shop) -> None:
    """The engines file may allow five minutes for an answer: a document may come as late."""
    entry = ("POST", "Price List")
    before = still.site.arrivals(*entry)
    await still.faults({"method": entry[0], "doctype": entry[1], "hang_seconds": 60})
    first = await still.drive(drain_seconds=0.1)
    first.engine._timeouts = Timeouts(seconds=300.0)
    tenant = await still.order(NAME)
    await still.site.arrived(*entry, before + 1)
    second = await still.open()
    second.engine._timeouts = Timeouts(seconds=300.0)
    await still.leave(first)
    ordered = now()
    await cancel(still, tenant)
    await still.faults()
    await second.executor.start()
    await still.until_waiting(tenant, "CANCELLING")
    run = (await still.record(tenant)).run
    assert run is not None
    assert run.waiting_for is not None
    assert run.waiting_for.until is not None
    assert run.waiting_for.until >= ordered + timedelta(seconds=300)
    still.site.hurry()


async def test_what_is_seen_does_not_give_back_the_slot_of_what_may_still_come(
    still: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two documents of a step that were asked for in vain, one is there: the other may come."""
    shown, hidden = "Main Store - KS", "POS Store - KS"
    monkeypatch.setattr(drive, "random", SimpleNamespace(random=lambda: 0.5))
    store = await still.drive()
    await still.faults(
        {"method": "POST", "doctype": "Warehouse", "name": shown, "cut": "after"},
        {"method": "POST", "doctype": "Warehouse", "name": hidden, "hang_seconds": 600},
    )
    send = store.engine.send

    async def impatient(request: Request) -> Answer:
        if (request.method, request.name) == ("POST", hidden):
            # Given up, and then nothing more is sent before the order to cancel.
            store.engine.patience = [0.2]
            store.executor._claims._pacing = Pacing(transient_base=3000, transient_cap=3000)
        return await send(request)

    store.engine.send = impatient  # type: ignore[method-assign]  # gives up on the second one
    tenant = await still.order(NAME)
    await still.until_waiting(tenant, "RETRY")
    await still.site.arrived("POST", "Warehouse", 3)
    await still.until_waiting(tenant, "RETRY")
    await cancel(still, tenant)
    await still.until_waiting(tenant, "CANCELLING")
    states = still.sql("SELECT name, state FROM resources WHERE doctype = 'Warehouse'")
    assert {(shown, "CREATED"), (hidden, "INTENDED")} <= set(states)
    assert still.sql("SELECT slot_doctype, slot_name FROM engines") == [("Warehouse", hidden)]
    still.site.hurry()


async def test_a_draft_that_a_lost_request_should_submit_is_not_taken_for_submitted(
    still: Shop,
) -> None:
    """It is looked at as a draft still: the request may come as long as it ever could."""
    entry = "POS Opening Entry"
    await still.faults({"method": "POST", "doctype": entry, "status": 417})
    worker = await still.drive(drain_seconds=0.1)
    tenant = await still.order(NAME)
    assert await still.rest(tenant) == [TenantState.PARTIAL]
    await still.store.engine.send(make(entry, "POS-OPE-KS-1", draft_of_till()))
    before = still.site.arrivals("PUT", entry)
    await still.faults({"method": "PUT", "doctype": entry, "hang_seconds": 60})
    await still.again(tenant, step_key=TILL)
    await still.site.arrived("PUT", entry, before + 1)
    await still.open()
    await still.leave(worker)
    await cancel(still, tenant)
    await still.store.executor.start()
    await still.until_waiting(tenant, "CANCELLING")
    assert not [each for each in await still.lines(tenant) if "as it was wanted" in each]
    still.site.hurry()


async def test_a_run_that_waits_after_a_change_of_unknown_outcome_is_not_closed_at_once(
    still: Shop,
) -> None:
    entry = "POS Opening Entry"
    # It is never asked for: a draft that is there already is only changed.
    await still.faults({"method": "GET", "doctype": entry, "status": 417})
    await still.drive(pacing=Pacing(transient_base=3600, transient_cap=3600))
    tenant = await still.order(NAME)
    assert await still.rest(tenant) == [TenantState.PARTIAL]
    await still.faults()
    await still.store.engine.send(make(entry, "POS-OPE-KS-1", draft_of_till()))
    await still.faults({"method": "PUT", "doctype": entry, "cut": "before", "times": 1})
    await still.again(tenant, step_key=TILL)
    await still.until_waiting(tenant, "RETRY")
    await cancel(still, tenant)
    await still.until_waiting(tenant, "CANCELLING")


@pytest.mark.parametrize("doctype", ["Company", "Warehouse"])
@pytest.mark.parametrize("done", [False, True])
async def test_a_run_that_waits_after_a_refused_request_is_closed_at_once(
    still: Shop, doctype: str, done: bool
) -> None:
    """Nothing is out, but it stood for a minute as if that were not known."""
    await still.faults(
        {"method": "POST", "doctype": doctype, "exc_type": "OddError", "status": 500, "times": 1}
        | ({"when": "after"} if done else {})
    )
    await still.drive(pacing=Pacing(transient_base=3600, transient_cap=3600))
    tenant = await still.order(NAME)
    await still.until_waiting(tenant, "RETRY")
    await cancel(still, tenant)
    assert await still.state(tenant) is TenantState.CANCELLED
    # What was asked for is known, so that it is taken for ours if it was made all the same.
    assert f"{doctype} " in await told(still, tenant)
    assert "(perhaps)" in await told(still, tenant)
    await still.proceed(tenant)
    await still.must_complete(tenant)
    assert await still.belongings(NAME) == WHOLE
    made = "SELECT DISTINCT state FROM resources WHERE NOT shared AND doctype = ?"
    assert still.sql(made, doctype) == [("CREATED",)]


async def test_a_refused_request_does_not_hide_that_an_earlier_one_may_be_out(still: Shop) -> None:
    asked = {"method": "POST", "doctype": "Warehouse", "times": 1}
    await still.faults({**asked, "cut": "before"}, {**asked, "exc_type": "QueryDeadlockError"})
    await still.drive(pacing=Pacing(transient_base=0.01, race_low=3600, race_high=3600))
    tenant = await still.order(NAME)

    async def refused() -> bool:
        return any(each.error_code == "ENGINE_DEADLOCK" for each in await still.attempts(tenant))

    await still.until(refused)
    await cancel(still, tenant)
    await still.until_waiting(tenant, "CANCELLING")


async def test_nothing_is_closed_while_the_engine_cant_be_asked(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    _soon(monkeypatch)
    engine, send, check = shop.store.engine, shop.store.engine.send, shop.store.engine.check
    down = False

    async def losing(request: Request) -> Answer:
        nonlocal down
        answer = await send(request)
        if (request.method, request.doctype) == ("POST", "Warehouse") and not down:
            down = True
            raise EngineError(
                ErrorClass.UNKNOWN_OUTCOME, "OUTCOME_UNKNOWN", "lost", ask_prober=True
            )
        return answer

    async def looked() -> EngineHealth:
        return EngineHealth(state=GateState.DOWN, code="ENGINE_DOWN") if down else await check()

    engine.send, engine.check = losing, looked  # type: ignore[method-assign]  # the test's
    tenant = await shop.order(NAME)
    await shop.until_waiting(tenant, "ENGINE_DOWN")
    await cancel(shop, tenant)
    assert (await shop.record(tenant)).tenant.state is TenantState.IN_PROGRESS
    engine.send, down = send, False  # type: ignore[method-assign]  # back again
    assert await shop.rest(tenant) == [TenantState.CANCELLED]
    assert "Warehouse 'Main Store - KS'" in await told(shop, tenant)


@pytest.mark.parametrize("heard", [True, False])
async def test_a_run_that_fails_after_the_order_is_cancelled_and_not_driven_on(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    """The order was acknowledged: a run that stops by itself would be driven on by a sweep."""
    if not heard:
        # As where another process took the order a moment ago.
        monkeypatch.setattr(Executor, "_pass_on_cancellations", _deaf)
    entry = ("POST", "Company")
    before = shop.site.arrivals(*entry)
    await shop.faults({"method": entry[0], "doctype": entry[1], "status": 417, "hang_seconds": 60})
    tenant = await shop.order(NAME)
    await shop.site.arrived(*entry, before + 1)
    await cancel(shop, tenant)
    shop.site.hurry()
    assert await shop.rest(tenant) == [TenantState.CANCELLED]
    # Both that it was ordered and that it was done say why, and go on in another sentence.
    log = "\n".join(await shop.lines(tenant))
    assert "Reason: the customer left. The run is closed once" in log
    assert "Reason: the customer left. Left at the engine: " in log
    record = await shop.record(tenant)
    assert record.run is not None
    assert record.run.state is RunState.CANCELLED


async def test_a_run_that_is_held_after_the_order_is_cancelled(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    shop.site.site.remove(shop.site.site.require("Company", NAME))
    entry = ("GET", "Company")
    await shop.faults({"method": entry[0], "doctype": entry[1], "hang_seconds": 60})
    before = shop.site.arrivals(*entry)
    await shop.again(tenant)
    await shop.site.arrived(*entry, before + 1)
    await cancel(shop, tenant)
    shop.site.hurry()
    assert await shop.rest(tenant) == [TenantState.CANCELLED]
    # Driven on, it comes to the same word of a person's again.
    await shop.proceed(tenant)
    assert await shop.rest(tenant) == [TenantState.FAILED]
    assert (await shop.record(tenant)).tenant.hold is not None


async def test_a_removal_can_be_stopped_half_way_and_gone_on_with(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    before = shop.site.arrivals("DELETE", "Customer")
    await shop.faults({"method": "DELETE", "doctype": "Customer", "hang_seconds": 60})
    await shop.remove(tenant)
    await shop.site.arrived("DELETE", "Customer", before + 1)
    await cancel(shop, tenant)
    shop.site.hurry()
    assert await shop.rest(tenant) == [TenantState.CANCELLED]
    said = await told(shop, tenant)
    assert "Company 'Kijani Stores'" in said
    assert "Customer" not in said
    await shop.remove(tenant)
    assert await shop.rest(tenant) == [TenantState.DEPROVISIONED]
    run = (await shop.record(tenant)).run
    assert run is not None
    assert run.state is RunState.COMPLETED


async def _deaf(_executor: Executor) -> None:
    """Hear of no order."""


def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what may still come be over soon."""
    # The time limit is added to it.
    monkeypatch.setattr(quarantine, "GRACE_SECONDS", 0.06 - DEFAULT_TIMEOUT_SECONDS)
