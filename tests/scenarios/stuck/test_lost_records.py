"""The record loses what the run did: found, named, rebuilt from what the engine holds.

The letters are those of the list of root causes that this product was made against: in
each, the old system showed a tenant standing still for days. Here each ends COMPLETED,
unaided, with nothing made twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.model.states import StepState, TenantState
from tests.scenarios.stuck.town import WHOLE

if TYPE_CHECKING:
    from server.diagnosis import Diagnosis
    from tests.scenarios.stuck.town import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

REBUILT = ("STEP_RECORD_LOST", "REBUILD_RECORD", "ORDERED")


def codes(found: Diagnosis) -> list[str]:
    return [cause.code for cause in found.causes]


async def test_a1_a6_partial_with_0_of_10_steps_and_no_error_is_rebuilt(town: Town) -> None:
    """The case that started this product."""
    shop = await town.completed("A1 Kijani Stores")
    await town.sql("DELETE FROM steps WHERE tenant_id = :id", id=shop)
    await town.sql("UPDATE runs SET state = 'PARTIAL' WHERE tenant_id = :id", id=shop)
    await town.sql(
        "UPDATE tenants SET state = 'PARTIAL', error_code = NULL, first_completed_at = NULL "
        "WHERE id = :id",
        id=shop,
    )
    writes = await town.writes()

    found = await town.diagnose(shop)
    await town.healed(shop)

    assert codes(found) == ["STEP_RECORD_LOST"]
    assert found.causes[0].severity.value == "MOVING"
    assert "9 of 9 steps are done there" in found.causes[0].message
    assert found.causes[0].remedy.command == f"provisioner continue {shop} --watch"
    assert await town.found(shop) == [REBUILT]
    assert await town.writes() == writes, "what is there is taken over, not asked for again"
    assert await town.belongings("A1 Kijani Stores") == WHOLE
    steps = (await town.record(shop)).steps
    assert all(step.adopted for step in steps if step.key == "step_2_company")


async def test_a3_a_record_that_lost_one_step_is_rebuilt(town: Town) -> None:
    shop = await town.completed("A3 Shop")
    await town.sql("DELETE FROM steps WHERE tenant_id = :id AND key = 'step_5_settings'", id=shop)
    await town.sql("UPDATE tenants SET state = 'PARTIAL' WHERE id = :id", id=shop)

    found = await town.diagnose(shop)
    await town.healed(shop)

    assert codes(found) == ["STEP_RECORD_LOST"]
    assert "9 of 10 rows" in found.causes[0].evidence[0].fact
    assert await town.found(shop) == [REBUILT]
    assert await town.belongings("A3 Shop") == WHOLE


async def test_a2_a_run_that_ended_with_one_step_left_does_that_step(town: Town) -> None:
    shop = await town.completed("A2 Shop")
    await town.sql(
        "UPDATE steps SET state = 'PENDING', completed_at = NULL "
        "WHERE tenant_id = :id AND key = 'step_10_post_sale_updates'",
        id=shop,
    )
    await town.sql("UPDATE runs SET state = 'PARTIAL' WHERE tenant_id = :id", id=shop)
    await town.sql("UPDATE tenants SET state = 'PARTIAL' WHERE id = :id", id=shop)

    found = await town.diagnose(shop)
    await town.healed(shop)

    assert codes(found) == ["STEP_NOT_DONE"]
    assert await town.found(shop) == [("STEP_NOT_DONE", "DRIVE_ON", "ORDERED")]
    assert await town.belongings("A2 Shop") == WHOLE


async def test_a4_lost_notes_between_steps_are_found_again_at_the_engine(town: Town) -> None:
    """The old system guessed where its notes were lost; here the steps ask by Company."""
    shop = await town.completed("A4 Shop")
    await town.sql("UPDATE steps SET outputs = '{}' WHERE tenant_id = :id", id=shop)
    await town.sql(
        "UPDATE steps SET state = 'FAILED', error_class = 'TRANSIENT', error_code = "
        "'ENGINE_NO_ANSWER', error_message = 'No answer.' "
        "WHERE tenant_id = :id AND key = 'step_8_pos_profile'",
        id=shop,
    )
    await town.sql("UPDATE runs SET state = 'FAILED' WHERE tenant_id = :id", id=shop)
    await town.sql("UPDATE tenants SET state = 'FAILED' WHERE id = :id", id=shop)

    found = await town.diagnose(shop)
    await town.healed(shop)

    assert codes(found) == ["ENGINE_NO_ANSWER"]
    assert await town.found(shop) == [("PASSING_ERROR", "DRIVE_ON", "ORDERED")]
    assert await town.belongings("A4 Shop") == WHOLE


async def test_a7_a_finished_shop_with_another_word_gets_its_word_back_and_no_run(
    town: Town,
) -> None:
    shop = await town.completed("A7 Shop")
    runs = await town.sql("SELECT id FROM runs WHERE tenant_id = :id", id=shop)
    await town.sql("UPDATE tenants SET state = 'NOT_PROVISIONED' WHERE id = :id", id=shop)

    found = await town.diagnose(shop)
    await town.sweep()

    assert codes(found) == ["STATE_DIFFERS"]
    assert (await town.record(shop)).tenant.state is TenantState.COMPLETED
    assert await town.sql("SELECT id FROM runs WHERE tenant_id = :id", id=shop) == runs
    assert await town.found(shop) == [("STATE_DIFFERS", "REBUILD_RECORD", "STATE_CORRECTED")]


async def test_a8_a9_a_failure_that_stored_no_error_is_shown_and_driven_on(town: Town) -> None:
    shop = await town.completed("A8 Shop")
    await town.sql(
        "UPDATE steps SET state = 'FAILED', error_class = NULL, error_code = NULL, "
        "error_message = NULL, error_at = NULL "
        "WHERE tenant_id = :id AND key = 'step_4_warehouses'",
        id=shop,
    )
    await town.sql("UPDATE runs SET state = 'FAILED' WHERE tenant_id = :id", id=shop)
    await town.sql("UPDATE tenants SET state = 'FAILED', error_code = NULL WHERE id = :id", id=shop)

    found = await town.diagnose(shop)
    await town.healed(shop)

    assert found.causes[0].step_key == "step_4_warehouses"
    assert found.causes[0].message
    assert await town.belongings("A8 Shop") == WHOLE


@pytest.mark.parametrize(
    "damage",
    [
        ("UPDATE tenants SET run_id = NULL, state = 'PARTIAL' WHERE id = :id",),
        (
            "DELETE FROM runs WHERE tenant_id = :id",
            "DELETE FROM resources WHERE tenant_id = :id",
            "DELETE FROM bindings WHERE tenant_id = :id",
            "UPDATE tenants SET state = 'PENDING' WHERE id = :id",
        ),
        (
            "UPDATE runs SET total_steps = 0, state = 'DRAFT', run_order = '?' "
            "WHERE tenant_id = :id",
        ),
    ],
    ids=["run forgotten", "all but the tenant gone", "words of another system"],
)
async def test_a10_a11_b9_a_rolled_back_restored_or_foreign_record_is_rebuilt(
    town: Town, damage: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    name = f"A10 {request.node.callspec.id.split('-')[-1].title()}"
    shop = await town.completed(name)
    await town.sql("DELETE FROM steps WHERE tenant_id = :id", id=shop)
    await town.sql("UPDATE tenants SET state = 'PARTIAL' WHERE id = :id", id=shop)
    for statement in damage:
        await town.sql(statement, id=shop)
    writes = await town.writes()

    found = await town.diagnose(shop)
    await town.healed(shop)

    assert codes(found)[0] == "STEP_RECORD_LOST"
    assert (await town.found(shop))[0] == REBUILT
    assert await town.writes() == writes
    assert await town.belongings(name) == WHOLE
    assert all(step.state is StepState.COMPLETED for step in (await town.record(shop)).steps)


async def test_b7_continue_is_enough_for_a_person_too(town: Town) -> None:
    """The old first aid refused an empty record; a script had to be run instead."""
    shop = await town.completed("B7 Shop")
    await town.sql("DELETE FROM steps WHERE tenant_id = :id", id=shop)
    await town.sql("UPDATE tenants SET state = 'PARTIAL' WHERE id = :id", id=shop)

    await town.continue_(shop)

    assert await town.rest(shop) is TenantState.COMPLETED
    assert await town.belongings("B7 Shop") == WHOLE


async def test_an_empty_record_of_a_tenant_the_engine_knows_nothing_of_is_made_from_step_0(
    town: Town,
) -> None:
    await town.close_worker()
    shop = await town.order("Nothing There")
    await town.sql("DELETE FROM steps WHERE tenant_id = :id", id=shop)
    await town.sql("UPDATE runs SET state = 'FAILED' WHERE tenant_id = :id", id=shop)
    await town.sql("UPDATE tenants SET state = 'PARTIAL' WHERE id = :id", id=shop)
    await town.open_worker()

    found = await town.diagnose(shop)
    await town.healed(shop)

    assert codes(found)[0] == "STEP_RECORD_LOST"
    assert await town.belongings("Nothing There") == WHOLE
