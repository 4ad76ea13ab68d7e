"""SkipStep: what may be left out, by whom, and what becomes of the tenant."""

from __future__ import annotations

import pytest

from server.errors import InvalidInput, Refused
from server.model.states import RunState, StepState, TenantState
from tests.server.commands.desk import (
    JANE,
    OPTIONAL,
    REQUIRED,
    TERMS,
    WHY,
    Desk,
    last_line,
    next_command,
)
from tests.server.store.scene import NOON

DEMO = "step_6_items"


async def test_skipping_the_till_makes_a_partial_tenant_completed(desk: Desk) -> None:
    tenant_id = await desk.stopped({OPTIONAL: StepState.FAILED})
    assert (await desk.record(tenant_id)).tenant.state is TenantState.PARTIAL
    await desk.commands.skip_step(JANE, tenant_id, WHY, step_key=OPTIONAL)
    record = await desk.record(tenant_id)
    step = next(step for step in record.steps if step.key == OPTIONAL)
    assert (step.state, step.error_code) == (StepState.SKIPPED, None)
    assert step.note == "Left out by jane: agreed with the shop"
    assert record.tenant.state is TenantState.COMPLETED
    assert record.tenant.first_completed_at == NOON
    assert record.run is not None
    assert record.run.state is RunState.COMPLETED
    assert "jane" in await last_line(desk, tenant_id)


async def test_a_step_left_out_by_a_person_stays_out_when_the_tenant_is_continued(
    desk: Desk,
) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED, OPTIONAL: StepState.FAILED})
    await desk.commands.skip_step(JANE, tenant_id, WHY, step_key=OPTIONAL)
    assert (await desk.record(tenant_id)).tenant.state is TenantState.FAILED
    await desk.commands.continue_(JANE, tenant_id, TERMS)
    states = {step.key: step.state for step in (await desk.record(tenant_id)).steps}
    assert states[OPTIONAL] is StepState.SKIPPED
    await desk.end(tenant_id, {REQUIRED: StepState.FAILED})
    await desk.commands.retry(JANE, tenant_id, TERMS, step_key=OPTIONAL)
    states = {step.key: step.state for step in (await desk.record(tenant_id)).steps}
    assert states[OPTIONAL] is StepState.PENDING


async def test_a_required_step_is_not_skipped(desk: Desk) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    before = await desk.scene.everything()
    with pytest.raises(Refused) as caught:
        await desk.commands.skip_step(JANE, tenant_id, WHY, step_key=REQUIRED)
    assert caught.value.code == "STEP_NOT_SKIPPABLE"
    assert OPTIONAL in caught.value.message
    assert next_command(caught.value) == f"provisioner diagnose {tenant_id}"
    assert await desk.scene.everything() == before


async def test_a_skip_says_why(desk: Desk) -> None:
    tenant_id = await desk.stopped({OPTIONAL: StepState.FAILED})
    with pytest.raises(InvalidInput) as caught:
        await desk.commands.skip_step(JANE, tenant_id, TERMS, step_key=OPTIONAL)
    assert [violation.field for violation in caught.value.violations] == ["reason"]


async def test_a_skip_names_a_step(desk: Desk) -> None:
    tenant_id = await desk.stopped({OPTIONAL: StepState.FAILED})
    with pytest.raises(InvalidInput) as caught:
        await desk.commands.skip_step(JANE, tenant_id, WHY, step_key="")
    (wrong,) = caught.value.violations
    assert wrong.field == "step_key"
    assert wrong.description.startswith("is missing. Name one: step_0")


async def test_what_is_done_or_under_way_or_not_part_of_the_run_is_not_skipped(desk: Desk) -> None:
    moving = await desk.start("Bidii")
    done = await desk.stopped()
    for tenant_id, step, code, options in (
        (moving, OPTIONAL, "TENANT_IN_MOTION", " --watch"),
        (done, OPTIONAL, "STEP_DONE", ""),
        (done, DEMO, "STEP_NOT_SKIPPABLE", ""),
    ):
        with pytest.raises(Refused) as caught:
            await desk.commands.skip_step(JANE, tenant_id, WHY, step_key=step)
        assert caught.value.code == code
        assert next_command(caught.value) == f"provisioner status {tenant_id}{options}"
