"""A herd whose cause a person mended: who came through by his order is its canary."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from reconciler.judge import Verdict, judge
from server.model.states import ErrorClass, TenantState
from tests.reconciler.scene import PASSING, PERMANENT, herd, moving
from tests.reconciler.test_herds import herd_findings, messages
from tools.judge_table import situations

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from tests.reconciler.scene import Failures, Scene

NOT_OURS: Failures = {"step_2_company": (ErrorClass.PERMANENT, "COMPANY_NOT_OURS")}
OTHER: Failures = {"step_8_pos_profile": (ErrorClass.PERMANENT, "POS_PROFILE_DIFFERS")}


async def called(scene: Scene, failures: Failures = PERMANENT, *, size: int = 5) -> list[TenantId]:
    ids = await herd(scene, failures, size=size)
    await scene.sweeper(notify=True).sweep()
    assert await moving(scene, ids) == []
    return ids


async def person_continues(scene: Scene, tenant_id: TenantId, failures: Failures) -> None:
    scene.clock.forward(seconds=10)
    await scene.continue_(tenant_id)
    scene.clock.forward(seconds=10)
    await scene.end_run(tenant_id, failures)
    scene.clock.forward(seconds=10)


async def test_the_others_follow_one_that_a_person_continued_and_that_came_through(
    scene: Scene,
) -> None:
    ids = await called(scene)
    sweeper = scene.sweeper(notify=True)
    await person_continues(scene, ids[2], {})

    await sweeper.sweep()
    await sweeper.sweep()
    followed = await moving(scene, ids)
    for tenant_id in followed:
        await scene.end_run(tenant_id)
    scene.clock.forward(seconds=30)
    await sweeper.sweep()

    assert sorted(followed) == sorted(set(ids) - {ids[2]})
    assert await herd_findings(scene) == [("PERSON", 5, "HEALED")]
    assert await messages(scene) == [("needs_person", 5), ("healed", 5)]
    reasons = await scene.sql("SELECT reason FROM runs WHERE tenant_id = :id", id=followed[0])
    assert "Another tenant" in reasons[-1]["reason"]


async def test_nobody_follows_one_that_met_the_error_again(scene: Scene) -> None:
    ids = await called(scene)
    await person_continues(scene, ids[0], PERMANENT)

    for _ in range(3):
        await scene.sweeper(notify=True).sweep()

    assert await moving(scene, ids) == []
    assert await herd_findings(scene) == [("PERSON", 5, "")]
    assert await messages(scene) == [("needs_person", 5)]


async def test_one_that_got_as_far_as_another_error_shows_that_this_one_is_mended(
    scene: Scene,
) -> None:
    ids = await called(scene)
    await person_continues(scene, ids[0], OTHER)

    await scene.sweeper().sweep()
    await scene.sweeper().sweep()

    assert sorted(await moving(scene, ids)) == sorted(ids[1:])


async def test_whose_a_company_is_stays_each_tenants_own_affair(scene: Scene) -> None:
    ids = await called(scene, NOT_OURS)
    await person_continues(scene, ids[0], {})

    for _ in range(3):
        await scene.sweeper().sweep()

    assert await moving(scene, ids) == []


async def test_who_is_held_or_cancelled_does_not_follow(scene: Scene) -> None:
    ids = await called(scene)
    await scene.sql(
        "UPDATE tenants SET hold_reason = 'x', hold_by = 'jane' WHERE id = :id", id=ids[3]
    )
    await scene.sql("UPDATE runs SET state = 'CANCELLED' WHERE tenant_id = :id", id=ids[4])
    await scene.sql("UPDATE tenants SET state = 'CANCELLED' WHERE id = :id", id=ids[4])
    await person_continues(scene, ids[0], {})

    await scene.sweeper().sweep()
    await scene.sweeper().sweep()

    assert sorted(await moving(scene, ids)) == sorted(ids[1:3])


async def test_those_that_stop_again_after_it_are_told_of_anew(scene: Scene) -> None:
    ids = await called(scene)
    sweeper = scene.sweeper(notify=True)
    await person_continues(scene, ids[0], {})
    await sweeper.sweep()
    await sweeper.sweep()
    for tenant_id in ids[1:]:
        await scene.end_run(tenant_id, PERMANENT)
    scene.clock.forward(seconds=30)

    for _ in range(3):
        await sweeper.sweep()

    assert await moving(scene, ids) == [], "not a second time by themselves"
    told = await messages(scene)
    assert [kind for kind, _ in told].count("needs_person") == 2
    assert [found[2] for found in await herd_findings(scene)].count("") == 1


async def test_a_herd_of_passing_errors_follows_its_canary_that_a_person_continued(
    scene: Scene,
) -> None:
    ids = await herd(scene, PASSING)
    sweeper = scene.sweeper()
    await sweeper.sweep()
    (canary,) = await moving(scene, ids)
    await scene.end_run(canary, PASSING)
    await sweeper.sweep()
    await person_continues(scene, canary, {})

    await sweeper.sweep()

    assert sorted(await moving(scene, ids)) == sorted(set(ids) - {canary}), "without a pause"


async def test_any_number_of_reconcilers_let_them_follow_once(scene: Scene) -> None:
    ids = await called(scene, size=6)
    await person_continues(scene, ids[0], {})

    for _ in range(3):
        await asyncio.gather(*(scene.sweeper(notify=True).sweep() for _ in range(3)))

    assert sorted(await moving(scene, ids)) == sorted(ids[1:])
    runs = await scene.sql("SELECT count(*) AS n FROM runs WHERE actor = 'reconciler'")
    assert runs == [{"n": 5}]


@pytest.mark.parametrize("said", ["COMPANY_NOT_OURS", "COMPANY_VANISHED"])
def test_the_judge_drives_on_what_was_mended_and_nothing_else(said: str) -> None:
    stopped = next(
        each.seen for each in situations() if each.says == "stopped at an error of class PERMANENT"
    )
    later = stopped.stopped_at + timedelta(seconds=1)
    assert judge(replace(stopped, mended_at=later)).verdict is Verdict.DRIVE_ON
    for seen in (
        replace(stopped, mended_at=stopped.stopped_at),
        replace(stopped, mended_at=later, heal_count=5),
        replace(
            stopped,
            mended_at=later,
            failed=tuple(replace(step, code=said) for step in stopped.failed),
        ),
    ):
        assert judge(seen).verdict is Verdict.CALL_OPERATOR
    assert judge(replace(stopped, mended_at=later, held=True)).verdict is Verdict.NOTHING_YET


async def test_a_sweep_after_it_is_over_writes_nothing(scene: Scene) -> None:
    ids = await called(scene)
    await person_continues(scene, ids[0], {})
    for _ in range(2):
        await scene.sweeper().sweep()
    for tenant_id in await moving(scene, ids):
        await scene.end_run(tenant_id)
    scene.clock.forward(seconds=30)
    await scene.sweeper().sweep()
    before = await scene.everything()

    await scene.sweeper().sweep()

    assert await scene.everything() == before
    assert {await scene.state(each) for each in ids} == {TenantState.COMPLETED}
