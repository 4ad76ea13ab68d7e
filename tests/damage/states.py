"""A tenant in each state that a damage may meet, made as the service makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.commands import OrderTerms
from server.model.actor import LOCAL
from server.model.blueprint import ERPNEXT
from server.model.derive import derive
from server.model.identifiers import TenantId, new_id
from server.model.records import Hold
from server.model.spec import TenantSpec
from server.model.states import LogLevel, TenantState
from server.model.undo import UndoOptions
from server.store.operations import ImportRow, LogDraft, NewTenant, TenantOperation
from tests.reconciler.scene import OPTIONAL_PASSING, PASSING, SITE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.reconciler.scene import Failures, Scene


def _stopped(failures: Failures) -> Callable[[Scene], Awaitable[TenantId]]:
    return lambda scene: scene.stopped("Seed", failures)


async def _queued(scene: Scene) -> TenantId:
    return await scene.start("Seed")


async def _registered(scene: Scene) -> TenantId:
    """Known, and no run yet: as an old client's tenant, or an imported one, is before its first."""
    return await _brought(scene, held=False)


async def _imported(scene: Scene) -> TenantId:
    """As an import leaves a tenant of the old system that a person must decide about."""
    return await _brought(scene, held=True)


async def _brought(scene: Scene, *, held: bool) -> TenantId:
    spec = TenantSpec(company_name="Seed", engine_id="main", country_code="KE", currency="KES")
    tenant_id, at = TenantId(new_id(scene.clock())), scene.clock()
    standing = derive(
        stored=TenantState.PENDING, run=None, steps=(), step_types=ERPNEXT.steps_for(spec), at=at
    )
    outcome = await scene.database.submit(
        TenantOperation(
            tenant_id=tenant_id,
            at=at,
            create=NewTenant(spec=spec, site=SITE),
            standing=standing,
            hold=Hold(reason="COMPANY_MISSING: look first.", by="imported", since=at)
            if held
            else None,
            log=(LogDraft(level=LogLevel.INFO, event="tenant.imported", message="Imported."),),
            imported=ImportRow(recorded="PARTIAL", decision="HELD", legacy='{"tenant": {}}'),
        )
    )
    assert outcome.applied
    return tenant_id


async def _held(scene: Scene) -> TenantId:
    tenant_id = await scene.stopped("Seed", PASSING)
    record = await scene.record(tenant_id)
    hold = Hold(reason="its Company is gone", by="system", since=scene.clock())
    outcome = await scene.database.submit(
        TenantOperation(
            tenant_id=tenant_id,
            at=scene.clock(),
            revision=record.tenant.revision,
            hold=hold,
        )
    )
    assert outcome.applied
    return tenant_id


async def _cancelled(scene: Scene) -> TenantId:
    tenant_id = await scene.start("Seed")
    await scene.commands.cancel(LOCAL, tenant_id, OrderTerms(reason="wrong name"))
    return tenant_id


async def _deprovisioning(scene: Scene) -> TenantId:
    tenant_id = await scene.completed("Seed")
    await scene.commands.deprovision(LOCAL, tenant_id, OrderTerms(), options=UndoOptions())
    return tenant_id


async def _deprovisioned(scene: Scene) -> TenantId:
    tenant_id = await _deprovisioning(scene)
    await scene.end_run(tenant_id)
    return tenant_id


# Under the word that each has for the state it comes to: with the way there.
MADE: dict[str, tuple[TenantState, Callable[[Scene], Awaitable[TenantId]]]] = {
    "FAILED": (TenantState.FAILED, _stopped(PASSING)),
    "PARTIAL": (TenantState.PARTIAL, _stopped(OPTIONAL_PASSING)),
    "COMPLETED": (TenantState.COMPLETED, _stopped({})),
    "QUEUED": (TenantState.IN_PROGRESS, _queued),
    "PENDING": (TenantState.PENDING, _registered),
    "IMPORTED": (TenantState.PENDING, _imported),
    "HELD": (TenantState.FAILED, _held),
    "CANCELLED": (TenantState.CANCELLED, _cancelled),
    "DEPROVISIONING": (TenantState.DEPROVISIONING, _deprovisioning),
    "DEPROVISIONED": (TenantState.DEPROVISIONED, _deprovisioned),
}


async def made(scene: Scene, state: str) -> TenantId:
    """Make a tenant that stands as the word says."""
    word, make = MADE[state]
    tenant_id = await make(scene)
    assert await scene.state(tenant_id) is word
    return tenant_id
