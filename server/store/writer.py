"""The one writer of a process: collects operations and commits them in groups.

All callers that wait share one commit; if nobody else waits, an operation is written at once. A
caller that goes away does not withdraw its operation. If a batch fails, each of its operations is
run alone, so that a bad one fails only itself.

The writer waits for a database that is down for a moment, and settles a lost answer to COMMIT
before it writes anything else, so that nothing is written twice. An operation whose rows another
process holds waits its turn, and delays nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import IntegrityError

from server.errors import StoreUnavailable
from server.store.failures import CommitUnknown, ConnectionLost, detail, is_locked
from server.store.operations import (
    GateOperation,
    Outcome,
    Refusal,
    TenantOperation,
    WorkerOperation,
)
from server.store.site_operations import SiteOperation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from server.store.operations import Operation

    Commit = Callable[[Sequence[Operation]], Awaitable[list[Outcome]]]

_log = structlog.get_logger(__name__)

# A commit of 512 operations took 31 ms and gained little over 64, and a status written meanwhile
# would have to wait for it.
MAX_BATCH = 128

# A restart of PostgreSQL takes a second or two, and nobody need hear of it.
PATIENCE_SECONDS = 3.0
_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 1.0

# A caller whose operation was written usually has its next one ready within this many iterations of
# the event loop. One batch of all costs less than two halves that take turns.
_TURNS = 6
# Other callers are a moment away with their next orders. After a batch of many, the writer waits
# for them, so that the groups into which callers fall become one again.
_MANY = 8
_MOMENT_SECONDS = 0.003

# Another process's commit takes a few milliseconds. Whatever holds a row for seconds is not one of
# our processes.
_BUSY_PAUSE_SECONDS = 0.01
_BUSY_SECONDS = 5.0
# This many in a row are not a coincidence.
_HELD_IN_A_ROW = 2

_REFUSALS = (
    ("company_fold", Refusal.NAME_TAKEN),
    ("abbreviation_fold", Refusal.ABBREVIATION_TAKEN),
    ("requests", Refusal.REQUEST_KNOWN),
    ("users", Refusal.USER_TAKEN),
    ("tenants", Refusal.TENANT_EXISTS),
)


@dataclass(slots=True, eq=False)
class _Waiting:
    """An operation on its way, and the future of the caller that waits for it."""

    operation: Operation
    future: asyncio.Future[Outcome]
    since: float
    not_before: float = 0.0

    def fail(self, error: StoreUnavailable) -> None:
        if not self.future.done():
            self.future.set_exception(error)
            # Retrieved here: if the caller is gone, asyncio need not complain about it.
            self.future.exception()

    @property
    def whose(self) -> str | None:
        """What the operation changes, if operations on that must keep their order."""
        if isinstance(self.operation, TenantOperation):
            return self.operation.tenant_id
        return (
            self.operation.site
            if isinstance(self.operation, GateOperation | SiteOperation)
            else None
        )


class Writer:
    """Queues operations, groups them, and hands each group to `commit`."""

    def __init__(self, commit: Commit, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Take how to commit; `start` begins.

        Args:
            commit: Writes a batch in one transaction and returns an outcome for each operation. It
                raises `ConnectionLost`, `CommitUnknown`, or what the database refused.
            patience_seconds: For how long to try again if the connection is lost; 0 to say so at
                once.
        """
        self._commit = commit
        self._patience_seconds = patience_seconds
        self._waiting: deque[_Waiting] = deque()
        self._under_way: list[_Waiting] = []
        self._wake = asyncio.Event()
        # How many operations the next batch has if all that may come do, and whether they did.
        self._expected = 0
        self._all_came = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._away = False
        self._watchers: list[Callable[[TenantOperation, Outcome], None]] = []

    def start(self) -> None:
        """Start writing; needs a running event loop."""
        self._task = asyncio.create_task(self._run(), name="store-writer")

    async def stop(self) -> None:
        """Write the operations that wait, then stop."""
        self._stopping = True
        self._all_came.set()
        self._wake.set()
        if self._task is not None:
            await self._task

    def on_applied(self, watcher: Callable[[TenantOperation, Outcome], None]) -> None:
        """Call `watcher` after each tenant operation that was committed here, by any caller.

        Args:
            watcher: Called on the event loop with the operation and its outcome, after the
                operation's caller was answered. It must not block; what it raises is recorded.
        """
        self._watchers.append(watcher)

    async def submit(self, operation: Operation) -> Outcome:
        """Write an operation; if its caller is cancelled meanwhile, it is written all the same.

        Returns:
            Its outcome, once it is durable; a refused operation wrote nothing.

        Raises:
            StoreUnavailable: the database can't be written. Nothing was, unless the answer to the
                COMMIT was lost and this process stops, or its writer dies, before PostgreSQL could
                be asked.
        """
        if self._task is None or self._task.done() or self._stopping:
            raise StoreUnavailable("The store is closed. Start the server again.")
        loop = asyncio.get_running_loop()
        item = _Waiting(operation, loop.create_future(), loop.time())
        self._waiting.append(item)
        self._wake.set()
        if len(self._waiting) >= self._expected:
            self._all_came.set()
        # The operation goes on even if its caller is cancelled, and this future with it.
        return await item.future

    async def _run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    self._under_way = self._next_batch()
                    if self._under_way:
                        await self._write(self._under_way)
                        await self._let_come(len(self._under_way))
                    else:
                        await asyncio.sleep(_BUSY_PAUSE_SECONDS)
                    self._under_way = []
                if self._stopping:
                    return
        finally:
            # If the writer dies, nobody must wait for it for ever.
            for item in (*self._under_way, *self._waiting):
                item.fail(StoreUnavailable("The store's writer has stopped."))
            self._waiting.clear()

    async def _let_come(self, answered: int) -> None:
        """Give the callers just answered time to submit their next operations.

        This takes a few iterations of the loop, for callers in this process, and after a batch of
        many a moment more.
        """
        self._expected = min(MAX_BATCH, len(self._waiting) + answered)
        self._all_came.clear()
        for _ in range(_TURNS):
            if self._stopping or len(self._waiting) >= self._expected:
                return
            await asyncio.sleep(0)
        if answered < _MANY:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_MOMENT_SECONDS):
                await self._all_came.wait()

    def _next_batch(self) -> list[_Waiting]:
        """Take the operations that wait, at most one per tenant; its next one comes later."""
        batch: list[_Waiting] = []
        later: deque[_Waiting] = deque()
        seen: set[str] = set()
        now = asyncio.get_running_loop().time()
        while self._waiting and len(batch) < MAX_BATCH:
            item = self._waiting.popleft()
            whose = item.whose
            if whose in seen or item.not_before > now:
                later.append(item)
            else:
                batch.append(item)
            if whose is not None:
                seen.add(whose)
        self._waiting.extendleft(reversed(later))
        return batch

    async def _write(self, batch: list[_Waiting]) -> None:
        try:
            outcomes = await self._persist(batch)
        except ConnectionLost as error:
            # It is the database's fault: each operation alone would meet the same.
            for item in batch:
                item.fail(error)
        except Exception as error:  # noqa: BLE001 - not the database's errors only, see _write_alone
            if len(batch) == 1 and is_locked(error):
                # It has already waited alone, and its caller with it.
                batch[0].fail(_not_now(error))
                return
            # Running each alone shows which of them was at fault.
            await self._write_each(batch)
        else:
            self._answer_all(batch, outcomes)

    async def _write_each(self, batch: list[_Waiting]) -> None:
        """Write each alone; heartbeats first, so that no lease ends while others are written.

        If one after the other waits for a lock in vain, somebody holds a whole table. The rest are
        told so now, and not after two more seconds for each operation in front of them.
        """
        clock, told, held = asyncio.get_running_loop().time, None, 0
        for item in sorted(batch, key=lambda item: not isinstance(item.operation, WorkerOperation)):
            late = item.since + _BUSY_SECONDS < clock()
            if told is not None and (late or held == _HELD_IN_A_ROW):
                item.fail(told)
                continue
            told = await self._write_alone(item)
            held = 0 if told is None else held + 1

    async def _write_alone(self, item: _Waiting) -> StoreUnavailable | None:
        """Write one; return the error its caller got if it waited for a lock in vain, else None."""
        try:
            outcomes = await self._persist([item])
        except IntegrityError as error:
            refusal = _refusal(error)
            if refusal is None:
                item.fail(StoreUnavailable(f"The store refused a row: {detail(error)}"))
                return None
            outcomes = [Outcome(refusal=refusal)]
        except ConnectionLost as error:
            item.fail(error)
            return None
        except Exception as error:  # noqa: BLE001 - the writer must outlive its operations
            # A text that can't be encoded raises a ValueError, which must not end all later writes
            # either.
            told = _not_now(error)
            item.fail(told)
            return told if is_locked(error) else None
        self._answer_all([item], outcomes)
        return None

    async def _persist(self, batch: list[_Waiting]) -> list[Outcome]:
        """Commit a batch, whatever becomes of the connection.

        Raises:
            ConnectionLost: the database stayed down; nothing was written.
            Exception: the database refused the batch.
        """
        loop = asyncio.get_running_loop()
        operations = [item.operation for item in batch]
        began, pause = loop.time(), _FIRST_PAUSE_SECONDS
        while True:
            try:
                outcomes = await self._commit(operations)
            except CommitUnknown as error:
                if await self._was_written(error):
                    found: list[Outcome] = error.result
                    return found
                lost = ConnectionLost(error.message)
            except ConnectionLost as error:
                lost = error
            else:
                self._away = False
                return outcomes
            if self._away or loop.time() + pause > began + self._patience_seconds:
                # Those that come next need not wait: this much waiting was in vain.
                self._away = True
                raise lost
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _was_written(self, unknown: CommitUnknown) -> bool:
        """Settle a lost answer to COMMIT, however long the database stays down.

        Sending the batch again without knowing could write its log lines twice, and saying that it
        was not written could be untrue. So it waits; callers behind it are told before long.
        """
        _log.warning("store.commit_unknown", tenant="", error=unknown.message)
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            try:
                written = await unknown.written()
            except ConnectionLost as error:
                if self._stopping and loop.time() > began + self._patience_seconds:
                    raise
                self._send_away(error)
                await asyncio.sleep(_LONGEST_PAUSE_SECONDS)
            else:
                _log.info("store.commit_settled", tenant="", written=written)
                return written

    def _send_away(self, error: ConnectionLost) -> None:
        """Tell the callers that have waited long, and whose operations were not sent yet."""
        patience = asyncio.get_running_loop().time() - self._patience_seconds
        for item in [item for item in self._waiting if item.since < patience]:
            self._waiting.remove(item)
            item.fail(error)

    def _answer_all(self, batch: list[_Waiting], outcomes: list[Outcome]) -> None:
        busy = []
        for item, outcome in zip(batch, outcomes, strict=True):
            if outcome.refusal is Refusal.BUSY:
                busy.append(item)
            else:
                self._answer(item, outcome)
        self._waiting.extendleft(reversed(self._put_off(busy)))

    def _put_off(self, busy: list[_Waiting]) -> list[_Waiting]:
        """Put off operations whose rows somebody else holds; fail those that have waited long.

        Returns:
            The operations to try again.
        """
        now = asyncio.get_running_loop().time()
        again = []
        for item in busy:
            if item.since + _BUSY_SECONDS < now:
                item.fail(
                    StoreUnavailable(
                        f"Another transaction has held the row of {item.whose} for "
                        f"{_BUSY_SECONDS:g} s. pg_stat_activity and pg_locks show whose it is; "
                        "end it."
                    )
                )
                continue
            item.not_before = now + _BUSY_PAUSE_SECONDS
            again.append(item)
        return again

    def _answer(self, item: _Waiting, outcome: Outcome) -> None:
        operation = item.operation
        if not item.future.done():
            item.future.set_result(outcome)
        if outcome.applied and isinstance(operation, TenantOperation):
            for watcher in self._watchers:
                try:
                    watcher(operation, outcome)
                except Exception:  # noqa: BLE001 - a listener must not end the writer; recorded
                    _log.exception("store.watcher_bug", tenant=operation.tenant_id)


def _not_now(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"The database can't write now: {detail(error)}")


def _refusal(error: IntegrityError) -> Refusal | None:
    """Tell from the constraint's name which rule was broken (both databases name it).

    Only the first line is used: PostgreSQL's next one quotes the values, which come from a caller.
    """
    text = str(error.orig).partition("\n")[0]
    if "unique" not in text.lower():
        return None
    return next((refusal for word, refusal in _REFUSALS if word in text), None)
