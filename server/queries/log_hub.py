"""Wakes the followers of logs: one task for all followers of a process.

It asks the database a few times a second about all followed tenants together, and is told
directly what this process itself wrote. It does not pass entries to a follower, only the news
that there are some; the follower reads them by key. So a slow follower costs no memory, and one
that returns after a restart misses nothing (promise 9). Without followers it asks nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from server.errors import StoreUnavailable
from server.model.states import MOVING_TENANT_STATES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import Protocol

    from server.model.identifiers import TenantId
    from server.store.operations import Outcome, TenantOperation

    class LogEnds(Protocol):
        """What the hub reads; `server.store.reads.Reads` has it."""

        async def log_ends(self, tenant_ids: Collection[str]) -> dict[str, tuple[int, bool]]:
            """Return the last cursor and whether the tenant is in motion, for many tenants."""


_log = structlog.get_logger(__name__)

# Entries of other processes are seen after this long at the latest; our own immediately.
POLL_SECONDS = 0.25
# Databases limit a statement's parameters (32766), and plan a statement of fixed length once.
_IDS_PER_READ = 1000


@dataclass(slots=True, eq=False)
class _Followed:
    """One tenant that somebody follows, and what was last heard about it."""

    last: int = 0
    in_motion: bool = True
    followers: set[Follower] = field(default_factory=set)

    def hear(self, *, in_motion: bool, to: Iterable[Follower]) -> None:
        self.in_motion = in_motion
        for follower in to:
            follower.state_known = True

    def tell(self) -> None:
        for follower in self.followers:
            follower.woken.set()


class Follower:
    """One follower of a tenant's log; made by `LogHub.follow`."""

    def __init__(self, hub: LogHub, followed: _Followed) -> None:
        self.woken = asyncio.Event()
        # What was heard before this follower came may be outdated: an order through another
        # process may have set the tenant in motion since.
        self.state_known = False
        self._hub = hub
        self._followed = followed

    async def beyond(self, cursor: int) -> int | None:
        """Wait until there is more after a cursor.

        Returns:
            The log's last cursor, or None if the tenant is at rest and has nothing more.

        Raises:
            StoreUnavailable: the hub has been stopped.
        """
        while True:
            self.woken.clear()
            if self._hub.stopped:
                raise StoreUnavailable(
                    "The server is stopping. Go on from the last cursor.", code="SERVER_STOPPING"
                )
            if self._followed.last > cursor:
                return self._followed.last
            if self.state_known and not self._followed.in_motion:
                return None
            await self.woken.wait()


class LogHub:
    """Keeps track of where logs end, and wakes their followers."""

    def __init__(self, reads: LogEnds, *, poll_seconds: float = POLL_SECONDS) -> None:
        self.stopped = False
        self._reads = reads
        self._poll_seconds = poll_seconds
        self._tenants: dict[TenantId, _Followed] = {}
        self._newcomer = asyncio.Event()
        # Tenants whose state was written here while a poll was under way: what the poll says
        # about them may be older.
        self._written: set[TenantId] = set()
        self._task: asyncio.Task[None] | None = None
        self._failing = False

    @property
    def follower_count(self) -> int:
        """How many followers there are now."""
        return sum(len(followed.followers) for followed in self._tenants.values())

    def is_followed(self, tenant_id: TenantId) -> bool:
        """Tell whether anybody follows a tenant's log."""
        return tenant_id in self._tenants

    def start(self) -> None:
        """Start polling; needs a running event loop."""
        self._task = asyncio.create_task(self._run(), name="log-hub")

    async def stop(self) -> None:
        """Stop polling, and end all followers."""
        self.stopped = True
        for followed in self._tenants.values():
            followed.tell()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    @contextlib.contextmanager
    def follow(self, tenant_id: TenantId) -> Iterator[Follower]:
        """Follow a tenant's log for as long as the context is open."""
        followed = self._tenants.setdefault(tenant_id, _Followed())
        follower = Follower(self, followed)
        followed.followers.add(follower)
        self._newcomer.set()
        try:
            yield follower
        finally:
            followed.followers.discard(follower)
            if not followed.followers and self._tenants.get(tenant_id) is followed:
                del self._tenants[tenant_id]

    def applied(self, operation: TenantOperation, outcome: Outcome) -> None:
        """Take note of an operation that this process wrote (see `Database.on_applied`)."""
        followed = self._tenants.get(operation.tenant_id)
        if followed is None:
            return
        followed.last = max(followed.last, outcome.log_seq)
        if operation.standing is not None:
            self._written.add(operation.tenant_id)
            followed.hear(
                in_motion=operation.standing.state in MOVING_TENANT_STATES, to=followed.followers
            )
        followed.tell()

    def elsewhere(self, written: Collection[str] | None, _queued: bool) -> None:  # noqa: FBT001 - a listener's shape
        """Ask at once, because other processes wrote something (see `Database.on_elsewhere`)."""
        if written is None or not self._tenants.keys().isdisjoint(written):
            self._newcomer.set()

    async def _run(self) -> None:
        while True:
            self._newcomer.clear()
            if self._tenants:
                await self._poll()
            # New followers' tenants are asked about at once; without followers this waits.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds if self._tenants else None):
                    await self._newcomer.wait()

    async def _poll(self) -> None:
        asked = {tenant_id: tuple(known.followers) for tenant_id, known in self._tenants.items()}
        self._written.clear()
        try:
            ends = await self._read(list(asked))
        except Exception:  # noqa: BLE001 - one failed look must not end all followers' looks
            if not self._failing:
                self._failing = True
                _log.warning("logs.poll_failed", tenants=len(asked), exc_info=True)
            return
        if self._failing:
            self._failing = False
            _log.info("logs.poll_recovered", tenants=len(asked))
        for tenant_id, followers in asked.items():
            self._heard(tenant_id, followers, *ends.get(tenant_id, (0, False)))

    async def _read(self, tenant_ids: list[TenantId]) -> dict[str, tuple[int, bool]]:
        ends: dict[str, tuple[int, bool]] = {}
        for start in range(0, len(tenant_ids), _IDS_PER_READ):
            ends |= await self._reads.log_ends(tenant_ids[start : start + _IDS_PER_READ])
        return ends

    def _heard(
        self,
        tenant_id: TenantId,
        followers: tuple[Follower, ...],
        last: int,
        in_motion: bool,  # noqa: FBT001 - private, and the shape of `log_ends`
    ) -> None:
        followed = self._tenants.get(tenant_id)
        if followed is None:
            return
        changed = last > followed.last
        followed.last = max(followed.last, last)
        if tenant_id not in self._written:
            changed = changed or in_motion != followed.in_motion
            changed = changed or not all(follower.state_known for follower in followers)
            followed.hear(in_motion=in_motion, to=followers)
        if changed:
            followed.tell()
