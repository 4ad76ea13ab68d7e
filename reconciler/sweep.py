"""One pass of the reconciler: observe, judge, remedy, record what was new.

A healthy sweep writes nothing, and what was found before is not written again. A tenant
that makes the pass fail is isolated and becomes a finding; the others get their turn. A
sweep that is cut short records what it did so far.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from reconciler.judge import Finding, Judgement, Verdict, judge
from reconciler.observe import Observer, Unreadable
from reconciler.remedies import ACTED, Carried, Remedies, RemedyOutcome, opens_run
from server.errors import StoreUnavailable
from server.model.causes import Cause, Severity
from server.model.identifiers import new_id
from server.store.operations import FindingRow, SweepOperation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from reconciler.observation import Observation
    from server.commands import Commands, EngineEntry
    from server.model.identifiers import TenantId
    from server.store.database import Database

_log = structlog.get_logger(__name__)

# At most so many runs are opened in one sweep: a mistake of ours, or of an engine, must
# not move a whole fleet before somebody can look.
DEFAULT_LIMIT = 50

# A finding's id is made of tenant, revision and cause, so that two reconcilers which find
# the same at the same moment record it once.
_FINDINGS = uuid.UUID("6d0c1f43-7a4e-5c0e-9b57-1f0a3b1f5a51")

# Remembered so as not to ask the database for each known finding in each sweep.
_MAX_REMEMBERED = 20_000

# What these say is no result yet: a later sweep acts, and then records.
_NOT_RECORDED = frozenset({RemedyOutcome.FASTER, RemedyOutcome.LATER, RemedyOutcome.DRY_RUN})

_MAX_ERROR = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One finding of a sweep, with its verdict and what came of it.

    Attributes:
        not_before: When the tenant will be moved, where it is not yet time.
    """

    tenant_id: TenantId
    revision: int
    finding: Finding
    verdict: Verdict
    carried: Carried
    stuck_since: datetime | None
    not_before: datetime | None
    found_at: datetime

    @property
    def id(self) -> str:
        """The same for the same tenant, revision and cause."""
        name = f"{self.tenant_id}:{self.revision}:{self.finding.cause.value}"
        return str(uuid.uuid5(_FINDINGS, name))

    @property
    def is_final(self) -> bool:
        """Whether this is to be recorded, not the promise of a later sweep."""
        return self.not_before is None and self.carried.outcome not in _NOT_RECORDED


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepReport:
    """What one sweep saw and did.

    Attributes:
        observed: Tenants looked at.
        acted: Tenants it changed: orders given, persons called, states corrected.
        findings: All of them, also those known before.
        recorded: How many were new and are in the database now.
    """

    id: str
    started_at: datetime
    finished_at: datetime
    dry_run: bool
    observed: int
    acted: int
    findings: tuple[Found, ...]
    recorded: int

    @property
    def duration_seconds(self) -> float:
        """How long it took."""
        return (self.finished_at - self.started_at).total_seconds()


class _Pass:
    """The counts of a sweep under way."""

    def __init__(self, started_at: datetime, *, dry_run: bool) -> None:
        self.id = new_id(started_at)
        self.started_at = started_at
        self.dry_run = dry_run
        self.observed = 0
        self.acted = 0
        self.orders = 0
        self.findings: list[Found] = []


class Sweeper:
    """Sweeps one store; one sweep at a time, any number of sweepers on one database."""

    def __init__(
        self,
        database: Database,
        commands: Commands,
        *,
        engines: Mapping[str, EngineEntry],
        now: Callable[[], datetime],
        lease_seconds: float,
        limit: int = DEFAULT_LIMIT,
        skipped_passes: Callable[[], int] = lambda: 0,
    ) -> None:
        """Take what a sweep needs.

        Args:
            database: To read from and to record in.
            commands: The orders people have.
            engines: Configured engines by id.
            now: The clock.
            lease_seconds: After three of these without a sign of life nobody drives.
            limit: Most orders in one sweep.
            skipped_passes: How many passes were skipped so far, for the record.
        """
        self._database = database
        self._observer = Observer(database, engines=engines, now=now, lease_seconds=lease_seconds)
        self._remedies = Remedies(database, commands, now=now)
        self._now = now
        self._limit = limit
        self._skipped_passes = skipped_passes
        self._skipped_told = 0
        self._remembered: set[str] = set()

    async def sweep(self, *, dry_run: bool = False) -> SweepReport:
        """Look at what needs a look, and do what should be done.

        Args:
            dry_run: Say what would be done; write nothing at all.

        Raises:
            StoreUnavailable: if the database can't be read, or the findings not be written.
        """
        current = _Pass(self._now(), dry_run=dry_run)
        try:
            async for page in self._observer.pages():
                for seen in page:
                    await self._treat(current, seen)
        except BaseException:
            # Cut short or without a database: what was done shall be readable all the same.
            with suppress(StoreUnavailable):
                await self._record(current)
            raise
        recorded = await self._record(current)
        return SweepReport(
            id=current.id,
            started_at=current.started_at,
            finished_at=self._now(),
            dry_run=dry_run,
            observed=current.observed,
            acted=current.acted,
            findings=tuple(current.findings),
            recorded=recorded,
        )

    async def _treat(self, current: _Pass, seen: Observation | Unreadable) -> None:
        """Judge one tenant and act; whatever it throws is its own finding."""
        current.observed += 1
        if isinstance(seen, Unreadable):
            self._note_error(current, seen.tenant_id, 0, seen.error)
            return
        try:
            judgement = judge(seen)
            if not judgement.findings:
                return
            carried = await self._carry_out(current, seen, judgement)
        except Exception as error:  # noqa: BLE001 - one poisoned tenant must not stop the sweep
            message = f"{type(error).__name__}: {error}"
            self._note_error(current, seen.tenant_id, seen.revision, message)
            return
        current.acted += carried.outcome in ACTED
        current.findings.extend(
            Found(
                tenant_id=seen.tenant_id,
                revision=seen.revision,
                finding=finding,
                verdict=judgement.verdict,
                carried=carried,
                stuck_since=seen.stuck_since,
                not_before=judgement.not_before,
                found_at=seen.observed_at,
            )
            for finding in judgement.findings
        )

    async def _carry_out(self, current: _Pass, seen: Observation, judgement: Judgement) -> Carried:
        if current.dry_run:
            return Carried(outcome=RemedyOutcome.DRY_RUN)
        if not opens_run(seen, judgement):
            return await self._remedies.carry_out(seen, judgement)
        if current.orders >= self._limit:
            return Carried(outcome=RemedyOutcome.LATER)
        carried = await self._remedies.carry_out(seen, judgement)
        # Refused ones don't count: else a few that can't be moved would keep the rest waiting.
        current.orders += carried.outcome is RemedyOutcome.ORDERED
        return carried

    def _note_error(self, current: _Pass, tenant_id: TenantId, revision: int, message: str) -> None:
        current.findings.append(
            Found(
                tenant_id=tenant_id,
                revision=revision,
                finding=Finding(
                    cause=Cause.SWEEP_ERROR,
                    severity=Severity.PERSON,
                    message=(
                        "The sweep could not judge or move this tenant. Mend its rows, or "
                        "report the error with them."
                    ),
                    evidence={"error": message[:_MAX_ERROR]},
                ),
                verdict=Verdict.NOTHING_YET,
                carried=Carried(
                    outcome=RemedyOutcome.DRY_RUN if current.dry_run else RemedyOutcome.ERROR
                ),
                stuck_since=None,
                not_before=None,
                found_at=self._now(),
            )
        )

    async def _record(self, current: _Pass) -> int:
        """Write what is new, if anything is; return how many findings that were."""
        new = await self._unknown([found for found in current.findings if found.is_final])
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
                _log_finding(found)
            break
        return len(new)

    async def _submit(self, current: _Pass, new: list[Found]) -> None:
        skipped = self._skipped_passes()
        await self._database.submit(
            SweepOperation(
                id=current.id,
                started_at=current.started_at,
                finished_at=self._now(),
                observed=current.observed,
                acted=current.acted,
                skipped_passes=skipped - self._skipped_told,
                findings=tuple(_row(found) for found in new),
            )
        )
        self._skipped_told = skipped

    async def _unknown(self, findings: list[Found]) -> list[Found]:
        """Return those no sweep has recorded yet."""
        new: dict[str, Found] = {}
        known: list[Found] = []
        for found in findings:
            if found.id in self._remembered or found.id in new:
                continue
            if await self._database.reads.known_finding(
                found.tenant_id, found.revision, found.finding.cause.value
            ):
                known.append(found)
            else:
                new[found.id] = found
        self._remember(known)
        return list(new.values())

    def _remember(self, findings: list[Found]) -> None:
        if len(self._remembered) > _MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered.update(found.id for found in findings)


def _row(found: Found) -> FindingRow:
    refused = found.carried.outcome is RemedyOutcome.REFUSED
    message = found.finding.message
    return FindingRow(
        id=found.id,
        tenant_id=found.tenant_id,
        revision=found.revision,
        cause=found.finding.cause.value,
        severity=Severity.PERSON.value if refused else found.finding.severity.value,
        message=f"{message} {found.carried.detail}" if refused else message,
        evidence=found.finding.evidence,
        verdict=found.verdict.value,
        outcome=found.carried.outcome.value,
        stuck_since=found.stuck_since,
        found_at=found.found_at,
    )


def _log_finding(found: Found) -> None:
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
