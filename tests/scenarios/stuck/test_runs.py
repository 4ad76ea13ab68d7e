"""The run never happens, dies, or runs twice: taken over, said aloud, or refused."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from server.errors import Refused
from server.model.actor import LOCAL
from server.model.identifiers import WorkerId
from server.model.states import TenantState
from server.store.operations import WorkerOperation
from server.validation import RawSpec
from tests.scenarios.stuck.town import LEASE_SECONDS, WHOLE

if TYPE_CHECKING:
    from server.diagnosis import Diagnosis
    from tests.scenarios.stuck.town import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG_AGO = "2026-01-01 00:00:00.000000+00:00"


def codes(found: Diagnosis) -> list[str]:
    return [cause.code for cause in found.causes]


async def test_b2_a_run_that_nobody_takes_up_says_so_and_is_taken_up_by_the_next_server(
    town: Town,
) -> None:
    await town.close_worker()
    shop = await town.order("B2 Shop")
    await _long_quiet(town, shop)

    found = await town.diagnose(shop)
    report = await town.sweep()
    await town.open_worker()

    assert codes(found) == ["NO_WORKER"]
    assert found.causes[0].severity.value == "PERSON"
    assert "provisioner serve" in found.causes[0].remedy.says
    assert [(f.finding.cause.value, f.tenant_id) for f in report.findings] == [("NO_WORKER", shop)]
    assert await town.rest(shop) is TenantState.COMPLETED
    assert await town.belongings("B2 Shop") == WHOLE


async def test_b1_b3_a_run_whose_process_died_between_two_steps_is_taken_over(town: Town) -> None:
    await town.close_worker()
    shop = await town.order("B1 Shop")
    # As kill -9 leaves it: an attempt under way, and a heartbeat that has stopped.
    dead = WorkerId(str(uuid.uuid4()))
    await town.core.database.submit(
        WorkerOperation(worker_id=dead, at=_long_ago(), lease_seconds=LEASE_SECONDS)
    )
    await town.sql("UPDATE workers SET heartbeat_at = :at WHERE id = :id", at=_then(town), id=dead)
    await town.sql(
        "UPDATE runs SET state = 'RUNNING', worker_id = :dead WHERE tenant_id = :id",
        dead=dead,
        id=shop,
    )
    await _long_quiet(town, shop)

    found = await town.diagnose(shop)
    report = await town.sweep()
    await town.open_worker()

    assert codes(found) == ["STALLED"]
    assert found.causes[0].severity.value == "PERSON"
    mine = [f.finding.cause.value for f in report.findings if f.tenant_id == shop]
    assert mine == ["NO_WORKER"]
    assert await town.rest(shop) is TenantState.COMPLETED
    assert await town.belongings("B1 Shop") == WHOLE
    await town.sweep()
    assert await town.sql("SELECT ended_as FROM findings WHERE tenant_id = :id", id=shop) == [
        {"ended_as": "CLEARED"}
    ]


async def test_b4_b5_b6_starts_and_orders_at_once_are_one_tenant_and_one_run(town: Town) -> None:
    commands, own_id = town.core.commands, str(uuid.uuid4())

    started = await asyncio.gather(
        *(
            commands.start(LOCAL, RawSpec(company_name="B4 Shop"), tenant_id=own_id)
            for _ in range(4)
        )
    )
    clicks = await asyncio.gather(
        *(town.continue_(own_id) for _ in range(4)), return_exceptions=True
    )

    assert set(started) == {own_id}
    assert all(isinstance(click, Refused) for click in clicks), "it is in motion"
    moving = await town.diagnose(own_id)
    assert {cause.severity.value for cause in moving.causes} <= {"MOVING"}
    assert await town.rest(own_id) is TenantState.COMPLETED
    assert len(await town.sql("SELECT id FROM runs WHERE tenant_id = :id", id=own_id)) == 1
    assert (await town.belongings("B4 Shop"))["Company"] == 1


async def test_b10_a_bug_in_a_required_step_stops_there_and_is_driven_on_once_it_is_gone(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the old system every later step failed too, and the end was PARTIAL with 0 done."""
    step = town.core.engines["main"].step("step_4_warehouses")

    async def bug(*_: object) -> None:
        raise KeyError("warehouse_names")

    with monkeypatch.context() as patch:
        patch.setattr(type(step), "probe", bug)
        shop = await town.order("B10 Shop")
        assert await town.rest(shop) is TenantState.FAILED
        stopped = await town.record(shop)

    found = await town.diagnose(shop)
    await town.healed(shop)

    failed = [each.key for each in stopped.steps if each.state == "FAILED"]
    assert failed == ["step_4_warehouses"], "the weight is the step's, not the error's"
    assert codes(found) == ["INTERNAL_ERROR"]
    assert found.causes[0].severity.value == "MAY_CLEAR"
    assert await town.found(shop) == [("PASSING_ERROR", "DRIVE_ON", "ORDERED")]
    assert await town.belongings("B10 Shop") == WHOLE


async def test_a_cancelled_and_a_held_tenant_are_not_moved_and_say_who_moves_them(
    town: Town,
) -> None:
    cancelled, held = await town.completed("Cancelled Shop"), await town.completed("Held Shop")
    await town.sql("DELETE FROM steps WHERE tenant_id IN (:a, :b)", a=cancelled, b=held)
    await town.sql("UPDATE runs SET state = 'CANCELLED' WHERE tenant_id = :id", id=cancelled)
    await town.sql("UPDATE tenants SET state = 'CANCELLED' WHERE id = :id", id=cancelled)
    await town.sql(
        "UPDATE tenants SET state = 'PARTIAL', hold_reason = 'the owner asked', hold_by = 'jane' "
        "WHERE id = :id",
        id=held,
    )
    before = await town.rows_of([cancelled, held])

    await town.sweep()

    assert await town.rows_of([cancelled, held]) == before
    assert codes(await town.diagnose(cancelled)) == ["TENANT_CANCELLED"]
    named = await town.diagnose(held)
    assert codes(named) == ["HELD", "STEP_RECORD_LOST"]
    assert named.causes[0].remedy.command == f"provisioner continue {held} --watch"
    assert await town.found(held) == [("HELD", "NOTHING_YET", "NOTHING")]
    assert await town.sql("SELECT id FROM outbox WHERE kind = 'needs_person'") == []


async def _long_quiet(town: Town, shop: str) -> None:
    """Let nothing have happened for long, neither to the tenant nor to its engine's gate."""
    await town.sql("UPDATE tenants SET updated_at = :at WHERE id = :id", id=shop, at=_then(town))
    await town.sql("UPDATE engines SET gate_since = :at", at=_then(town))


def _long_ago() -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC)


def _then(town: Town) -> object:
    """Return a time long ago, as the database takes it in a statement of text."""
    return _long_ago() if town.core.database.driver_lock is None else LONG_AGO
