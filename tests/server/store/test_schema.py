"""Opening a database: an empty one is set up, a strange one refused, and one process drives."""

from __future__ import annotations

import asyncio
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, create_engine, inspect, text
from sqlalchemy.ext.asyncio import create_async_engine

from server.errors import SchemaMismatch, StoreUnavailable
from server.store import schema
from server.store.database import Database
from server.store.driver_lock import DriverLock
from server.store.tables import METADATA
from tests.server.store.scene import Scene, creation

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from sqlalchemy import Connection

OTHER_PROCESS = """
import sys
from pathlib import Path
from server.store.driver_lock import DriverLock
lock = DriverLock(Path(sys.argv[1]))
print(lock.acquire(), flush=True)
sys.stdin.read()
"""

OPENING = """
import asyncio, sys
from server.store.database import Database
async def main():
    database = await Database.open(sys.argv[1])
    await database.reads.gates()
    await database.close()
print("ready", flush=True)
sys.stdin.readline()
asyncio.run(main())
print("opened", flush=True)
"""


async def test_an_empty_database_is_set_up_and_opened_again(database_url: URL) -> None:
    database = await Database.open(database_url)
    operation = creation()
    assert (await database.submit(operation)).applied
    assert await database.in_transaction(schema.current) == schema.head() != ""
    await database.close()
    again = await Database.open(database_url)
    assert await again.reads.live(operation.tenant_id) is not None
    await again.close()


async def test_servers_may_set_up_one_empty_database_at_once(database_url: URL) -> None:
    url = database_url.render_as_string(hide_password=False)
    others = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", OPENING, url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    async with asyncio.timeout(60):
        for other in others:
            assert other.stdout is not None
            assert await other.stdout.readline() == b"ready\n"
        # All are loaded: off they go.
        answers = await asyncio.gather(*(other.communicate(b"\n") for other in others))
    assert [(out, err) for out, err in answers] == [(b"opened\n", b"")] * 3


@pytest.mark.parametrize(
    ("revision", "remedy"),
    [("9999", "newer version. Start that version"), ("0001", "run: provisioner db upgrade")],
)
async def test_a_schema_of_another_version_is_refused_with_the_command_that_mends_it(
    database_url: URL, revision: str, remedy: str
) -> None:
    database = await Database.open(database_url)
    await Scene(database=database).sql("UPDATE alembic_version SET version_num = :r", r=revision)
    await database.close()
    with pytest.raises(SchemaMismatch, match=f"{revision}.*{remedy}"):
        await Database.open(database_url)


async def test_upgrading_refuses_a_schema_from_the_future(database_url: URL) -> None:
    database = await Database.open(database_url)
    assert await database.in_transaction(schema.upgrade) == schema.head()
    await Scene(database=database).sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaMismatch, match="newer version"):
        await database.administer(schema.upgrade)
    await database.close()


async def test_somebody_elses_tables_are_left_alone(database_url: URL) -> None:
    engine = create_async_engine(database_url)
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE accounts (id integer)"))
    await engine.dispose()
    with pytest.raises(SchemaMismatch, match="none"):
        await Database.open(database_url)


async def test_the_migrations_make_exactly_the_tables_of_the_code(database_url: URL) -> None:
    database = await Database.open(database_url)

    def differences(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, METADATA))

    assert await database.in_transaction(differences) == []
    await database.close()


async def test_the_migrations_make_exactly_the_indexes_of_the_code(
    database_url: URL, tmp_path: Path
) -> None:
    """Alembic does not compare the conditions of partial indexes."""
    if database_url.get_backend_name() != "sqlite":
        migrated = await _postgres_indexes(database_url, by_migration=True)
        engine = create_async_engine(database_url)
        async with engine.begin() as connection:
            await connection.run_sync(METADATA.drop_all)
            await connection.run_sync(METADATA.create_all)
        await engine.dispose()
        assert await _postgres_indexes(database_url, by_migration=False) == migrated
        return
    database = await Database.open(database_url)
    migrated = await database.in_transaction(_sqlite_indexes)
    await database.close()
    fresh = create_engine(f"sqlite:///{tmp_path / 'fresh.db'}")
    with fresh.begin() as connection:
        METADATA.create_all(connection)
        assert _sqlite_indexes(connection) == migrated
    fresh.dispose()


def _sqlite_indexes(connection: Connection) -> dict[str, str]:
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))
    found = {row.name: " ".join(row.sql.split()) for row in rows if row.sql}
    assert "ix_runs_open" in found
    return found


async def _postgres_indexes(url: URL, *, by_migration: bool) -> dict[str, str]:
    if by_migration:
        await (await Database.open(url)).close()
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'")
        )
        found = {row.indexname: row.indexdef for row in rows}
    await engine.dispose()
    found.pop("alembic_version_pkc", None)
    assert "ix_runs_open" in found
    return found


async def test_a_database_that_is_not_there_is_said_to_be_unavailable(
    database_url: URL, tmp_path: Path
) -> None:
    url = database_url.set(database=str(tmp_path))  # a folder, and no PostgreSQL database
    with pytest.raises(StoreUnavailable):
        await Database.open(url)


@pytest.mark.postgres
async def test_a_server_that_does_not_listen_is_said_to_be_unavailable(tmp_path: Path) -> None:
    url = URL.create(
        "postgresql+asyncpg", username="a", database="a", query={"host": str(tmp_path)}
    )
    with pytest.raises(StoreUnavailable):
        await Database.open(url)
    database = Database(url)
    with pytest.raises(StoreUnavailable):
        await database.reads.gates()
    await database.dispose()


@pytest.mark.parametrize(
    "where", ["a:s3cret@127.0.0.1:1/a", "127.0.0.1:1/a?user=a&password=s3cret"]
)
async def test_a_password_in_the_url_is_not_said(where: str) -> None:
    """Promise 11."""
    with pytest.raises(StoreUnavailable) as caught:
        await Database.open(f"postgresql+asyncpg://{where}")
    assert "127.0.0.1:1/a" in caught.value.message
    assert "s3cret" not in str(caught.value)


async def test_sqlite_writes_through_to_the_disk_and_keeps_others_away(tmp_path: Path) -> None:
    """Promise 12."""
    path = tmp_path / "folder" / "p.db"
    database = await Database.open(f"sqlite+aiosqlite:///{path}")

    def pragmas(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "busy_timeout")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await database.in_transaction(pragmas) == ["wal", 2, 10_000]
    await database.close()
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_what_was_acknowledged_is_there_without_closing(tmp_path: Path) -> None:
    """Promise 12: another process sees it at once, whatever becomes of this one."""
    path = tmp_path / "p.db"
    database = await Database.open(f"sqlite+aiosqlite:///{path}")
    operation = creation()
    await database.submit(operation)
    other = create_engine(f"sqlite:///{path}")
    with other.connect() as connection:
        assert connection.execute(text("SELECT id FROM tenants")).scalar() == operation.tenant_id
        assert "steps" in inspect(connection).get_table_names()
    other.dispose()
    await database.close()


async def test_readers_can_not_write(tmp_path: Path) -> None:
    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'p.db'}")
    with pytest.raises(Exception, match="readonly"):
        async with database._engine.connect() as connection:
            await connection.execute(text("DELETE FROM tenants"))
    await database.close()


async def test_one_of_two_stores_on_a_file_drives_and_hands_over_on_close(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'p.db'}"
    first, second = await Database.open(url), await Database.open(url)
    assert first.driver_lock is not None
    assert second.driver_lock is not None
    assert first.driver_lock.acquire()
    assert first.driver_lock.acquire()
    assert not second.driver_lock.acquire()
    await first.close()
    assert second.driver_lock.acquire()
    await second.close()


async def test_any_number_of_processes_drive_on_postgresql(database_url: URL) -> None:
    database = await Database.open(database_url)
    assert (database.driver_lock is None) == (database_url.get_backend_name() == "postgresql")
    await database.close()


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    path = tmp_path / "p.db"
    lock = DriverLock(path)
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        assert not lock.acquire()
    finally:
        other.kill()
        other.communicate()
    assert lock.acquire()
    lock.release()
    lock.release()
