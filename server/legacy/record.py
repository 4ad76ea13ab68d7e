"""The record that an old tenant gets here: steps as they were found, none of it made by us."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from server.commands.opening import open_run
from server.model.actor import LOCAL
from server.model.derive import closed_state, derive
from server.model.legacy import COMPANY_STEP, Decision, ImportedAs, Look, hold_of
from server.model.ownership import Resource
from server.model.states import (
    ErrorClass,
    LogLevel,
    Order,
    ResourceState,
    RunState,
    StepState,
    TenantState,
)
from server.probing import Stand, Whose
from server.store.operations import (
    BindingRow,
    ImportRow,
    LogDraft,
    NewTenant,
    ResourceRow,
    RunRow,
    TenantOperation,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from server.commands import EngineEntry
    from server.model.identifiers import TenantId
    from server.model.legacy import LegacyTenant
    from server.model.records import Run, Step
    from server.probing import StepLook, Survey

_COMPANY_THERE = frozenset({Stand.OK, Stand.FOREIGN, Stand.DIFFERENT})


def look_of(survey: Survey) -> Look:
    """Return a survey in the form that the decision needs."""
    company = survey.step(COMPANY_STEP)
    conflict = next((look for look in survey.conflicts if look.key == COMPANY_STEP), None)
    return Look(
        company=company is not None
        and (company.stand in _COMPANY_THERE or bool(company.documents)),
        wrong={look.key: look.message for look in survey.steps if not _is_right(look)},
        conflict_code="" if conflict is None else conflict.code,
        conflict="" if conflict is None else conflict.message,
    )


def record_of(
    tenant: LegacyTenant,
    tenant_id: TenantId,
    survey: Survey,
    decision: Decision,
    *,
    entry: EngineEntry,
    now: datetime,
) -> TenantOperation:
    """Return the operation that writes an imported tenant with all its rows.

    Args:
        tenant: Its old record.
        tenant_id: Its id, unchanged.
        survey: What was found at the engine.
        decision: What it is imported as.
        entry: Its engine.
        now: The time of the import.
    """
    spec = survey.spec
    kinds = entry.blueprint.steps_for(spec)
    begun = decision.imported_as in {ImportedAs.COMPLETED, ImportedAs.STOPPED}
    run: Run | None = None
    steps: tuple[Step, ...] = ()
    if begun:
        opened = open_run(
            tenant_id=tenant_id,
            order=Order.IMPORT,
            entry=entry,
            spec=spec,
            carried={},
            actor=LOCAL,
            reason="",
            previous_state=_previous(tenant),
            now=now,
        )
        steps = tuple(_step(each, survey, decision, now) for each in opened.steps)
        run = _closed(opened.run, steps, now)
    standing = derive(stored=TenantState.PENDING, run=run, steps=steps, step_types=kinds, at=now)
    held = decision.imported_as is ImportedAs.HELD
    binding = None if held else _binding(survey, entry.site)
    return TenantOperation(
        tenant_id=tenant_id,
        at=now,
        create=NewTenant(spec=spec, site=entry.site),
        standing=standing,
        run_id=None if run is None else run.id,
        # Finished once, whatever it is now, or finished now: its till is not opened again.
        completed_at=now if tenant.was_done or standing.state is TenantState.COMPLETED else None,
        hold=hold_of(decision, now) if held else None,
        runs=() if run is None else (RunRow(run=run, site=entry.site),),
        steps=steps,
        resources=() if run is None else tuple(_resources(survey, run, now)),
        binding=binding,
        log=_log(tenant, decision, "" if run is None else run.id),
        imported=ImportRow(
            recorded=tenant.words, decision=decision.imported_as, legacy=tenant.evidence
        ),
    )


def _binding(survey: Survey, site: str) -> BindingRow:
    company = survey.step(COMPANY_STEP)
    there = company is not None and _is_right(company)
    abbreviation = company.outputs.get("abbreviation") if company and there else None
    return BindingRow(
        site=site,
        company_name=survey.spec.company_name,
        abbreviation=abbreviation,
    )


def _is_right(look: StepLook) -> bool:
    """Tell whether a step is as it should be; the Company's binding is what an import makes."""
    if look.key == COMPANY_STEP:
        return bool(look.documents) and not look.code
    return look.stand in {Stand.OK, Stand.SKIPPED}


def state_of(decision: Decision, survey: Survey) -> str:
    """Return the state that an import would give the tenant, for a dry run."""
    if decision.imported_as is not ImportedAs.STOPPED:
        return {ImportedAs.COMPLETED: "COMPLETED"}.get(decision.imported_as, "PENDING")
    wrong = [look for look in survey.steps if not _is_right(look)]
    return "FAILED" if any(look.required for look in wrong) else "PARTIAL"


def _step(step: Step, survey: Survey, decision: Decision, now: datetime) -> Step:
    look = survey.step(step.key)
    if look is None or (_is_right(look) and look.stand is not Stand.SKIPPED):
        outputs = {} if look is None else look.outputs
        note = "Every step was looked at when it was imported." if look is None else ""
        if look is None and decision.imported_as is not ImportedAs.COMPLETED:
            return step
        return replace(
            step,
            state=StepState.COMPLETED,
            adopted=True,
            outputs=outputs,
            note=note,
            started_at=now,
            completed_at=now,
        )
    if look.stand is Stand.SKIPPED or step.key in decision.drift:
        said = look.message if look.stand is Stand.SKIPPED else f"Drift: {look.message}"
        return replace(step, state=StepState.SKIPPED, note=said, completed_at=now)
    if look.stand is Stand.UNKNOWN:
        return step
    return replace(
        step,
        state=StepState.FAILED,
        error_code=look.code or decision.code,
        error_class=ErrorClass.TRANSIENT if decision.resumes else ErrorClass.PERMANENT,
        error_message=look.message,
        error_at=now,
        completed_at=now,
    )


def _closed(run: Run, steps: Sequence[Step], now: datetime) -> Run:
    return replace(run, state=RunState(closed_state(steps).value), started_at=now, finished_at=now)


def _previous(tenant: LegacyTenant) -> str:
    return TenantState.PARTIAL.value if tenant.passed_company else TenantState.PENDING.value


def _resources(survey: Survey, run: Run, now: datetime) -> Iterable[ResourceRow]:
    for look in survey.steps:
        for document in look.documents:
            if document.whose is Whose.SHARED:
                continue
            yield ResourceRow(
                resource=Resource(
                    doctype=document.doctype,
                    name=document.name,
                    state=ResourceState.ADOPTED,
                    intended_at=now,
                    settled_at=now,
                ),
                shared=False,
                run_id=run.id,
                step_key=look.key,
            )


def _log(tenant: LegacyTenant, decision: Decision, run_id: str) -> tuple[LogDraft, ...]:
    lines = [
        f"Imported as {decision.imported_as.value}. {decision.why} The old record said: "
        f"{tenant.words}, {tenant.steps_done} steps done."
    ]
    if tenant.error_message:
        step = f" at {tenant.error_step}" if tenant.error_step else ""
        lines.append(f"The old record's error{step}: {tenant.error_message}")
    return tuple(
        LogDraft(
            level=LogLevel.INFO,
            event="tenant.imported",
            run_id=run_id,
            message=line,
            fields={"decision": decision.imported_as.value, "code": decision.code},
        )
        for line in lines
    )
