"""Explains why a tenant is where it is: one pure function of the whole picture.

It has an answer for any state, also in motion, and for anything a row may hold. The most likely
causes come first: what keeps the whole site from moving, then what keeps this tenant, then what
else was noticed. If nothing is wrong there are none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from server.diagnosis import remedies
from server.diagnosis.causes import DiagnosedCause, Diagnosis, Evidence
from server.diagnosis.engine_side import engine_causes, engine_evidence
from server.diagnosis.in_motion import causes_in_motion
from server.diagnosis.stopped import after_vanished, causes_of_stop
from server.model.causes import Severity
from server.model.damaged import ROW_DAMAGED, why_damaged, why_unwritable
from server.model.elsewhere import ENGINE_ELSEWHERE, is_elsewhere, why_nothing_moves
from server.model.legacy import is_of_import, lost_its_company, waits_for_adoption
from server.model.site_identity import OPENED_BY_ACCEPTING
from server.model.states import (
    MOVING_TENANT_STATES,
    OPEN_RUN_STATES,
    GateState,
    TenantState,
    WaitingCode,
)
from server.model.undo import UndoOptions
from server.model.unreadable import SPEC_UNREADABLE, why_unreadable
from server.queries import STALLED

if TYPE_CHECKING:
    from server.diagnosis.causes import Remedy
    from server.diagnosis.picture import Picture
    from server.store.found import Gate

_WAITS = frozenset({WaitingCode.WORKER.value, "NO_WORKER", "STEP_RUNNING", STALLED})
_ENDED = frozenset({TenantState.DEPROVISIONING, TenantState.DEPROVISIONED})


def diagnose(picture: Picture) -> Diagnosis:
    """Explain why a tenant is where it is.

    Args:
        picture: All that was read about it, and what the engine holds.

    Returns:
        Its causes, each with the order that helps.
    """
    tenant, standing = picture.status.tenant, picture.status.standing
    return Diagnosis(
        tenant_id=tenant.id,
        company_name=tenant.spec.company_name,
        revision=tenant.revision,
        state=standing.state.value,
        progress=f"{standing.steps_completed} of {standing.total_steps} steps",
        causes=tuple(_causes(picture)),
        engine=picture.engine.says,
        diagnosed_at=picture.now,
    )


def _causes(picture: Picture) -> list[DiagnosedCause]:
    state = picture.status.standing.state
    if state is TenantState.DEPROVISIONED:
        held = _held(picture)
        return [*((held,) if held is not None else ()), _deprovisioned(picture)]
    if is_elsewhere(picture.status.tenant):
        return [_elsewhere(picture)]
    # A finished tenant waits for no site; where its engine is not known, no order reaches it.
    at_rest = (
        state is TenantState.COMPLETED and picture.engine_configured and not picture.other_site
    )
    site = [] if at_rest else _of_the_site(picture)
    # Nothing was begun here for a tenant that an import held: its hold says all there is to say.
    only_held = is_of_import(picture.status.hold) and picture.status.run is None
    own = [] if only_held else [*_of_the_state(picture, state)]
    damage = _damaged(picture)
    if damage is not None:
        # What it is said to be waiting for will never come.
        own = [damage, *(each for each in own if each.code not in _WAITS)]
    if picture.status.tenant.spec_damage and all(each.code != SPEC_UNREADABLE for each in own):
        own.insert(0, _unreadable(picture))
    hold = _held(picture)
    if hold is not None:
        # If the hold only repeats a step's error, that error comes first.
        own.insert(len(own) if _says_the_same(picture) else 0, hold)
    own += [*_differences(picture), *engine_causes(picture)]
    if not picture.engine_configured or picture.other_site:
        own = [replace(each, remedy=remedies.once_reached(each.remedy)) for each in own]
    return [*site, *own]


def _elsewhere(picture: Picture) -> DiagnosedCause:
    tenant = picture.status.tenant
    return DiagnosedCause(
        code=ENGINE_ELSEWHERE,
        severity=Severity.PERSON,
        message=f"{why_nothing_moves(tenant)}.",
        evidence=(Evidence(source="tenants", fact="it has no site", at=tenant.created_at),),
        remedy=remedies.start_here(
            tenant, "Nothing, where its own engine has it. Else start it here."
        ),
    )


def _damaged(picture: Picture) -> DiagnosedCause | None:
    """Return the damage that keeps the tenant from being moved at all."""
    status, record, worker = picture.status, picture.stored.live.record, picture.stored.live.worker
    why = why_damaged(record, driven=worker is not None and worker.is_alive(picture.now))
    if not why:
        return None
    return DiagnosedCause(
        code=ROW_DAMAGED,
        severity=Severity.PERSON,
        message=why,
        evidence=tuple(
            Evidence(
                source=column.partition(".")[0],
                fact=f"column {column.partition('.')[2]} is not what was written there",
                at=status.tenant.updated_at,
            )
            for column in record.damage
        ),
        remedy=remedies.nothing("Correct the row by SQL, as the message says.")
        if why_unwritable(record)
        else remedies.cancel(status.tenant, "Cancel its run; then give the order again."),
    )


def _unreadable(picture: Picture) -> DiagnosedCause:
    """Return damage that no run has come across yet, such as a finished tenant's."""
    tenant = picture.status.tenant
    return DiagnosedCause(
        code=SPEC_UNREADABLE,
        severity=Severity.PERSON,
        message=why_unreadable(tenant),
        evidence=(
            Evidence(
                source="tenants",
                fact=f"column spec holds no {', '.join(tenant.spec_damage)} that can be read",
                at=tenant.updated_at,
            ),
        ),
        remedy=remedies.after_permanent(tenant, SPEC_UNREADABLE),
    )


def _of_the_state(picture: Picture, state: TenantState) -> list[DiagnosedCause]:
    if state is TenantState.COMPLETED:
        return []
    if state is TenantState.PENDING and not _lost(picture):
        return [_not_started(picture)]
    if state is TenantState.CANCELLED:
        return [_cancelled(picture)]
    run = picture.status.run
    if state is TenantState.DEPROVISIONING and (run is None or run.state not in OPEN_RUN_STATES):
        return [_half_removed(picture, cause) for cause in causes_of_stop(picture)]
    if state in MOVING_TENANT_STATES:
        return causes_in_motion(picture)
    return causes_of_stop(picture)


def _half_removed(picture: Picture, cause: DiagnosedCause) -> DiagnosedCause:
    """Replace the remedy of a removal that stopped: no reconciler and no Continue resumes it."""
    run = picture.status.run
    given = UndoOptions.read({} if run is None else run.options)
    says = (
        f"{cause.remedy.says} Then give the removal again: it goes on where it stopped."
        if cause.severity is Severity.PERSON
        else "Give the removal again: it goes on where it stopped."
    )
    return replace(
        cause,
        severity=Severity.PERSON,
        remedy=remedies.deprovision(picture.status.tenant, says, given.after({cause.code})),
    )


def _of_the_site(picture: Picture) -> list[DiagnosedCause]:
    """Return what keeps every tenant of this engine from moving."""
    tenant, gate = picture.status.tenant, picture.stored.live.gate
    if not picture.engine_configured:
        engine_id = tenant.spec.engine_id
        return [
            DiagnosedCause(
                code="ENGINE_NOT_CONFIGURED",
                severity=Severity.PERSON,
                message=f"Its engine {engine_id!r} is not configured at this server.",
                evidence=(Evidence(source="tenants", fact=f"engine_id is {engine_id!r}"),),
                remedy=remedies.nothing(
                    f"Add [engines.{engine_id}] to PROVISIONER_ENGINES_FILE and start again."
                ),
            )
        ]
    if picture.other_site:
        return [
            DiagnosedCause(
                code="ENGINE_NOT_CONFIGURED",
                severity=Severity.PERSON,
                message=picture.other_site,
                evidence=(Evidence(source="tenants", fact=f"site is {tenant.site!r}"),),
                remedy=remedies.nothing(
                    "Set the engine's address back and start again, or correct the rows."
                ),
            )
        ]
    if gate is None or gate.state is GateState.UP:
        return []
    down = gate.state is GateState.DOWN
    return [
        DiagnosedCause(
            code=gate.code or ("ENGINE_DOWN" if down else "ENGINE_MISCONFIGURED"),
            severity=Severity.MAY_CLEAR if down else Severity.PERSON,
            message=(
                "Its engine takes no work now, so nothing moves on this site and no try is "
                f"counted: {gate.message}"
            ),
            evidence=(
                Evidence(
                    source="engines",
                    fact=f"the gate of {gate.site} is {gate.state}",
                    at=gate.since,
                ),
                *(
                    (Evidence(source="engines", fact="asked again then", at=gate.next_probe_at),)
                    if gate.next_probe_at
                    else ()
                ),
                *engine_evidence(picture),
            ),
            remedy=_for_the_gate(picture, gate),
        )
    ]


def _for_the_gate(picture: Picture, gate: Gate) -> Remedy:
    if gate.state is GateState.DOWN:
        return remedies.nothing("Bring the engine back; work goes on by itself within about 15 s.")
    if gate.code in OPENED_BY_ACCEPTING:
        then = (
            "continue the tenants that are held."
            if gate.code == "SITE_CHANGED"
            else "look at each tenant that is held: its Company does not come back by that."
        )
        return remedies.accept_site(
            picture.status.tenant,
            "Find out which site this is. If the address or a backup is wrong, put that right, "
            f"and work goes on by itself. If the site is right as it is, accept it; then {then}",
        )
    return remedies.nothing(
        "Fix what the message names, then restart the server if the engines file changed. Work "
        "goes on by itself."
    )


def _held(picture: Picture) -> DiagnosedCause | None:
    hold = picture.status.hold
    if hold is None:
        return None
    return DiagnosedCause(
        code="HELD",
        severity=Severity.PERSON,
        message=f"It is held by {hold.by}: {hold.reason.rstrip('. ')}. Only a person moves it.",
        evidence=(
            Evidence(source="tenants", fact=f"hold by {hold.by}", at=hold.since),
            *(engine_evidence(picture) if is_of_import(hold) else ()),
        ),
        remedy=_for_the_hold(picture),
    )


def _for_the_hold(picture: Picture) -> Remedy:
    """Return the order that a held tenant accepts; during a removal Continue is refused."""
    tenant, standing, run = picture.status.tenant, picture.status.standing, picture.status.run
    if standing.state is TenantState.DEPROVISIONED:
        return remedies.release(tenant, "It was removed. Only its hold is left: lift it.")
    if run is not None and run.state in OPEN_RUN_STATES and not standing.record_lost:
        return remedies.watch(
            tenant,
            "The run under way goes on; after that only a person may move the tenant. To lift the "
            f"hold now: provisioner release {tenant.id}",
        )
    if standing.state is TenantState.DEPROVISIONING:
        given = UndoOptions.read({} if run is None else run.options)
        return remedies.deprovision(
            tenant,
            "Settle the reason, then give the removal again: it goes on where it stopped.",
            given.after({error.code for error in standing.errors}),
        )
    if lost_its_company(picture.status.hold):
        return after_vanished(picture)
    if waits_for_adoption(picture.status.hold):
        return remedies.adopt(
            tenant,
            "Find out whose the Company is. If it is this tenant's, adopt it, which lifts the "
            "hold: the checks are shown first. If nobody needs it, remove or rename it in "
            f"ERPNext, then: provisioner continue {tenant.id}",
        )
    return remedies.continue_(tenant, "Settle the reason, then continue: that lifts the hold.")


def _says_the_same(picture: Picture) -> bool:
    """Tell whether the hold only repeats an error that is named anyway."""
    hold = picture.status.hold
    return hold is not None and any(
        step.error_message == hold.reason for step in picture.status.steps
    )


def _not_started(picture: Picture) -> DiagnosedCause:
    tenant = picture.status.tenant
    return DiagnosedCause(
        code="NOT_STARTED",
        severity=Severity.PERSON,
        message="It exists, but no run was ever ordered for it.",
        evidence=(
            Evidence(source="tenants", fact="it has no run", at=tenant.created_at),
            *engine_evidence(picture),
        ),
        remedy=remedies.continue_(tenant, "Order its first run.", alone=True),
    )


def _cancelled(picture: Picture) -> DiagnosedCause:
    tenant, run = picture.status.tenant, picture.status.run
    return DiagnosedCause(
        code="TENANT_CANCELLED",
        severity=Severity.PERSON,
        message="A person cancelled it, and only another order from a person moves it.",
        evidence=(
            Evidence(
                source="tenants" if run is None else "runs",
                fact="the state is CANCELLED",
                at=tenant.updated_at if run is None else run.finished_at,
            ),
            *engine_evidence(picture),
        ),
        remedy=remedies.continue_(tenant, "Continue it, if it should go on.", alone=True),
    )


def _deprovisioned(picture: Picture) -> DiagnosedCause:
    tenant = picture.status.tenant
    return DiagnosedCause(
        code="TENANT_DEPROVISIONED",
        severity=Severity.PERSON,
        message="What was made for it was removed on a person's order.",
        evidence=(Evidence(source="tenants", fact="state", at=tenant.updated_at),),
        remedy=remedies.make_anew(
            tenant, "Nothing. To have it made again, start it with the same spec."
        ),
    )


def _lost(picture: Picture) -> bool:
    tenant = picture.status.tenant
    if picture.status.standing.record_lost or tenant.run_id is not None:
        return True
    # A tenant that an import left to a person never had a run here, though it was a shop before.
    return tenant.first_completed_at is not None and not is_of_import(picture.status.hold)


def _differences(picture: Picture) -> list[DiagnosedCause]:
    """Return what else is odd about the rows."""
    tenant, standing = picture.status.tenant, picture.status.standing
    found: list[DiagnosedCause] = []
    if tenant.state is not standing.state and not standing.record_lost:
        stored = tenant.state or "a word that is none of ours"
        found.append(
            DiagnosedCause(
                code="STATE_DIFFERS",
                severity=Severity.MOVING,
                message=(
                    f"Its stored state is {stored}, its rows say {standing.state}: it was "
                    "changed from outside. The rows are right."
                ),
                evidence=(
                    Evidence(source="tenants", fact=f"state is {stored}", at=tenant.updated_at),
                ),
                remedy=remedies.nothing("A reconciler corrects the stored state by itself."),
            )
        )
    if picture.stored.binding is None and standing.state not in {
        TenantState.PENDING,
        *_ENDED,
    }:
        found.append(
            DiagnosedCause(
                code="BINDING_LOST",
                severity=Severity.MAY_CLEAR,
                message=(
                    "Nothing says which Company is this tenant's: its binding is gone. The "
                    "next order binds it again, unless another tenant has the name by now."
                ),
                evidence=(Evidence(source="bindings", fact="there is no row"),),
                remedy=remedies.retry(
                    tenant, "Have all steps checked again; that binds it.", alone=True
                ),
            )
        )
    return found
