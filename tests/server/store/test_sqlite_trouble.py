"""SQLite whose disk is full, whose file may not be written, or is used by another process.

Nothing is half-written, and the message says what to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from server.errors import StoreUnavailable
from server.model.states import GateState
from server.store import schema, sqlite
from server.store.database import Database
from server.store.driver_lock import DriverLock
from server.store.operations import GateOperation
from tests.server.store.scene import NOON, SITE, Scene, creation
from tests.server.store.trouble import lines, overwrite_page, said

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

NOBODY = 65534


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that another user can reach, too."""
    with tempfile.TemporaryDirectory(prefix="sqlite-") as name:
        made = Path(name)
        made.chmod(0o755)
        yield made


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Root may write everything: be nobody for a while, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


async def pages(scene: Scene, most: int) -> None:
    """Let the file have so many pages: what a full disk means to SQLite."""
    await scene.sql(f"PRAGMA max_page_count = {most}")


@pytest.fixture
async def scene(folder: Path) -> AsyncIterator[Scene]:
    database = await Database.open(f"sqlite+aiosqlite:///{folder}/provisioner.db")
    try:
        yield Scene(database=database)
    finally:
        await database.close()


async def test_a_full_disk_refuses_a_batch_whole_and_goes_on_when_there_is_room(
    scene: Scene,
) -> None:
    tenant_id = await scene.tenant("Before", log_count=0)
    await pages(scene, 1)  # no less than it has now
    before = await scene.everything()
    large = [creation(f"Branch {number}", log_count=400) for number in range(6)]
    answers = await asyncio.gather(
        *(scene.submit(operation) for operation in large), return_exceptions=True
    )
    for answer in answers:
        assert isinstance(answer, StoreUnavailable)
        assert "database or disk is full. Free space" in answer.message
    assert await scene.everything() == before
    assert (await scene.record(tenant_id)).tenant.revision == 1

    await pages(scene, 1_000_000)
    assert (await scene.submit(said(tenant_id, "after"))).applied
    assert all([(await scene.submit(operation)).applied for operation in large])
    assert await lines(scene, tenant_id) == ["after"]


async def test_a_file_that_may_not_be_written_is_refused_with_what_to_do(folder: Path) -> None:
    file = folder / "provisioner.db"
    database = await Database.open(f"sqlite+aiosqlite:///{file}")
    await Scene(database=database).tenant()
    await database.close()
    before = file.read_bytes()
    for each in folder.iterdir():
        each.chmod(0o444)
    folder.chmod(0o555)
    with without_rights(), pytest.raises(StoreUnavailable) as told:
        await Database.open(f"sqlite+aiosqlite:///{file}")
    folder.chmod(0o755)
    assert "Let the user this runs as write the file and its folder" in told.value.message
    assert str(file) in told.value.message
    assert file.read_bytes() == before


async def test_a_file_that_turns_read_only_under_load_loses_nothing_it_acknowledged(
    folder: Path,
) -> None:
    url = f"sqlite+aiosqlite:///{folder}/provisioner.db"
    database = await Database.open(url)
    try:
        scene = Scene(database=database)
        tenant_id = await scene.tenant(log_count=0)
        texts = [f"line {number}" for number in range(60)]

        async def load(number: int) -> list[str]:
            """Write one after the other; return what was acknowledged."""
            written = []
            for each in texts[number::6]:
                with contextlib.suppress(StoreUnavailable):
                    assert (await scene.submit(said(tenant_id, each))).applied
                    written.append(each)
            return written

        loads = [asyncio.create_task(load(number)) for number in range(6)]
        await asyncio.wait([loads[0]], timeout=0.02)
        for each in folder.iterdir():
            each.chmod(0o444)
        folder.chmod(0o555)
        with without_rights():
            # Who opens it now is told when he writes, as each program does when it starts; who
            # has it open goes on.
            with pytest.raises(StoreUnavailable, match="Let the user this runs as write"):
                await _register(url)
            acknowledged = [text for written in await asyncio.gather(*loads) for text in written]
        folder.chmod(0o755)
        for each in folder.iterdir():
            each.chmod(0o644)
        assert sorted(await lines(scene, tenant_id)) == sorted(acknowledged)
        assert (await scene.submit(said(tenant_id, "after"))).applied
        assert (await lines(scene, tenant_id))[-1] == "after"
    finally:
        await database.close()


async def _register(url: str) -> None:
    late = await Database.open(url)
    try:
        await late.register_engines([GateOperation(site=SITE, at=NOON, gate=GateState.UP)])
    finally:
        await late.close()


async def test_a_folder_that_may_not_be_written_is_refused_with_what_to_do(folder: Path) -> None:
    folder.chmod(0o555)
    with without_rights(), pytest.raises(StoreUnavailable, match="Let the user this runs as"):
        await Database.open(f"sqlite+aiosqlite:///{folder}/provisioner.db")
    folder.chmod(0o755)
    assert list(folder.iterdir()) == []


async def test_a_file_that_is_no_database_is_left_alone(folder: Path) -> None:
    file = folder / "provisioner.db"
    file.write_text("Dear diary, " * 1000)
    with pytest.raises(StoreUnavailable, match="not one of ours: restore a backup"):
        await Database.open(f"sqlite+aiosqlite:///{file}")
    # What `provisioner db check` does.
    unopened = Database(f"sqlite+aiosqlite:///{file}")
    with pytest.raises(StoreUnavailable, match="can't be opened: file is not a database"):
        await unopened.administer(schema.current)
    await unopened.dispose()
    assert file.read_text() == "Dear diary, " * 1000


async def test_a_file_that_is_damaged_where_each_write_looks_first_is_told_by_ready_too(
    folder: Path,
) -> None:
    """The schema's revision is asked for by the driver itself, whose words were lost."""
    file = folder / "p.db"
    database = await Database.open(f"sqlite+aiosqlite:///{file}")
    assert (await database.submit(creation("Whole"))).applied
    overwrite_page(file, "alembic_version", b"\xff")
    with contextlib.closing(sqlite3.connect(file)) as shell, shell:
        # Whoever has the page in memory reads it anew.
        shell.execute("CREATE TABLE other (a)")
    with pytest.raises(StoreUnavailable, match=r"malformed.*restore a backup"):
        await database.submit(creation("Never"))
    with pytest.raises(StoreUnavailable, match=r"malformed.*restore a backup"):
        await database.register_engines([])
    with pytest.raises(StoreUnavailable, match=r"can't write now: .*malformed"):
        database.demand_writes()
    await database.close()


async def test_a_shell_with_an_open_transaction_is_named_and_nothing_is_lost(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.1)
    file = folder / "provisioner.db"
    database = await Database.open(f"sqlite+aiosqlite:///{file}")
    try:
        scene = Scene(database=database)
        tenant_id = await scene.tenant(log_count=0)
        with contextlib.closing(sqlite3.connect(file)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable, match="Another process has been writing"):
                await scene.submit(said(tenant_id, "too soon"))
            # It says nothing of the file, and passes.
            database.demand_writes()
            # Reading goes on meanwhile.
            assert (await scene.record(tenant_id)).tenant.id == tenant_id
            shell.rollback()
        assert (await scene.submit(said(tenant_id, "in time"))).applied
        assert await lines(scene, tenant_id) == ["in time"]
    finally:
        await database.close()


async def test_the_room_that_a_long_reader_cost_is_given_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a shell reads, no write can leave the WAL; its file stayed as long as it had grown."""
    monkeypatch.setattr(sqlite, "_LONGEST_WAL", 100_000)
    monkeypatch.setattr(sqlite, "_PAGES_A_CHECKPOINT", 10)
    file = folder / "provisioner.db"
    database = await Database.open(f"sqlite+aiosqlite:///{file}")
    try:
        scene = Scene(database=database)
        tenant_id = await scene.tenant(log_count=0)
        wal = file.with_name(f"{file.name}-wal")
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as shell:
            shell.execute("BEGIN")
            shell.execute("SELECT count(*) FROM tenants").fetchall()
            for _ in range(100):
                assert (await scene.submit(said(tenant_id, "x" * 4000))).applied
            grown = wal.stat().st_size
            shell.rollback()
        for _ in range(3):
            assert (await scene.submit(said(tenant_id, "in time"))).applied
        assert grown > 400_000
        assert wal.stat().st_size <= 100_000
    finally:
        await database.close()


_WRITE = """
import asyncio, sys
from server.store.database import Database
from tests.server.store.scene import Scene

async def main():
    database = await Database.open(sys.argv[1])
    assert not database.driver_lock.acquire()
    scene = Scene(database=database)
    for number in range(10):
        await scene.tenant(f"{sys.argv[2]} {number}")
    await database.close()

asyncio.run(main())
"""


async def test_processes_that_write_one_file_at_once_lose_nothing_and_one_drives(
    scene: Scene,
) -> None:
    assert scene.database.driver_lock is not None
    assert scene.database.driver_lock.acquire()
    url = scene.database.url.render_as_string()
    others = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _WRITE, url, name, stderr=asyncio.subprocess.PIPE
        )
        for name in ("Second", "Third")
    ]
    for number in range(30):
        tenant_id = await scene.tenant(f"First {number}", log_count=0)
        assert (await scene.submit(said(tenant_id, "once"))).applied
    assert [(await other.communicate())[1].decode() for other in others] == ["", ""]
    told = await scene.sql("SELECT count(*) AS n FROM tenants")
    assert told == [{"n": 50}]


def test_a_process_that_may_not_drive_says_so_once_and_when_it_may(folder: Path) -> None:
    first, second = (DriverLock(folder / "provisioner.db") for _ in range(2))
    with structlog.testing.capture_logs() as said_so:
        assert first.acquire()
        assert [second.acquire() for _ in range(3)] == [False] * 3
        first.release()
        assert second.acquire()
    second.release()
    assert [line["event"] for line in said_so] == ["driver.waiting", "driver.taken_over"]


def test_who_reaches_the_file_through_a_link_meets_the_same_lock(folder: Path) -> None:
    (folder / "link.db").symlink_to(folder / "p.db")
    (folder / "p.db").touch()
    mine, other = DriverLock(folder / "p.db"), DriverLock(folder / "link.db")
    try:
        assert mine.acquire()
        assert not other.acquire()
        mine.release()
        assert other.acquire()
    finally:
        mine.release()
        other.release()


async def test_a_lock_file_that_cannot_be_made_is_refused_with_what_to_do(folder: Path) -> None:
    folder.chmod(0o555)
    with without_rights(), pytest.raises(StoreUnavailable, match="driver"):
        DriverLock(folder / "provisioner.db").acquire()
    folder.chmod(0o755)


async def test_a_log_on_a_full_disk_ends_where_its_tenant_says_it_does(scene: Scene) -> None:
    tenant_id = await scene.tenant(log_count=0)
    await pages(scene, 1)

    async def write_until_full() -> None:
        for _ in range(50):
            await scene.submit(said(tenant_id, "x" * 4000))

    with pytest.raises(StoreUnavailable):
        await write_until_full()
    written = await lines(scene, tenant_id)
    tenant = (await scene.record(tenant_id)).tenant
    assert (tenant.log_seq, tenant.revision) == (len(written), 1 + len(written))
