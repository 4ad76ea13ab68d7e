"""The order Cancel: stop a run, without ever leaving the outcome of a request unknown.

A run that nobody drives and that has no request out is closed here, at once. Any other run is
marked: the worker that drives it, or takes it over, stops as soon as no request is out, finds
out what became of what was sent and never answered, and closes the run
(`server.executor.cancelling`). Until then the status says `waiting_for` CANCELLING.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from server.commands.asked import Asked, OrderTerms, ask, demand_person
from server.commands.audited import audited
from server.commands.desk import OrderDesk, refused
from server.model.blueprint import blueprint_of
from server.model.derive import derive
from server.model.left_behind import in_words
from server.model.records import Cancellation, reason_told
from server.model.states import (
    OPEN_RUN_STATES,
    AttemptOutcome,
    LogLevel,
    RunState,
    StepState,
    TenantState,
)
from server.store.operations import LogDraft, RunRow, TenantOperation

if TYPE_CHECKING:
    from datetime import datetime

    from server.errors import Refused
    from server.model.actor import Actor
    from server.model.blueprint import StepType
    from server.model.identifiers import TenantId
    from server.model.records import Attempt, Run
    from server.store.found import Live
    from server.store.operations import RequestOperation


class Cancelling(OrderDesk):
    """Stops runs."""

    @audited("Cancel")
    async def cancel(self, actor: Actor, tenant_id: str, terms: OrderTerms) -> TenantId:
        """Stop a tenant's run, or mark a tenant that has stopped as not to be driven on.

        Raises:
            InvalidInput, NotAllowed, NotFound, RevisionChanged, StoreUnavailable: as for
                `continue_`.
            Refused: there is nothing to cancel.
        """
        asked = ask(actor, tenant_id, terms, method="Cancel", body={})
        demand_person(actor)

        async def judge(live: Live) -> TenantOperation | RequestOperation | None:
            return await self._judge_cancel(asked, live)

        return await self._carry_out(asked, judge)

    async def _judge_cancel(
        self, asked: Asked, live: Live
    ) -> TenantOperation | RequestOperation | None:
        record, run = live.record, live.record.run
        standing = self._standing(record, self._entry(record))
        if standing.state is TenantState.CANCELLED:
            return self._remember(asked)
        if run is None or standing.state in {TenantState.COMPLETED, TenantState.DEPROVISIONED}:
            raise _nothing_to_cancel(asked, standing.state)
        if run.state not in OPEN_RUN_STATES:
            # Removals, too: this is how one that was refused (the shop has sold) is taken back.
            return await self._closed(asked, live, run)
        if run.cancellation is not None:
            return self._remember(asked)
        if run.state is not RunState.RUNNING and not await self._something_out(live):
            return await self._closed(asked, live, run)
        return self._marked(asked, live, run)

    async def _something_out(self, live: Live) -> bool:
        """Tell whether there may be a request whose outcome is unknown."""
        tenant = live.record.tenant
        if live.gate is not None and live.gate.slot_tenant_id == tenant.id:
            return True
        resources = await self._database.reads.resources(tenant.id)
        return any(resource.outcome_unknown for resource in resources)

    async def _closed(self, asked: Asked, live: Live, run: Run) -> TenantOperation:
        tenant, now = live.record.tenant, self._now()
        closed = replace(
            run,
            state=RunState.CANCELLED,
            worker_id=None,
            waiting_for=None,
            finished_at=run.finished_at or now,
            cancellation=_cancellation(asked, run, now),
        )
        steps = live.record.steps
        if run.state in OPEN_RUN_STATES:
            # Nothing is out of a step that was between two tries, and nobody goes on with it. In a
            # run that was closed such a step is a damage: a removal waits for what may be out.
            steps = tuple(
                replace(step, state=StepState.PENDING) if step.state is StepState.RUNNING else step
                for step in steps
            )
        left = in_words(await self._database.reads.resources(tenant.id))
        why = reason_told(asked.terms.reason)
        return TenantOperation(
            tenant_id=tenant.id,
            at=now,
            revision=tenant.revision,
            # A worker that is about to claim the run finds another token.
            raise_token=True,
            standing=derive(
                stored=None,
                run=closed,
                steps=steps,
                step_types=self._step_types(live, closed),
                at=now,
            ),
            runs=(RunRow(run=closed, site=tenant.site),),
            steps=steps,
            attempts=await self._ended_attempts(run),
            log=(
                LogDraft(
                    level=LogLevel.WARNING,
                    event="run.cancelled",
                    run_id=run.id,
                    message=f"{asked.actor.name} cancelled the run.{why} {left}",
                    fields={"actor": asked.actor.name},
                ),
            ),
            request=asked.key,
        )

    async def _ended_attempts(self, run: Run) -> tuple[Attempt, ...]:
        """End the attempt that was waiting in line for the site's slot."""
        return tuple(
            replace(
                attempt,
                ended_at=self._now(),
                outcome=AttemptOutcome.LOST,
                error_code="CANCELLED",
                message="A person cancelled the run.",
            )
            for attempt in await self._database.reads.attempts(run.id)
            if attempt.outcome is None
        )

    def _marked(self, asked: Asked, live: Live, run: Run) -> TenantOperation:
        """Mark the run; if nobody drives it, make it due at once."""
        tenant, now = live.record.tenant, self._now()
        marked = replace(run, cancellation=_cancellation(asked, run, now))
        if run.state is not RunState.RUNNING:
            marked = replace(marked, state=RunState.QUEUED, due_at=now, waiting_for=None)
        why = reason_told(asked.terms.reason)
        return TenantOperation(
            tenant_id=tenant.id,
            at=now,
            revision=tenant.revision,
            look_at=tenant.look_at,
            runs=(RunRow(run=marked, site=tenant.site, deadline_at=live.deadline_at),),
            log=(
                LogDraft(
                    level=LogLevel.WARNING,
                    event="run.cancelling",
                    run_id=run.id,
                    message=(
                        f"{asked.actor.name} ordered to cancel.{why} The run is closed once the "
                        "outcome of every request is known."
                    ),
                    fields={"actor": asked.actor.name},
                ),
            ),
            request=asked.key,
        )

    def _step_types(self, live: Live, run: Run) -> tuple[StepType, ...]:
        record = live.record
        blueprint = blueprint_of(run, self._entry(record).blueprint)
        return blueprint.steps_for(record.tenant.spec)


def _cancellation(asked: Asked, run: Run, now: datetime) -> Cancellation:
    return run.cancellation or Cancellation(by=asked.actor.name, reason=asked.terms.reason, at=now)


def _nothing_to_cancel(asked: Asked, state: TenantState) -> Refused:
    tenant_id = asked.tenant_id
    if state is TenantState.DEPROVISIONED:
        return refused(
            f"Tenant {tenant_id} was removed: no run of it is open, so there is nothing to cancel. "
            "See what is left on record",
            then=f"provisioner status {tenant_id}",
            code="NOTHING_TO_CANCEL",
        )
    return refused(
        f"Tenant {tenant_id} is {state.value}: no run of it is open, so there is nothing to "
        "cancel. To remove what was made for it",
        then=f"provisioner deprovision {tenant_id}",
        code="NOTHING_TO_CANCEL",
    )
