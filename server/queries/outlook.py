"""Keeps the data that estimates are made from: read on demand, but not too often."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from server.errors import StoreUnavailable
from server.model.blueprint import BLUEPRINTS
from server.model.forecast import Outlook, Waiting, paces_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.model.records import Run
    from server.store.history import History

_log = structlog.get_logger(__name__)

# Which runs are waiting changes with every Company; how long steps take changes slowly.
WAITING_SECONDS = 1.0
_PACES_SECONDS = 5.0
# For a run that began after the last look, or a site whose first tenants have just finished.
_ANEW_SECONDS = 0.2

SERIAL_KEYS = frozenset(
    step.key for blueprint in BLUEPRINTS.values() for step in blueprint.steps if step.serial
)


class Outlooks:
    """The latest outlook of one store."""

    def __init__(self, history: History, *, monotonic: Callable[[], float] | None = None) -> None:
        """Take where the data is read; nothing is read before the first question.

        Args:
            history: What happened lately.
            monotonic: Seconds that nobody sets; None for the event loop's.
        """
        self._history = history
        self._monotonic = monotonic
        self._outlook = Outlook(paces={}, waiting=())
        self._waiting_at = self._paces_at = float("-inf")
        self._lock = asyncio.Lock()

    async def latest(self) -> Outlook:
        """Return an outlook at most a second old, or an older one if the database can't be read."""
        return await self._not_older_than(WAITING_SECONDS, _PACES_SECONDS)

    async def anew(self) -> Outlook:
        """Return an outlook at most 0.2 s old, for a run that the latest one does not know."""
        return await self._not_older_than(_ANEW_SECONDS, _ANEW_SECONDS)

    def with_newcomer(self, run: Run, site: str) -> Outlook:
        """Return an outlook that includes a run which began after the last look.

        Otherwise, of many runs ordered at once, none would count those before it.

        Args:
            run: The run; it stays in the outlook until the next look.
            site: The site it runs on.
        """
        newcomer = Waiting(run_id=run.id, site=site, created_at=run.created_at)
        self._outlook = replace(self._outlook, waiting=(*self._outlook.waiting, newcomer))
        return self._outlook

    async def _not_older_than(self, waiting_seconds: float, paces_seconds: float) -> Outlook:
        if self._is_old(self._waiting_at, waiting_seconds):
            async with self._lock:
                # Another call may have read it while this one waited.
                if self._is_old(self._waiting_at, waiting_seconds):
                    await self._refresh(paces_seconds)
        return self._outlook

    def _is_old(self, read_at: float, seconds: float) -> bool:
        return self._now() - read_at >= seconds

    def _now(self) -> float:
        return (self._monotonic or asyncio.get_running_loop().time)()

    async def _refresh(self, paces_seconds: float) -> None:
        # Set before the read, so that a read that fails is not repeated by every caller.
        self._waiting_at = self._now()
        try:
            paces = self._outlook.paces
            if self._is_old(self._paces_at, paces_seconds):
                self._paces_at = self._now()
                paces = paces_of(await self._history.step_times(), SERIAL_KEYS)
            waiting = await self._history.waiting(SERIAL_KEYS)
        except StoreUnavailable as error:
            # A status without a fresh estimate is better than none.
            _log.warning("outlook.read_failed", error=error.message)
            return
        self._outlook = Outlook(paces=paces, waiting=waiting)
