"""Tells those who watch a tenant of every change of where it stands.

One task looks at all watched tenants a few times a second, and at once at those this
process wrote to. What it finds is read once for all who watch the same tenant; a slow
one misses what was in between, never the last.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from server.errors import StoreUnavailable
from server.model.states import TenantState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from server.model.identifiers import TenantId
    from server.queries.board import Answer, StatusBoard
    from server.queries.status import Status
    from server.store.operations import Outcome, TenantOperation

_log = structlog.get_logger(__name__)

# Changes by other processes, and those that time makes, are seen this late at most.
POLL_SECONDS = 0.25
_IN_MOTION = frozenset({TenantState.IN_PROGRESS, TenantState.DEPROVISIONING})
# An estimate that moves by less than a fifth of what is left, or two seconds, is no news.
_ETA_SHARE = 0.2
_ETA_SECONDS = 2.0


def at_rest(status: Status) -> bool:
    """Tell whether nothing will move the tenant without a new order."""
    if status.standing.state is TenantState.DEPROVISIONING:
        # Stopped half-way it stays so: only the removal, ordered again, goes on with it.
        return status.completed_at is not None
    return status.standing.state not in _IN_MOTION


@dataclass(slots=True, eq=False)
class _Watched:
    """One tenant that somebody watches, and the last that was told of it."""

    told: Answer | None = None
    gone: bool = False
    watchers: set[Watcher] = field(default_factory=set)

    def tell(self) -> None:
        for watcher in self.watchers:
            watcher.woken.set()


class Watcher:
    """One who watches a tenant; made by `StatusHub.watch`."""

    def __init__(self, hub: StatusHub, watched: _Watched) -> None:
        self.woken = asyncio.Event()
        self._hub = hub
        self._watched = watched

    async def other_than(self, last: Answer) -> Answer | None:
        """Wait for another answer; None if the tenant is no longer known.

        Raises:
            StoreUnavailable: the hub has been stopped.
        """
        while True:
            self.woken.clear()
            if self._hub.stopped:
                raise StoreUnavailable(
                    "The server is stopping. Watch again when it is back.", code="SERVER_STOPPING"
                )
            if self._watched.gone:
                return None
            told = self._watched.told
            if told is not None and told is not last and is_news(last.status, told.status):
                return told
            await self.woken.wait()


class StatusHub:
    """Looks at the watched tenants, and wakes those who watch them."""

    def __init__(self, board: StatusBoard, *, poll_seconds: float = POLL_SECONDS) -> None:
        self.stopped = False
        self._board = board
        self._poll_seconds = poll_seconds
        self._tenants: dict[TenantId, _Watched] = {}
        self._written: set[TenantId] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    def start(self) -> None:
        """Begin to look; needs a running event loop."""
        self._task = asyncio.create_task(self._run(), name="status-hub")

    async def stop(self) -> None:
        """Stop looking, and send away who still watches."""
        self.stopped = True
        for watched in self._tenants.values():
            watched.tell()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    @contextlib.contextmanager
    def watch(self, tenant_id: TenantId) -> Iterator[Watcher]:
        """Watch a tenant for as long as the context is open."""
        watched = self._tenants.setdefault(tenant_id, _Watched())
        watcher = Watcher(self, watched)
        watched.watchers.add(watcher)
        # Whoever came first may have been told of less; a newcomer is looked for at once.
        self._written.add(tenant_id)
        self._wake.set()
        try:
            yield watcher
        finally:
            watched.watchers.discard(watcher)
            if not watched.watchers and self._tenants.get(tenant_id) is watched:
                del self._tenants[tenant_id]

    def applied(self, operation: TenantOperation, _outcome: Outcome) -> None:
        """Hear of an operation this process wrote (a watcher of `Database.on_applied`)."""
        if operation.tenant_id in self._tenants:
            self._written.add(operation.tenant_id)
            self._wake.set()

    def elsewhere(self, written: Collection[str] | None, _queued: bool) -> None:  # noqa: FBT001 - a listener's shape
        """Hear that other processes wrote something (`Database.on_elsewhere`): look at once."""
        ours = self._tenants.keys() if written is None else self._tenants.keys() & written
        if ours:
            self._written |= ours
            self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_round = 0.0
        while True:
            left = next_round - loop.time()
            # Without anybody who watches this waits for one.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, left) if self._tenants else None):
                    await self._wake.wait()
            self._wake.clear()
            if loop.time() >= next_round:
                asked = set(self._tenants)
                next_round = loop.time() + self._poll_seconds
            else:
                asked = self._written & self._tenants.keys()
            self._written -= asked
            if asked:
                await self._look(asked)

    async def _look(self, tenant_ids: set[TenantId]) -> None:
        try:
            answers = await self._board.answers(tenant_ids)
        except Exception:  # noqa: BLE001 - one failed look must not end all later ones
            if not self._failing:
                self._failing = True
                _log.warning("statuses.look_failed", tenants=len(tenant_ids), exc_info=True)
            return
        if self._failing:
            self._failing = False
            _log.info("statuses.look_recovered", tenants=len(tenant_ids))
        for tenant_id, answer in answers.items():
            watched = self._tenants.get(tenant_id)
            if watched is None:
                continue
            if answer is None:
                watched.gone = True
                watched.tell()
            elif answer is not watched.told:
                watched.told = answer
                watched.tell()


def is_news(before: Status, after: Status) -> bool:
    """Tell whether a watcher must hear of a status, having heard of the one before."""
    if before.eta is None or after.eta is None:
        return before != after
    if replace(before, eta=after.eta) != after:
        return True
    left = after.eta - max(after.tenant.updated_at, before.tenant.updated_at)
    bearable = max(left * _ETA_SHARE, timedelta(seconds=_ETA_SECONDS))
    return abs(after.eta - before.eta) > bearable
