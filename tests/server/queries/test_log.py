"""A log given page by page, and followed: each entry once and in order, to all who follow."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import delete

from server.errors import CursorOutOfRange, CursorTooOld, InvalidInput, NotFound, StoreUnavailable
from server.model.actor import LOCAL
from server.queries import LogHub, Queries
from server.queries.log_pages import PAGE_ENTRIES
from server.store.database import Database
from server.store.tables import TENANTS
from tests.server.queries.scene import TENANT, come_to_rest, cursors, delete_entries, running, write

if TYPE_CHECKING:
    from collections.abc import Collection

    from server.model.identifiers import TenantId


async def test_a_log_is_given_in_pages_in_order_without_gaps(
    database: Database, queries: Queries, tenant: TenantId
) -> None:
    await write(database, tenant, *(f"line {n}" for n in range(PAGE_ENTRIES + 10)))
    pages = [page async for page in queries.logs(LOCAL, tenant, 1, follow=False)]
    assert [len(page) for page in pages] == [PAGE_ENTRIES, 10]
    assert [e.cursor for page in pages for e in page] == list(range(2, PAGE_ENTRIES + 12))


async def test_a_cursor_at_the_end_gives_nothing_and_one_beyond_it_is_refused(
    queries: Queries, tenant: TenantId
) -> None:
    assert await cursors(queries, tenant, 1) == []
    with pytest.raises(CursorOutOfRange, match="beyond the end"):
        await cursors(queries, tenant, 2)


@pytest.mark.parametrize("follow", [False, True])
async def test_a_cursor_older_than_what_is_kept_is_told_the_oldest_one(
    database: Database, queries: Queries, tenant: TenantId, follow: bool
) -> None:
    await write(database, tenant, "two", "three", "four")
    await delete_entries(database, 1, 2)
    with pytest.raises(CursorTooOld, match="oldest entry is 3"):
        await cursors(queries, tenant, 1, follow=follow)
    assert await cursors(queries, tenant, 2) == [3, 4]


@pytest.mark.parametrize("lost", [(2, 3), (4, 5)])
async def test_a_log_damaged_by_hand_gives_what_comes_before_the_gap_and_then_says_so(
    database: Database, queries: Queries, tenant: TenantId, lost: tuple[int, ...]
) -> None:
    await write(database, tenant, "two", "three", "four", "five")
    await delete_entries(database, *lost)
    pages = queries.logs(LOCAL, tenant, 0, follow=False)
    assert [entry.cursor for entry in await anext(pages)] == list(range(1, lost[0]))
    with pytest.raises(CursorTooOld):
        await anext(pages)


async def test_unknown_tenants_and_impossible_arguments_are_refused(queries: Queries) -> None:
    for answer in (cursors(queries, TENANT, 0), queries.status(LOCAL, TENANT)):
        with pytest.raises(NotFound, match=f"No tenant {TENANT}"):
            await answer
    with pytest.raises(InvalidInput, match="tenant_id"):
        await queries.status(LOCAL, "acme")
    with pytest.raises(InvalidInput, match="after_cursor"):
        await cursors(queries, TENANT, -1)


async def test_a_follower_gets_what_is_written_here_at_once_and_ends_when_all_is_at_rest(
    database: Database, queries: Queries, tenant: TenantId
) -> None:
    async with aclosing(queries.logs(LOCAL, tenant, 0, follow=True)) as pages:
        assert [entry.cursor for entry in await anext(pages)] == [1]
        await write(database, tenant, "two")
        assert [entry.message for entry in await anext(pages)] == ["two"]
        await come_to_rest(database, tenant, "three")
        assert [entry.message for entry in await anext(pages)] == ["three"]
        with pytest.raises(StopAsyncIteration):
            await anext(pages)
    assert queries.hub.follower_count == 0


async def test_a_follower_of_a_tenant_at_rest_gets_the_log_and_ends(
    database: Database, queries: Queries, tenant: TenantId
) -> None:
    await come_to_rest(database, tenant, "two")
    assert await cursors(queries, tenant, 0, follow=True) == [1, 2]


async def test_a_follower_sees_what_another_process_writes(
    database: Database, tenant: TenantId
) -> None:
    other = await Database.open(database.url)
    async with running(database, poll_seconds=0.01) as queries:
        reading = asyncio.create_task(cursors(queries, tenant, 0, follow=True))
        for number in range(2, 6):
            await write(other, tenant, f"line {number}")
        await come_to_rest(other, tenant)
        assert await reading == [1, 2, 3, 4, 5]
    await other.close()


async def test_many_followers_of_one_tenant_each_get_every_line_once(
    database: Database, queries: Queries, tenant: TenantId
) -> None:
    readers = [asyncio.create_task(cursors(queries, tenant, 0, follow=True)) for _ in range(50)]
    for number in range(2, 40):
        await write(database, tenant, f"line {number}")
    await come_to_rest(database, tenant)
    assert all(seen == list(range(1, 40)) for seen in await asyncio.gather(*readers))


async def test_a_newcomer_is_not_sent_away_by_what_was_heard_before_it_came() -> None:
    class Ends:
        """Answers that a tenant is at rest, until an order through another process."""

        in_motion = False
        asked = asyncio.Event()

        async def log_ends(self, tenant_ids: Collection[str]) -> dict[str, tuple[int, bool]]:
            self.asked.set()
            return {TENANT: (5, self.in_motion)}

    ends = Ends()
    hub = LogHub(ends, poll_seconds=60)
    hub.start()
    with hub.follow(TENANT) as first:
        assert await first.beyond(5) is None  # heard: at rest
        ends.in_motion = True
        with hub.follow(TENANT) as second:
            waiting = asyncio.create_task(second.beyond(5))
            ends.asked.clear()
            await ends.asked.wait()
            await asyncio.sleep(0)
            assert not waiting.done()
            waiting.cancel()
    await hub.stop()


async def test_a_hub_outlives_a_database_that_fails_for_a_while() -> None:
    class Ends:
        """Fails twice, then answers."""

        calls = 0

        async def log_ends(self, tenant_ids: Collection[str]) -> dict[str, tuple[int, bool]]:
            self.calls += 1
            if self.calls == 1:
                raise StoreUnavailable("The database can't be read now.")
            if self.calls == 2:
                raise RuntimeError("a bug")
            return {TENANT: (7, True)}

    hub = LogHub(Ends(), poll_seconds=0.001)
    hub.start()
    with hub.follow(TENANT) as follower:
        assert await follower.beyond(6) == 7
    await hub.stop()


async def test_a_hub_without_followers_asks_nothing_and_one_that_stops_sends_them_away() -> None:
    class Never:
        """Fails the test if it is asked for a tenant nobody follows."""

        asked: list[list[str]] = []  # noqa: RUF012 - lives as long as this test

        async def log_ends(self, tenant_ids: Collection[str]) -> dict[str, tuple[int, bool]]:
            self.asked.append(list(tenant_ids))
            return {TENANT: (1, True)}

    never = Never()
    hub = LogHub(never, poll_seconds=0.001)
    hub.start()
    await asyncio.sleep(0)
    assert never.asked == []
    with hub.follow(TENANT) as follower:
        waiting = asyncio.create_task(follower.beyond(1))
        await asyncio.sleep(0)
        await hub.stop()
        with pytest.raises(StoreUnavailable) as stopped:
            await waiting
        assert stopped.value.code == "SERVER_STOPPING"


async def test_a_follower_of_a_tenant_whose_row_was_deleted_is_let_go(
    database: Database, tenant: TenantId
) -> None:
    async with running(database, poll_seconds=0.01) as queries:
        reading = asyncio.create_task(cursors(queries, tenant, 0, follow=True))
        await database.in_transaction(
            lambda connection: connection.execute(delete(TENANTS).where(TENANTS.c.id == tenant))
        )
        with suppress(NotFound):  # where it was deleted before the reading began
            assert await reading in ([], [1])
