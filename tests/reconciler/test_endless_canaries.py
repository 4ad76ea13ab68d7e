"""A canary that bears no witness does not keep the others of its herd waiting for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.herd import PATIENCE
from server.model.states import GateState
from tests.reconciler.scene import PASSING, herd, moving

if TYPE_CHECKING:
    from tests.reconciler.scene import Scene


async def test_a_canary_that_does_not_end_is_not_waited_for_for_ever(scene: Scene) -> None:
    ids = await herd(scene)
    sweeper = scene.sweeper()
    await sweeper.sweep()
    (canary,) = await moving(scene, ids)

    scene.clock.forward(seconds=PATIENCE.total_seconds() - 1)
    await sweeper.sweep()
    patient = await moving(scene, ids)
    scene.clock.forward(seconds=2)
    await sweeper.sweep()
    await scene.sweeper().sweep()
    moved = await moving(scene, ids)
    (second,) = set(moved) - {canary}
    await scene.end_run(second)
    scene.clock.forward(seconds=30)
    await sweeper.sweep()

    assert patient == [canary]
    assert len(moved) == 2, "one at a time, whoever looks"
    assert len(await moving(scene, ids)) == 4, "the second one's word is good for all"


async def test_a_canary_gets_its_time_after_an_outage(scene: Scene) -> None:
    """Nobody can come through while the engine is away: its time begins when it is back."""
    ids = await herd(scene)
    sweeper = scene.sweeper()
    await sweeper.sweep()
    (canary,) = await moving(scene, ids)
    for _ in range(3):
        await scene.gate(GateState.DOWN)
        await scene.forward(seconds=PATIENCE.total_seconds())
        await sweeper.sweep()
        await scene.gate(GateState.UP)
        await scene.forward(seconds=5)
        await sweeper.sweep()

    assert await moving(scene, ids) == [canary]


async def test_a_clock_that_was_set_back_does_not_keep_a_herd_waiting(scene: Scene) -> None:
    ids = await herd(scene)
    scene.clock.forward(days=365)
    await scene.sweeper().sweep()
    assert len(await moving(scene, ids)) == 1
    scene.clock.forward(days=-365, minutes=1)

    await scene.sweeper().sweep()

    assert len(await moving(scene, ids)) == 2


async def test_a_canary_whose_record_is_damaged_lets_nobody_go(scene: Scene) -> None:
    ids = await herd(scene)
    sweeper = scene.sweeper()
    await sweeper.sweep()
    (canary,) = await moving(scene, ids)
    await scene.end_run(canary, PASSING)
    await scene.sql("DELETE FROM steps WHERE tenant_id = :id", id=canary)
    scene.clock.forward(seconds=30)

    await sweeper.sweep()

    others = [each for each in ids if each != canary]
    assert len(await moving(scene, others)) == 1, "another one goes first, none follows"


async def test_a_canary_that_no_order_moves_gives_its_place_to_another(scene: Scene) -> None:
    """Its name went to another tenant while its binding was gone: each order is refused."""
    ids = await herd(scene)
    first = min(ids)
    taken = await scene.sql("SELECT company_fold FROM bindings WHERE tenant_id = :id", id=first)
    await scene.sql("DELETE FROM bindings WHERE tenant_id = :id", id=first)
    await scene.sql(
        "UPDATE bindings SET company_fold = :fold WHERE tenant_id = :id",
        fold=taken[0]["company_fold"],
        id=max(ids),
    )
    sweeper = scene.sweeper()

    await sweeper.sweep()
    refused = await moving(scene, ids)
    scene.clock.forward(seconds=PATIENCE.total_seconds() + 1)
    await sweeper.sweep()
    (second,) = await moving(scene, ids)
    await scene.end_run(second)
    scene.clock.forward(seconds=30)
    await sweeper.sweep()

    assert refused == []
    [found] = [each for each in await scene.findings(first) if each["cause"] != "HERD"]
    assert (found["severity"], found["outcome"]) == ("PERSON", "REFUSED")
    assert sorted(await moving(scene, ids)) == sorted(set(ids) - {first, second})
