"""One pass of the reconciler: observe, judge, remedy, record what is new.

A healthy sweep writes nothing, and what was found before is not written again. A tenant that
makes the pass fail is isolated and becomes a finding; the others get their turn. A sweep that is
cut off records what it has done so far. Of many tenants with the same error one goes first
(`herds`). Findings whose tenants have come to rest since are ended (`write_off`).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from reconciler.engine_watch import EngineWatch
from reconciler.found import Found, SweepReport, as_first_seen
from reconciler.herd import Plan, failure_of
from reconciler.herds import Herds
from reconciler.judge import Finding, Judgement, Verdict, judge
from reconciler.observation import NEVER
from reconciler.observe import Observer, Unreadable
from reconciler.recorder import Pass, Recorder, log_finding
from reconciler.remedies import ACTED, Carried, Remedies, RemedyOutcome, opens_run
from reconciler.write_off import write_off
from server.errors import StoreUnavailable
from server.executor.clock import CommonClock
from server.model.causes import Cause, Severity
from server.model.fingerprint import Failure, normalised
from server.model.states import TenantState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Mapping
    from datetime import datetime

    from reconciler.drift import DriftCheck
    from reconciler.herds import Plans
    from reconciler.observation import Observation
    from server.commands import Commands, EngineEntry
    from server.model.identifiers import TenantId
    from server.store.database import Database
    from server.store.handed_over import HandedOver

T = TypeVar("T")

_log = structlog.get_logger(__name__)

# The most runs to open in one sweep: a mistake of ours, or of an engine, must not move a whole
# fleet before somebody can look.
DEFAULT_LIMIT = 50

_MAX_ERROR = 400
_MOST_HANDED_OVER = 1000

# The quota that all reconcilers of a database share.
_TURNS = "orders"

# Causes that say why a tenant stopped: what many tenants share is then the failure itself.
_STOPS = frozenset(
    {
        Cause.STEP_RECORD_LOST,
        Cause.PASSING_ERROR,
        Cause.PERMANENT_ERROR,
        Cause.STEP_NOT_DONE,
        Cause.HEALING_BUDGET_SPENT,
    }
)
# Causes that come from changing rows from outside, at a time that no row tells.
_DAMAGE = frozenset({Cause.STEP_RECORD_LOST, Cause.STATE_DIFFERS})
# States of tenants that a sweep sees only in its round, and not every time.
_SETTLED = frozenset(
    {
        TenantState.COMPLETED,
        TenantState.CANCELLED,
        TenantState.DEPROVISIONING,
        TenantState.DEPROVISIONED,
    }
)


class Sweeper:
    """Sweeps one store: one sweep at a time, with any number of sweepers on one database."""

    def __init__(
        self,
        database: Database,
        commands: Commands,
        *,
        engines: Mapping[str, EngineEntry],
        now: Callable[[], datetime],
        lease_seconds: float,
        limit: int = DEFAULT_LIMIT,
        window_seconds: float = 0.0,
        notify: bool = False,
        skipped_passes: Callable[[], int] = lambda: 0,
        drift: DriftCheck | None = None,
    ) -> None:
        """Take the parts that a sweep needs.

        Args:
            database: The store to read from and to record in.
            commands: The orders that people have.
            engines: The configured engines, by id.
            now: The clock; each look corrects it by the database's.
            lease_seconds: After three of these without a sign of life a run is abandoned.
            limit: The most orders in one sweep.
            window_seconds: The limit is shared by all reconcilers of the database for this
                many seconds, usually those between two sweeps; 0 to limit each sweep alone.
            notify: Whether to write messages for the webhook.
            skipped_passes: Returns how many passes were skipped so far, for the record.
            drift: Checks a few finished tenants after each sweep that is not a dry run.
        """
        # It reads the times of gates, converted to this host's clock.
        self._engine_watch = EngineWatch(database, engines=engines, now=now, notify=notify)
        # One clock judges everything that workers wrote and that other reconcilers put off.
        now = CommonClock.of(now)
        self._database = database
        self._observer = Observer(database, engines=engines, now=now, lease_seconds=lease_seconds)
        self._remedies = Remedies(database, commands, now=now)
        self._herds = Herds(database.healing, self._observer, now=now, notify=notify)
        self._now = now
        self._limit = limit
        self._window = timedelta(seconds=window_seconds)
        self._notify = notify
        self._recorder = Recorder(
            database, self._herds, now=now, notify=notify, skipped_passes=skipped_passes
        )
        self._drift = drift
        # When the last complete sweep of this process began, and what it left to a later one.
        self._looked_at: datetime | None = None
        self._waiting: dict[str, Found] = {}
        self._one_at_a_time = asyncio.Lock()

    @property
    def clock(self) -> Callable[[], datetime]:
        """The time by which it judges: this host's, corrected by the database's at each look."""
        return self._now

    async def sweep(self, *, dry_run: bool = False) -> SweepReport:
        """Look at every tenant that needs it, and do what should be done.

        Args:
            dry_run: Only report what would be done; write nothing at all.

        Returns:
            What was found and done.

        Raises:
            StoreUnavailable: the database can't be read, or the findings can't be written.
        """
        async with self._one_at_a_time:
            return await self._sweep(dry_run=dry_run)

    async def _sweep(self, *, dry_run: bool) -> SweepReport:
        current = Pass(self._now(), dry_run=dry_run)
        try:
            stuck = await self._herds.informed(await self._look(current))
            current.plans = await self._herds.plan(stuck, dry_run=dry_run)
            current.findings.extend(current.plans.findings)
            for seen in stuck:
                await _whole(self._treat(current, seen))
        except BaseException:
            # Even if the sweep was cut off or lost the database, record what was done.
            with suppress(StoreUnavailable):
                await self._recorder.record(current)
            raise
        recorded = await _whole(self._recorder.record(current))
        recorded += await _whole(self._mark_called(current))
        healed = 0
        if not dry_run:
            self._looked_at = current.started_at
            self._waiting = {each.id: each for each in current.findings if not each.is_final}
            healed = await write_off(self._database, notify=self._notify, now=self._now())
            await self._herds.close(stuck)
            await self._herds.release()
            recorded += await self._look_at_engines(current)
            recorded += await self._look_for_drift(current)
        return SweepReport(
            id=current.id,
            started_at=current.started_at,
            finished_at=self._now(),
            dry_run=dry_run,
            observed=current.observed,
            acted=current.acted,
            findings=tuple(current.findings),
            recorded=recorded,
            healed=healed,
            handed_over=await self._handed_over(dry_run=dry_run),
        )

    async def _look_at_engines(self, current: Pass) -> int:
        found = await self._engine_watch.check()
        current.findings.extend(found)
        return len(found)

    async def _look_for_drift(self, current: Pass) -> int:
        """Check a few finished tenants, last of all: stuck tenants come first."""
        if self._drift is None:
            return 0
        checked = await self._drift.check()
        current.observed += checked.looked_at
        current.findings.extend(checked.findings)
        for found in checked.findings:
            log_finding(found)
        return len(checked.findings)

    async def _look(self, current: Pass) -> list[Observation]:
        """Observe everything; return the tenants that have stopped, and treat the others at once.

        How many tenants have the same error must be known before the first of them is moved.
        """
        stuck: list[Observation] = []
        async for page in self._observer.pages():
            for seen in page:
                current.observed += 1
                if isinstance(seen, Unreadable):
                    self._note_error(current, seen.tenant_id, 0, seen.error)
                else:
                    await self._sort(current, seen, stuck)
        return stuck

    async def _sort(self, current: Pass, seen: Observation, stuck: list[Observation]) -> None:
        """Add a tenant to those that have stopped, or treat it; note one that can't be judged."""
        try:
            stands_still = failure_of(seen) is not None
        except Exception as error:  # noqa: BLE001 - one poisoned tenant must not stop the sweep
            said = f"{type(error).__name__}: {error}"
            self._note_error(current, seen.tenant_id, seen.revision, said)
            return
        if stands_still:
            stuck.append(seen)
        else:
            await _whole(self._treat(current, seen))

    async def _treat(self, current: Pass, seen: Observation) -> None:
        """Judge one tenant and act; any error becomes a finding about it."""
        try:
            judgement = judge(seen)
            if not judgement.findings:
                return
            carried = await self._carry_out(current, seen, judgement)
        except Exception as error:  # noqa: BLE001 - one poisoned tenant must not stop the sweep
            said = f"{type(error).__name__}: {error}"
            self._note_error(current, seen.tenant_id, seen.revision, said)
            return
        current.acted += carried.outcome in ACTED
        current.findings.extend(
            as_first_seen(found, self._waiting) for found in self._found(seen, judgement, carried)
        )

    def _found(self, seen: Observation, judgement: Judgement, carried: Carried) -> Iterator[Found]:
        for finding in judgement.findings:
            yield Found(
                tenant_id=seen.tenant_id,
                company_name=seen.company_name,
                revision=seen.revision,
                finding=finding,
                verdict=judgement.verdict,
                carried=carried,
                stuck_since=self._since(seen, finding),
                not_before=judgement.not_before,
                found_at=seen.observed_at,
                failure=_shared(seen, finding),
            )

    def _since(self, seen: Observation, finding: Finding) -> datetime | None:
        """Return since when a tenant has been stuck; None if nobody can know.

        Damage from outside leaves no time. But if the stored state is one that every sweep looks
        at, the last complete sweep saw the tenant and found nothing: the damage is newer.
        """
        if finding.cause not in _DAMAGE:
            return seen.stuck_since
        if seen.stored in _SETTLED or (self._looked_at is None and seen.first_completed_at):
            return None
        return max(seen.stuck_since, self._looked_at or seen.stuck_since)

    async def _carry_out(self, current: Pass, seen: Observation, judgement: Judgement) -> Carried:
        opens = opens_run(seen, judgement)
        waits = _waits_for_canary(current.plans, seen) if opens else ""
        if current.dry_run:
            return Carried(outcome=RemedyOutcome.DRY_RUN, detail=waits)
        if judgement.verdict is Verdict.CALL_OPERATOR:
            # The mark keeps later sweeps from looking, so it is set once the finding is durable:
            # a reconciler that dies in between would otherwise never have called anybody.
            current.calls.append((seen, judgement))
            return Carried(outcome=RemedyOutcome.OPERATOR_CALLED)
        if not opens:
            return await self._remedies.carry_out(seen, judgement)
        if waits:
            return Carried(outcome=RemedyOutcome.AWAITS_CANARY, detail=waits)
        if current.orders >= self._limit or not await self._take_turn():
            return Carried(outcome=RemedyOutcome.LATER)
        ordered = False
        try:
            carried = await self._remedies.carry_out(seen, judgement)
            ordered = carried.outcome is RemedyOutcome.ORDERED
        finally:
            # Refused orders don't count: otherwise a few tenants that can't be moved would
            # keep the rest waiting.
            if not ordered and self._window:
                with suppress(StoreUnavailable):
                    await self._database.healing.give_turn_back(_TURNS)
        current.orders += ordered
        return carried

    async def _mark_called(self, current: Pass) -> int:
        """Mark the tenants for which a person was called; return how many new findings that made.

        Each of these is about a tenant that could not be marked.
        """
        failed = Pass(self._now(), dry_run=False)
        for seen, judgement in current.calls:
            try:
                carried = await self._remedies.carry_out(seen, judgement)
            except Exception as error:  # noqa: BLE001 - one poisoned tenant must not stop the sweep
                said = f"{type(error).__name__}: {error}"
                self._note_error(failed, seen.tenant_id, seen.revision, said)
                current.acted -= 1
                continue
            # Another reconciler was faster.
            current.acted -= carried.outcome not in ACTED
        current.findings.extend(failed.findings)
        return await self._recorder.record(failed)

    async def _take_turn(self) -> bool:
        if not self._window:
            return True
        return await self._database.healing.take_turn(
            _TURNS, now=self._now(), window=self._window, limit=self._limit
        )

    def _note_error(self, current: Pass, tenant_id: TenantId, revision: int, said: str) -> None:
        current.findings.append(
            Found(
                tenant_id=tenant_id,
                revision=revision,
                finding=Finding(
                    cause=Cause.SWEEP_ERROR,
                    severity=Severity.PERSON,
                    message=(
                        "The sweep could not judge or move this tenant. Correct its rows, or "
                        "report the error with them."
                    ),
                    evidence={"error": said[:_MAX_ERROR]},
                ),
                verdict=Verdict.NOTHING_YET,
                carried=Carried(
                    outcome=RemedyOutcome.DRY_RUN if current.dry_run else RemedyOutcome.ERROR
                ),
                stuck_since=None,
                not_before=None,
                found_at=self._now(),
                failure=Failure(
                    step_key="", code=Cause.SWEEP_ERROR.value, message=normalised(said)
                ),
            )
        )

    async def _handed_over(self, *, dry_run: bool) -> tuple[HandedOver, ...]:
        """List the tenants that wait for a person; a sweep that acts has reported them before."""
        if not dry_run:
            return ()
        return tuple(await self._database.healing.handed_over(never=NEVER, limit=_MOST_HANDED_OVER))


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    """Let a part of a sweep that has begun end, even if the sweep is cut off meanwhile.

    Otherwise an order could be in no finding, because its answer or its record was cut off.

    Raises:
        CancelledError: the sweep was cut off; raised once the part has ended.
        Exception: whatever the part raises.
    """
    part = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(part)
    except asyncio.CancelledError:
        (met,) = await asyncio.gather(part, return_exceptions=True)
        if isinstance(met, Exception):
            # The sweep is over anyway; nobody but the log can be told.
            _log.warning("sweep.failed", error=f"{type(met).__name__}: {met}")
        raise


def _shared(seen: Observation, finding: Finding) -> Failure | None:
    """Return what a finding may have in common with other tenants' findings."""
    if finding.cause is Cause.HELD:
        return None
    if finding.cause in _STOPS:
        return failure_of(seen)
    return Failure(step_key="", code=finding.cause.value, message="")


def _waits_for_canary(plans: Plans, seen: Observation) -> str:
    """Return why a tenant waits for another one of its herd; "" if it does not."""
    failure = failure_of(seen)
    decision = None if failure is None else plans.decisions.get(failure.fingerprint)
    if decision is None or decision.plan in {Plan.EACH_BY_ITSELF, Plan.RELEASED}:
        return ""
    canary = decision.canary
    if canary is None:
        return f"It waits with others at the same error: {decision.why}."
    if canary.tenant_id == seen.tenant_id:
        return ""
    return f"It waits for tenant {canary.tenant_id} at the same error: {decision.why}."
