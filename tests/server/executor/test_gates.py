"""One prober a site over all processes; a stored time that any of them can go on from; waves."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from server.executor import gates
from server.executor.gates import Gates
from server.model.states import GateState
from server.model.step_context import EngineHealth
from server.store.operations import GateOperation
from server.store.site_operations import ProbeTake
from tests.server.executor.scene import COMPANY, now
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.server.executor.scene import Shop, Store

UP = EngineHealth(state=GateState.UP)
DOWN = EngineHealth(state=GateState.DOWN, code="ENGINE_DOWN", message="It is away.")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "PROBE_PAUSES_SECONDS", (0.02,))


def watched(store: Store, word: list[EngineHealth]) -> tuple[Gates, list[int]]:
    """Gates of one process whose prober hears the given word; and how often it looked."""
    looks: list[int] = []

    async def check() -> EngineHealth:
        looks.append(1)
        return word[0]

    store.engine.check = check  # type: ignore[method-assign]  # the test decides
    return Gates(store.database, {store.engine.site: store.engine}, now), looks


async def shut(store: Store, *, in_seconds: float) -> str:
    await store.database.submit(
        GateOperation(
            site=store.engine.site,
            at=now(),
            gate=GateState.DOWN,
            code="ENGINE_DOWN",
            message="It is away.",
            next_probe_at=now() + timedelta(seconds=in_seconds),
        )
    )
    return store.engine.site


async def until_open(store: Store) -> None:
    async def is_open() -> bool:
        gate = (await store.database.reads.gates())[store.engine.site]
        return gate.state is GateState.UP

    await until(is_open, seconds=30)


async def test_of_many_processes_one_asks_at_a_time(still: Shop) -> None:
    word = [DOWN]
    stores = [await still.open() for _ in range(3)]
    probers = [watched(store, word) for store in stores]
    site = await shut(stores[0], in_seconds=0)
    for prober, _ in probers:
        await prober.refresh()

    def looked() -> int:
        return sum(len(looks) for _, looks in probers)

    await until(lambda: looked() >= 5, seconds=30)
    # Whoever finds the time due takes it, by one conditional update.
    due = now() + timedelta(seconds=100)
    await shut(stores[0], in_seconds=0)
    taken = [
        (
            await store.database.submit(ProbeTake(site=site, at=now(), until=due, longest=700.0))
        ).applied
        for store in stores
    ]
    assert sum(taken) <= 1
    word[0] = UP
    await shut(stores[0], in_seconds=0)
    await until_open(stores[0])
    for prober, _ in probers:
        await prober.stop()


async def test_another_process_goes_on_from_the_stored_time(still: Shop) -> None:
    """The one that shut the gate died; its time is in the row."""
    word = [UP]
    first, second = await still.open(), await still.open()
    site = await shut(first, in_seconds=0.3)
    other, looks = watched(second, word)
    await other.refresh()
    assert looks == []
    assert other.health(site) is not None
    await until_open(second)
    assert len(looks) == 1
    await other.stop()


async def test_a_time_too_far_ahead_is_due_now(still: Shop) -> None:
    """The clock was set back since it was stored."""
    store = await still.open()
    word = [UP]
    prober, _ = watched(store, word)
    await shut(store, in_seconds=10 * 24 * 3600)
    await prober.refresh()
    await until_open(store)
    await prober.stop()


async def test_a_prober_that_is_stopped_in_mid_look_leaves_it_to_the_next_one(
    still: Shop,
) -> None:
    first, second = await still.open(), await still.open()
    hanging, looking = asyncio.Event(), asyncio.Event()

    async def hangs() -> EngineHealth:
        looking.set()
        await hanging.wait()
        return DOWN

    first.engine.check = hangs  # type: ignore[method-assign]  # the test decides
    prober = Gates(first.database, {first.engine.site: first.engine}, now)
    await shut(first, in_seconds=0)
    await prober.refresh()
    await looking.wait()
    await prober.stop()

    other, _ = watched(second, [UP])
    await other.refresh()
    await until_open(second)
    await other.stop()


async def test_load_comes_back_in_waves_that_grow_with_each_answer(
    still: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long a busy machine takes to look at the second process's gates.
    monkeypatch.setattr(gates, "_FIRST_WAVE_SECONDS", 3600.0)
    word = [UP]
    store = await still.open()
    other = await still.open()
    prober, _ = watched(store, word)
    bystander = Gates(other.database, {other.engine.site: other.engine}, now)
    site = await shut(store, in_seconds=0)
    opened = asyncio.Event()
    prober.on_open(opened.set)
    await prober.refresh()
    # The row is there a moment before the prober hears that it wrote it.
    await asyncio.wait_for(opened.wait(), 30)
    await bystander.refresh()

    # The first one goes to whoever opened the gate, and to nobody besides.
    assert (prober.room(site, 0), prober.room(site, 1)) == (True, False)
    assert not bystander.room(site, 0)
    sizes = []
    while (gate := prober.gate(site)) is not None and gate.wave is not None:
        sizes.append(gate.wave)
        await prober.came_through(site)
    assert sizes == [1, 2, 4, 8, 16, 32, 64]
    await bystander.refresh()
    assert bystander.room(site, 10_000)
    await prober.stop()


async def test_a_first_wave_that_does_not_come_is_anybodys_before_long(still: Shop) -> None:
    """Who opened the gate died, or had no place left: the site stood for half a minute."""
    store = await still.open()
    site = await shut(store, in_seconds=0)
    still.sql("UPDATE engines SET gate = 'UP', wave = 1")
    bystander = Gates(store.database, {site: store.engine}, now)
    for seconds, free in ((-60, False), (6, True)):
        since = (now() - timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S.%f")
        still.sql("UPDATE engines SET gate_since = ?", since)
        await bystander.refresh()
        assert bystander.room(site, 0) is free
        assert not bystander.room(site, 1)


async def test_what_a_dead_worker_left_takes_no_place_in_a_wave(still: Shop) -> None:
    """It died with the one run of the first wave: nobody would ever have gone on."""
    first = await still.drive(drain_seconds=0.1)
    await still.faults({"method": "POST", "doctype": "Company", "hang_seconds": 600})
    dead = await still.order("Branch 0 Traders")
    await still.site.arrived("POST", "Company")
    row = still.sql("SELECT state, worker_id FROM runs")
    others = [await still.order(f"Branch {number} Traders") for number in range(1, 4)]
    await still.leave(first)
    # As kill -9 leaves it, when the gate has just been opened again.
    still.sql("UPDATE runs SET state = ?, worker_id = ? WHERE tenant_id = ?", *row[0], dead)
    still.sql("UPDATE engines SET wave = 1, gate_since = '2020-01-01 00:00:00.000000'")
    still.site.hurry()

    await still.drive()
    await still.must_complete(dead, *others)


def test_the_pauses_grow_with_the_age_of_the_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "PROBE_PAUSES_SECONDS", (1.0, 2.0, 4.0, 8.0, 15.0))
    assert [gates.pause_after(age) for age in (0.0, 1.1, 3.1, 7.2, 15.4, 31.0, 9000.0)] == [
        2.0,
        2.0,
        4.0,
        8.0,
        15.0,
        15.0,
        15.0,
    ]


async def test_a_rate_limit_is_waited_out_by_the_whole_site_and_counts_for_nobody(
    shop: Shop,
) -> None:
    await shop.faults({"method": "POST", "doctype": "Company", "status": 429, "retry_after": 1})
    first = await shop.order("Branch 0 Traders")
    await shop.until_waiting(first, "SITE_PAUSED")
    asked = sum(row["count"] for row in (await shop.look())["requests"])
    second = await shop.order("Branch 1 Traders")
    paused = shop.sql("SELECT paused_until FROM engines")[0][0]
    assert paused is not None
    assert asked == sum(row["count"] for row in (await shop.look())["requests"])

    await shop.must_complete(first, second)
    assert (await shop.outcomes(first))[COMPANY] == ["WAIT_ENGINE", "APPLIED"]
    for tenant in (first, second):
        assert {step.tries for step in (await shop.record(tenant)).steps} == {1}
    begun = min(attempt.started_at for attempt in await shop.attempts(second))
    assert str(begun.replace(tzinfo=None)) >= paused.removesuffix("+00:00")


async def test_who_alone_meets_a_rate_limit_does_not_keep_the_others_waiting(shop: Shop) -> None:
    """It was ordered first and so went first each time, and the whole site waited again."""
    alone = {"method": "POST", "doctype": "Company", "name": "Branch 0 Traders", "status": 429}
    await shop.faults({**alone, "retry_after": 1, "times": None})
    first = await shop.order("Branch 0 Traders")
    await shop.until_waiting(first, "SITE_PAUSED")
    others = [await shop.order(f"Branch {number} Traders") for number in range(1, 4)]
    await shop.must_complete(*others)
    assert await shop.waits_for(first) == "SITE_PAUSED"
    assert {step.tries for step in (await shop.record(first)).steps if step.key == COMPANY} == {0}

    await shop.faults()
    await shop.must_complete(first)
    assert set((await shop.outcomes(first))[COMPANY]) == {"WAIT_ENGINE", "APPLIED"}


async def test_a_site_that_says_when_it_is_back_is_not_asked_before(still: Shop) -> None:
    store = await still.open()
    away = EngineHealth(
        state=GateState.DOWN,
        code="ENGINE_MAINTENANCE",
        message="Back soon.",
        retry_after_seconds=90,
    )
    prober, looks = watched(store, [away])
    before = now()
    assert (await prober.ask(store.engine.site)).state is GateState.DOWN
    gate = (await store.database.reads.gates())[store.engine.site]
    assert gate.next_probe_at is not None
    assert gate.next_probe_at >= before + timedelta(seconds=90)
    # Who meets the shut gate meanwhile is answered from the row.
    assert (await prober.ask(store.engine.site)).state is GateState.DOWN
    assert len(looks) == 1
    await prober.stop()


@pytest.mark.parametrize("fault", [{"roles": ["Guest"]}, {"token": "other:secret"}])
async def test_what_is_wrong_for_all_shuts_the_gate_and_fails_nobody(
    shop: Shop, fault: dict[str, object]
) -> None:
    await shop.faults(**fault)
    tenants = [await shop.order(f"Branch {number} Traders") for number in range(3)]
    await shop.until_waiting(tenants[0], "ENGINE_MISCONFIGURED")
    await shop.faults()
    await shop.must_complete(*tenants)
    for tenant in tenants:
        assert {step.tries for step in (await shop.record(tenant)).steps} == {1}
