"""Workers that hang, stop and replace each other: a replaced one changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from server.errors import StoreUnavailable
from server.executor import executor, lease
from server.model.states import RunState, TenantState
from server.store.operations import (
    Refusal,
    SlotFree,
    SlotTake,
    TenantOperation,
    WorkerOperation,
)
from tests.server.executor.scene import COMPANY, INSERT, PATIENCE_SECONDS, WAREHOUSE, WHOLE
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.model.identifiers import TenantId
    from server.store.operations import Operation, Outcome
    from tests.server.executor.scene import Shop, Store

NAME = "Kijani Stores"


async def hang(shop: Shop, doctype: str) -> TenantId:
    """Order a tenant, and return while a request for it hangs at the engine."""
    await shop.faults({"method": "POST", "doctype": doctype, "hang_seconds": 600})
    tenant = await shop.order(NAME)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await shop.site.arrived("POST", doctype)
    return tenant


async def replace_worker(shop: Shop) -> tuple[Store, Store]:
    """Let a second worker drive while the first one still believes that it does."""
    first = shop.store
    second = await shop.open()
    assert first.database.driver_lock is not None
    assert second.database.driver_lock is not None
    # In one go: the first one looks for the lock again and again.
    first.database.driver_lock.release()
    assert second.database.driver_lock.acquire()
    await second.executor.start()
    return first, second


@pytest.mark.parametrize("doctype", ["Company", "Warehouse", INSERT])
async def test_a_worker_that_was_replaced_in_mid_request_changes_nothing(
    shop: Shop, doctype: str
) -> None:
    tenant = await hang(shop, doctype)
    first, second = await replace_worker(shop)
    # The second one looks, finds nothing, and asks for the same.
    async with asyncio.timeout(PATIENCE_SECONDS):
        await shop.site.arrived("POST", doctype, 2)
    before = len(first.written)

    shop.site.hurry()
    await shop.must_complete(tenant)
    await first.executor.stop()

    late = first.written[before:]
    assert {outcome.refusal for _, outcome in late} == {Refusal.REPLACED}
    outcomes = await shop.outcomes(tenant)
    assert sum(each.count("LOST") for each in outcomes.values()) == 1
    workers = {each.worker_id for each in await shop.attempts(tenant)}
    assert len(workers) == 2
    assert (await shop.belongings(NAME))["Company"] == 1
    assert shop.sql("SELECT slot_tenant_id FROM engines") == [(None,)]
    assert second.written
    assert await shop.belongings(NAME) == WHOLE


async def test_a_replaced_worker_sends_nothing_more(shop: Shop) -> None:
    tenant = await hang(shop, "Company")
    first, _second = await replace_worker(shop)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await shop.site.arrived("POST", "Company", 2)
    sent: list[str] = []
    send = first.engine.send

    async def watched(request):  # type: ignore[no-untyped-def]  # as it is
        sent.append(f"{request.method} {request.doctype}")
        return await send(request)

    first.engine.send = watched  # type: ignore[method-assign]  # the test looks on
    shop.site.hurry()
    await shop.must_complete(tenant)
    await first.executor.stop()

    assert sent == []


async def test_only_the_process_with_the_lock_drives(still: Shop) -> None:
    first = await still.drive()
    second = await still.drive()

    tenants = [await still.order(f"Branch {number} Traders") for number in range(3)]
    await still.must_complete(*tenants)
    assert second.written == []
    assert {each.tenant_id for each, _ in first.written} == set(tenants)

    # The orders go through whoever is first in the list.
    await still.leave(first)
    tenant = await still.completed("Late Traders")
    assert (await still.outcomes(tenant))[COMPANY] == ["APPLIED"]


async def test_when_the_driver_stops_in_mid_run_the_other_one_goes_on(still: Shop) -> None:
    first = await still.drive(drain_seconds=0.2)
    await still.drive()
    tenant = await hang(still, "Company")

    await still.leave(first)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await still.site.arrived("POST", "Company", 2)
    still.site.hurry()
    await still.must_complete(tenant)

    assert (await still.outcomes(tenant))[COMPANY] == ["LOST", "APPLIED"]
    assert (await still.belongings(NAME))["Company"] == 1


async def _stop_at_once(first: Store) -> None:
    await first.executor.stop()


async def _stop_in_a_hurry(first: Store) -> None:
    stopping = asyncio.create_task(first.executor.stop())
    done, _ = await asyncio.wait({stopping}, timeout=0.1)
    assert done == set()
    first.executor.hurry()
    await stopping


@pytest.mark.parametrize(
    ("drain_seconds", "stop"),
    [
        pytest.param(0.3, _stop_at_once, id="for longer than it drains"),
        pytest.param(PATIENCE_SECONDS * 10, _stop_in_a_hurry, id="when told to hurry"),
    ],
)
async def test_a_stop_does_not_wait_for_an_answer_that_never_comes(
    still: Shop, drain_seconds: float, stop: Callable[[Store], Awaitable[None]]
) -> None:
    first = await still.drive(drain_seconds=drain_seconds)
    tenant = await hang(still, "Company")

    async with asyncio.timeout(PATIENCE_SECONDS):
        await stop(first)

    record = await still.record(tenant)
    assert record.run is not None
    assert (record.run.state, record.run.worker_id) == (RunState.QUEUED, None)
    assert record.tenant.state is TenantState.IN_PROGRESS
    attempt = (await still.attempts(tenant))[-1]
    assert (attempt.step_key, attempt.outcome, attempt.error_code) == (
        COMPANY,
        "LOST",
        "WORKER_STOPPED",
    )
    assert attempt.ended_at is not None
    await still.leave(first)

    await still.drive()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await still.site.arrived("POST", "Company", 2)
    still.site.hurry()
    await still.must_complete(tenant)
    assert (await still.belongings(NAME))["Company"] == 1
    assert still.sql("SELECT slot_tenant_id FROM engines") == [(None,)]


async def test_who_is_stopped_as_it_got_the_slot_gives_it_back(still: Shop) -> None:
    """Nothing was sent: the site would wait for whoever drives that tenant next."""
    first = await still.drive(drain_seconds=0.1)
    submit, stopping = first.database.submit, asyncio.Event()

    async def slow(operation: Operation) -> Outcome:
        outcome = await submit(operation)
        if isinstance(operation, TenantOperation) and isinstance(operation.slot, SlotTake):
            stopping.set()
            await until(lambda: any(task.cancelling() for task in asyncio.all_tasks()))
        return outcome

    first.database.submit = slow  # type: ignore[method-assign]  # the answer comes late
    before = still.site.arrivals("POST", "Company")
    tenant = await still.order(NAME)
    await stopping.wait()
    await still.leave(first)

    await still.open()
    assert still.sql("SELECT slot_tenant_id FROM engines") == [(None,)]
    assert still.site.arrivals("POST", "Company") == before
    await still.store.executor.start()
    await still.must_complete(tenant)


async def test_a_stop_waits_for_answers_that_come_in_time(still: Shop) -> None:
    first = await still.drive()
    tenant = await hang(still, "Warehouse")
    stopping = asyncio.create_task(first.executor.stop())
    await asyncio.sleep(0)

    still.site.hurry()
    await stopping

    # What was out is answered and recorded; the run is carried on by the next one.
    outcomes = await still.outcomes(tenant)
    assert "LOST" not in [each for steps in outcomes.values() for each in steps]
    await still.leave(first)
    await still.drive()
    await still.must_complete(tenant)
    assert (await still.outcomes(tenant))[WAREHOUSE] == ["APPLIED"]


async def test_a_crash_before_anything_was_asked_for_is_no_loss(shop: Shop) -> None:
    await shop.faults({"method": "GET", "doctype": "Company", "hang_seconds": 600})
    tenant = await shop.order(NAME)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await shop.site.arrived("GET", "Company")
    first, _ = await replace_worker(shop)
    await shop.must_complete(tenant)

    assert (await shop.outcomes(tenant))[COMPANY] == ["LOST", "APPLIED"]
    # This one lives: who takes over cannot know that, and must not send anybody after a crash.
    (said,) = [line for line in await shop.lines(tenant) if "was lost during" in line]
    assert "died, was suspended, or could not reach the database" in said
    shop.site.hurry()
    await first.executor.stop()


async def test_a_worker_lost_while_a_removal_was_out_is_counted_like_any_other(
    shop: Shop,
) -> None:
    """Else a request that kills whoever sends it would be sent again for ever."""
    tenant = await shop.completed(NAME)
    await shop.faults({"method": "DELETE", "doctype": "Customer", "hang_seconds": 600})
    await shop.remove(tenant)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await shop.site.arrived("DELETE", "Customer")
    first, second = await replace_worker(shop)
    await shop.until_waiting(tenant, "QUARANTINE")
    shop.site.hurry()
    await first.executor.stop()

    losses = [step.losses for operation, _ in second.written for step in operation.steps]
    assert losses[0] == 1


async def test_a_worker_whose_lease_is_over_claims_and_sends_nothing(
    still: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine slept: until the next heartbeat others may think that this worker is dead."""
    monkeypatch.setattr(executor, "POLL_SECONDS", 0.01)
    # The next heartbeat comes after a third of it.
    await still.drive(lease_seconds=6.0)
    shop = still
    tenant = await hang(shop, "Company")
    database, beat, slept = shop.store.database, asyncio.Event(), 3600.0
    submit, boot_seconds = database.submit, lease.boot_seconds

    async def hold_beats(operation: Operation) -> Outcome:
        if isinstance(operation, WorkerOperation):
            await beat.wait()
        return await submit(operation)

    monkeypatch.setattr(database, "submit", hold_beats)
    monkeypatch.setattr(lease, "boot_seconds", lambda: boot_seconds() + slept)
    before = len(shop.store.written)
    shop.site.hurry()
    assert database.driver_lock is not None
    looks, acquire = 0, database.driver_lock.acquire
    enough = asyncio.Event()

    def counted() -> bool:
        nonlocal looks
        looks += 1
        if looks == 20:
            enough.set()
        return acquire()

    monkeypatch.setattr(database.driver_lock, "acquire", counted)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await enough.wait()
    # The answer that came is recorded under a token that still counts; nothing else happens.
    assert [op for op, _ in shop.store.written[before:] if op.raise_token or op.attempts] == []
    assert shop.site.arrivals("POST", "Warehouse") == 0

    beat.set()
    await shop.must_complete(tenant)
    assert await shop.belongings(NAME) == WHOLE


async def test_who_got_the_slot_and_may_send_no_more_gives_it_back(
    still: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that hung for long has kept back the heartbeat: nothing is out, nobody waits."""
    shop = still
    # The next heartbeat comes after a third of it.
    await shop.drive(lease_seconds=6.0)
    tenant = await shop.completed(NAME)
    database, boot_seconds, slept = shop.store.database, lease.boot_seconds, 0.0
    submit, before = database.submit, len(shop.store.written)

    async def slow_once(operation: Operation) -> Outcome:
        nonlocal slept
        outcome = await submit(operation)
        if isinstance(operation, TenantOperation) and isinstance(operation.slot, SlotTake):
            slept = 3600.0
        return outcome

    monkeypatch.setattr(database, "submit", slow_once)
    monkeypatch.setattr(lease, "boot_seconds", lambda: boot_seconds() + slept)
    await shop.remove(tenant)
    # Else the removal waits for the time of a request that was never sent.
    assert await shop.rest(tenant) == [TenantState.DEPROVISIONED]

    slots = [type(op.slot) for op, _ in shop.store.written[before:] if op.slot is not None]
    assert slots[:3] == [SlotTake, SlotFree, SlotTake]
    assert shop.sql("SELECT slot_tenant_id FROM engines") == [(None,)]


async def test_a_worker_that_dies_while_a_run_waits_for_the_slot_costs_that_run_nothing(
    shop: Shop,
) -> None:
    await hang(shop, "Company")
    waiting = await shop.order("Patient Traders")
    await shop.until_waiting(waiting, "SITE_SLOT")
    first, second = await replace_worker(shop)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await shop.site.arrived("POST", "Company", 2)
    shop.site.hurry()
    await shop.must_complete(waiting)
    await first.executor.stop()

    assert (await shop.outcomes(waiting))[COMPANY] == ["LOST", "APPLIED"]
    losses = {
        step.losses
        for operation, _ in second.written
        for step in operation.steps
        if operation.tenant_id == waiting
    }
    assert losses == {0}


async def test_what_a_dead_worker_left_goes_before_those_who_did_not_begin(still: Shop) -> None:
    """The rows have it in the site's line still, and other processes wait for it."""
    store = await still.open(max_runs=1)
    tenants = [await still.order(f"Branch {number} Traders") for number in range(3)]
    left = tenants[-1]
    still.sql(
        "UPDATE runs SET state = 'RUNNING', worker_id = 'dead', started_at = created_at"
        " WHERE tenant_id = ?",
        left,
    )
    before = len(store.written)
    await store.executor.start()
    await still.must_complete(*tenants)

    assert store.written[before][0].tenant_id == left


async def test_who_left_a_request_out_waits_for_nobody_who_is_on_its_way_to_the_line(
    shop: Shop,
) -> None:
    """Whoever goes before it is refused the slot: both would wait for minutes."""
    out = {"method": "POST", "doctype": "Company", "name": NAME, "hang_seconds": 600}
    look = {"method": "GET", "doctype": "Company", "name": "Early Traders"}
    await shop.faults(out, look | {"hang_seconds": 600})
    early = await shop.order("Early Traders")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await shop.site.arrived("GET", "Company")
    late = await shop.order(NAME)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await shop.site.arrived("POST", "Company")

    await shop.faults(look | {"hang_ms": 500})
    first, _second = await replace_worker(shop)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await shop.site.arrived("POST", "Company", 2)
    shop.site.hurry()
    await shop.must_complete(early, late)
    await first.executor.stop()

    assert (await shop.outcomes(late))[COMPANY] == ["LOST", "APPLIED"]
    assert (await shop.belongings(NAME))["Company"] == 1


async def test_a_run_goes_on_after_the_database_could_not_write_for_a_while(shop: Shop) -> None:
    database, submit = shop.store.database, shop.store.database.submit
    refusals = 3

    async def refused(operation: Operation) -> Outcome:
        nonlocal refusals
        about = isinstance(operation, TenantOperation) and operation.attempts
        if refusals and about:
            refusals -= 1
            raise StoreUnavailable("The disk is full.")
        return await submit(operation)

    database.submit = refused  # type: ignore[method-assign]  # the outage
    await shop.completed(NAME)
    assert refusals == 0
    assert await shop.belongings(NAME) == WHOLE
