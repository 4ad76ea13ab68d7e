"""Why a tenant stands where it stands: any state, the right cause, and evidence for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from server.commands import EngineEntry
from server.errors import InvalidInput, NotFound
from server.model.actor import LOCAL
from server.model.blueprint import ERPNEXT
from server.model.states import ErrorClass
from tests.reconciler.scene import ENGINES, OPTIONAL_PASSING, Scene
from tests.server.diagnosis.situations import (
    at_the_slot,
    cancelled,
    closed_without_reason,
    deprovisioned,
    diagnosed,
    engine_down,
    engine_misconfigured,
    finished,
    half_removed,
    hangs,
    held,
    lost,
    not_ours,
    passing,
    permanent,
    queued,
    queued_alone,
    run_gone,
    running,
    spent,
    trying_again,
    unbound,
    worker_died,
    wrong_word,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.model.identifiers import TenantId
    from tests.reconciler.scene import Failures


@dataclass(frozen=True)
class Case:
    make: Callable[[Scene], Awaitable[TenantId]]
    codes: tuple[str, ...]
    severity: str = ""
    method: str = ""
    alone: bool = False


CASES = [
    Case(finished, ()),
    Case(lost, ("STEP_RECORD_LOST",), "MOVING", "Continue", alone=True),
    Case(run_gone, ("STEP_RECORD_LOST",), "MOVING", "Continue", alone=True),
    Case(passing, ("ENGINE_DEADLOCK",), "MAY_CLEAR", "Continue", alone=True),
    Case(permanent, ("ENGINE_REFUSED",), "PERSON", "Continue"),
    Case(not_ours, ("COMPANY_NOT_OURS",), "PERSON", "AdoptCompany"),
    Case(half_removed, ("ENGINE_DEADLOCK",), "PERSON", "Deprovision"),
    Case(spent, ("HEALING_BUDGET_SPENT", "ENGINE_DEADLOCK"), "PERSON", "Continue"),
    Case(closed_without_reason, ("STEP_NOT_DONE",), "MOVING", "Continue", alone=True),
    Case(held, ("HELD", "ENGINE_DEADLOCK"), "PERSON", "Continue"),
    Case(cancelled, ("TENANT_CANCELLED",), "PERSON", "Continue", alone=True),
    Case(deprovisioned, ("TENANT_DEPROVISIONED",), "PERSON"),
    Case(wrong_word, ("STATE_DIFFERS",), "MOVING"),
    Case(unbound, ("BINDING_LOST",), "MAY_CLEAR", "Retry", alone=True),
    Case(queued, ("WORKER",), "MOVING"),
    Case(queued_alone, ("NO_WORKER",), "PERSON"),
    Case(running, ("STEP_RUNNING",), "MOVING"),
    Case(worker_died, ("STALLED",), "PERSON"),
    Case(hangs, ("STALLED",), "PERSON"),
    Case(trying_again, ("ENGINE_NO_ANSWER",), "MAY_CLEAR"),
    Case(at_the_slot, ("SITE_SLOT",), "MOVING"),
    Case(engine_down, ("ENGINE_UNREACHABLE",), "MAY_CLEAR"),
    Case(engine_misconfigured, ("ENGINE_CREDENTIALS_REFUSED", "ENGINE_DEADLOCK"), "PERSON"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.make.__name__)
async def test_each_situation_has_its_causes_the_likeliest_first(scene: Scene, case: Case) -> None:
    tenant_id = await case.make(scene)
    before = await scene.everything()

    found = await diagnosed(scene, tenant_id)

    assert tuple(cause.code for cause in found.causes) == case.codes
    assert await scene.everything() == before
    for cause in found.causes:
        assert cause.message
        assert cause.evidence, "a cause is concluded from something"
        assert cause.remedy.says
    if found.causes:
        first = found.causes[0]
        assert first.severity.value == case.severity
        assert first.remedy.method == case.method or not case.method
        assert first.remedy.alone is case.alone
        if first.remedy.method:
            assert first.remedy.command.startswith("provisioner ")
            assert tenant_id in first.remedy.command
            assert first.remedy.request["expected_revision"] == found.revision


EVIDENCE = [
    (
        lost,
        ("0 of 10 rows of its last run are there", "its last run ended PARTIAL"),
    ),
    (
        run_gone,
        ("0 of 10 rows of its last run are there", "the run it names is not there"),
    ),
    (
        permanent,
        ("step_4_warehouses is FAILED: 0 tries, 0 races, 0 lost workers, class PERMANENT",),
    ),
    (
        spent,
        (
            "heal_count is 5",
            "step_4_warehouses is FAILED: 0 tries, 0 races, 0 lost workers, class RACE",
        ),
    ),
    (
        closed_without_reason,
        ("step_4_warehouses is PENDING", "its last run ended FAILED"),
    ),
    (
        queued_alone,
        (
            "the run is QUEUED, due since",
            "0 runs of its site are due before it",
            "0 workers are alive",
        ),
    ),
    (
        hangs,
        (
            "the run is RUNNING",
            "last heartbeat of w1",
            "the attempt's deadline",
            "1 workers are alive",
            "step_0_engine_check is PENDING: 0 tries, 0 races, 0 lost workers, class none",
        ),
    ),
]


@pytest.mark.parametrize(
    ("make", "facts"), EVIDENCE, ids=lambda each: getattr(each, "__name__", "")
)
async def test_a_cause_says_which_rows_it_was_concluded_from(
    scene: Scene, make: Callable[[Scene], Awaitable[TenantId]], facts: tuple[str, ...]
) -> None:
    cause = (await diagnosed(scene, await make(scene))).causes[0]
    assert tuple(each.fact for each in cause.evidence if each.source != "engine") == facts


async def test_a_lost_record_of_a_live_shop_says_what_is_still_on_record(scene: Scene) -> None:
    tenant_id = await scene.completed("Kijani Stores")
    await scene.lose_steps(tenant_id)

    (cause,) = (await diagnosed(scene, tenant_id)).causes

    facts = {each.fact: each for each in cause.evidence}
    assert "its last run ended COMPLETED" in facts
    assert facts["it was COMPLETED once: a live shop"].at is not None


async def test_the_final_check_is_no_cause_beside_what_made_it_fail(scene: Scene) -> None:
    final: Failures = {"step_10_post_sale_updates": (ErrorClass.PERMANENT, "FINAL_CHECK_FAILED")}
    both = await scene.stopped("Both", {**OPTIONAL_PASSING, **final})
    alone = await scene.stopped("Alone", final)
    assert [cause.code for cause in (await diagnosed(scene, both)).causes] == ["ENGINE_NO_ANSWER"]
    assert [cause.code for cause in (await diagnosed(scene, alone)).causes] == [
        "FINAL_CHECK_FAILED"
    ]


@pytest.mark.parametrize("stand", [passing, finished])
async def test_a_tenant_of_an_engine_that_is_not_configured_says_so(
    scene: Scene, stand: Callable[[Scene], Awaitable[TenantId]]
) -> None:
    """A finished one, too: whatever is ordered of it is refused."""
    tenant_id = await stand(scene)
    other = {"other": EngineEntry(site="http://other", blueprint=ERPNEXT)}

    found = await diagnosed(scene, tenant_id, engines=other)

    assert found.causes[0].code == "ENGINE_NOT_CONFIGURED"
    assert "[engines.main]" in found.causes[0].remedy.says


async def test_an_unknown_tenant_and_a_wrong_id_are_refused(scene: Scene) -> None:
    with pytest.raises(NotFound):
        await diagnosed(scene, "01900000-0000-7000-8000-000000000001")
    with pytest.raises(InvalidInput):
        await diagnosed(scene, "kijani")


@pytest.mark.parametrize(
    "engines", [ENGINES, {"odoo": EngineEntry(site="http://x", blueprint=ERPNEXT)}]
)
async def test_a_tenant_of_another_kind_of_engine_is_not_said_to_be_continued(
    scene: Scene, engines: dict[str, EngineEntry]
) -> None:
    tenant_id = await scene.commands.register_elsewhere(
        LOCAL, name="Kijani Stores", country_code="UG", kind="odoo", facts={}
    )

    found = await diagnosed(scene, tenant_id, engines=engines)

    (cause,) = found.causes
    assert (cause.code, cause.remedy.call) == ("ENGINE_ELSEWHERE", "")
    assert cause.remedy.command == "provisioner start 'Kijani Stores' --country UG"
