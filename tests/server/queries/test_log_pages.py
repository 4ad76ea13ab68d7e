"""Pages of logs that are kept: the same as a read gives, shared, and bounded."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Delete, Update, delete, update

from server.errors import CursorOutOfRange, NotFound
from server.model.actor import LOCAL
from server.model.states import LogLevel
from server.queries import log_pages
from server.queries.log_pages import PAGE_ENTRIES, LogPage, LogPages
from server.rpc.watching import page_wire
from server.store.operations import LogDraft, Outcome, TenantOperation
from server.store.tables import TENANTS
from server.store.written import entries_of
from tests.server.queries.scene import NOW, delete_entries, write

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from server.queries import Queries
    from server.store.database import Database

ODD = LogDraft(
    level=LogLevel.WARNING,
    event="test",
    message="a\x00b \ud800 é " + "x" * 9000,
    run_id="run",
    step_key="step_2_company",
    attempt=3,
    fields={"k": "v\x00\udfff", **{f"f{n}": "y" * 900 for n in range(12)}},
)


async def test_what_was_written_is_what_a_read_gives(database: Database, tenant: TenantId) -> None:
    operation = TenantOperation(tenant_id=tenant, at=NOW, log=(ODD, ODD))
    outcome = await database.submit(operation)
    assert outcome.applied
    read = await database.reads.log_page(tenant, after=outcome.log_seq - 2, limit=10)
    assert entries_of(operation, outcome) == read
    assert [entry.cursor for entry in read] == [2, 3]


def forbid_reads(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(*_: Any, **__: Any) -> None:  # Any: whatever is asked
        raise AssertionError("the log was read")

    monkeypatch.setattr(database.reads, "log_page", read)


async def test_followers_of_what_is_written_here_share_one_page_that_nobody_read(
    database: Database, queries: Queries, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        aclosing(queries.logs(LOCAL, tenant, 0, follow=True)) as first,
        aclosing(queries.logs(LOCAL, tenant, 0, follow=True)) as second,
    ):
        assert len(await anext(first)) == len(await anext(second)) == 1
        forbid_reads(database, monkeypatch)
        await write(database, tenant, "two", "three")
        page = await anext(first)
        assert [entry.message for entry in page] == ["two", "three"]
        assert await anext(second) is page
        assert page_wire(page) is page_wire(page)


async def test_a_page_that_was_read_is_kept_for_the_next_reader(
    database: Database, queries: Queries, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(database, tenant, "two")
    (page,) = [page async for page in queries.logs(LOCAL, tenant, 0, follow=False)]
    with monkeypatch.context() as patched:
        forbid_reads(database, patched)
        assert [page async for page in queries.logs(LOCAL, tenant, 0, follow=False)] == [page]
    # It does not reach the end any more.
    await write(database, tenant, "three")
    (longer,) = [page async for page in queries.logs(LOCAL, tenant, 0, follow=False)]
    assert [entry.cursor for entry in longer] == [1, 2, 3]


async def test_so_many_entries_are_kept_and_no_more(
    database: Database, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_pages, "MOST_KEPT_ENTRIES", 5)
    pages = LogPages(database.reads)
    operation = TenantOperation(tenant_id=tenant, at=NOW, log=(ODD, ODD))
    for cursor in range(0, 20, 2):
        page = LogPage(entries_of(operation, Outcome(log_seq=cursor + 2)))
        pages.keep(tenant, cursor, page)
        pages.keep(tenant, cursor, page)
    assert [cursor for _, cursor in pages._kept] == [16, 18]
    assert pages._kept_entries == 4


@pytest.mark.parametrize("follow", [False, True])
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (delete(TENANTS), NotFound),
        (update(TENANTS).values(log_seq=PAGE_ENTRIES), CursorOutOfRange),
    ],
)
async def test_a_log_that_is_cut_short_while_it_is_read_is_told_and_not_asked_for_ever(
    database: Database,
    queries: Queries,
    tenant: TenantId,
    damage: Delete | Update,
    told: type[Exception],
    *,
    follow: bool,
) -> None:
    await write(database, tenant, *(f"line {n}" for n in range(PAGE_ENTRIES + 10)))
    async with aclosing(queries.logs(LOCAL, tenant, 0, follow=follow)) as pages:
        assert len(await anext(pages)) == PAGE_ENTRIES
        await delete_entries(database, *range(PAGE_ENTRIES + 1, PAGE_ENTRIES + 12))
        await database.in_transaction(lambda connection: connection.execute(damage))
        async with asyncio.timeout(10):
            with pytest.raises(told):
                await anext(pages)
