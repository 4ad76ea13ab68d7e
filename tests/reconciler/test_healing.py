"""What sweeps do to tenants that stopped short, on a real store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.observation import NEVER
from reconciler.remedies import RemedyOutcome
from server.commands import EngineEntry
from server.model.actor import RECONCILER_NAME
from server.model.blueprint import ERPNEXT
from server.model.records import Hold
from server.model.states import ErrorClass, GateState, StepState, TenantState
from server.store.operations import TenantOperation
from tests.reconciler.scene import OPTIONAL_PASSING, PASSING, PERMANENT, SITE

if TYPE_CHECKING:
    from tests.reconciler.scene import Failures, Scene


@pytest.mark.parametrize(
    "damage",
    [
        (),
        ("DELETE FROM runs WHERE tenant_id = :id",),
        ("UPDATE tenants SET run_id = NULL WHERE id = :id",),
        ("UPDATE tenants SET state = 'KAPUTT' WHERE id = :id",),
        ("UPDATE runs SET state = 'KAPUTT' WHERE tenant_id = :id",),
        ("UPDATE tenants SET state = 'FAILED' WHERE id = :id",),
        (
            "DELETE FROM runs WHERE tenant_id = :id",
            "UPDATE tenants SET state = 'IN_PROGRESS' WHERE id = :id",
        ),
        (
            "DELETE FROM runs WHERE tenant_id = :id",
            "UPDATE tenants SET state = 'PENDING' WHERE id = :id",
        ),
        (
            "DELETE FROM runs WHERE tenant_id = :id",
            "UPDATE tenants SET state = '' WHERE id = :id",
        ),
        ("UPDATE runs SET total_steps = 0, run_order = '?' WHERE tenant_id = :id",),
        ("DELETE FROM bindings WHERE tenant_id = :id",),
    ],
)
async def test_a_tenant_whose_record_was_lost_is_rebuilt_once(
    scene: Scene, damage: tuple[str, ...]
) -> None:
    await lost_and_rebuilt_once(scene, damage)


async def test_a_tenant_whose_times_are_no_times_either_is_rebuilt_once(
    sqlite_scene: Scene,
) -> None:
    # On PostgreSQL a column of times takes nothing else.
    damage = "UPDATE tenants SET updated_at = 'yesterday', look_at = 'x' WHERE id = :id"
    await lost_and_rebuilt_once(sqlite_scene, (damage,))


async def lost_and_rebuilt_once(scene: Scene, damage: tuple[str, ...]) -> None:
    tenant_id = await scene.stopped("Kijani Stores", OPTIONAL_PASSING)
    await scene.lose_steps(tenant_id)
    for statement in damage:
        await scene.sql(statement, id=tenant_id)
    before = len(await scene.runs(tenant_id))

    report = await scene.sweeper().sweep()
    again = await scene.sweeper().sweep()

    runs = await scene.runs(tenant_id)
    assert len(runs) == before + 1
    assert runs[-1]["actor"] == RECONCILER_NAME
    assert runs[-1]["state"] == "QUEUED"
    record = await scene.record(tenant_id)
    assert len(record.steps) == 10
    assert all(step.state is StepState.PENDING for step in record.steps)
    assert record.tenant.state is TenantState.IN_PROGRESS
    assert report.acted == 1
    assert again.acted == 0
    found = await scene.findings(tenant_id)
    assert [(row["cause"], row["outcome"]) for row in found] == [("STEP_RECORD_LOST", "ORDERED")]


async def test_the_rebuild_says_why_and_what_it_judged(scene: Scene) -> None:
    tenant_id = await scene.stopped("Kijani Stores", OPTIONAL_PASSING)
    await scene.lose_steps(tenant_id)
    revision = (await scene.record(tenant_id)).tenant.revision

    await scene.sweeper().sweep()

    run = (await scene.runs(tenant_id))[-1]
    assert run["run_order"] == "REBUILD"
    assert "0 of 10 steps" in run["reason"]
    assert run["previous_state"] == "PARTIAL"
    request = (await scene.sql("SELECT * FROM requests WHERE caller = 'reconciler'"))[0]
    assert request["request_id"] == f"{tenant_id}:{revision}:REBUILD_RECORD"


async def test_two_sweepers_at_once_give_one_order(scene: Scene) -> None:
    tenant_id = await scene.stopped("Kijani Stores", OPTIONAL_PASSING)
    await scene.lose_steps(tenant_id)

    reports = await asyncio.gather(*(scene.sweeper().sweep() for _ in range(4)))

    assert len(await scene.runs(tenant_id)) == 2
    assert (await scene.record(tenant_id)).tenant.heal_count == 1
    assert len(await scene.findings(tenant_id)) == 1
    outcomes = {found.carried.outcome for report in reports for found in report.findings}
    assert outcomes <= {RemedyOutcome.ORDERED, RemedyOutcome.FASTER}


async def test_two_sweepers_at_once_call_a_person_once(scene: Scene) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PERMANENT)
    revision = (await scene.record(tenant_id)).tenant.revision

    await asyncio.gather(*(scene.sweeper().sweep() for _ in range(4)))

    assert (await scene.record(tenant_id)).tenant.revision == revision + 1
    found = await scene.findings(tenant_id)
    assert [row["outcome"] for row in found] == ["OPERATOR_CALLED"]


async def test_a_live_shop_whose_record_was_lost_is_found_in_the_round_and_rebuilt(
    scene: Scene,
) -> None:
    tenant_id = await scene.completed("Kijani Stores")
    await scene.sql("DELETE FROM steps WHERE tenant_id = :id", id=tenant_id)

    await scene.sweeper().sweep()

    runs = await scene.runs(tenant_id)
    assert runs[-1]["run_order"] == "REBUILD"
    assert (await scene.record(tenant_id)).tenant.first_completed_at is not None


async def test_every_tenant_gets_its_turn_in_the_round(scene: Scene) -> None:
    ids = await asyncio.gather(*(scene.completed(f"Shop {number}") for number in range(45)))
    damaged = max(ids)
    await scene.sql("DELETE FROM steps WHERE tenant_id = :id", id=damaged)
    sweeper = scene.sweeper()

    observed = [(await sweeper.sweep()).observed for _ in range(3)]

    assert observed == [20, 20, 5]
    assert len(await scene.runs(damaged)) == 2


async def test_a_finished_tenant_with_a_wrong_word_gets_its_word_back_and_no_run(
    scene: Scene,
) -> None:
    tenant_id = await scene.completed("Kijani Stores")
    await scene.sql("UPDATE tenants SET state = 'PARTIAL' WHERE id = :id", id=tenant_id)
    sweeper = scene.sweeper()

    await sweeper.sweep()
    settled = await scene.everything()
    await sweeper.sweep()

    assert await scene.state(tenant_id) is TenantState.COMPLETED
    assert len(await scene.runs(tenant_id)) == 1
    assert await scene.everything() == settled
    assert [row["outcome"] for row in await scene.findings(tenant_id)] == ["STATE_CORRECTED"]


@pytest.mark.parametrize("word", ["COMPLETED", "KAPUTT", "PENDING"])
async def test_a_stopped_tenant_with_a_wrong_word_is_named_and_driven_on(
    scene: Scene, word: str
) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)
    await scene.sql("UPDATE tenants SET state = :word WHERE id = :id", id=tenant_id, word=word)

    await scene.sweeper().sweep()

    assert await scene.state(tenant_id) is TenantState.IN_PROGRESS
    causes = {row["cause"] for row in await scene.findings(tenant_id)}
    assert causes == {"PASSING_ERROR", "STATE_DIFFERS"}


async def test_a_permanent_error_is_found_once_and_a_person_called(scene: Scene) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PERMANENT)
    sweeper = scene.sweeper()

    first = await sweeper.sweep()
    settled = await scene.everything()
    scene.clock.forward(days=3)
    later = [await scene.sweeper().sweep(), await sweeper.sweep()]

    assert first.recorded == 1
    assert [report.findings for report in later] == [(), ()]
    assert await scene.everything() == settled
    record = await scene.record(tenant_id)
    assert record.tenant.look_at == NEVER
    assert record.tenant.state is TenantState.FAILED
    assert len(await scene.runs(tenant_id)) == 1
    entry = (await scene.database.reads.log_page(tenant_id, after=0, limit=100))[-1]
    assert entry.fields["event"] == "finding.recorded"
    assert entry.fields["cause"] == "PERMANENT_ERROR"
    assert entry.fields["next"] == f"provisioner continue {tenant_id}"
    assert "step_4_warehouses (ENGINE_REFUSED)" in entry.message


async def test_a_person_who_continues_a_called_tenant_puts_it_back_into_the_sweeps(
    scene: Scene,
) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PERMANENT)
    await scene.sweeper().sweep()
    await scene.continue_(tenant_id)
    await scene.end_run(tenant_id, PERMANENT)

    await scene.sweeper().sweep()

    assert len(await scene.findings(tenant_id)) == 2


async def test_a_passing_error_is_driven_on_at_once_and_then_after_the_pauses(
    scene: Scene,
) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)
    sweeper = scene.sweeper()
    for drive, minutes in enumerate((0, 1, 5, 25, 125), start=1):
        if minutes:
            scene.clock.forward(minutes=minutes, seconds=-1)
            early = await sweeper.sweep()
            assert early.acted == 0
            assert early.findings[0].not_before is not None
            scene.clock.forward(seconds=1)
        await sweeper.sweep()
        assert (await scene.record(tenant_id)).tenant.heal_count == drive
        scene.clock.forward(minutes=3)
        await scene.end_run(tenant_id, PASSING)

    scene.clock.forward(days=1)
    report = await sweeper.sweep()
    scene.clock.forward(days=1)
    silent = await sweeper.sweep()

    assert report.findings[0].finding.cause.value == "HEALING_BUDGET_SPENT"
    assert silent.findings == ()
    record = await scene.record(tenant_id)
    assert record.tenant.heal_count == 5
    assert record.tenant.look_at == NEVER
    assert len(await scene.runs(tenant_id)) == 6
    open_now = await scene.database.healing_history.findings(
        after=None,
        limit=10,
        tenant_id="",
        open_only=True,
        person_only=False,
        include_members=False,
    )
    assert [each.cause for each in open_now] == ["HEALING_BUDGET_SPENT"], "one standstill"


async def test_a_persons_order_gives_the_budget_back(scene: Scene) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)
    await scene.sql("UPDATE tenants SET heal_count = 5 WHERE id = :id", id=tenant_id)
    await scene.sweeper().sweep()
    await scene.continue_(tenant_id)
    await scene.end_run(tenant_id, PASSING)

    await scene.sweeper().sweep()

    assert (await scene.record(tenant_id)).tenant.heal_count == 1


@pytest.mark.parametrize("state", [GateState.DOWN, GateState.MISCONFIGURED])
async def test_behind_a_closed_gate_nothing_is_ordered_and_no_budget_spent(
    scene: Scene, state: GateState
) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)
    await scene.gate(state)
    sweeper = scene.sweeper()

    await sweeper.sweep()
    await sweeper.sweep()
    waiting = await scene.record(tenant_id)
    await scene.gate(GateState.UP)
    await sweeper.sweep()

    assert waiting.tenant.heal_count == 0
    assert waiting.tenant.state is TenantState.FAILED
    assert (await scene.record(tenant_id)).tenant.heal_count == 1
    causes = sorted(row["cause"] for row in await scene.findings(tenant_id))
    assert causes == ["ENGINE_NOT_UP", "PASSING_ERROR"]


async def test_a_tenant_of_an_engine_that_is_not_configured_waits(scene: Scene) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)
    other = {"other": EngineEntry(site="http://other", blueprint=ERPNEXT)}
    sweeper = scene.sweeper(engines=other)

    await sweeper.sweep()
    settled = await scene.everything()
    await sweeper.sweep()

    assert await scene.everything() == settled
    assert [row["cause"] for row in await scene.findings(tenant_id)] == ["ENGINE_NOT_CONFIGURED"]


@pytest.mark.parametrize(("by", "called"), [("jane@example.com", 0), ("run", 1)])
async def test_who_was_held_by_a_person_needs_no_message_to_persons(
    scene: Scene, by: str, called: int
) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)
    hold = Hold(reason="the owner asked", by=by, since=scene.clock())
    await scene.database.submit(TenantOperation(tenant_id=tenant_id, at=scene.clock(), hold=hold))

    await scene.sweeper(notify=True).sweep()
    await scene.sweeper(notify=True).sweep()

    (found,) = await scene.findings(tenant_id)
    assert found["cause"] == "HELD"
    assert len(await scene.sql("SELECT kind FROM outbox")) == called


async def test_a_held_tenant_is_not_touched_and_named_once(scene: Scene) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)
    hold = Hold(reason="COMPANY_VANISHED", by="run", since=scene.clock())
    await scene.database.submit(TenantOperation(tenant_id=tenant_id, at=scene.clock(), hold=hold))
    await scene.lose_steps(tenant_id)
    before = await scene.everything()
    sweeper = scene.sweeper()

    await sweeper.sweep()
    named = await scene.everything()
    await sweeper.sweep()
    await scene.sweeper().sweep()

    kept = before.keys() - {"sweeps", "findings"}
    assert {table: named[table] for table in kept} == {table: before[table] for table in kept}
    assert await scene.everything() == named
    found = await scene.findings(tenant_id)
    assert [(row["cause"], row["severity"]) for row in found] == [("HELD", "PERSON")]
    assert "COMPANY_VANISHED" in found[0]["message"]


@pytest.mark.parametrize("word", ["CANCELLED", "DEPROVISIONING", "DEPROVISIONED"])
async def test_a_tenant_a_person_ended_is_not_touched(scene: Scene, word: str) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)
    await scene.sql("UPDATE tenants SET state = :word WHERE id = :id", id=tenant_id, word=word)
    before = await scene.everything()

    await scene.sweeper().sweep()

    assert await scene.everything() == before


async def test_a_run_somebody_cancelled_is_not_driven_on_whatever_the_tenants_word_is(
    scene: Scene,
) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)
    await scene.sql("UPDATE runs SET state = 'CANCELLED' WHERE tenant_id = :id", id=tenant_id)
    before = await scene.everything()

    await scene.sweeper().sweep()

    assert await scene.everything() == before


@pytest.mark.parametrize("word", ["CANCELLED", "DEPROVISIONED"])
async def test_what_was_found_of_a_tenant_that_a_person_ended_is_over_and_nobody_healed_it(
    scene: Scene, word: str
) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PERMANENT)
    await scene.sweeper(notify=True).sweep()
    await scene.sql("UPDATE tenants SET state = :word WHERE id = :id", word=word, id=tenant_id)
    await scene.sql("UPDATE runs SET state = 'CANCELLED' WHERE tenant_id = :id", id=tenant_id)

    ended = await scene.sweeper(notify=True).sweep()

    (found,) = await scene.findings(tenant_id)
    assert (found["ended_as"], ended.healed) == ("ENDED", 0)
    told = await scene.sql("SELECT kind FROM outbox")
    assert [row["kind"] for row in told] == ["needs_person"]


@pytest.mark.parametrize("window_seconds", [0.0, 30.0])
async def test_a_tenant_whose_company_name_is_taken_by_now_is_named_and_takes_no_turn_away(
    scene: Scene, window_seconds: float
) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)
    await scene.sql("DELETE FROM bindings WHERE tenant_id = :id", id=tenant_id)
    await scene.start("Kijani Stores")
    # Ordered later, so that the one that can't be moved has the first turn.
    scene.clock.forward(seconds=1)
    other = await scene.stopped("Other Shop", PASSING)
    sweeper = scene.sweeper(limit=1, window_seconds=window_seconds)

    await sweeper.sweep()
    await sweeper.sweep()
    settled = await scene.everything()
    await sweeper.sweep()

    assert await scene.everything() == settled
    found = (await scene.findings(tenant_id))[0]
    assert (found["outcome"], found["severity"]) == ("REFUSED", "PERSON")
    assert "COMPANY_NAME_TAKEN" in found["message"]
    assert await scene.state(other) is TenantState.IN_PROGRESS


CLASSES: list[tuple[Failures, str]] = [
    ({"step_4_warehouses": (ErrorClass.UNKNOWN_OUTCOME, "OUTCOME_UNKNOWN")}, "PASSING_ERROR"),
    ({"step_4_warehouses": (ErrorClass.PERMANENT, "WORKER_LOST")}, "PASSING_ERROR"),
    ({"step_2_company": (ErrorClass.TRANSIENT, "COMPANY_NOT_OURS")}, "PERMANENT_ERROR"),
    (
        {
            "step_9_pos_session": (ErrorClass.TRANSIENT, "ENGINE_NO_ANSWER"),
            "step_10_post_sale_updates": (ErrorClass.PERMANENT, "FINAL_CHECK_FAILED"),
        },
        "PASSING_ERROR",
    ),
]


@pytest.mark.parametrize(("failures", "cause"), CLASSES)
async def test_the_cause_follows_from_the_steps_that_failed(
    scene: Scene, failures: Failures, cause: str
) -> None:
    tenant_id = await scene.stopped("Kijani Stores", failures)

    await scene.sweeper().sweep()

    assert [row["cause"] for row in await scene.findings(tenant_id)] == [cause]


async def test_the_site_of_the_scene_is_the_site_of_its_tenants(scene: Scene) -> None:
    record = await scene.record(await scene.start())
    assert record.tenant.site == SITE
