"""Tells the watchers of a tenant about every change of its status.

One task looks at all watched tenants a few times a second, and immediately at those that this
process wrote to. A status is read once for all watchers of the same tenant; a slow watcher may
miss intermediate statuses, but never the latest.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from server.errors import StoreUnavailable
from server.model.states import MOVING_TENANT_STATES, TenantState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from server.model.identifiers import TenantId
    from server.queries.board import Answer, StatusBoard
    from server.queries.status import Status
    from server.store.operations import Outcome, TenantOperation

_log = structlog.get_logger(__name__)

# Changes by other processes or by the passing of time are seen after this long at the latest.
POLL_SECONDS = 0.25
# It is not news if an estimate moves by less than a fifth of the time left, or two seconds.
_ETA_SHARE = 0.2
_ETA_SECONDS = 2.0


def at_rest(status: Status) -> bool:
    """Tell whether nothing will move the tenant without a new order."""
    if status.standing.state is TenantState.DEPROVISIONING:
        # A removal that stopped half-way stays so: only ordering it again continues it.
        return status.completed_at is not None
    return status.standing.state not in MOVING_TENANT_STATES


@dataclass(slots=True, eq=False)
class _Watched:
    """One tenant that somebody watches, and what its watchers were last told."""

    told: Answer | None = None
    gone: bool = False
    watchers: set[Watcher] = field(default_factory=set)

    def tell(self) -> None:
        for watcher in self.watchers:
            watcher.woken.set()


class Watcher:
    """One watcher of a tenant; made by `StatusHub.watch`."""

    def __init__(self, hub: StatusHub, watched: _Watched) -> None:
        self.woken = asyncio.Event()
        self._hub = hub
        self._watched = watched

    async def other_than(self, last: Answer) -> Answer | None:
        """Wait for an answer other than the last; return None if the tenant no longer exists.

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
    """Looks at the watched tenants, and wakes their watchers."""

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
        """Start looking; needs a running event loop."""
        self._task = asyncio.create_task(self._run(), name="status-hub")

    async def stop(self) -> None:
        """Stop looking, and end all watchers."""
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
        # Earlier watchers may have been told something older; look at once for a new one.
        self._written.add(tenant_id)
        self._wake.set()
        try:
            yield watcher
        finally:
            watched.watchers.discard(watcher)
            if not watched.watchers and self._tenants.get(tenant_id) is watched:
                del self._tenants[tenant_id]

    def applied(self, operation: TenantOperation, _outcome: Outcome) -> None:
        """Take note of an operation that this process wrote (see `Database.on_applied`)."""
        if operation.tenant_id in self._tenants:
            self._written.add(operation.tenant_id)
            self._wake.set()

    def elsewhere(self, written: Collection[str] | None, _queued: bool) -> None:  # noqa: FBT001 - a listener's shape
        """Look at once, because other processes wrote something (see `Database.on_elsewhere`)."""
        ours = self._tenants.keys() if written is None else self._tenants.keys() & written
        if ours:
            self._written |= ours
            self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_round = 0.0
        while True:
            left = next_round - loop.time()
            # Without watchers this waits for one.
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
    """Tell whether a watcher that knows the status before must be told about this one."""
    if before.eta is None or after.eta is None:
        return before != after
    if replace(before, eta=after.eta) != after:
        return True
    left = after.eta - max(after.tenant.updated_at, before.tenant.updated_at)
    bearable = max(left * _ETA_SHARE, timedelta(seconds=_ETA_SECONDS))
    return abs(after.eta - before.eta) > bearable
