"""The one writer of a process: collects operations and commits them in groups.

Everybody who waits shares one commit; with nobody else waiting an operation is written
at once. A caller that goes away does not withdraw its operation. If a batch raises,
each of its operations runs alone, so that one bad one fails only itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import DBAPIError, IntegrityError

from server.errors import StoreUnavailable
from server.store.operations import Outcome, Refusal, TenantOperation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from server.store.operations import Operation

    Commit = Callable[[Sequence[Operation]], Awaitable[list[Outcome]]]

_log = structlog.get_logger(__name__)

# A commit of 512 operations took 31 ms and gained little over 64: a status written late
# would wait for it.
MAX_BATCH = 128

_REFUSALS = (
    ("company_fold", Refusal.NAME_TAKEN),
    ("abbreviation_fold", Refusal.ABBREVIATION_TAKEN),
    ("requests", Refusal.REQUEST_KNOWN),
    ("tenants", Refusal.TENANT_EXISTS),
)


class Writer:
    """Queues operations, groups them, and hands each group to `commit`."""

    def __init__(self, commit: Commit) -> None:
        self._commit = commit
        self._waiting: deque[tuple[Operation, asyncio.Future[Outcome]]] = deque()
        self._under_way: list[tuple[Operation, asyncio.Future[Outcome]]] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._watchers: list[Callable[[TenantOperation, Outcome], None]] = []

    def start(self) -> None:
        """Begin to write; needs a running event loop."""
        self._task = asyncio.create_task(self._run(), name="store-writer")

    async def stop(self) -> None:
        """Write what waits, then stop."""
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            await self._task

    def on_applied(self, watcher: Callable[[TenantOperation, Outcome], None]) -> None:
        """Call `watcher` after each tenant operation that was committed here."""
        self._watchers.append(watcher)

    async def submit(self, operation: Operation) -> Outcome:
        """Write an operation.

        Returns:
            Its outcome, after it is durable; a refused one wrote nothing.

        Raises:
            StoreUnavailable: if the database could not write; nothing was written.
        """
        if self._task is None or self._task.done() or self._stopping:
            raise StoreUnavailable("The store is closed. Start the server again.")
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((operation, future))
        self._wake.set()
        # The operation goes on though its caller is cancelled.
        return await asyncio.shield(future)

    async def _run(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._waiting:
                    self._under_way = self._next_batch()
                    await self._write(self._under_way)
                if self._stopping:
                    return
        finally:
            # Where the writer dies nobody may wait for it for ever.
            for _, future in (*self._under_way, *self._waiting):
                if not future.done():
                    future.set_exception(StoreUnavailable("The store's writer has stopped."))
                    future.exception()
            self._waiting.clear()

    def _next_batch(self) -> list[tuple[Operation, asyncio.Future[Outcome]]]:
        """Take what waits: at most one operation of a tenant, the next one comes later."""
        batch: list[tuple[Operation, asyncio.Future[Outcome]]] = []
        later: deque[tuple[Operation, asyncio.Future[Outcome]]] = deque()
        seen: set[str] = set()
        while self._waiting and len(batch) < MAX_BATCH:
            item = self._waiting.popleft()
            operation = item[0]
            if isinstance(operation, TenantOperation):
                if operation.tenant_id in seen:
                    later.append(item)
                    continue
                seen.add(operation.tenant_id)
            batch.append(item)
        self._waiting.extendleft(reversed(later))
        return batch

    async def _write(self, batch: list[tuple[Operation, asyncio.Future[Outcome]]]) -> None:
        try:
            outcomes = await self._commit([operation for operation, _ in batch])
        except Exception:  # noqa: BLE001 - not the database's errors only, see _write_alone
            # Whose fault it was shows when each runs alone.
            for item in batch:
                await self._write_alone(*item)
            return
        for (operation, future), outcome in zip(batch, outcomes, strict=True):
            self._answer(operation, future, outcome)

    async def _write_alone(self, operation: Operation, future: asyncio.Future[Outcome]) -> None:
        try:
            outcome = (await self._commit([operation]))[0]
        except IntegrityError as error:
            refusal = _refusal(error)
            if refusal is None:
                _fail(future, StoreUnavailable(f"The store refused a row: {error.orig}"))
                return
            outcome = Outcome(refusal=refusal)
        except Exception as error:  # noqa: BLE001 - the writer must outlive its operations
            # A refused connection comes as the driver's own error or as an OSError, a text
            # that can't be encoded as a ValueError: neither may end all later writes.
            detail = error.orig if isinstance(error, DBAPIError) else type(error).__name__
            _fail(future, StoreUnavailable(f"The database can't write now: {detail}"))
            return
        self._answer(operation, future, outcome)

    def _answer(
        self, operation: Operation, future: asyncio.Future[Outcome], outcome: Outcome
    ) -> None:
        if not future.done():
            future.set_result(outcome)
        if outcome.applied and isinstance(operation, TenantOperation):
            for watcher in self._watchers:
                try:
                    watcher(operation, outcome)
                except Exception:  # noqa: BLE001 - a listener must not end the writer; recorded
                    _log.exception("store.watcher_bug", tenant=operation.tenant_id)


def _fail(future: asyncio.Future[Outcome], error: StoreUnavailable) -> None:
    if not future.done():
        future.set_exception(error)


def _refusal(error: IntegrityError) -> Refusal | None:
    """Tell from the constraint's name which rule was met (both databases name it).

    From the first line only: PostgreSQL's next one quotes the values, which are a caller's.
    """
    text = str(error.orig).partition("\n")[0]
    if "unique" not in text.lower():
        return None
    return next((refusal for word, refusal in _REFUSALS if word in text), None)
