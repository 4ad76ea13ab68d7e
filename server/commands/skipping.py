"""The order SkipStep: leave a step out for good, with a name and a reason."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from server.access.policy import demand
from server.commands.asked import Asked, OrderTerms, ask, demand_person
from server.commands.audited import audited
from server.commands.desk import OrderDesk, refuse_in_motion, refused
from server.model.actor import Right
from server.model.blueprint import Skippable, blueprint_of
from server.model.derive import closed_state, derive
from server.model.records import SKIPPED_BY
from server.model.states import (
    LogLevel,
    Order,
    RunState,
    StepState,
    TenantState,
)
from server.store.operations import Healing, LogDraft, RunRow, TenantOperation
from server.validation import validate_step_key

if TYPE_CHECKING:
    from datetime import datetime

    from server.commands.opening import EngineEntry
    from server.errors import Refused
    from server.model.actor import Actor
    from server.model.blueprint import StepType
    from server.model.identifiers import TenantId
    from server.model.records import Record, Run, Step
    from server.store.found import Live
    from server.store.operations import RequestOperation


class Skipping(OrderDesk):
    """Leaves steps out."""

    @audited("SkipStep")
    async def skip_step(
        self, actor: Actor, tenant_id: str, terms: OrderTerms, *, step_key: str
    ) -> TenantId:
        """Leave out a step of the last run; the tenant's state is derived again.

        Raises:
            InvalidInput, NotFound, RevisionChanged, StoreUnavailable: as for `continue_`.
            NotAllowed: only an operator of the whole fleet may skip this step.
            Refused: the step may not be left out or is done; or the tenant is in motion, has no
                run, is being removed, or has lost its record.
        """
        asked = ask(
            actor,
            tenant_id,
            terms,
            method="SkipStep",
            body={"step_key": step_key},
            reason_needed=True,
        )
        demand_person(actor)

        async def judge(live: Live) -> TenantOperation | RequestOperation | None:
            return self._judge_skip(asked, live.record, step_key)

        return await self._carry_out(asked, judge)

    def _judge_skip(
        self, asked: Asked, record: Record, step_key: str
    ) -> TenantOperation | RequestOperation | None:
        entry = self._entry(record)
        validate_step_key(step_key, entry.blueprint, required=True)
        kind = entry.blueprint.step(step_key)
        if kind is not None:
            _check_may_skip(asked, kind, entry)
        standing = self._standing(record, entry)
        refuse_in_motion(record, standing)
        if record.run is None or standing.record_lost or record.run.order is Order.DEPROVISION:
            raise _without_a_record(asked, record)
        step = next((each for each in record.steps if each.key == step_key), None)
        if step is None:
            raise refused(
                f"{step_key} is no step of this tenant's run, so there is nothing to skip. See "
                "which steps it has",
                then=f"provisioner status {asked.tenant_id}",
                code="STEP_NOT_SKIPPABLE",
            )
        if step.left_out_by_person:
            return self._remember(asked)
        if step.state is StepState.COMPLETED:
            raise refused(
                f"{step_key} of tenant {asked.tenant_id} is done; there is nothing to skip. See it",
                then=f"provisioner status {asked.tenant_id}",
                code="STEP_DONE",
            )
        return self._skipped(asked, record, record.run, step, entry)

    def _skipped(
        self, asked: Asked, record: Record, run: Run, step: Step, entry: EngineEntry
    ) -> TenantOperation:
        tenant, now = record.tenant, self._now()
        left_out = _left_out(step, asked, now)
        steps = tuple(left_out if each.key == step.key else each for each in record.steps)
        if run.state is not RunState.CANCELLED:
            run = replace(run, state=RunState(closed_state(steps).value))
        standing = derive(
            stored=None,
            run=run,
            steps=steps,
            step_types=blueprint_of(run, entry.blueprint).steps_for(tenant.spec),
            at=now,
        )
        completed = standing.state is TenantState.COMPLETED
        return TenantOperation(
            tenant_id=tenant.id,
            at=now,
            revision=tenant.revision,
            standing=standing,
            healing=Healing(count=0, at=None),
            completed_at=now if completed else None,
            runs=(RunRow(run=run, site=tenant.site),),
            steps=(left_out,),
            log=(
                LogDraft(
                    level=LogLevel.INFO,
                    event="step.skipped",
                    run_id=run.id,
                    step_key=step.key,
                    message=(
                        f"{asked.actor.name} ordered to leave {step.key} out: "
                        f"{asked.terms.reason.rstrip('.')}. The tenant is {standing.state.value} "
                        "now."
                    ),
                    fields={"actor": asked.actor.name, "state": standing.state.value},
                ),
            ),
            request=asked.key,
        )


def _left_out(step: Step, asked: Asked, now: datetime) -> Step:
    return replace(
        step,
        state=StepState.SKIPPED,
        error_code=None,
        error_class=None,
        error_message=None,
        error_at=None,
        completed_at=now,
        outputs={SKIPPED_BY: asked.actor.name},
        note=f"Left out by {asked.actor.name}: {asked.terms.reason}",
    )


def _without_a_record(asked: Asked, record: Record) -> Refused:
    tenant_id = asked.tenant_id
    if record.run is not None and record.run.order is Order.DEPROVISION:
        # Removed, or half-way removed: Continue would be refused, too.
        what, then = "Its last run was a removal. See how it stands", "status"
    else:
        what, then = "Drive it on first", "continue"
    return refused(
        f"Tenant {tenant_id} has no record of this step to change. {what}",
        then=f"provisioner {then} {tenant_id}",
        code="STEP_NOT_SKIPPABLE",
    )


def _check_may_skip(asked: Asked, kind: StepType, entry: EngineEntry) -> None:
    if kind.skippable is Skippable.BY_OPERATORS:
        demand(asked.actor, Right.OVERRULE, asked.tenant_id)
    if kind.skippable is Skippable.BY_NOBODY:
        may = [step.key for step in entry.blueprint.steps if step.skippable is not kind.skippable]
        raise refused(
            f"{kind.key} can't be skipped: the tenant would not work without it. Steps that can: "
            f"{', '.join(may) or 'none'}. Find out what it lacks",
            then=f"provisioner diagnose {asked.tenant_id}",
            code="STEP_NOT_SKIPPABLE",
        )
