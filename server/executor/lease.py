"""This worker's identity and its right to drive, by a clock that includes suspension.

The identity is new at each process start. If a restarted process used its old name again, the old
worker would look alive, and a stale process's heartbeat would renew the new one's lease.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from server.errors import Replaced, StoreUnavailable
from server.model.identifiers import WorkerId, new_id
from server.store.operations import WorkerOperation

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from server.store.database import Database

_log = structlog.get_logger(__name__)

# Three heartbeats fit into a lease, so that losing one does no harm.
_BEATS_PER_LEASE = 3
# A request is sent only while this fraction of the lease is left, because some time passes
# between the check and the sending.
_SPARE = 0.2


def boot_seconds() -> float:
    """Return the seconds since boot, with time asleep if the system has CLOCK_BOOTTIME."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


class Lease:
    """The heartbeat row that this process renews, and to which its runs point.

    Attributes:
        worker_id: This worker's identity, new for each process.
        seconds: How long it counts as alive after a heartbeat.
    """

    def __init__(self, database: Database, *, seconds: float, now: Callable[[], datetime]) -> None:
        self.worker_id = WorkerId(new_id(now()))
        self.seconds = seconds
        self._database = database
        self._now = now
        self._renewed_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Write the first heartbeat, and go on writing them.

        Raises:
            StoreUnavailable: the database can't be written.
        """
        await self._beat()
        self._task = asyncio.create_task(self._run(), name="heartbeat")

    async def stop(self) -> None:
        """Stop the heartbeats and say so, so that others need not wait for the lease to end."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        try:
            await self._database.submit(self._operation(stopped=True))
        except StoreUnavailable as error:
            # The lease then ends when its time is over.
            _log.warning("worker.farewell_failed", tenant="", error=error.message)

    def check(self) -> None:
        """Make sure that this worker may send a request right now.

        Raises:
            Replaced: its lease is over, or nearly, and another worker may be driving already.
        """
        if not self.holds():
            raise Replaced("The lease of this worker is over.")

    def holds(self) -> bool:
        """Tell whether this worker may send and claim; after a suspension, only from a new beat.

        It is False once less than a fifth of the lease is left, and before the first beat.
        """
        return boot_seconds() <= self._renewed_at + self.seconds * (1.0 - _SPARE)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.seconds / _BEATS_PER_LEASE)
            try:
                await self._beat()
            except StoreUnavailable as error:
                _log.warning("worker.heartbeat_failed", tenant="", error=error.message)
            except Exception:  # noqa: BLE001 - without beats every run would stop; recorded
                _log.exception("worker.heartbeat_bug", tenant="")

    async def _beat(self) -> None:
        # The time before the write, so that the lease never ends later here than for others.
        before = boot_seconds()
        await self._database.submit(self._operation(stopped=False))
        self._renewed_at = before

    def _operation(self, *, stopped: bool) -> WorkerOperation:
        return WorkerOperation(
            worker_id=self.worker_id,
            at=self._now(),
            lease_seconds=self.seconds,
            stopped=stopped,
        )
