"""What the engine holds is compared with the record, and is never needed to explain it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from server.diagnosis import StepSeen
from server.errors import EngineError
from server.model.blueprint import ERPNEXT
from server.model.states import ErrorClass
from tests.server.diagnosis.situations import deprovisioned, diagnosed, lost, seeing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.reconciler.scene import Scene

ALL_THERE = tuple(
    StepSeen(key=kind.key, done=True, holds=(f"Company {kind.key}",)) for kind in ERPNEXT.steps
)


async def test_what_the_engine_holds_is_compared_with_a_lost_record(scene: Scene) -> None:
    tenant_id = await lost(scene)

    found = await diagnosed(scene, tenant_id, probe_all=seeing(*ALL_THERE))

    cause = found.causes[0]
    assert cause.code == "STEP_RECORD_LOST"
    assert "11 of 11 steps are done there" in cause.message
    facts = [each.fact for each in cause.evidence if each.source == "engine"]
    assert any(
        "step_2_company: the record says not done, the engine has all of it" in fact
        for fact in facts
    )


async def test_of_a_removed_tenant_the_engine_is_not_asked(scene: Scene) -> None:
    """Somebody else may have its name by now: that one's Company was counted as its own."""
    tenant_id = await deprovisioned(scene)

    found = await diagnosed(scene, tenant_id, probe_all=seeing(*ALL_THERE))

    assert found.engine.startswith("The engine was not asked")


async def test_what_a_finished_tenant_lacks_at_the_engine_is_named(scene: Scene) -> None:
    tenant_id = await scene.completed("Kijani Stores")
    gone = StepSeen(key="step_4_warehouses", done=False, missing=("Warehouse 'Main Store - KS'",))
    closed_till = StepSeen(key="step_9_pos_session", done=False, missing=("an open till",))

    found = await diagnosed(scene, tenant_id, probe_all=seeing(gone, closed_till))

    assert [cause.code for cause in found.causes] == ["ENGINE_DIFFERS"]
    assert "Main Store - KS" in found.causes[0].message
    assert found.causes[0].remedy.request["step_key"] == "step_4_warehouses"


async def test_a_till_closed_by_night_is_no_cause(scene: Scene) -> None:
    tenant_id = await scene.completed("Kijani Stores")
    closed_till = StepSeen(key="step_9_pos_session", done=False, missing=("an open till",))

    assert (await diagnosed(scene, tenant_id, probe_all=seeing(closed_till))).causes == ()


async def test_an_engine_that_does_not_answer_is_evidence_and_no_failure(scene: Scene) -> None:
    tenant_id = await lost(scene)

    async def silent(tenant_id: str) -> Sequence[StepSeen]:
        await asyncio.Event().wait()
        return ()

    async def refuses(tenant_id: str) -> Sequence[StepSeen]:
        raise EngineError(ErrorClass.ENGINE_DOWN, "ENGINE_UNREACHABLE", "Connection refused.")

    async def bug(tenant_id: str) -> Sequence[StepSeen]:
        raise ZeroDivisionError

    late = await diagnosed(scene, tenant_id, probe_all=silent, engine_seconds=0.01)
    away = await diagnosed(scene, tenant_id, probe_all=refuses)
    broken = await diagnosed(scene, tenant_id, probe_all=bug)

    assert "did not answer within 0.01 s" in late.engine
    assert "ENGINE_UNREACHABLE" in away.engine
    assert "bug of ours" in broken.engine
    assert {found.causes[0].code for found in (late, away, broken)} == {"STEP_RECORD_LOST"}
