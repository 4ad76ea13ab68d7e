"""A short look at a tenant: its mark changes with every change of its rows, and only then."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlalchemy import event

from server.errors import StoreUnavailable
from server.model.identifiers import TenantId, WorkerId
from server.model.states import GateState, RunState
from server.store import glances as store_glances
from server.store.operations import GateOperation, RunRow, TenantOperation
from tests.server.store.scene import NOON, OTHER_SITE, SITE, later, logs, take

if TYPE_CHECKING:
    from server.store.glances_postgres import PostgresGlances
    from tests.server.store.scene import Scene

UNKNOWN = TenantId("01900000-0000-7000-8000-00000000dead")
WORKER = "worker-1"


async def driven(scene: Scene) -> TenantId:
    """A tenant whose run a worker drives."""
    given = await scene.tenant()
    await scene.gate()
    await scene.beat(WORKER)
    record = await scene.record(given)
    assert record.run is not None
    run = replace(record.run, state=RunState.RUNNING, worker_id=WorkerId(WORKER))
    await scene.written(
        TenantOperation(tenant_id=given, at=NOON, runs=(RunRow(run=run, site=SITE),))
    )
    return given


async def test_a_look_gives_the_same_rows_as_the_slow_way(scene: Scene) -> None:
    given = await driven(scene)
    slow = await scene.database.reads.live(given)
    fast = await scene.database.glances.live(given)
    assert slow is not None
    assert fast is not None
    assert slow.gate is not None
    assert fast.gate is not None
    assert fast.worker is not None
    assert slow.worker is not None
    # When it was read, by PostgreSQL's clock.
    worker = replace(slow.worker, read_at=fast.worker.read_at)
    assert fast == replace(slow, gate=fast.gate, worker=worker)
    # Nor when the gate was read: what the slot's times are told by, and no status shows those.
    assert replace(fast.gate, slot_tenant_id=None, read_at=None) == replace(
        slow.gate, slot_tenant_id=None, read_at=None
    )


CHANGES = [
    "UPDATE tenants SET state = 'PARTIAL'",
    "UPDATE tenants SET hold_reason = 'x'",
    "UPDATE runs SET state = 'BROKEN'",
    "DELETE FROM runs",
    "DELETE FROM steps",
    "DELETE FROM steps WHERE position = 3",
    "UPDATE steps SET error_message = 'x' WHERE position = 3",
    "UPDATE workers SET stopped_at = heartbeat_at",
    "DELETE FROM workers",
    "UPDATE engines SET gate = 'DOWN'",
    "UPDATE engines SET gate_message = 'x'",
    "UPDATE engines SET paused_until = '2026-05-04 12:10:00.000000+00:00'",
]


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_by_hand_changes_the_mark(scene: Scene, change: str) -> None:
    given = await driven(scene)
    look = scene.database.glances.mark
    before = await look(given)
    assert before is not None
    # Once nothing was written for two looks, the next ones are shorter.
    for _ in range(3):
        assert await look(given) == before
    await scene.sql(change)
    assert await look(given) not in {before, None}


async def test_changes_by_our_code_change_the_mark(scene: Scene) -> None:
    given = await driven(scene)
    seen = [await scene.database.glances.mark(given)]
    for work in (
        TenantOperation(tenant_id=given, at=NOON, log=logs()),
        GateOperation(site=SITE, at=NOON, gate=GateState.DOWN, next_probe_at=later(seconds=1)),
        GateOperation(site=SITE, at=NOON, gate=GateState.DOWN, next_probe_at=later(seconds=2)),
    ):
        await scene.written(work)
        seen.append(await scene.database.glances.mark(given))
    await scene.beat(WORKER, at=later(seconds=3))
    seen.append(await scene.database.glances.mark(given))
    assert len(set(seen)) == len(seen)


async def test_what_is_of_others_leaves_the_mark(scene: Scene) -> None:
    given = await driven(scene)
    before = await scene.database.glances.mark(given)
    other = await scene.tenant("Other", site=OTHER_SITE)
    await scene.gate(OTHER_SITE, GateState.DOWN)
    await scene.beat("worker-2")
    # The site's slot is taken and given back with every request.
    await scene.written(TenantOperation(tenant_id=other, at=NOON, token=1, slot=take()))
    assert await scene.database.glances.mark(given) == before


async def test_no_tenant_has_no_mark(scene: Scene) -> None:
    given = await scene.tenant()
    assert await scene.database.glances.mark(UNKNOWN) is None
    assert await scene.database.glances.live(UNKNOWN) is None
    marks = await scene.database.glances.marks([given, UNKNOWN])
    assert marks == {given: await scene.database.glances.mark(given)}


async def test_a_damaged_row_is_looked_at_the_slow_way(sqlite_scene: Scene) -> None:
    given = await sqlite_scene.tenant()
    await sqlite_scene.sql("UPDATE steps SET note = x'ff00' WHERE position = 1")
    looks = sqlite_scene.database.glances
    assert await looks.mark(given) != await looks.mark(given)
    live = await looks.live(given)
    assert live is not None
    assert live == await sqlite_scene.database.reads.live(given)


class Counted:
    """A PostgreSQL's looks, held up and counted."""

    def __init__(self, looks: PostgresGlances) -> None:
        self.batches: list[list[str]] = []
        self.go = asyncio.Event()
        self._fetch = looks._fetch

    async def __call__(self, tenant_ids: Any) -> dict[str, str]:  # Any: ids
        self.batches.append(sorted(tenant_ids))
        await self.go.wait()
        return await self._fetch(tenant_ids)


async def test_calls_share_the_next_look_and_never_the_one_under_way(
    postgres_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = cast("PostgresGlances", postgres_scene.database.glances)
    counted = Counted(looks)
    monkeypatch.setattr(looks, "_fetch", counted)
    first, second = await postgres_scene.tenant("One"), await postgres_scene.tenant("Two")
    early = asyncio.create_task(looks.mark(first))
    while not counted.batches:
        await asyncio.sleep(0)
    late = [asyncio.create_task(looks.mark(one)) for one in (first, first, second)]
    gone = asyncio.create_task(looks.mark(second))
    await asyncio.sleep(0)
    gone.cancel()
    # Written while the first look is out: those who called later must see it.
    await postgres_scene.written(TenantOperation(tenant_id=first, at=NOON, log=logs()))
    counted.go.set()
    marks = await asyncio.wait_for(asyncio.gather(*late), 30)
    assert counted.batches == [[first], sorted([first, second])]
    assert marks[0] == marks[1] == await looks.mark(first)
    assert await early is not None


async def test_after_a_look_for_several_the_next_is_shared_by_all_of_a_moment(
    postgres_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Alone nobody waits for anybody.
    monkeypatch.setattr(store_glances, "MOMENT_SECONDS", 600.0)
    looks = cast("PostgresGlances", postgres_scene.database.glances)
    counted = Counted(looks)
    counted.go.set()
    monkeypatch.setattr(looks, "_fetch", counted)
    first, second = await postgres_scene.tenant("One"), await postgres_scene.tenant("Two")
    async with asyncio.timeout(60):
        assert await looks.mark(first) == await looks.mark(first)
    monkeypatch.setattr(store_glances, "MOMENT_SECONDS", 1.0)
    # One looks by himself, and the others with the next look.
    for others in (1, 2):
        await asyncio.gather(*(looks.mark(first) for _ in range(1 + others)))
        early = asyncio.create_task(looks.mark(first))
        for _ in range(50):
            await asyncio.sleep(0)  # the loop has its turns: a look would have begun
        late = asyncio.create_task(looks.mark(second))
        await asyncio.gather(early, late)
        looks._not_before = 0.0
    both = sorted([first, second])
    assert counted.batches == [[first], [first]] + 2 * [[first], [first], both]


@pytest.fixture
async def held_up(
    postgres_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> tuple[PostgresGlances, Counted, TenantId]:
    """Looks that are connected, counted and held up; and a tenant."""
    looks = cast("PostgresGlances", postgres_scene.database.glances)
    given = await postgres_scene.tenant()
    assert await looks.mark(given) is not None
    counted = Counted(looks)
    monkeypatch.setattr(looks, "_fetch", counted)
    return looks, counted, given


async def test_who_asks_alone_looks_without_a_task(
    held_up: tuple[PostgresGlances, Counted, TenantId],
) -> None:
    looks, counted, given = held_up
    alone = asyncio.create_task(looks.mark(given))
    await asyncio.sleep(0)
    assert counted.batches == [[given]]  # in his own turn of the loop
    assert "glances" not in {task.get_name() for task in asyncio.all_tasks()}
    counted.go.set()
    assert await alone is not None


async def test_who_leaves_while_he_looks_alone_takes_nobody_along(
    held_up: tuple[PostgresGlances, Counted, TenantId],
) -> None:
    looks, counted, given = held_up
    fetch, question = counted._fetch, asyncio.Event()

    async def asked_in_vain(tenant_ids: Any) -> dict[str, str]:  # Any: ids
        counted._fetch = fetch
        question.set()
        await looks._driver.execute("SELECT pg_sleep(600)")
        return {}

    counted._fetch = asked_in_vain
    counted.go.set()
    leaves = asyncio.create_task(looks.mark(given))
    await question.wait()
    stays = asyncio.create_task(looks.mark(given))
    await asyncio.sleep(0)
    connection = looks._driver
    leaves.cancel()
    async with asyncio.timeout(30):
        assert await stays is not None
        assert await looks.mark(given) == await stays
    assert leaves.cancelled()
    # Nobody waits for an answer on it that nobody wants: a server that hangs sends none.
    assert connection.is_closed()


async def test_who_looks_alone_over_a_lost_connection_looks_once_more(
    held_up: tuple[PostgresGlances, Counted, TenantId],
) -> None:
    looks, counted, given = held_up
    counted.go.set()
    before = await looks.mark(given)
    looks._driver.terminate()
    assert await looks.mark(given) == before
    assert await looks.mark(given) == before


async def test_on_sqlite_nobody_waits_who_asks_alone(
    sqlite_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_glances, "MOMENT_SECONDS", 600.0)
    looks, given = sqlite_scene.database.glances, await sqlite_scene.tenant()
    async with asyncio.timeout(60):
        for _ in range(3):
            assert await looks.mark(given) is not None
            await asyncio.sleep(0)


async def test_on_sqlite_whoever_comes_just_after_several_is_answered_with_the_next(
    sqlite_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, given = sqlite_scene.database.glances, await sqlite_scene.tenant()
    before = await looks.mark(given)
    monkeypatch.setattr(store_glances, "MOMENT_SECONDS", 1.0)
    await asyncio.gather(looks.mark(given), looks.mark(given))
    await asyncio.sleep(0)
    early = asyncio.create_task(looks.mark(given))
    gone = asyncio.create_task(looks.mark(given))
    for _ in range(50):
        await asyncio.sleep(0)  # the loop has its turns: they would have been answered
    late = asyncio.create_task(looks.mark(given))
    await asyncio.sleep(0)
    assert not early.done()
    gone.cancel()
    # Written while they wait: what they are told is no older than that.
    await sqlite_scene.written(TenantOperation(tenant_id=given, at=NOON, log=logs()))
    done, _ = await asyncio.wait({early, late}, return_when=asyncio.FIRST_COMPLETED, timeout=30)
    assert len({each for each in (early, late) if each.done()}) == len(done) == 2
    assert early.result() == late.result() != before
    # After these two somebody waits again; after him, who was alone, nobody.
    assert await looks.mark(given) == early.result()
    monkeypatch.setattr(store_glances, "MOMENT_SECONDS", 600.0)
    async with asyncio.timeout(60):
        assert await looks.mark(given) == early.result()


async def test_those_who_wait_for_rows_share_the_next_read(
    postgres_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = cast("PostgresGlances", postgres_scene.database.glances)
    fetch = looks._fetch_rows
    batches: list[list[str]] = []
    go = asyncio.Event()

    async def counted(tenant_ids: Any) -> Any:  # Any: ids, rows
        batches.append(sorted(tenant_ids))
        await go.wait()
        return await fetch(tenant_ids)

    monkeypatch.setattr(looks, "_fetch_rows", counted)
    first, second = await postgres_scene.tenant("One"), await postgres_scene.tenant("Two")
    early = asyncio.create_task(looks.live(first))
    while not batches:
        await asyncio.sleep(0)
    late = [asyncio.create_task(looks.live(one)) for one in (first, second, second, UNKNOWN)]
    await asyncio.sleep(0)
    # Written while the first read is out: those who called later must see it.
    await postgres_scene.written(TenantOperation(tenant_id=first, at=NOON, log=logs()))
    go.set()
    found = await asyncio.wait_for(asyncio.gather(*late), 30)
    assert batches == [[first], sorted([first, second, UNKNOWN])]
    assert [live and live.record.tenant.id for live in found] == [first, second, second, None]
    assert found[0] is not None
    assert found[0].record == await postgres_scene.record(first)
    assert await early is not None


async def test_sixty_runs_that_look_at_their_sites_gate_share_a_read(postgres_scene: Scene) -> None:
    await postgres_scene.gate()
    looks = postgres_scene.database.glances
    sent: list[str] = []

    def note(*told: Any) -> None:  # Any: as SQLAlchemy's events tell it
        sent.append(told[2])

    engine = postgres_scene.database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    gates = await asyncio.gather(*(looks.gate(SITE) for _ in range(60)))
    event.remove(engine, "before_cursor_execute", note)
    assert {gate and gate.state for gate in gates} == {GateState.UP}
    # Each with a transaction of its own took most of what a tenant costs (decision 0044).
    assert len(sent) == 1
    assert await looks.gate("nowhere") is None


async def test_a_lost_connection_is_made_anew(postgres_scene: Scene) -> None:
    given = await postgres_scene.tenant()
    looks = cast("PostgresGlances", postgres_scene.database.glances)
    before = await looks.mark(given)
    connection = looks._connection
    assert connection is not None
    driver: Any = (await connection.get_raw_connection()).driver_connection
    driver.terminate()
    assert await looks.mark(given) == before
    driver = looks._driver
    driver.terminate()
    live = await looks.live(given)
    assert live is not None
    assert live.record.tenant.id == given


async def test_looks_that_fail_say_that_the_database_cant_be_read(
    postgres_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = cast("PostgresGlances", postgres_scene.database.glances)

    async def broken(_ids: object) -> dict[str, str]:
        raise OSError("refused")

    monkeypatch.setattr(looks, "_fetch", broken)
    monkeypatch.setattr(looks, "_fetch_rows", broken)
    with pytest.raises(StoreUnavailable, match="can't be read now"):
        await looks.mark(UNKNOWN)
    with pytest.raises(StoreUnavailable, match="can't be read now"):
        await looks.live(UNKNOWN)
