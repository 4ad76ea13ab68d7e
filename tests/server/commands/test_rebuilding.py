"""Orders on a tenant whose record was damaged: it is rebuilt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.errors import Refused
from server.model.actor import RECONCILER, Actor
from server.model.states import Order, RunState, StepState, TenantState
from tests.server.commands.desk import (
    JANE,
    NAME,
    OPTIONAL,
    REQUIRED,
    TERMS,
    Desk,
    by_continue,
    undone,
)
from tests.server.store.scene import KINDS, NOON, creation

if TYPE_CHECKING:
    from server.model.records import Record


async def rebuilt(desk: Desk, tenant_id: str, actor: Actor = JANE) -> Record:
    await desk.commands.continue_(actor, tenant_id, TERMS)
    record = await desk.record(tenant_id)
    assert record.run is not None
    assert record.run.order is Order.REBUILD
    assert len(record.steps) == 10
    assert undone(record) == {kind.key for kind in KINDS}
    return record


@pytest.mark.parametrize("actor", [JANE, RECONCILER])
async def test_an_empty_record_is_rebuilt(desk: Desk, actor: Actor) -> None:
    """The seed's case: PARTIAL, 0 of 10 steps."""
    tenant_id = await desk.stopped({OPTIONAL: StepState.FAILED})
    await desk.scene.sql("DELETE FROM steps")
    record = await rebuilt(desk, tenant_id, actor)
    assert record.run is not None
    assert record.run.previous_state == "PARTIAL"
    page = await desk.scene.database.reads.log_page(tenant_id, after=0, limit=100)
    assert "was lost" in page[-1].message


async def test_a_record_that_misses_some_rows_is_rebuilt_as_a_whole(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    await desk.scene.sql("DELETE FROM steps WHERE position > 6")
    record = await rebuilt(desk, tenant_id)
    assert record.run is not None
    assert record.run.previous_state == "COMPLETED"


async def test_a_record_whose_run_is_gone_is_rebuilt(desk: Desk) -> None:
    tenant_id = await desk.stopped({OPTIONAL: StepState.FAILED})
    await desk.scene.sql("DELETE FROM runs")
    record = await rebuilt(desk, tenant_id)
    assert record.run is not None
    assert record.run.previous_state == "PARTIAL"


async def test_a_lost_record_with_an_open_run_is_rebuilt_and_the_open_run_closed(
    desk: Desk,
) -> None:
    tenant_id = await desk.start()
    first = (await desk.record(tenant_id)).run
    assert first is not None
    await desk.scene.sql("DELETE FROM steps")
    await rebuilt(desk, tenant_id)
    old = await desk.scene.database.reads.run(first.id)
    assert old is not None
    assert (old.state, old.finished_at) == (RunState.REPLACED, NOON)


async def test_a_retry_of_one_step_of_a_lost_record_rebuilds_it_too(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    await desk.scene.sql("DELETE FROM steps WHERE position = 3")
    await desk.commands.retry(JANE, tenant_id, TERMS, step_key=OPTIONAL)
    assert undone(await desk.record(tenant_id)) == {kind.key for kind in KINDS}


async def test_a_binding_that_is_gone_is_bound_again(desk: Desk) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    await desk.scene.sql("DELETE FROM bindings")
    await by_continue(desk, tenant_id)
    bound = await desk.scene.database.reads.binding(tenant_id)
    assert bound is not None
    assert (bound.company_name, bound.abbreviation) == (NAME, None)


async def test_a_binding_that_another_tenant_has_now_stops_the_order(desk: Desk) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    await desk.scene.sql("DELETE FROM bindings")
    await desk.scene.written(creation("KIJANI STORES"))
    before = await desk.scene.everything()
    with pytest.raises(Refused) as caught:
        await by_continue(desk, tenant_id)
    assert caught.value.code == "COMPANY_NAME_TAKEN"
    assert await desk.scene.everything() == before


@pytest.mark.parametrize("word", ["garbage", ""])
async def test_garbage_words_do_not_keep_a_person_from_driving_on(desk: Desk, word: str) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    await desk.scene.change_tenant(tenant_id, state=word)
    await desk.scene.change_run(tenant_id, state=word)
    await desk.scene.sql("UPDATE steps SET state = :word", word=word)
    await by_continue(desk, tenant_id)
    record = await desk.record(tenant_id)
    assert record.tenant.state is TenantState.IN_PROGRESS
    assert undone(record) == {kind.key for kind in KINDS}
