"""How a sweep's findings are recorded: each once, with the messages that call people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from reconciler.found import call_of, row_of
from reconciler.herds import Plans
from server.errors import StoreUnavailable
from server.model.identifiers import new_id
from server.store.operations import SweepOperation

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from reconciler.found import Found
    from reconciler.herds import Herds
    from reconciler.judge import Judgement
    from reconciler.observation import Observation
    from server.store.database import Database

_log = structlog.get_logger(__name__)

# How many findings to remember, so as not to ask the database about each one in every sweep.
_MAX_REMEMBERED = 20_000


class Pass:
    """A sweep under way: its counts, and what it has found so far.

    Attributes:
        id: The sweep's id, which begins with the time.
        observed: How many tenants it has examined.
        acted: How many it has acted on.
        orders: How many runs it has opened.
        findings: All findings, known before or not.
        calls: The tenants for which a person is called, once the findings are durable.
        plans: What each herd does in this sweep.
    """

    def __init__(self, started_at: datetime, *, dry_run: bool) -> None:
        """Begin a sweep.

        Args:
            started_at: When it began.
            dry_run: Whether it only reports.
        """
        self.id = new_id(started_at)
        self.started_at = started_at
        self.dry_run = dry_run
        self.observed = 0
        self.acted = 0
        self.orders = 0
        self.findings: list[Found] = []
        self.calls: list[tuple[Observation, Judgement]] = []
        self.plans = Plans(decisions={})


class Recorder:
    """Records what sweeps find, for one sweeper."""

    def __init__(
        self,
        database: Database,
        herds: Herds,
        *,
        now: Callable[[], datetime],
        notify: bool,
        skipped_passes: Callable[[], int],
    ) -> None:
        """Take what recording needs.

        Args:
            database: The store to record in.
            herds: Says which findings belong to a herd.
            now: The clock that sweeps are judged by.
            notify: Whether to write messages for the webhook.
            skipped_passes: Returns how many passes were skipped so far, for the record.
        """
        self._database = database
        self._herds = herds
        self._now = now
        self._notify = notify
        self._skipped_passes = skipped_passes
        self._skipped_told = 0
        self._remembered: set[str] = set()

    async def record(self, current: Pass) -> int:
        """Write the new findings of a sweep, if there are any.

        Args:
            current: The sweep; findings that a later sweep has to act on are not written.

        Returns:
            How many were new.

        Raises:
            StoreUnavailable: they could not be written.
        """
        new = await self._unknown([found for found in current.findings if found.is_final])
        if not new:
            return 0
        new = await self._herds.join(new, current.plans)
        while new:
            try:
                await self._submit(current, new)
            except StoreUnavailable:
                # Another reconciler may have recorded one of them a moment ago.
                left = await self._unknown(new)
                if len(left) == len(new):
                    raise
                new = left
                continue
            self._remember(new)
            for found in new:
                if found.herd_id is None:
                    log_finding(found)
            break
        return len(new)

    async def _submit(self, current: Pass, new: list[Found]) -> None:
        skipped = self._skipped_passes()
        calls = [call for found in new if (call := call_of(found))] if self._notify else []
        await self._database.submit(
            SweepOperation(
                id=current.id,
                started_at=current.started_at,
                finished_at=self._now(),
                observed=current.observed,
                acted=current.acted,
                skipped_passes=skipped - self._skipped_told,
                findings=tuple(row_of(found) for found in new),
                outbox=tuple(calls),
            )
        )
        self._skipped_told = skipped

    async def _unknown(self, findings: list[Found]) -> list[Found]:
        """Return the findings that no sweep has recorded yet."""
        new: dict[str, Found] = {}
        known: list[Found] = []
        for found in findings:
            if found.id in self._remembered or found.id in new:
                continue
            if await self._is_known(found):
                known.append(found)
            else:
                new[found.id] = found
        self._remember(known)
        return list(new.values())

    async def _is_known(self, found: Found) -> bool:
        if found.own_id:
            return await self._database.healing.has_finding(found.own_id)
        return await self._database.reads.known_finding(
            found.tenant_id, found.revision, found.finding.cause.value
        )

    def _remember(self, findings: list[Found]) -> None:
        if len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered.update(found.id for found in findings)


def log_finding(found: Found) -> None:
    """Say in the process's log what was recorded; it never calls anybody."""
    _log.warning(
        "finding.recorded",
        tenant=found.tenant_id,
        revision=found.revision,
        cause=found.finding.cause.value,
        severity=found.finding.severity.value,
        message=found.finding.message,
        verdict=found.verdict.value,
        outcome=found.carried.outcome.value,
    )
