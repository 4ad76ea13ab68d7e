"""Cancel: a run is closed once nothing of it is unknown, and what is left is named."""

from __future__ import annotations

import pytest

from server.errors import Refused
from server.model.actor import RECONCILER
from server.model.states import ResourceState, RunState, StepState, TenantState
from server.model.undo import UNSETTLED_AT
from server.store.operations import RunRow, TenantOperation
from tests.server.commands.desk import (
    JANE,
    PLAIN,
    REQUIRED,
    TERMS,
    WHY,
    Desk,
    a_resource,
    driven,
    last_line,
    next_command,
)
from tests.server.store.scene import NOON, SITE


async def test_a_queued_run_is_cancelled_at_once(desk: Desk) -> None:
    tenant_id = await desk.start()
    before = await desk.record(tenant_id)
    await desk.commands.cancel(JANE, tenant_id, WHY)
    record = await desk.record(tenant_id)
    assert record.tenant.state is TenantState.CANCELLED
    assert record.run is not None
    assert (record.run.state, record.run.finished_at) == (RunState.CANCELLED, NOON)
    assert record.tenant.fencing_token > before.tenant.fencing_token
    assert "Nothing of it is left at the engine" in await last_line(desk, tenant_id)
    await desk.commands.continue_(JANE, tenant_id, TERMS)
    assert (await desk.record(tenant_id)).tenant.state is TenantState.IN_PROGRESS


async def test_a_cancelled_run_says_what_is_left_behind_but_not_what_tenants_share(
    desk: Desk,
) -> None:
    tenant_id = await desk.start()
    await a_resource(desk, tenant_id, "Company", ResourceState.CREATED)
    await a_resource(desk, tenant_id, "Mode of Payment", ResourceState.CREATED, shared=True)
    await desk.commands.cancel(JANE, tenant_id, WHY)
    line = await last_line(desk, tenant_id)
    assert "Company 'A Company'" in line
    assert "Mode of Payment" not in line


async def test_a_request_of_unknown_outcome_is_looked_up_before_the_run_is_closed(
    desk: Desk,
) -> None:
    tenant_id = await desk.start()
    await a_resource(desk, tenant_id, "Company", ResourceState.INTENDED)
    await desk.commands.cancel(JANE, tenant_id, WHY)
    record = await desk.record(tenant_id)
    assert record.tenant.state is TenantState.IN_PROGRESS
    assert record.run is not None
    assert record.run.state is RunState.QUEUED
    assert record.run.cancellation is not None
    assert (record.run.cancellation.by, record.run.cancellation.reason) == ("jane", WHY.reason)


async def test_a_driven_run_gets_a_mark_that_its_workers_writes_leave_alone(desk: Desk) -> None:
    tenant_id = await desk.start()
    await driven(desk, tenant_id, beat=True)
    before = await desk.record(tenant_id)
    await desk.commands.cancel(JANE, tenant_id, WHY)
    await desk.commands.cancel(JANE, tenant_id, WHY)
    record = await desk.record(tenant_id)
    assert record.tenant.fencing_token == before.tenant.fencing_token
    assert before.run is not None
    await desk.scene.written(
        TenantOperation(
            tenant_id=tenant_id,
            at=NOON,
            token=record.tenant.fencing_token,
            runs=(RunRow(run=before.run, site=SITE),),
        )
    )
    run = (await desk.record(tenant_id)).run
    assert run is not None
    assert run.cancellation is not None


async def test_a_stopped_tenant_is_cancelled_so_that_nobody_but_a_person_drives_it_on(
    desk: Desk,
) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    await desk.commands.cancel(JANE, tenant_id, WHY)
    assert (await desk.record(tenant_id)).tenant.state is TenantState.CANCELLED
    with pytest.raises(Refused) as caught:
        await desk.commands.continue_(RECONCILER, tenant_id, TERMS)
    assert caught.value.code == "TENANT_CANCELLED"


async def test_what_may_be_out_of_a_damaged_step_is_not_forgotten_by_a_cancel(
    desk: Desk,
) -> None:
    """A removal waits for it; in an open run that waits such a step is between two tries."""
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    await desk.scene.sql(
        "UPDATE steps SET state = 'RUNNING', error_class = NULL WHERE key = :key", key=REQUIRED
    )
    await desk.commands.cancel(JANE, tenant_id, WHY)
    await desk.commands.deprovision(JANE, tenant_id, WHY, options=PLAIN)
    run = (await desk.record(tenant_id)).run
    assert run is not None
    assert UNSETTLED_AT in run.options


async def test_a_finished_tenant_has_nothing_to_cancel(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    with pytest.raises(Refused) as caught:
        await desk.commands.cancel(JANE, tenant_id, WHY)
    assert caught.value.code == "NOTHING_TO_CANCEL"
    assert next_command(caught.value) == f"provisioner deprovision {tenant_id}"
