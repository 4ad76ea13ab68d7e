"""A database file that is moved, deleted or replaced while a process has it open.

SQLite itself writes on, into a file that nobody finds again: what was acknowledged would be lost.
"""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

import pytest
import structlog

from server.errors import StoreUnavailable
from server.store.database import Database
from server.store.driver_lock import DriverLock
from server.store.sqlite_file import FilePulse
from tests.server.store.scene import Scene
from tests.server.store.trouble import lines, said

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Connection

NAME = "provisioner.db"


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path}/{NAME}")
    try:
        yield Scene(database=database)
    finally:
        await database.close()


@pytest.mark.parametrize("name", [NAME, f"{NAME}-wal"])
@pytest.mark.parametrize("replaced", [False, True])
async def test_nothing_is_acknowledged_that_is_written_where_nobody_finds_it(
    scene: Scene, tmp_path: Path, name: str, replaced: bool
) -> None:
    tenant_id = await scene.tenant(log_count=0)
    assert (await scene.submit(said(tenant_id, "before"))).applied
    file, away = tmp_path / name, tmp_path / "away"
    file.rename(away)
    if replaced:
        shutil.copy(away, file)
    problem = "was replaced" if replaced else "moved or deleted"
    with pytest.raises(StoreUnavailable, match=problem) as told:
        await scene.submit(said(tenant_id, "lost"))
    assert str(file) in told.value.message
    assert "Put it back" in told.value.message
    # Whoever calls hears it, too, instead of an answer of which nothing stays.
    with pytest.raises(StoreUnavailable, match=problem):
        scene.database.demand_there()

    away.replace(file)
    scene.database.demand_there()
    assert (await scene.submit(said(tenant_id, "after"))).applied
    assert await lines(scene, tenant_id) == ["before", "after"]


async def test_readers_that_connect_meanwhile_make_no_empty_file_and_know_the_tables_later(
    scene: Scene, tmp_path: Path
) -> None:
    await scene.tenant(log_count=0)
    file, away = tmp_path / NAME, tmp_path / "away"
    file.rename(away)

    def count(connection: Connection) -> int:
        return int(connection.exec_driver_sql("SELECT count(*) FROM tenants").scalar_one())

    many = await asyncio.gather(
        *(scene.database.in_snapshot(count) for _ in range(4)),
        *(scene.database.history.step_times() for _ in range(8)),
        return_exceptions=True,
    )
    assert any(isinstance(answer, StoreUnavailable) for answer in many)
    assert not file.exists()

    away.rename(file)
    assert await asyncio.gather(*(scene.database.in_snapshot(count) for _ in range(8))) == [1] * 8


async def test_health_hears_of_a_full_disk_and_of_room_again(scene: Scene, tmp_path: Path) -> None:
    pulse = scene.database.pulse
    assert isinstance(pulse, FilePulse)
    await pulse.stop()  # looks are made here
    heard: list[bool] = []

    async def break_down(_there: bool) -> None:
        raise RuntimeError("a bug")

    async def hear(there: bool) -> None:
        heard.append(there)

    # One listener's bug neither ends the looks nor keeps the others from hearing.
    pulse.on_change(break_down)
    pulse.on_change(hear)
    tenant_id = await scene.tenant(log_count=0)
    await pulse.look()
    await scene.sql("PRAGMA max_page_count = 1")  # what a full disk means to SQLite
    with structlog.testing.capture_logs() as events:
        with pytest.raises(StoreUnavailable, match="full"):
            await scene.submit(said(tenant_id, "x" * 400_000))
        await pulse.look()
        await pulse.look()
        # A transaction that changes nothing needs no room, and says nothing of it.
        await scene.database.in_transaction(lambda connection: None)
        with pytest.raises(StoreUnavailable, match=r"disk is full\. Free space"):
            scene.database.demand_writes()
        # Who only asks is answered.
        scene.database.demand_there()

        await scene.sql("PRAGMA max_page_count = 1000000")
        assert (await scene.submit(said(tenant_id, "after"))).applied
        scene.database.demand_writes()
        await pulse.look()
    assert heard == [False, True]
    bug = "store.watcher_bug"
    assert [line["event"] for line in events] == ["store.away", bug, "store.back", bug]


def test_who_drives_notices_that_the_lock_file_was_deleted(tmp_path: Path) -> None:
    """The lock is in the kernel: another process would make the file anew and drive beside it."""
    first, second = (DriverLock(tmp_path / NAME) for _ in range(2))
    assert first.acquire()
    (tmp_path / f"{NAME}.driver").unlink()
    try:
        assert second.acquire()
        assert not first.acquire()
        second.release()
        assert first.acquire()
    finally:
        first.release()
        second.release()
