"""Deletes what has been kept long enough: quietly, in pages, in any number of processes.

What still matters stays, however old it is: an open run; the log and the attempts of the last run
of a tenant that stopped short, because they say why; and a finding that is not over. A log loses
entries only at its front, so that a follower who is behind them is told (DATA_LOSS) and never
reads across a gap.

Each page is a short transaction of its own. Two processes that delete the same rows do no harm;
on PostgreSQL each skips the rows that the other is deleting.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import and_, delete, exists, func, literal_column, or_, select, tuple_

from server.errors import StoreUnavailable
from server.model.states import OPEN_RUN_STATES, TenantState
from server.store.conditions import OPEN_RUN
from server.store.failures import refusals
from server.store.postgres import COMMITS
from server.store.tables import (
    ATTEMPTS,
    AUDIT,
    FINDINGS,
    HERDS,
    LOG_ENTRIES,
    OUTBOX,
    QUOTAS,
    REQUESTS,
    RUNS,
    SWEEPS,
    TENANTS,
    WORKERS,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from typing import TypeVar

    from sqlalchemy import ColumnElement, Connection, CursorResult, Delete, Select

    from server.store.database import Database

    T = TypeVar("T")

_log = structlog.get_logger(__name__)

# A page delays SQLite's writer by some milliseconds.
PAGE_ROWS = 500
_TENANTS_A_PAGE = 200

_PAUSE_SECONDS = 0.2
_FIRST_ROUND_SECONDS = 60.0
_ROUND_SECONDS = 3600.0

# Promise 10: an order repeated within seven days is the same order.
LEAST_REQUEST_DAYS = 7
# A worker's row is needed while a run points to it, and people may want it for some days.
_WORKER_DAYS = 7
# A day longer than the courier keeps its messages (`server.webhook`), because the courier reports
# what it gives up. If no webhook is set any more, nobody else deletes them.
_MESSAGE_DAYS = 31

_OPEN = tuple(state.value for state in OPEN_RUN_STATES)
_AT_END = tuple(
    state.value
    for state in (TenantState.COMPLETED, TenantState.CANCELLED, TenantState.DEPROVISIONED)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """For how many days each kind of row is kept; 0 keeps them for ever.

    Attributes:
        request_days: At least seven days count (`LEAST_REQUEST_DAYS`).
    """

    log_days: float = 90.0
    attempt_days: float = 365.0
    request_days: float = 30.0
    finding_days: float = 365.0
    audit_days: float = 730.0


class Retention:
    """The background job that deletes; `round` is one pass over everything."""

    def __init__(
        self,
        database: Database,
        kept: Kept,
        *,
        now: Callable[[], datetime],
        pause_seconds: float = _PAUSE_SECONDS,
    ) -> None:
        """Take what to delete from; `start` begins.

        Args:
            database: The store.
            kept: For how long rows are kept.
            now: The clock by which they are old.
            pause_seconds: The pause after each page, in which others get their turn to write.
        """
        self._database = database
        self._kept = kept
        self._now = now
        self._pause_seconds = pause_seconds
        self._task: asyncio.Task[None] | None = None
        self._under_way: asyncio.Future[Any] | None = None  # Any: whatever a page gives

    def start(self) -> None:
        """Start the job; its first round comes once the process has settled."""
        self._task = asyncio.create_task(self._run(), name="retention")

    async def stop(self) -> None:
        """Stop the job after the page under way."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._under_way is not None:
            await asyncio.gather(self._under_way, return_exceptions=True)

    async def round(self) -> dict[str, int]:
        """Delete everything that has been kept long enough.

        Returns:
            How many rows were deleted, by table; tables without any are left out.

        Raises:
            StoreUnavailable: the database can't be written.
        """
        kept, deleted = self._kept, {}
        if kept.log_days:
            deleted["log_entries"] = await self._logs(self._before(kept.log_days))
        if kept.attempt_days:
            deleted["attempts"] = await self._attempts(self._before(kept.attempt_days))
        if kept.request_days:
            before = self._before(max(kept.request_days, LEAST_REQUEST_DAYS))
            deleted["requests"] = await self._by_page(_old_requests(before))
        if kept.finding_days:
            before = self._before(kept.finding_days)
            deleted["findings"] = await self._by_page(_old_findings(before))
            deleted["herds"] = await self._by_page(_old_herds(before))
            deleted["sweeps"] = await self._by_page(_old_sweeps(before))
        if kept.audit_days:
            deleted["audit"] = await self._by_page(_old_audit(self._before(kept.audit_days)))
        deleted["workers"] = await self._by_page(_old_workers(self._before(_WORKER_DAYS)))
        deleted["outbox"] = await self._by_page(_old_messages(self._before(_MESSAGE_DAYS)))
        if not self._database.is_sqlite:
            deleted["quotas"] = await self._by_page(_old_counts())
        return {table: count for table, count in deleted.items() if count}

    async def _run(self) -> None:
        # A random wait, so that not all processes delete at once.
        await asyncio.sleep(_FIRST_ROUND_SECONDS * (1 + random.random()))  # noqa: S311 - no secret
        while True:
            try:
                deleted = await self.round()
            except StoreUnavailable as error:
                _log.warning("retention.failed", tenant="", error=error.message)
            except Exception:  # noqa: BLE001 - the next round may fare better; recorded
                _log.exception("retention.bug", tenant="")
            else:
                if deleted:
                    _log.info("retention.deleted", tenant="", **deleted)
            await asyncio.sleep(_ROUND_SECONDS * (0.9 + 0.2 * random.random()))  # noqa: S311 - no secret

    def _before(self, days: float) -> datetime:
        return self._now() - timedelta(days=days)

    async def _page(self, work: Callable[[Connection], T]) -> T:
        with refusals("The database can't delete now"):
            # A page is finished even if the process is stopping; it is short.
            page = asyncio.ensure_future(self._database.in_transaction(work))
            self._under_way = page
            result = await asyncio.shield(page)
        await asyncio.sleep(self._pause_seconds)
        return result

    async def _by_page(self, statement: Callable[[Connection], Delete]) -> int:
        """Delete page by page until a page is not full; return how many rows were deleted."""
        total = 0
        while True:
            count = await self._page(
                lambda connection: _rowcount(connection.execute(statement(connection)))
            )
            total += count
            if count < PAGE_ROWS:
                return total

    async def _logs(self, before: datetime) -> int:
        """Shorten logs at their front, walking the tenants by id."""
        total, after = 0, ""
        while True:
            count, after, more = await self._page(
                partial(_shorten_logs, before=before, now=self._now(), after=after)
            )
            total += count
            if not more:
                return total

    async def _attempts(self, before: datetime) -> int:
        """Delete attempts, walking them by their ids, which begin with the time."""
        total, after, end = 0, "", _first_id_of(before)
        while True:
            count, after = await self._page(
                partial(_delete_attempts, before=before, after=after, end=end)
            )
            total += count
            if not after:
                return total


def _shorten_logs(
    connection: Connection, before: datetime, now: datetime, after: str
) -> tuple[int, str, bool]:
    """Shorten the logs of the next tenants.

    Returns:
        How many entries went, after which tenant to go on, and whether there is more.
    """
    first = (
        select(LOG_ENTRIES.c.time)
        .where(LOG_ENTRIES.c.tenant_id == TENANTS.c.id)
        .order_by(LOG_ENTRIES.c.cursor)
        .limit(1)
        .scalar_subquery()
    )
    page = connection.execute(
        select(
            TENANTS.c.id,
            TENANTS.c.state,
            TENANTS.c.run_id,
            or_(first < before, first > now).label("old"),
        )
        .where(TENANTS.c.id > after)
        .order_by(TENANTS.c.id)
        .limit(_TENANTS_A_PAGE)
    ).all()
    count = 0
    for tenant in page:
        if tenant.old:
            count += _shorten(connection, tenant, before, now)
            if count >= PAGE_ROWS:
                # There may be more entries of this tenant.
                return count, after, True
        after = tenant.id
    return count, after, len(page) == _TENANTS_A_PAGE


def _shorten(connection: Connection, tenant: Any, before: datetime, now: datetime) -> int:
    """Delete what is old at the front of a log, at most a page; return how many entries.

    An entry from the future was written by a wrong clock, and is as old as the entries after it. If
    none of those is old it stays, because the wrong clock may be this host's.
    """
    entry = LOG_ENTRIES.c
    mine = entry.tenant_id == tenant.id
    needed = None if tenant.state in _AT_END else tenant.run_id
    front = (
        select(entry.cursor, entry.time, entry.run_id)
        .where(mine)
        .order_by(entry.cursor)
        .limit(PAGE_ROWS)
    )
    last = None
    for cursor, time, run_id in connection.execute(front):
        # A cursor that is not a number is damage, and says nothing about the place of an entry.
        if not isinstance(cursor, int) or (needed is not None and run_id == needed):
            break
        if time is None or time > now:
            continue
        if time >= before:
            break
        last = cursor
    if last is None:
        return 0
    return _rowcount(connection.execute(delete(LOG_ENTRIES).where(mine, entry.cursor <= last)))


def _delete_attempts(
    connection: Connection, before: datetime, after: str, end: str
) -> tuple[int, str]:
    """Delete from the next page of attempts; return how many, and where to go on, or ""."""
    attempt = ATTEMPTS.c
    ids = list(
        connection.execute(
            select(attempt.id)
            .where(attempt.id > after, attempt.id < end)
            .order_by(attempt.id)
            .limit(PAGE_ROWS)
        ).scalars()
    )
    if not ids:
        return 0, ""
    matters = or_(
        exists().where(RUNS.c.id == attempt.run_id, RUNS.c.state.in_(_OPEN)),
        exists().where(
            TENANTS.c.id == attempt.tenant_id,
            TENANTS.c.run_id == attempt.run_id,
            TENANTS.c.state.not_in(_AT_END),
        ),
    )
    old = and_(attempt.id > after, attempt.id <= ids[-1], attempt.started_at < before)
    gone = connection.execute(delete(ATTEMPTS).where(old, ~matters))
    return _rowcount(gone), ids[-1] if len(ids) == PAGE_ROWS else ""


def _old_requests(before: datetime) -> Callable[[Connection], Delete]:
    request = REQUESTS.c
    key = (request.caller, request.method, request.request_id)
    old = select(*key).where(request.created_at < before).order_by(request.created_at)
    return lambda connection: delete(REQUESTS).where(tuple_(*key).in_(_one_page(connection, old)))


def _old_findings(before: datetime) -> Callable[[Connection], Delete]:
    finding = FINDINGS.c
    # Open findings stay: herds and shut engines are known by theirs, and a tenant's would be found
    # and reported again.
    old = select(finding.id).where(finding.found_at < before, finding.ended_at < before)
    return _by_id(finding.id, old.order_by(finding.found_at))


def _old_herds(before: datetime) -> Callable[[Connection], Delete]:
    herd, finding = HERDS.c, FINDINGS.c
    mine = or_(finding.id == herd.finding_id, finding.herd_id == herd.finding_id)
    # Literal text, because otherwise SQLite would not use the index of open findings.
    stands = exists().where(literal_column("ended_at IS NULL"), mine)
    # Until a herd is over, its row says which tenant was driven on first, and how often. Being
    # released does not end it: the tenants that follow may be under way.
    last = func.coalesce(herd.released_at, herd.ordered_at, herd.opened_at)
    return _by_id(herd.fingerprint, select(herd.fingerprint).where(last < before, ~stands))


def _old_sweeps(before: datetime) -> Callable[[Connection], Delete]:
    sweep = SWEEPS.c
    old = select(sweep.id).where(sweep.id < _first_id_of(before), sweep.finished_at < before)
    return _by_id(sweep.id, old.order_by(sweep.id))


def _old_audit(before: datetime) -> Callable[[Connection], Delete]:
    row = AUDIT.c
    return _by_id(row.id, select(row.id).where(row.at < before).order_by(row.at))


def _old_workers(before: datetime) -> Callable[[Connection], Delete]:
    worker = WORKERS.c
    # The row of a worker that left an open run says which worker that was. The condition is written
    # as in the partial index: with bound values, all runs would be read for each worker.
    needed = exists().where(RUNS.c.worker_id == worker.id, literal_column(OPEN_RUN))
    return _by_id(worker.id, select(worker.id).where(worker.heartbeat_at < before, ~needed))


def _old_messages(before: datetime) -> Callable[[Connection], Delete]:
    message = OUTBOX.c
    old = or_(
        message.delivered_at < before,
        and_(message.delivered_at.is_(None), message.created_at < before),
    )
    return _by_id(message.id, select(message.id).where(old))


def _old_counts() -> Callable[[Connection], Delete]:
    """Find the counters of connections that no longer write, by the database's clock."""
    counted = QUOTAS.c
    old = counted.since < func.clock_timestamp() - timedelta(days=_WORKER_DAYS)
    ours = counted.name.startswith(COMMITS, autoescape=True)
    return _by_id(counted.name, select(counted.name).where(old, ours))


def _by_id(key: ColumnElement[str], old: Select[Any]) -> Callable[[Connection], Delete]:
    table: Any = key.table
    return lambda connection: delete(table).where(key.in_(_one_page(connection, old)))


def _one_page(connection: Connection, old: Select[Any]) -> Select[Any]:
    page = old.limit(PAGE_ROWS)
    if connection.dialect.name == "postgresql":
        # Another process is already deleting the rows that are locked.
        return page.with_for_update(skip_locked=True)
    return page


def _first_id_of(time: datetime) -> str:
    """Return the smallest id that `new_id` can make at a time."""
    milliseconds = int(time.timestamp() * 1000)
    return f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7000-8000-000000000000"


def _rowcount(result: CursorResult[Any]) -> int:
    return result.rowcount
