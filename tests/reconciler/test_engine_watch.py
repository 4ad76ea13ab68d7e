"""An engine that stays shut is told of once, though none of its tenants fails."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from server.model.states import GateState
from server.store.operations import GateOperation
from tests.reconciler.scene import ENGINES, SITE

if TYPE_CHECKING:
    from tests.reconciler.scene import Scene


async def shut(scene: Scene, state: GateState, code: str) -> None:
    await scene.database.submit(
        GateOperation(
            site=SITE,
            at=await scene.shared_now(),
            gate=state,
            code=code,
            message=f"{code}: mend it.",
        )
    )


async def told(scene: Scene) -> list[tuple[str, str]]:
    rows = await scene.sql("SELECT kind, body FROM outbox ORDER BY created_at, kind")
    return [(row["kind"], json.loads(row["body"])["cause"]) for row in rows]


async def test_a_misconfigured_engine_is_told_of_at_once_and_once(scene: Scene) -> None:
    waiting = await scene.start()
    await shut(scene, GateState.MISCONFIGURED, "SITE_CHANGED")
    sweeper = scene.sweeper(notify=True)

    for _ in range(3):
        await asyncio.gather(sweeper.sweep(), scene.sweeper(notify=True).sweep())
        await scene.beat("0d6f6c1a-5f0c-4f0e-8c3f-2a1b7d9e4f01")
        scene.clock.forward(seconds=5)
    [found] = await scene.findings("engine:main")
    assert await scene.findings(waiting) == [], "it waits, and is not to blame"
    assert (found["cause"], found["severity"], found["ended_at"]) == (
        "ENGINE_SHUT",
        "PERSON",
        None,
    )
    assert "SITE_CHANGED: mend it." in found["message"]
    assert await told(scene) == [("needs_person", "ENGINE_SHUT")]

    await shut(scene, GateState.UP, "")
    await sweeper.sweep()

    [found] = await scene.findings("engine:main")
    assert (found["ended_as"], found["ended_at"]) == ("CLEARED", scene.clock())
    assert await told(scene) == [("needs_person", "ENGINE_SHUT"), ("healed", "ENGINE_SHUT")]


async def test_a_reconciler_that_does_not_know_an_engine_leaves_its_finding_alone(
    scene: Scene,
) -> None:
    await shut(scene, GateState.MISCONFIGURED, "SITE_CHANGED")
    await scene.sweeper(notify=True).sweep()

    await scene.sweeper(notify=True, engines={"other": ENGINES["main"]}).sweep()
    await scene.sweeper(notify=True, engines={}).sweep()

    [found] = await scene.findings("engine:main")
    assert found["ended_at"] is None
    assert ("healed", "ENGINE_SHUT") not in await told(scene)


async def test_an_engine_that_is_only_away_is_told_of_after_five_minutes(scene: Scene) -> None:
    await shut(scene, GateState.DOWN, "ENGINE_MAINTENANCE")
    sweeper = scene.sweeper()

    await scene.forward(minutes=4.9)
    await sweeper.sweep()
    early = await scene.findings("engine:main")
    await scene.forward(minutes=0.2)
    await sweeper.sweep()

    assert early == []
    assert len(await scene.findings("engine:main")) == 1


async def test_an_outage_that_changes_its_face_is_told_of_once_and_stays_open(scene: Scene) -> None:
    """A week: no connection, a maintenance page, no connection again, always down."""
    sweeper = scene.sweeper(notify=True)
    for code in ("ENGINE_DOWN", "ENGINE_MAINTENANCE", "ENGINE_DOWN", "ENGINE_NO_ANSWER"):
        await shut(scene, GateState.DOWN, code)
        await scene.forward(minutes=6)
        await sweeper.sweep()

    [found] = await scene.findings("engine:main")
    assert found["ended_at"] is None
    assert await told(scene) == [("needs_person", "ENGINE_SHUT")]


async def test_an_engine_that_is_still_shut_is_not_told_healed(scene: Scene) -> None:
    """It was down, then refused our key, was down for a moment, and refused our key again."""
    sweeper = scene.sweeper(notify=True)
    await shut(scene, GateState.DOWN, "ENGINE_DOWN")
    await scene.forward(minutes=6)
    await sweeper.sweep()
    for state, code in (
        (GateState.MISCONFIGURED, "ENGINE_CREDENTIALS_REFUSED"),
        (GateState.DOWN, "ENGINE_DOWN"),
        (GateState.MISCONFIGURED, "ENGINE_CREDENTIALS_REFUSED"),
        (GateState.MISCONFIGURED, "ROLE_MISSING"),
        (GateState.MISCONFIGURED, "ENGINE_CREDENTIALS_REFUSED"),
    ):
        await shut(scene, state, code)
        await scene.forward(seconds=15)
        await asyncio.gather(sweeper.sweep(), scene.sweeper(notify=True).sweep())

    found = await scene.findings("engine:main")
    codes = [(json.loads(row["evidence"])["code"], row["ended_as"]) for row in reversed(found)]
    assert codes == [
        ("ENGINE_DOWN", "ENDED"),
        ("ENGINE_CREDENTIALS_REFUSED", "ENDED"),
        ("ROLE_MISSING", "ENDED"),
        ("ENGINE_CREDENTIALS_REFUSED", None),
    ]
    assert await told(scene) == [("needs_person", "ENGINE_SHUT")] * 4

    await scene.forward(seconds=15)
    await shut(scene, GateState.UP, "")
    await sweeper.sweep()

    assert (await told(scene))[4:] == [("healed", "ENGINE_SHUT")]


async def test_a_sweep_over_open_gates_writes_nothing(scene: Scene) -> None:
    await shut(scene, GateState.UP, "")
    before = await scene.everything()

    await scene.sweeper().sweep()
    await shut(scene, GateState.DOWN, "ENGINE_MAINTENANCE")
    await scene.sweeper().sweep(dry_run=True)

    after = await scene.everything()
    assert {**after, "engines": before["engines"]} == before
