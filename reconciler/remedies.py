"""Carries out a verdict, with the order that people have: Continue.

The order names the revision that was judged, and a request id made from tenant, revision and
verdict, so that any number of reconcilers give it once (promise 7). If another one was faster,
that is normal: an outcome, not an error.

Two things are not orders, because they drive nothing: the mark that a person was called, and
the stored state of a finished tenant, which follows its rows (promise 2). Both depend on the
revision being the same, and are recorded in the tenant's log.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, unique
from typing import TYPE_CHECKING

from reconciler.judge import Verdict
from reconciler.observation import NEVER
from server.commands import OrderTerms
from server.errors import InvalidInput, Refused, RevisionChanged
from server.limits import MAX_REASON
from server.model.actor import RECONCILER
from server.model.causes import LOOK_FIRST
from server.model.states import LogLevel, TenantState
from server.store.operations import LogDraft, TenantOperation

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from reconciler.judge import Finding, Judgement
    from reconciler.observation import Observation
    from server.commands import Commands
    from server.store.database import Database

_ORDERS = frozenset({Verdict.DRIVE_ON, Verdict.REBUILD_RECORD})


@unique
class RemedyOutcome(Enum):
    """What came of a verdict: the word that is stored with a finding."""

    NOTHING = "NOTHING"
    WAITING = "WAITING"
    ORDERED = "ORDERED"
    STATE_CORRECTED = "STATE_CORRECTED"
    OPERATOR_CALLED = "OPERATOR_CALLED"
    FASTER = "FASTER"
    REFUSED = "REFUSED"
    ERROR = "ERROR"
    DRY_RUN = "DRY_RUN"
    LATER = "LATER"
    AWAITS_CANARY = "AWAITS_CANARY"


# Outcomes that changed the tenant.
ACTED = frozenset(
    {RemedyOutcome.ORDERED, RemedyOutcome.STATE_CORRECTED, RemedyOutcome.OPERATOR_CALLED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What came of carrying out a verdict; `detail` says why the order was refused."""

    outcome: RemedyOutcome
    detail: str = ""


class Remedies:
    """Carries out verdicts on one store."""

    def __init__(
        self, database: Database, commands: Commands, *, now: Callable[[], datetime]
    ) -> None:
        """Take what orders are given with.

        Args:
            database: Where marks are written that are not orders.
            commands: The orders that people have.
            now: The clock that sweeps are judged by.
        """
        self._database = database
        self._commands = commands
        self._now = now

    async def carry_out(self, seen: Observation, judgement: Judgement) -> Carried:
        """Do what a judgement says.

        Args:
            seen: The observation that was judged.
            judgement: What `judge` said about it.

        Returns:
            What came of it. That another reconciler was faster, or that the order was refused, is
            an outcome and no error.

        Raises:
            ProvisionerError: the order could not be given; nothing was changed.
        """
        if judgement.verdict is Verdict.CALL_OPERATOR:
            return await self._call_operator(seen, judgement.findings[0])
        if judgement.verdict in _ORDERS:
            if opens_run(seen, judgement):
                return await self._order(seen, judgement)
            return await self._correct_state(seen, judgement.findings[0])
        if judgement.verdict is Verdict.WAIT_FOR_ENGINE:
            return Carried(outcome=RemedyOutcome.WAITING)
        return Carried(outcome=RemedyOutcome.NOTHING)

    async def _order(self, seen: Observation, judgement: Judgement) -> Carried:
        terms = OrderTerms(
            request_id=f"{seen.tenant_id}:{seen.revision}:{judgement.verdict.value}",
            expected_revision=seen.revision,
            reason=judgement.findings[0].message[:MAX_REASON].strip(),
        )
        try:
            await self._commands.continue_(RECONCILER, seen.tenant_id, terms)
        except RevisionChanged as error:
            return Carried(outcome=RemedyOutcome.FASTER, detail=error.message)
        except Refused as error:
            return Carried(outcome=RemedyOutcome.REFUSED, detail=f"{error.code}: {error.message}")
        except InvalidInput as error:
            # Another reconciler judged this revision before its rows were changed by hand.
            if error.code != "REQUEST_ID_REUSED":
                raise
            return Carried(outcome=RemedyOutcome.FASTER, detail=error.message)
        return Carried(outcome=RemedyOutcome.ORDERED)

    async def _call_operator(self, seen: Observation, finding: Finding) -> Carried:
        look_first = any(step.code in LOOK_FIRST for step in seen.failed)
        following = f"provisioner {'diagnose' if look_first else 'continue'} {seen.tenant_id}"
        then = "What to do" if look_first else "Once that is fixed"
        failed = seen.standing.state is TenantState.FAILED
        return await self._write(
            seen,
            RemedyOutcome.OPERATOR_CALLED,
            look_at=NEVER,
            entry=LogDraft(
                level=LogLevel.ERROR if failed else LogLevel.WARNING,
                event="finding.recorded",
                message=f"A person is needed. {finding.message} {then}: {following}",
                run_id="" if seen.run is None else seen.run.id,
                step_key=seen.standing.current_step,
                fields={"cause": finding.cause.value, "next": following},
            ),
        )

    async def _correct_state(self, seen: Observation, finding: Finding) -> Carried:
        return await self._write(
            seen,
            RemedyOutcome.STATE_CORRECTED,
            look_at=None,
            entry=LogDraft(
                level=LogLevel.WARNING,
                event="state.corrected",
                message=finding.message,
                run_id="" if seen.run is None else seen.run.id,
                fields={"cause": finding.cause.value},
            ),
        )

    async def _write(
        self,
        seen: Observation,
        done: RemedyOutcome,
        *,
        look_at: datetime | None,
        entry: LogDraft,
    ) -> Carried:
        outcome = await self._database.submit(
            TenantOperation(
                tenant_id=seen.tenant_id,
                at=self._now(),
                revision=seen.revision,
                standing=seen.standing if seen.state_differs else None,
                look_at=look_at,
                log=(entry,),
            )
        )
        if not outcome.applied:
            return Carried(
                outcome=RemedyOutcome.FASTER,
                detail=f"It has changed since revision {seen.revision}.",
            )
        return Carried(outcome=done)


def opens_run(seen: Observation, judgement: Judgement) -> bool:
    """Tell whether carrying out a judgement opens a run.

    Args:
        seen: The observation that was judged.
        judgement: What `judge` said about it: to rebuild the record of a finished tenant only
            corrects its stored state, if its rows are there.
    """
    finished = seen.standing.state is TenantState.COMPLETED and not seen.record_lost
    return judgement.verdict in _ORDERS and not finished
