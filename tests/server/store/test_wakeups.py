"""Other processes are woken at once on PostgreSQL; without a word they still see everything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from server.queries.log_hub import LogHub
from server.store import wakeups
from server.store.database import Database
from server.store.operations import TenantOperation
from tests.server.store.scene import NOON, Scene, logs
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from sqlalchemy import URL

pytestmark = pytest.mark.postgres


class Ear:
    """What one process hears of the others."""

    def __init__(self, database: Database) -> None:
        self._queue: asyncio.Queue[tuple[Collection[str] | None, bool]] = asyncio.Queue()
        database.on_elsewhere(lambda written, queued: self._queue.put_nowait((written, queued)))

    async def next(self) -> tuple[Collection[str] | None, bool]:
        async with asyncio.timeout(30):
            return await self._queue.get()

    @property
    def silent(self) -> bool:
        return self._queue.empty()


@pytest.fixture
async def pair(postgres_url: URL) -> AsyncIterator[tuple[Scene, Ear]]:
    """A process that writes, and another one that listens already."""
    writing = await Database.open(postgres_url)
    own = Ear(writing)
    listening = await Database.open(postgres_url)
    ear = Ear(listening)
    try:
        # The first word: from now on each listens, and must look once.
        assert await own.next() == (None, True)
        assert await ear.next() == (None, True)
        yield Scene(database=writing), ear
    finally:
        await writing.close()
        await listening.close()


async def test_who_else_is_on_the_database_hears_what_was_written_and_whether_a_run_waits(
    pair: tuple[Scene, Ear],
) -> None:
    scene, ear = pair
    tenant_id = await scene.tenant()
    assert await ear.next() == ([tenant_id], True)
    await scene.written(TenantOperation(tenant_id=tenant_id, at=NOON))
    assert await ear.next() == ([tenant_id], False)


async def test_nobody_hears_himself_or_of_what_was_refused(pair: tuple[Scene, Ear]) -> None:
    scene, ear = pair
    own = Ear(scene.database)
    tenant_id = await scene.tenant()
    await ear.next()
    stale = TenantOperation(tenant_id=tenant_id, at=NOON, token=9)
    assert not (await scene.submit(stale)).applied
    other = await scene.tenant("Other")
    assert await ear.next() == ([other], True)
    assert own.silent


async def test_more_tenants_than_a_word_can_hold_are_all_of_them(
    pair: tuple[Scene, Ear], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, ear = pair
    monkeypatch.setattr(wakeups, "_MOST_IDS", 1)
    await asyncio.gather(scene.tenant("One"), scene.tenant("Two"))
    assert await ear.next() == (None, True)


async def test_after_its_connection_was_lost_it_listens_again_and_looks_once(
    pair: tuple[Scene, Ear], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, ear = pair
    monkeypatch.setattr(wakeups, "_FIRST_PAUSE_SECONDS", 0.05)
    await scene.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'provisioner wakeups'"
    )
    assert await ear.next() == (None, True)
    # The writer's own ear may still be on its way back; then its word waits.
    tenant_id = await scene.tenant()
    assert await ear.next() == ([tenant_id], True)


def listeners() -> set[asyncio.Task[Any]]:
    return {task for task in asyncio.all_tasks() if task.get_name() == "wakeups"}


async def gone(scene: Scene) -> bool:
    return not await scene.sql(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name = 'provisioner wakeups'"
    )


@pytest.mark.parametrize("state", ["just begun", "listening", "cut off"])
async def test_closing_ends_it_in_any_state(
    pair: tuple[Scene, Ear], monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(wakeups, "_FIRST_PAUSE_SECONDS", 3600.0)
    scene, _ = pair
    others = listeners()
    database = await Database.open(scene.database.url)
    ear = Ear(database)
    (its_own,) = listeners() - others
    if state != "just begun":
        assert await ear.next() == (None, True)
    if state == "cut off":
        await scene.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'provisioner wakeups'"
        )
        await until(lambda: gone(scene))
    async with asyncio.timeout(30):
        await database.close()
    assert its_own.done()


async def test_a_follower_on_another_server_hears_of_an_entry_before_it_would_ask(
    pair: tuple[Scene, Ear],
) -> None:
    scene, _ = pair
    tenant_id = await scene.tenant(log_count=1)
    elsewhere = await Database.open(scene.database.url)
    # It asks when somebody comes, and then not again for this test.
    hub = LogHub(elsewhere.reads, poll_seconds=3600)
    elsewhere.on_elsewhere(hub.elsewhere)
    hub.start()
    try:
        async with asyncio.timeout(30):
            with hub.follow(tenant_id) as follower:
                assert await follower.beyond(0) == 1
                await scene.written(TenantOperation(tenant_id=tenant_id, at=NOON, log=logs(2)))
                assert await follower.beyond(1) == 3
    finally:
        await hub.stop()
        await elsewhere.close()
