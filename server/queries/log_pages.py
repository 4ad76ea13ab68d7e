"""Reads a log in short pages by key, shared by all readers that want the same page.

The followers of one tenant are woken together and want the same page: one read serves them all,
and what this process wrote itself needs no read. Committed entries never change, so a page is
kept for later readers, together with its encoding once somebody has made it, as long as there is
room. A reader that goes away neither cuts the read short for the others nor leaves a database
connection in the middle of a query.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from server.errors import CursorTooOld

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from server.model.records import LogEntry
    from server.store.reads import Reads

# An entry has at most 8 KiB, so a page stays below the 4 MiB that gRPC's clients accept.
PAGE_ENTRIES = 200
# About 1 KiB each, and as much again for the encoding.
MOST_KEPT_ENTRIES = 8000


class CursorCut(CursorTooOld):
    """The log no longer reaches back to that cursor.

    Attributes:
        oldest_cursor: The cursor of the first entry that is kept.
    """

    def __init__(self, tenant_id: TenantId, after_cursor: int, oldest_cursor: int) -> None:
        """Say what is no longer kept, and where to read on.

        Args:
            tenant_id: The tenant.
            after_cursor: The cursor after which entries were asked for.
            oldest_cursor: The cursor of the first entry that is kept.
        """
        super().__init__(
            f"The log of tenant {tenant_id} after cursor {after_cursor} is no longer kept; its "
            f"oldest entry is {oldest_cursor}. Read on with after_cursor {oldest_cursor - 1}."
        )
        self.oldest_cursor = oldest_cursor


class LogPage(tuple["LogEntry", ...]):  # noqa: SLOT001 - a tuple can't have a slot that is set
    """Entries in order, without gaps.

    Attributes:
        wire: Its encoded message, once somebody has made it.
    """

    wire: bytes | None = None


class LogPages:
    """Pages of logs, each read once for all readers that wait for it."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._under_way: dict[tuple[TenantId, int], asyncio.Task[LogPage]] = {}
        self._kept: OrderedDict[tuple[TenantId, int], LogPage] = OrderedDict()
        self._kept_entries = 0

    def keep(self, tenant_id: TenantId, cursor: int, page: LogPage) -> None:
        """Keep the page after a cursor for readers that will ask for it.

        Args:
            tenant_id: The tenant.
            cursor: The cursor just before the page's first entry.
            page: What is committed; an empty page is not kept, and old ones make room.
        """
        if not page:
            return
        key = (tenant_id, cursor)
        self._kept_entries += len(page) - len(self._kept.pop(key, ()))
        self._kept[key] = page
        while self._kept_entries > MOST_KEPT_ENTRIES:
            _, oldest = self._kept.popitem(last=False)
            self._kept_entries -= len(oldest)

    async def after(self, tenant_id: TenantId, cursor: int, *, end: int = 0) -> LogPage:
        """Return the next page after a cursor; empty if there is none.

        Args:
            tenant_id: The tenant.
            cursor: The last cursor known.
            end: A cursor that is known to exist: a kept page must reach it or be full.

        Raises:
            CursorCut: entries between the cursor and the page are no longer kept.
            StoreUnavailable: the database can't be read now.
        """
        kept = self._kept.get((tenant_id, cursor))
        if kept is not None and end > 0 and (kept[-1].cursor >= end or len(kept) == PAGE_ENTRIES):
            self._kept.move_to_end((tenant_id, cursor))
            return kept
        page = await self._shared(tenant_id, cursor)
        if page:
            self._check(tenant_id, cursor, page[0].cursor)
            return page
        tail = await self._reads.log_tail(tenant_id)
        if tail is None or tail.last <= cursor:
            return page
        self._check(tenant_id, cursor, tail.first)
        # The shared read may have begun before the entry was written; this one did not.
        page = await self._read(tenant_id, cursor)
        self._check(tenant_id, cursor, page[0].cursor if page else tail.last + 1)
        return page

    async def stop(self) -> None:
        """Wait for the reads under way: the database is closed after this."""
        if self._under_way:
            await asyncio.wait(self._under_way.values())

    async def _read(self, tenant_id: TenantId, cursor: int) -> LogPage:
        read = await self._reads.log_page(tenant_id, after=cursor, limit=PAGE_ENTRIES)
        page = LogPage(_without_gap(read) if read else ())
        if page and page[0].cursor == cursor + 1:
            self.keep(tenant_id, cursor, page)
        return page

    async def _shared(self, tenant_id: TenantId, cursor: int) -> LogPage:
        key = (tenant_id, cursor)
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._read(tenant_id, cursor), name="log-page")
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)

    def _check(self, tenant_id: TenantId, cursor: int, first: int) -> None:
        # Retention deletes from the front only, so what is kept begins after the gap.
        if first > cursor + 1:
            raise CursorCut(tenant_id, cursor, first)

    def _done(self, key: tuple[TenantId, int], task: asyncio.Task[LogPage]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            # Retrieved here, because a read that fails after all its readers have left would
            # be reported as an exception that nobody retrieved.
            task.exception()


def _without_gap(page: list[LogEntry]) -> list[LogEntry]:
    """Cut a page off before the first missing entry; the next read then reports the gap."""
    first = page[0].cursor
    if page[-1].cursor - first == len(page) - 1:
        return page
    return [entry for index, entry in enumerate(page) if entry.cursor == first + index]
