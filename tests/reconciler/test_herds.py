"""Many tenants at one error: one finding, one canary, the rest only after it came through."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from reconciler.remedies import RemedyOutcome
from server.healing import History
from server.model.actor import LOCAL, RECONCILER_NAME
from server.model.states import TenantState
from tests.reconciler.scene import (
    OPTIONAL_PASSING,
    PASSING,
    PERMANENT,
    herd,
    moving,
    of_its_own,
)

if TYPE_CHECKING:
    from reconciler.recorder import Pass
    from tests.reconciler.scene import Scene


async def herd_findings(scene: Scene) -> list[tuple[str, int, str]]:
    rows = await scene.sql("SELECT severity, tenants, ended_as FROM findings WHERE cause = 'HERD'")
    return [(row["severity"], row["tenants"], row["ended_as"] or "") for row in rows]


async def messages(scene: Scene) -> list[tuple[str, int]]:
    rows = await scene.sql("SELECT kind, body FROM outbox ORDER BY created_at, kind")
    return [(row["kind"], json.loads(row["body"]).get("tenants", 1)) for row in rows]


async def test_one_goes_first_and_the_rest_follow_once_it_came_through(scene: Scene) -> None:
    ids = await herd(scene)
    sweeper = scene.sweeper(notify=True)

    first = await sweeper.sweep()
    (canary,) = await moving(scene, ids)
    still = await sweeper.sweep()
    alone = await moving(scene, ids)
    await scene.end_run(canary)
    scene.clock.forward(seconds=30)
    await sweeper.sweep()
    followed = await moving(scene, ids)
    for tenant_id in followed:
        await scene.end_run(tenant_id)
    scene.clock.forward(seconds=30)
    await sweeper.sweep()

    waiting = {found.carried.outcome for found in first.findings if found.tenant_id != canary}
    assert waiting == {RemedyOutcome.AWAITS_CANARY}
    assert (alone, still.acted) == ([canary], 0)
    assert sorted(followed) == sorted(set(ids) - {canary})
    assert {await scene.state(each) for each in ids} == {TenantState.COMPLETED}
    assert await herd_findings(scene) == [("MAY_CLEAR", 5, "HEALED")]
    members = await scene.sql("SELECT ended_as, herd_id FROM findings WHERE cause <> 'HERD'")
    assert [row["ended_as"] for row in members] == ["HEALED"] * 5
    assert all(row["herd_id"] for row in members)
    assert await messages(scene) == [("healed", 5)]


async def test_a_canary_that_meets_the_error_again_calls_a_person_once(scene: Scene) -> None:
    ids = await herd(scene)
    sweeper = scene.sweeper(notify=True)
    await sweeper.sweep()
    (canary,) = await moving(scene, ids)
    await scene.end_run(canary, PASSING)
    scene.clock.forward(seconds=30)

    await sweeper.sweep()
    quiet = await moving(scene, ids)
    scene.clock.forward(seconds=10)
    await scene.sweeper(notify=True).sweep()

    assert quiet == []
    assert await herd_findings(scene) == [("PERSON", 5, "")]
    assert await messages(scene) == [("needs_person", 5)]


async def test_after_a_pause_that_grows_the_next_canary_goes(scene: Scene) -> None:
    ids = await herd(scene)
    sweeper = scene.sweeper()
    sent = []
    for pause in (0, 60, 300, 1500, 7500, 7500):
        scene.clock.forward(seconds=max(pause - 1, 0))
        await sweeper.sweep()
        assert pause == 0 or await moving(scene, ids) == []
        scene.clock.forward(seconds=1)
        await sweeper.sweep()
        (canary,) = await moving(scene, ids)
        sent.append(canary)
        await scene.end_run(canary, PASSING)

    assert len(set(sent)) == 5, "each takes its turn, so nobody's budget is spent alone"
    rows = await scene.sql("SELECT max(heal_count) AS most FROM tenants")
    assert rows[0]["most"] == 2


async def test_the_rest_follow_a_late_canary_too(scene: Scene) -> None:
    ids = await herd(scene)
    sweeper = scene.sweeper()
    await sweeper.sweep()
    (canary,) = await moving(scene, ids)
    await scene.end_run(canary, PASSING)
    scene.clock.forward(minutes=2)
    await sweeper.sweep()
    (second,) = await moving(scene, ids)
    await scene.end_run(second)
    scene.clock.forward(minutes=2)

    await sweeper.sweep()

    assert len(await moving(scene, ids)) == 4


async def test_any_number_of_reconcilers_send_one_canary(scene: Scene) -> None:
    ids = await herd(scene, size=6)

    await asyncio.gather(*(scene.sweeper(notify=True).sweep() for _ in range(4)))
    await asyncio.gather(*(scene.sweeper(notify=True).sweep() for _ in range(4)))

    assert len(await moving(scene, ids)) == 1
    assert await herd_findings(scene) == [("MAY_CLEAR", 6, "")]


async def test_a_canary_whose_reconciler_died_before_its_order_is_sent_by_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await herd(scene)
    dying = scene.sweeper()

    async def dies(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(dying._remedies, "carry_out", dies)
    with pytest.raises(asyncio.CancelledError):
        await dying.sweep()
    assert await moving(scene, ids) == []

    await scene.sweeper().sweep()

    assert len(await moving(scene, ids)) == 1
    assert (await scene.sql("SELECT tries FROM herds"))[0]["tries"] == 1


async def test_a_canary_that_a_person_cancelled_bears_no_witness(scene: Scene) -> None:
    ids = await herd(scene)
    sweeper = scene.sweeper()
    await sweeper.sweep()
    (canary,) = await moving(scene, ids)
    await scene.sql("UPDATE runs SET state = 'CANCELLED' WHERE tenant_id = :id", id=canary)
    await scene.sql(
        "UPDATE tenants SET state = 'CANCELLED', revision = revision + 1 WHERE id = :id", id=canary
    )

    await sweeper.sweep()

    (second,) = await moving(scene, ids)
    assert second != canary


async def test_lost_records_are_rebuilt_one_first_too(scene: Scene) -> None:
    ids = await herd(scene, OPTIONAL_PASSING, size=4)
    for tenant_id in ids:
        await scene.lose_steps(tenant_id)
    sweeper = scene.sweeper()

    await sweeper.sweep()
    (canary,) = await moving(scene, ids)
    await scene.end_run(canary)
    scene.clock.forward(seconds=30)
    await sweeper.sweep()

    assert len(await moving(scene, ids)) == 3


async def test_a_canary_whose_finding_is_not_recorded_yet_keeps_the_others_waiting(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two were left standing, and too few for a herd to who counted findings only."""
    ids = await herd(scene, size=3)
    first, second = scene.sweeper(), scene.sweeper()
    ordered, go_on = asyncio.Event(), asyncio.Event()
    record = first._recorder.record

    async def late(current: Pass) -> int:
        ordered.set()
        await go_on.wait()
        return await record(current)

    monkeypatch.setattr(first._recorder, "record", late)
    sweeping = asyncio.create_task(first.sweep())
    await ordered.wait()
    seen = await second.sweep()
    under_way = await moving(scene, ids)
    go_on.set()
    await sweeping

    assert len(under_way) == 1
    assert {found.carried.outcome for found in seen.findings} == {RemedyOutcome.AWAITS_CANARY}
    assert await herd_findings(scene) == [("MAY_CLEAR", 3, "")]


async def test_two_at_one_error_and_three_at_three_go_by_themselves(scene: Scene) -> None:
    ids = await herd(scene, size=2)
    ids += [await scene.stopped(f"Other {number}", of_its_own(number)) for number in range(3)]

    await scene.sweeper().sweep()

    assert len(await moving(scene, ids)) == 5
    assert await herd_findings(scene) == []


async def test_a_later_incident_of_a_healed_herd_has_a_canary_of_its_own(scene: Scene) -> None:
    ids = await herd(scene)
    sweeper = scene.sweeper()
    await sweeper.sweep()
    for _ in range(2):
        for tenant_id in await moving(scene, ids):
            await scene.end_run(tenant_id)
        scene.clock.forward(seconds=30)
        await sweeper.sweep()
    later = [await scene.stopped(f"Later {number}", PASSING) for number in range(4)]
    scene.clock.forward(hours=3)

    await sweeper.sweep()

    assert len(await moving(scene, later)) == 1
    found = await scene.sql("SELECT tenants, ended_as FROM findings WHERE cause = 'HERD'")
    assert sorted((row["tenants"], row["ended_as"]) for row in found) == [(4, None), (5, "HEALED")]


async def test_many_at_one_permanent_error_are_one_call(scene: Scene) -> None:
    ids = await herd(scene, PERMANENT)
    sweeper = scene.sweeper(notify=True)

    await sweeper.sweep()
    settled = await scene.everything()
    await sweeper.sweep()
    late = await scene.stopped("Latecomer", PERMANENT)
    await sweeper.sweep()

    assert await messages(scene) == [("needs_person", 5)]
    assert len(settled["findings"]) == 6
    assert await herd_findings(scene) == [("PERSON", 6, "")]
    for tenant_id in (*ids, late):
        entry = (await scene.database.reads.log_page(tenant_id, after=0, limit=100))[-1]
        assert entry.fields["next"] == f"provisioner continue {tenant_id}"


async def test_a_herd_of_permanent_errors_ends_when_persons_mended_all_of_it(scene: Scene) -> None:
    ids = await herd(scene, PERMANENT, size=3)
    sweeper = scene.sweeper()
    await sweeper.sweep()
    for tenant_id in ids:
        await scene.continue_(tenant_id)
    assert await herd_findings(scene) == [("PERSON", 3, "")]
    for tenant_id in ids:
        await scene.end_run(tenant_id)
    await sweeper.sweep()

    assert await herd_findings(scene) == [("PERSON", 3, "CLEARED")]
    ended = await scene.sql("SELECT ended_as FROM findings WHERE cause <> 'HERD'")
    assert {row["ended_as"] for row in ended} == {"MENDED"}


async def test_the_limit_of_orders_is_one_for_all_reconcilers(scene: Scene) -> None:
    ids = [await scene.stopped(f"Shop {number}", of_its_own(number)) for number in range(9)]

    async def sweep() -> None:
        await scene.sweeper(limit=2, window_seconds=30.0).sweep()

    # Two that give the same order at once both use a turn: fewer, never more.
    await asyncio.gather(*(sweep() for _ in range(4)))
    at_once = len(await moving(scene, ids))
    scene.clock.forward(seconds=29)
    await sweep()
    before = len(await moving(scene, ids))
    scene.clock.forward(seconds=1)
    await sweep()

    assert 1 <= at_once <= before <= 2
    assert len(await moving(scene, ids)) == before + 2
    runs = await scene.sql("SELECT actor FROM runs WHERE actor = :name", name=RECONCILER_NAME)
    assert len(runs) == before + 2


async def test_a_dry_run_names_the_canary_and_writes_nothing(scene: Scene) -> None:
    await herd(scene)
    before = await scene.everything()

    report = await scene.sweeper().sweep(dry_run=True)

    assert await scene.everything() == before
    details = [found.carried.detail for found in report.findings]
    assert sorted(bool(detail) for detail in details) == [False, True, True, True, True]
    assert all("waits for tenant" in detail for detail in details if detail)


async def test_a_dry_run_lists_who_waits_for_a_person_since_before(scene: Scene) -> None:
    called = await scene.stopped("Called", PERMANENT)
    await scene.sweeper().sweep()

    report = await scene.sweeper().sweep(dry_run=True)

    assert [(each.tenant_id, each.held) for each in report.handed_over] == [(called, False)]
    assert report.findings == ()


async def test_those_that_stop_one_after_the_other_are_a_herd_too(scene: Scene) -> None:
    sweeper, ids = scene.sweeper(), []
    for number in range(6):
        ids.append(await scene.stopped(f"Shop {number}", PASSING))
        await sweeper.sweep()
        scene.clock.forward(seconds=4)

    assert await moving(scene, ids) == ids[:3], "the third one is the canary, the rest wait for it"
    assert await herd_findings(scene) == [("MAY_CLEAR", 3, "")]
    listed = await scene.sql("SELECT tenant_id FROM findings WHERE herd_id IS NULL")
    assert len(listed) == 1, "one finding stands for what was found before, too"


async def test_records_damaged_again_after_a_herd_was_healed_have_a_canary_of_their_own(
    scene: Scene,
) -> None:
    """No run ended between: only that the herd's finding is over tells the two apart."""
    ids = await herd(scene, OPTIONAL_PASSING, size=4)
    sweeper = scene.sweeper()
    for _ in range(2):
        for tenant_id in ids:
            await scene.lose_steps(tenant_id)
        await sweeper.sweep()
        (canary,) = await moving(scene, ids)
        await scene.end_run(canary)
        scene.clock.forward(seconds=30)
        await sweeper.sweep()
        for tenant_id in await moving(scene, ids):
            await scene.end_run(tenant_id)
        scene.clock.forward(seconds=30)
        await sweeper.sweep()

    assert await herd_findings(scene) == [("MAY_CLEAR", 4, "HEALED")] * 2


async def test_names_made_of_the_abbreviation_tell_no_errors_apart(scene: Scene) -> None:
    for number, abbreviation in enumerate(("KS", "MT", "ZZ9")):
        tenant_id = await scene.stopped(f"Shop {number}", PERMANENT)
        await scene.sql(
            "UPDATE steps SET outputs = :outputs WHERE tenant_id = :id AND key = 'step_2_company'",
            outputs=json.dumps({"abbreviation": abbreviation}),
            id=tenant_id,
        )
        await scene.sql(
            "UPDATE steps SET error_message = :said "
            "WHERE tenant_id = :id AND key = 'step_4_warehouses'",
            said=f"POST POS Profile POS {abbreviation} was refused, and Retail {abbreviation}.",
            id=tenant_id,
        )

    await scene.sweeper().sweep()

    assert await herd_findings(scene) == [("PERSON", 3, "")]


async def test_since_when_a_record_is_damaged_is_not_made_up(scene: Scene) -> None:
    shop = await scene.completed("Kijani Stores")
    scene.clock.forward(days=90)
    seen_well = scene.clock()
    sweeper = scene.sweeper()
    await sweeper.sweep()
    scene.clock.forward(seconds=30)
    await scene.lose_steps(shop)

    await sweeper.sweep()

    [found] = await scene.findings(shop)
    assert (found["cause"], found["stuck_since"]) == ("STEP_RECORD_LOST", seen_well)


async def test_a_reconciler_that_has_just_started_says_that_it_does_not_know_since_when(
    scene: Scene,
) -> None:
    shop = await scene.completed("Kijani Stores")
    scene.clock.forward(days=90)
    await scene.lose_steps(shop)

    await scene.sweeper().sweep()

    [found] = await scene.findings(shop)
    assert found["stuck_since"] is None


async def test_who_waits_for_others_stood_still_and_was_noticed_before_its_turn(
    scene: Scene,
) -> None:
    shops = [await scene.completed(f"Shop {number}") for number in range(4)]
    sweeper = scene.sweeper(limit=2)
    await sweeper.sweep()
    scene.clock.forward(seconds=30)
    for shop in shops:
        await scene.lose_steps(shop)
    # The canary, two of those that waited for it, and the one that these waited for besides.
    for moved in (1, 2, 1, 0):
        await sweeper.sweep()
        under_way = await moving(scene, shops)
        assert len(under_way) == moved
        scene.clock.forward(seconds=10)
        for shop in under_way:
            await scene.end_run(shop)
        scene.clock.forward(seconds=20)

    report = await History(scene.database, now=scene.clock).report(LOCAL)

    assert {case.cause for case in report.cases} == {"STEP_RECORD_LOST"}
    assert [case.seconds_to_notice for case in report.cases] == [30.0] * 4
    assert sorted(case.seconds_to_heal for case in report.cases) == [10.0, 40.0, 40.0, 70.0]
