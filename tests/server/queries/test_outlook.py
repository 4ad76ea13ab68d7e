"""What estimates are made of, read from the store, and an estimate in a real status."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from server.commands import EngineEntry
from server.errors import StoreUnavailable
from server.model.actor import LOCAL
from server.model.blueprint import ERPNEXT
from server.model.identifiers import AttemptId, WorkerId, new_id
from server.model.records import Attempt
from server.model.states import AttemptOutcome, GateState, StepState
from server.queries import Queries
from server.queries.board import StatusBoard
from server.queries.outlook import SERIAL_KEYS, Outlooks
from server.store.database import Database
from server.store.history import History
from server.store.operations import GateOperation, TenantOperation
from tests.server.store.scene import KINDS, NOON, SITE, Scene, later

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import URL

    from server.model.identifiers import TenantId


@pytest.fixture
async def scene(store_url: URL) -> AsyncIterator[Scene]:
    database = await Database.open(store_url)
    yield Scene(database=database)
    await database.close()


async def do_steps(scene: Scene, tenant_id: TenantId, count: int, *, seconds: float = 2.0) -> None:
    """Do the first steps of a tenant's run, each in so many seconds."""
    record = await scene.record(tenant_id)
    assert record.run is not None
    attempts, steps = [], []
    for at, step in enumerate(sorted(record.steps, key=lambda step: step.position)[:count]):
        begin = later(seconds=at * seconds)
        attempts.append(
            Attempt(
                id=AttemptId(new_id(begin)),
                tenant_id=tenant_id,
                run_id=record.run.id,
                step_key=step.key,
                number=1,
                worker_id=WorkerId("w"),
                started_at=begin,
                deadline_at=later(hours=1),
                ended_at=begin + timedelta(seconds=seconds),
                outcome=AttemptOutcome.APPLIED,
            )
        )
        steps.append(replace(step, state=StepState.COMPLETED))
    await scene.written(
        TenantOperation(tenant_id=tenant_id, at=NOON, attempts=tuple(attempts), steps=tuple(steps))
    )


async def test_the_store_tells_what_took_how_long_and_who_waits(scene: Scene) -> None:
    first, second = await scene.tenant("One"), await scene.tenant("Two")
    await do_steps(scene, first, 4)
    times = await scene.database.history.step_times()
    assert sorted(time.step_key for time in times) == sorted(kind.key for kind in KINDS[:4])
    assert {time.site for time in times} == {SITE}
    assert {(time.ended_at - time.started_at).total_seconds() for time in times} == {2.0}
    waiting = await scene.database.history.waiting(SERIAL_KEYS)
    run = (await scene.record(second)).run
    assert run is not None
    assert [(one.run_id, one.site) for one in waiting] == [(run.id, SITE)]


async def test_a_status_tells_when_it_will_be_done_and_not_while_the_engine_is_away(
    scene: Scene,
) -> None:
    await scene.gate()
    first, second = await scene.tenant("One"), await scene.tenant("Two")
    queries = Queries(
        scene.database,
        engines={"main": EngineEntry(site=SITE, blueprint=ERPNEXT)},
        now=lambda: NOON,
        lease_seconds=10.0,
    )
    assert (await queries.status(LOCAL, second)).eta is None
    await do_steps(scene, first, len(KINDS))
    await scene.sql("UPDATE runs SET state = 'COMPLETED' WHERE tenant_id = :one", one=first)
    outlooks = queries._board._outlooks
    assert outlooks is not None
    # As if a second had passed.
    outlooks._waiting_at = outlooks._paces_at = float("-inf")
    await scene.beat("w")
    await scene.sql("UPDATE tenants SET revision = revision + 1 WHERE id = :two", two=second)
    assert (await queries.status(LOCAL, second)).eta == later(seconds=2.0 * len(KINDS))
    assert (await queries.status(LOCAL, first)).eta is None
    await scene.written(GateOperation(site=SITE, at=NOON, gate=GateState.DOWN))
    assert (await queries.status(LOCAL, second)).eta is None


async def test_of_many_ordered_at_once_each_counts_those_before_it(scene: Scene) -> None:
    """All of them after the last look, and before the next may be taken."""
    await scene.gate()
    await do_steps(scene, done := await scene.tenant("Done"), len(KINDS))
    await scene.sql("UPDATE runs SET state = 'COMPLETED' WHERE tenant_id = :done", done=done)
    outlooks = Outlooks(scene.database.history, monotonic=Clock())
    await outlooks.latest()
    board = StatusBoard(
        scene.database.glances,
        lambda _record: KINDS,
        now=lambda: NOON,
        lease_seconds=10.0,
        outlooks=outlooks,
    )
    waits = []
    for number in range(6):
        record = await scene.record(await scene.tenant(f"Burst {number}"))
        assert record.run is not None
        run = replace(record.run, created_at=later(seconds=number / 1000))
        eta = (await board.newcomer(replace(record, run=run))).eta
        assert eta is not None
        waits.append((eta - NOON).total_seconds() - 2.0 * len(KINDS))
    # A Company takes two seconds; two steps before one's own can be done meanwhile.
    assert waits == [0, 0, 0, 2, 4, 6]


class Clock:
    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


class Counted(History):
    """A history that counts how often it is read, and can fail."""

    def __init__(self) -> None:
        self.reads = 0
        self.broken = False

    async def step_times(self) -> list:  # type: ignore[type-arg]  # nothing is in it
        return []

    async def waiting(self, serial_keys: object) -> list:  # type: ignore[type-arg]  # likewise
        self.reads += 1
        if self.broken:
            raise StoreUnavailable("away")
        return []


async def test_many_who_ask_share_one_read_a_second() -> None:
    history, clock = Counted(), Clock()
    outlooks = Outlooks(history, monotonic=clock)
    for _ in range(5):
        await outlooks.latest()
        await outlooks.anew()
    assert history.reads == 1
    clock.time += 0.5
    await outlooks.latest()
    assert history.reads == 1
    await outlooks.anew()
    assert history.reads == 2
    history.broken = True
    clock.time += 10
    assert (await outlooks.latest()).waiting == []
    assert history.reads == 3
