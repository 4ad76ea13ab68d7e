"""Tenants in every situation that is diagnosed, and how a test asks why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from server.diagnosis import Diagnoser, Diagnosis, StepSeen
from server.model.actor import LOCAL
from server.model.records import Hold
from server.model.states import ErrorClass, GateState
from server.store.operations import GateOperation, TenantOperation
from tests.reconciler.scene import ENGINES, LEASE, OPTIONAL_PASSING, PASSING, PERMANENT, SITE, Scene

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from server.model.identifiers import TenantId
    from tests.reconciler.scene import Failures


def diagnoser(scene: Scene, **options: Any) -> Diagnoser:  # Any: the keyword arguments
    given: dict[str, Any] = {"engines": ENGINES, "now": scene.clock, "lease_seconds": LEASE}
    return Diagnoser(scene.database, **(given | options))


async def diagnosed(scene: Scene, tenant_id: str, **options: Any) -> Diagnosis:
    return await diagnoser(scene, **options).diagnose(LOCAL, tenant_id)


async def lost(scene: Scene) -> TenantId:
    tenant_id = await scene.stopped("Kijani Stores", OPTIONAL_PASSING)
    await scene.lose_steps(tenant_id)
    return tenant_id


async def run_gone(scene: Scene) -> TenantId:
    tenant_id = await lost(scene)
    await scene.sql("DELETE FROM runs WHERE tenant_id = :id", id=tenant_id)
    return tenant_id


async def finished(scene: Scene) -> TenantId:
    return await scene.completed("Kijani Stores")


async def passing(scene: Scene) -> TenantId:
    return await scene.stopped("Kijani Stores", PASSING)


async def permanent(scene: Scene) -> TenantId:
    return await scene.stopped("Kijani Stores", PERMANENT)


async def not_ours(scene: Scene) -> TenantId:
    failures: Failures = {"step_2_company": (ErrorClass.PERMANENT, "COMPANY_NOT_OURS")}
    return await scene.stopped("Kijani Stores", failures)


async def spent(scene: Scene) -> TenantId:
    tenant_id = await passing(scene)
    await scene.sql("UPDATE tenants SET heal_count = 5 WHERE id = :id", id=tenant_id)
    return tenant_id


async def closed_without_reason(scene: Scene) -> TenantId:
    tenant_id = await passing(scene)
    await scene.sql(
        "UPDATE steps SET state = 'PENDING', error_code = NULL, error_class = NULL "
        "WHERE tenant_id = :id AND state = 'FAILED'",
        id=tenant_id,
    )
    return tenant_id


async def held(scene: Scene) -> TenantId:
    tenant_id = await passing(scene)
    hold = Hold(reason="the owner asked", by="jane", since=scene.clock())
    await scene.database.submit(TenantOperation(tenant_id=tenant_id, at=scene.clock(), hold=hold))
    return tenant_id


async def imported_held(scene: Scene, code: str) -> TenantId:
    """Leave a tenant as `import-legacy` does where a person must decide: without any run."""
    tenant_id = await passing(scene)
    for table in ("steps", "runs"):
        await scene.sql(f"DELETE FROM {table} WHERE tenant_id = :id", id=tenant_id)  # noqa: S608 - our own names
    await scene.sql(
        "UPDATE tenants SET run_id = NULL, state = 'PENDING', first_completed_at = :at "
        "WHERE id = :id",
        id=tenant_id,
        at=scene.clock(),
    )
    hold = Hold(reason=f"{code}: The record says so.", by="imported", since=scene.clock())
    await scene.database.submit(TenantOperation(tenant_id=tenant_id, at=scene.clock(), hold=hold))
    return tenant_id


async def cancelled(scene: Scene) -> TenantId:
    tenant_id = await passing(scene)
    await scene.sql("UPDATE runs SET state = 'CANCELLED' WHERE tenant_id = :id", id=tenant_id)
    await scene.sql("UPDATE tenants SET state = 'CANCELLED' WHERE id = :id", id=tenant_id)
    return tenant_id


async def deprovisioned(scene: Scene) -> TenantId:
    tenant_id = await passing(scene)
    await scene.sql("DELETE FROM runs WHERE tenant_id = :id", id=tenant_id)
    await scene.sql("UPDATE tenants SET state = 'DEPROVISIONED' WHERE id = :id", id=tenant_id)
    return tenant_id


async def half_removed(scene: Scene) -> TenantId:
    tenant_id = await passing(scene)
    await scene.sql("UPDATE runs SET run_order = 'DEPROVISION' WHERE tenant_id = :id", id=tenant_id)
    await scene.sql("UPDATE tenants SET state = 'DEPROVISIONING' WHERE id = :id", id=tenant_id)
    return tenant_id


async def wrong_word(scene: Scene) -> TenantId:
    tenant_id = await scene.completed("Kijani Stores")
    await scene.sql("UPDATE tenants SET state = 'KAPUTT' WHERE id = :id", id=tenant_id)
    return tenant_id


async def unbound(scene: Scene) -> TenantId:
    tenant_id = await scene.completed("Kijani Stores")
    await scene.sql("DELETE FROM bindings WHERE tenant_id = :id", id=tenant_id)
    return tenant_id


async def queued(scene: Scene) -> TenantId:
    await scene.beat("w1")
    return await scene.start()


async def queued_alone(scene: Scene) -> TenantId:
    return await scene.start()


async def running(scene: Scene) -> TenantId:
    tenant_id = await scene.start()
    await scene.beat("w1")
    await scene.sql(
        "UPDATE runs SET state = 'RUNNING', worker_id = 'w1', "
        "deadline_at = '2026-05-04 12:02:00.000000+00:00' WHERE tenant_id = :id",
        id=tenant_id,
    )
    return tenant_id


async def worker_died(scene: Scene) -> TenantId:
    tenant_id = await running(scene)
    scene.clock.forward(minutes=5)
    return tenant_id


async def hangs(scene: Scene) -> TenantId:
    tenant_id = await running(scene)
    scene.clock.forward(minutes=5)
    await scene.beat("w1")
    return tenant_id


async def trying_again(scene: Scene) -> TenantId:
    tenant_id = await scene.start()
    await scene.sql(
        "UPDATE runs SET state = 'WAITING', waiting_code = 'RETRY', waiting_message = "
        "'Company is tried again.', waiting_until = '2026-05-04 12:01:00.000000+00:00' "
        "WHERE tenant_id = :id",
        id=tenant_id,
    )
    await scene.sql(
        "UPDATE steps SET state = 'RUNNING', error_code = 'ENGINE_NO_ANSWER', tries = 2 "
        "WHERE tenant_id = :id AND position = 0",
        id=tenant_id,
    )
    return tenant_id


async def at_the_slot(scene: Scene) -> TenantId:
    tenant_id = await scene.start()
    await scene.sql(
        "UPDATE runs SET state = 'WAITING', waiting_code = 'SITE_SLOT', waiting_message = "
        "'Another Company is being made.', waiting_until = '2026-05-04 12:01:00.000000+00:00' "
        "WHERE tenant_id = :id",
        id=tenant_id,
    )
    return tenant_id


async def engine_down(scene: Scene) -> TenantId:
    tenant_id = await scene.start()
    await scene.database.submit(
        GateOperation(
            site=SITE,
            at=scene.clock(),
            gate=GateState.DOWN,
            code="ENGINE_UNREACHABLE",
            message="Connection refused.",
        )
    )
    return tenant_id


async def engine_misconfigured(scene: Scene) -> TenantId:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)
    await scene.database.submit(
        GateOperation(
            site=SITE,
            at=scene.clock(),
            gate=GateState.MISCONFIGURED,
            code="ENGINE_CREDENTIALS_REFUSED",
            message="401.",
        )
    )
    return tenant_id


def seeing(*steps: StepSeen) -> Callable[[str], Awaitable[Sequence[StepSeen]]]:
    async def probe_all(tenant_id: str) -> Sequence[StepSeen]:
        return steps

    return probe_all


async def vanished(scene: Scene) -> TenantId:
    tenant_id = await scene.stopped(
        "Kijani Stores", {"step_2_company": (ErrorClass.PERMANENT, "COMPANY_VANISHED")}
    )
    reason = (await diagnosed(scene, tenant_id)).causes[0].message.partition(": ")[2]
    hold = Hold(reason=reason, by="provisioner", since=scene.clock())
    await scene.database.submit(TenantOperation(tenant_id=tenant_id, at=scene.clock(), hold=hold))
    return tenant_id
