"""What can be asked: the status of a tenant, its log, and lists of tenants.

Reads only, in short snapshots of the database: nothing here waits for an engine, and a follower
of a log holds no database connection while there is nothing to send.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.access.policy import demand, demand_any, unknown_tenant
from server.errors import CursorOutOfRange
from server.model.actor import Right
from server.model.blueprint import BLUEPRINTS, ERPNEXT, blueprint_of
from server.model.elsewhere import is_elsewhere, why_not_here
from server.queries.board import Answer, StatusBoard
from server.queries.listing import TenantPage, list_tenants
from server.queries.log_hub import POLL_SECONDS, LogHub
from server.queries.log_pages import CursorCut, LogPage, LogPages
from server.queries.motion import STALLED, motion_of
from server.queries.outlook import Outlooks
from server.queries.status import HELD, Status, status_of
from server.queries.status_hub import StatusHub, at_rest
from server.store.written import entries_of
from server.validation import validate_cursor, validate_tenant_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
    from datetime import datetime

    from server.commands import EngineEntry
    from server.model.actor import Actor
    from server.model.blueprint import Blueprint, StepType
    from server.model.identifiers import TenantId
    from server.model.records import Record
    from server.queries.motion import Motion
    from server.store.database import Database
    from server.store.found import Live, LogTail
    from server.store.operations import Outcome, TenantOperation
    from server.validation import RawListing

__all__ = [
    "HELD",
    "STALLED",
    "Answer",
    "CursorCut",
    "LogHub",
    "Queries",
    "Status",
    "TenantPage",
    "status_of",
]


class Queries:
    """Answers questions from one store; call `start` before a log is followed."""

    def __init__(
        self,
        database: Database,
        *,
        engines: Mapping[str, EngineEntry],
        now: Callable[[], datetime],
        lease_seconds: float,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """Take what is asked; nothing is read before `start`.

        Args:
            database: The store; its changes are heard from now on.
            engines: The configured engines, by id.
            now: The clock, by which what stands still is told from what moves.
            lease_seconds: The lease of this installation's workers.
            poll_seconds: How often the database is asked what followers have not heard of
                otherwise.
        """
        self.hub = LogHub(database.reads, poll_seconds=poll_seconds)
        self._board = StatusBoard(
            database.glances,
            self._steps_for,
            not_here=self._not_here,
            now=now,
            lease_seconds=lease_seconds,
            outlooks=Outlooks(database.history),
        )
        self.statuses = StatusHub(self._board, poll_seconds=poll_seconds)
        self._reads = database.reads
        self._lists = database.lists
        self._pages = LogPages(database.reads)
        self._engines = engines
        self._now = now
        self._lease_seconds = lease_seconds
        database.on_applied(self._keep_written)
        database.on_applied(self.hub.applied)
        database.on_elsewhere(self.hub.elsewhere)
        database.on_elsewhere(self.statuses.elsewhere)
        database.on_applied(self.statuses.applied)

    async def start(self) -> None:
        """Begin to look after the followers of logs and the watchers of tenants."""
        self.hub.start()
        self.statuses.start()

    async def stop(self) -> None:
        """End all followers and watchers and finish reads, so that the database can be closed."""
        await self.hub.stop()
        await self.statuses.stop()
        await self._pages.stop()

    async def status(self, actor: Actor, tenant_id: str) -> Status:
        """Return the status of a tenant.

        Raises:
            InvalidInput: the id is not a UUID.
            NotFound: there is no such tenant.
            NotAllowed: the caller may not see it.
            StoreUnavailable: the database can't be read now.
        """
        return (await self.answer(actor, tenant_id)).status

    async def status_of_new(self, actor: Actor, record: Record) -> Status:
        """Return the status of a tenant that was written a moment ago, without reading it back.

        Args:
            actor: Who asks.
            record: The record that `Commands.start` passes to `made`.

        Raises:
            NotFound, NotAllowed, StoreUnavailable: as for `status`.
        """
        demand(actor, Right.READ, record.tenant.id)
        return await self._board.newcomer(record)

    async def answer(self, actor: Actor, tenant_id: str) -> Answer:
        """Return the status of a tenant, as `status`, with room for the encoded answer.

        Args:
            actor: Who asks.
            tenant_id: The tenant's id as it was sent.

        Returns:
            The answer that all who ask share until it changes; whoever encodes it may put that in.

        Raises:
            InvalidInput, NotFound, NotAllowed, StoreUnavailable: as for `status`.
        """
        checked = validate_tenant_id(tenant_id)
        demand(actor, Right.READ, checked)
        answer = await self._board.answer(checked)
        if answer is None:
            raise unknown_tenant(checked)
        return answer

    async def watch(self, actor: Actor, tenant_id: str) -> AsyncGenerator[Answer, None]:
        """Yield the status of a tenant, immediately and at every change, until it is at rest.

        Close the iterator (`contextlib.aclosing`) if you leave it early. Of changes that come
        faster than they are taken, only the last is yielded.

        Args:
            actor: Who asks.
            tenant_id: The tenant's id as it was sent.

        Raises:
            InvalidInput, NotAllowed, StoreUnavailable: as for `status`; the last one also when the
                server stops.
            NotFound: as for `status`; also if the tenant's row is deleted meanwhile.
        """
        answer: Answer | None = await self.answer(actor, tenant_id)
        checked = validate_tenant_id(tenant_id)
        with self.statuses.watch(checked) as watcher:
            while answer is not None:
                yield answer
                if at_rest(answer.status):
                    return
                answer = await watcher.other_than(answer)
        raise unknown_tenant(checked)

    async def tenants(self, actor: Actor, raw: RawListing) -> TenantPage:
        """Return one page of the tenants that the caller may see.

        Args:
            actor: Who asks.
            raw: The filters, the order and the page as they were sent.

        Raises:
            InvalidInput: a filter is wrong, or the page token belongs to another list.
            NotAllowed: the caller may see no tenants.
            StoreUnavailable: the database can't be read now.
        """
        demand_any(actor, Right.READ)
        return await list_tenants(self._lists, actor, raw, now=self._now, motion=self._motion)

    async def logs(
        self, actor: Actor, tenant_id: str, after_cursor: int, *, follow: bool
    ) -> AsyncGenerator[LogPage, None]:
        """Yield a tenant's log after a cursor in pages: in order, each entry once.

        Close the iterator (`contextlib.aclosing`) if you leave it early.

        Args:
            actor: Who asks.
            tenant_id: The tenant.
            after_cursor: The last cursor known; 0 for the whole log.
            follow: Continue as the log grows, until the tenant is at rest and everything has
                been yielded; otherwise end where the log ended when reading began.

        Raises:
            InvalidInput, NotFound, NotAllowed, StoreUnavailable: as for `status`; the last
                one also when the server stops.
            CursorOutOfRange: the cursor is beyond the end.
            CursorTooOld: entries after the cursor are no longer kept.
        """
        checked = validate_tenant_id(tenant_id)
        demand(actor, Right.READ, checked)
        cursor = validate_cursor(after_cursor)
        tail = await self._reads.log_tail(checked)
        if tail is None:
            raise unknown_tenant(checked)
        if cursor > tail.last:
            raise _beyond(checked, cursor, tail)
        if cursor < tail.last and tail.first > cursor + 1:
            raise CursorCut(checked, cursor, tail.first)
        if not follow:
            async for page in self._until(checked, cursor, tail.last):
                yield page
            return
        with self.hub.follow(checked) as follower:
            end: int | None = tail.last
            while end is not None:
                async for page in self._until(checked, cursor, end):
                    cursor = page[-1].cursor
                    yield page
                end = await follower.beyond(cursor)

    async def _until(
        self, tenant_id: TenantId, cursor: int, end: int
    ) -> AsyncGenerator[LogPage, None]:
        while cursor < end:
            page = await self._pages.after(tenant_id, cursor, end=end)
            if not page:
                # The log was cut, by hand or by a restore, since its end was read.
                tail = await self._reads.log_tail(tenant_id)
                raise unknown_tenant(tenant_id) if tail is None else _beyond(tenant_id, end, tail)
            cursor = page[-1].cursor
            yield page

    def _keep_written(self, operation: TenantOperation, outcome: Outcome) -> None:
        """Keep what this process wrote for its followers, who then need not read it."""
        if operation.log and self.hub.is_followed(operation.tenant_id):
            page = LogPage(entries_of(operation, outcome))
            self._pages.keep(operation.tenant_id, outcome.log_seq - len(page), page)

    def _steps_for(self, record: Record) -> Sequence[StepType]:
        return self._blueprint(record).steps_for(record.tenant.spec)

    def _not_here(self, record: Record) -> str:
        entry = self._engines.get(record.tenant.spec.engine_id)
        return why_not_here(record.tenant, None if entry is None else entry.site)

    def _motion(self, live: Live) -> Motion:
        record = live.record
        return motion_of(
            live,
            self._now(),
            self._lease_seconds,
            step_key="",
            not_here="" if is_elsewhere(record.tenant) else self._not_here(record),
        )

    def _blueprint(self, record: Record) -> Blueprint:
        """Return the blueprint of a tenant, even if its engine is no longer configured."""
        entry = self._engines.get(record.tenant.spec.engine_id)
        if entry is not None:
            return blueprint_of(record.run, entry.blueprint)
        return BLUEPRINTS.get(record.run.blueprint, ERPNEXT) if record.run else ERPNEXT


def _beyond(tenant_id: TenantId, cursor: int, tail: LogTail) -> CursorOutOfRange:
    return CursorOutOfRange(
        f"Cursor {cursor} is beyond the end of the log of tenant {tenant_id}, which ends "
        f"at {tail.last}. Read on with after_cursor {tail.last}, or 0 for all of it."
    )
