"""Deprovision: what was made is removed, and orders meanwhile say how to stop or go on."""

from __future__ import annotations

import shlex

import pytest

from server.errors import AlreadyExists, Refused
from server.model.states import LogLevel, Order, ResourceState, RunState, StepState, TenantState
from server.model.undo import UndoOptions
from server.validation import RawSpec
from tests.server.commands.desk import JANE, PLAIN, REQUIRED, TERMS, VIEWER, WHY, Desk, a_resource


async def test_deprovisioning_opens_a_run_of_its_own_with_its_own_steps(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    wish = UndoOptions(even_if_sold=True)
    await desk.commands.deprovision(JANE, tenant_id, WHY, options=wish)
    record = await desk.record(tenant_id)
    assert record.run is not None
    assert (record.run.order, record.run.state) == (Order.DEPROVISION, RunState.QUEUED)
    assert UndoOptions.read(record.run.options) == wish
    assert [step.key for step in record.steps][-2:] == ["undo_10_company", "undo_11_final_check"]
    assert record.tenant.state is TenantState.DEPROVISIONING
    log = await desk.scene.database.reads.log_page(tenant_id, after=0, limit=100)
    assert log[-1].level is LogLevel.WARNING


async def test_a_tenant_in_motion_is_cancelled_before_it_is_removed(desk: Desk) -> None:
    tenant_id = await desk.start()
    with pytest.raises(Refused) as caught:
        await desk.commands.deprovision(JANE, tenant_id, WHY, options=PLAIN)
    assert caught.value.code == "TENANT_IN_MOTION"
    assert "cancel" in caught.value.message
    await desk.commands.cancel(JANE, tenant_id, WHY)
    await desk.commands.deprovision(JANE, tenant_id, WHY, options=PLAIN)


async def test_the_same_order_to_remove_given_again_is_the_one_under_way(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    await desk.commands.deprovision(JANE, tenant_id, WHY, options=PLAIN)
    await desk.commands.deprovision(JANE, tenant_id, TERMS, options=PLAIN)
    assert await desk.runs(tenant_id) == 2
    with pytest.raises(Refused):
        await desk.commands.deprovision(
            JANE, tenant_id, TERMS, options=UndoOptions(even_if_sold=True)
        )


async def test_stopped_half_way_a_removal_is_gone_on_with_by_the_same_order(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    await desk.commands.deprovision(JANE, tenant_id, WHY, options=PLAIN)
    await desk.end(tenant_id, {"undo_4_pos_profile": StepState.FAILED})
    record = await desk.record(tenant_id)
    assert record.tenant.state is TenantState.DEPROVISIONING
    with pytest.raises(Refused):
        await desk.commands.continue_(JANE, tenant_id, TERMS)
    await desk.commands.deprovision(JANE, tenant_id, WHY, options=PLAIN)
    assert await desk.runs(tenant_id) == 3


async def test_who_orders_a_half_removed_tenant_on_hears_what_gets_past_its_error(
    desk: Desk,
) -> None:
    """The order without the option, or without the one given before, would stop there again."""
    tenant_id = await desk.stopped()
    sold = UndoOptions(even_if_sold=True)
    await desk.commands.deprovision(JANE, tenant_id, WHY, options=sold)
    assert await _next_of_continue(desk, tenant_id) == f"provisioner status {tenant_id} --watch"
    await desk.end(tenant_id, {"undo_1_trade_check": StepState.FAILED})
    await desk.scene.sql("UPDATE steps SET error_code = 'LEDGER_ENTRIES' WHERE state = 'FAILED'")
    assert await _next_of_continue(desk, tenant_id) == (
        f"provisioner deprovision {tenant_id} --even-if-sold --delete-transactions"
    )


async def test_who_orders_a_removed_tenant_on_hears_how_it_is_made_anew(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    await desk.commands.deprovision(JANE, tenant_id, WHY, options=PLAIN)
    await desk.end(tenant_id)
    spec = (await desk.record(tenant_id)).tenant.spec
    assert (await _next_of_continue(desk, tenant_id)).startswith(
        f"provisioner start {shlex.quote(spec.company_name)} --tenant-id {tenant_id} --engine main"
    )


async def _next_of_continue(desk: Desk, tenant_id: str) -> str:
    with pytest.raises(Refused) as caught:
        await desk.commands.continue_(JANE, tenant_id, TERMS)
    command = caught.value.facts["next_command"]
    assert caught.value.message.endswith(command)
    return command


async def test_another_spec_is_refused_with_an_order_that_fits_where_the_tenant_stands(
    desk: Desk,
) -> None:
    tenant_id = await desk.start()
    assert (await _differs(desk, tenant_id)).endswith(f"provisioner status {tenant_id} --watch")
    await desk.end(tenant_id, {REQUIRED: StepState.FAILED})
    assert (await _differs(desk, tenant_id)).endswith(f"provisioner continue {tenant_id}")
    await desk.commands.deprovision(JANE, tenant_id, WHY, options=PLAIN)
    assert (await _differs(desk, tenant_id)).endswith("This one is being removed.")
    await desk.end(tenant_id)
    assert (await _differs(desk, tenant_id)).startswith("send the same one to make the tenant anew")


async def test_a_tenant_that_is_being_removed_is_not_started_and_it_is_said_how_to_keep_it(
    desk: Desk,
) -> None:
    """An answer as if nothing were let its caller wait for a shop that was going."""
    spec, named = RawSpec(company_name="Amani"), "a-sign-up"
    tenant_id = await desk.commands.start(JANE, spec, request_id=named)
    await desk.end(tenant_id, {REQUIRED: StepState.FAILED})
    await desk.commands.deprovision(JANE, tenant_id, WHY, options=PLAIN)
    look = f"provisioner status {tenant_id}"
    for then in (f"{look} --watch", look):
        with pytest.raises(Refused) as caught:
            await desk.commands.start(JANE, spec, tenant_id=tenant_id)
        assert caught.value.code == "TENANT_DEPROVISIONED"
        assert caught.value.facts["next_command"] == then
        assert f"provisioner cancel {tenant_id}, then provisioner continue" in caught.value.message
        # The order that was given before is that order, whatever became of the tenant.
        assert await desk.commands.start(JANE, spec, request_id=named) == tenant_id
        if then != look:
            await desk.end(tenant_id, {"undo_4_pos_profile": StepState.FAILED})
    # As it says.
    await desk.commands.cancel(JANE, tenant_id, WHY)
    await desk.commands.continue_(JANE, tenant_id, WHY)
    assert await desk.commands.start(JANE, spec, tenant_id=tenant_id) == tenant_id


async def _differs(desk: Desk, tenant_id: str) -> str:
    """Return what a Start with another spec is told to do."""
    with pytest.raises(AlreadyExists) as caught:
        await desk.commands.start(JANE, RawSpec(company_name="Bidii"), tenant_id=tenant_id)
    return caught.value.message.partition("A spec can't be changed: ")[2]


async def test_what_a_removal_would_take_is_shown_before(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    await a_resource(desk, tenant_id, "Company", ResourceState.CREATED)
    await a_resource(desk, tenant_id, "Customer", ResourceState.ADOPTED)
    await a_resource(desk, tenant_id, "Mode of Payment", ResourceState.CREATED, shared=True)
    shown = await desk.commands.documents(VIEWER, tenant_id)
    assert [(each.doctype, each.removed) for each in shown] == [
        ("Company", True),
        ("Customer", False),
    ]
