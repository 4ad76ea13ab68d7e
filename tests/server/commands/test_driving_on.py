"""Continue and Retry, on a real store with nobody to carry them out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from server.commands import OrderTerms
from server.errors import InvalidInput, NotAllowed, NotFound, Refused, RevisionChanged
from server.model.actor import RECONCILER
from server.model.identifiers import new_id
from server.model.states import Order, StepState, TenantState
from server.validation import RawSpec
from tests.server.commands.desk import (
    ALWAYS,
    JANE,
    MADE,
    OPTIONAL,
    REQUIRED,
    TERMS,
    VIEWER,
    Desk,
    by_continue,
    by_retry,
    undone,
)
from tests.server.store.scene import KINDS, NOON

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from server.model.identifiers import TenantId
    from server.store.found import KnownRequest
    from server.store.reads import Reads


async def test_who_may_only_look_gives_no_orders(desk: Desk) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    before = await desk.scene.everything()
    with pytest.raises(NotAllowed):
        await desk.commands.start(VIEWER, RawSpec(company_name="Bidii"))
    with pytest.raises(NotAllowed):
        await desk.commands.continue_(VIEWER, tenant_id, TERMS)
    with pytest.raises(NotAllowed):
        await desk.commands.retry(VIEWER, tenant_id, TERMS)
    assert await desk.scene.everything() == before


async def test_continue_carries_over_what_is_done_and_opens_the_rest_with_fresh_budgets(
    desk: Desk,
) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED, OPTIONAL: StepState.PENDING})
    old = await desk.record(tenant_id)
    assert old.run is not None
    await desk.commands.continue_(JANE, tenant_id, OrderTerms(reason="Fixed by hand"))
    record = await desk.record(tenant_id)
    assert record.run is not None
    assert record.run.id != old.run.id
    assert (record.run.order, record.run.reason, record.run.previous_state) == (
        Order.CONTINUE,
        "Fixed by hand",
        "FAILED",
    )
    assert undone(record) == {REQUIRED, OPTIONAL} | ALWAYS
    for step in record.steps:
        if step.state is StepState.COMPLETED:
            assert (step.carried_from, step.completed_at) == (old.run.id, MADE)
            assert step.outputs == {"made": step.key}
        else:
            assert (step.tries, step.races, step.losses, step.error_code) == (0, 0, 0, None)
    assert record.tenant.fencing_token == old.tenant.fencing_token + 1
    assert record.tenant.state is TenantState.IN_PROGRESS


async def test_a_step_carried_over_twice_still_names_the_run_that_did_it(desk: Desk) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    first = (await desk.record(tenant_id)).run
    assert first is not None
    for _ in range(2):
        await by_continue(desk, tenant_id)
        steps = {step.key: step for step in (await desk.record(tenant_id)).steps}
        assert steps["step_2_company"].carried_from == first.id
        await desk.end(tenant_id, {REQUIRED: StepState.FAILED})


async def test_continue_on_a_completed_tenant_does_nothing(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    before = await desk.scene.everything()
    assert await by_continue(desk, tenant_id) == tenant_id
    assert await desk.scene.everything() == before


async def test_continue_on_a_completed_tenant_is_remembered_by_its_request_id(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    terms = OrderTerms(request_id="one")
    await desk.commands.continue_(JANE, tenant_id, terms)
    await desk.scene.change_run(tenant_id, state="FAILED")
    await desk.scene.sql("UPDATE steps SET state = 'FAILED' WHERE key = :key", key=REQUIRED)
    await desk.commands.continue_(JANE, tenant_id, terms)
    assert await desk.runs(tenant_id) == 1


async def test_retry_opens_every_step_anew(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    await by_retry(desk, tenant_id)
    record = await desk.record(tenant_id)
    assert record.run is not None
    assert (record.run.order, record.run.previous_state) == (Order.RETRY, "COMPLETED")
    assert undone(record) == {kind.key for kind in KINDS}


@pytest.mark.parametrize(
    ("key", "again"),
    [
        ("step_9_pos_session", {"step_9_pos_session"}),
        ("step_7_customer", {"step_7_customer", "step_8_pos_profile", "step_9_pos_session"}),
        ("step_5_settings", {"step_5_settings", "step_8_pos_profile", "step_9_pos_session"}),
    ],
)
async def test_retry_of_a_step_opens_it_and_those_that_need_it(
    desk: Desk, key: str, again: set[str]
) -> None:
    tenant_id = await desk.stopped()
    await desk.commands.retry(JANE, tenant_id, TERMS, step_key=key)
    assert undone(await desk.record(tenant_id)) == again | ALWAYS


async def test_retry_of_an_unknown_step_is_refused(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    with pytest.raises(InvalidInput) as caught:
        await desk.commands.retry(JANE, tenant_id, TERMS, step_key="step_99")
    assert [violation.field for violation in caught.value.violations] == ["step_key"]


@pytest.mark.parametrize("order", [by_continue, by_retry])
async def test_orders_on_a_tenant_in_motion_are_refused(
    desk: Desk, order: Callable[[Desk, str], Coroutine[Any, Any, TenantId]]
) -> None:
    tenant_id = await desk.start()
    before = await desk.scene.everything()
    with pytest.raises(Refused) as caught:
        await order(desk, tenant_id)
    assert caught.value.code == "TENANT_IN_MOTION"
    assert await desk.scene.everything() == before


@pytest.mark.parametrize("order", [by_continue, by_retry])
async def test_orders_on_no_tenant_are_refused(
    desk: Desk, order: Callable[[Desk, str], Coroutine[Any, Any, TenantId]]
) -> None:
    with pytest.raises(NotFound):
        await order(desk, new_id(NOON))
    with pytest.raises(InvalidInput):
        await order(desk, "acme")


async def test_an_order_of_an_engine_that_is_not_configured_says_so(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    await desk.scene.change_tenant(tenant_id, engine_id="gone")
    with pytest.raises(Refused) as caught:
        await by_continue(desk, tenant_id)
    assert caught.value.code == "ENGINE_NOT_CONFIGURED"


async def test_a_continue_repeated_with_its_request_id_opens_one_run(desk: Desk) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    terms = OrderTerms(request_id="one", reason="again")
    for _ in range(3):
        assert await desk.commands.continue_(JANE, tenant_id, terms) == tenant_id
    assert await desk.runs(tenant_id) == 2
    await desk.end(tenant_id, {REQUIRED: StepState.FAILED})
    assert await desk.commands.continue_(JANE, tenant_id, terms) == tenant_id
    assert await desk.runs(tenant_id) == 2


@pytest.mark.parametrize("judged", [True, False])
async def test_an_order_sent_again_while_the_first_is_on_its_way_is_the_same_order(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, judged: bool
) -> None:
    """The first one is carried out between the looks at request ids and at the tenant."""
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    revision = (await desk.record(tenant_id)).tenant.revision
    terms = OrderTerms(request_id="one", expected_revision=revision if judged else None)
    reads = type(desk.scene.database.reads)
    look = reads.request

    async def overtaken(self: Reads, *asked: str) -> KnownRequest | None:
        monkeypatch.undo()
        known = await look(self, *asked)
        await desk.commands.retry(JANE, tenant_id, terms)
        return known

    monkeypatch.setattr(reads, "request", overtaken)
    assert await desk.commands.retry(JANE, tenant_id, terms) == tenant_id
    assert await desk.runs(tenant_id) == 2


@pytest.mark.parametrize(
    "terms",
    [
        OrderTerms(request_id="one", reason="another"),
        OrderTerms(request_id="one", expected_revision=2),
    ],
)
async def test_a_request_id_of_another_continue_is_refused(desk: Desk, terms: OrderTerms) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    await desk.commands.continue_(JANE, tenant_id, OrderTerms(request_id="one"))
    with pytest.raises(InvalidInput) as caught:
        await desk.commands.continue_(JANE, tenant_id, terms)
    assert caught.value.code == "REQUEST_ID_REUSED"


async def test_one_request_id_may_name_a_continue_and_a_retry(desk: Desk) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    await desk.commands.continue_(JANE, tenant_id, OrderTerms(request_id="one"))
    await desk.end(tenant_id)
    await desk.commands.retry(JANE, tenant_id, OrderTerms(request_id="one"))
    assert await desk.runs(tenant_id) == 3


async def test_an_order_that_judged_another_revision_is_refused(desk: Desk) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    revision = (await desk.record(tenant_id)).tenant.revision
    for expected in (revision - 1, revision + 1):
        with pytest.raises(RevisionChanged):
            await desk.commands.continue_(JANE, tenant_id, OrderTerms(expected_revision=expected))
    assert await desk.runs(tenant_id) == 1
    await desk.commands.continue_(JANE, tenant_id, OrderTerms(expected_revision=revision))
    assert await desk.runs(tenant_id) == 2


async def test_continues_at_the_same_time_open_one_run(desk: Desk) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    answers = await asyncio.gather(
        *(by_continue(desk, tenant_id) for _ in range(5)), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Refused"] * 4 + ["str"]
    assert await desk.runs(tenant_id) == 2
    await desk.record(tenant_id)


async def test_continues_at_the_same_time_at_one_revision_open_one_run(desk: Desk) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    revision = (await desk.record(tenant_id)).tenant.revision
    terms = OrderTerms(expected_revision=revision)
    answers = await asyncio.gather(
        *(desk.commands.continue_(JANE, tenant_id, terms) for _ in range(5)),
        return_exceptions=True,
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["RevisionChanged"] * 4 + ["str"]
    assert await desk.runs(tenant_id) == 2


async def test_any_number_of_reconcilers_give_one_order(desk: Desk) -> None:
    """Promise 7: one request id, one revision; all are told that it was given."""
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    revision = (await desk.record(tenant_id)).tenant.revision
    terms = OrderTerms(request_id="judged", expected_revision=revision)
    answers = await asyncio.gather(
        *(desk.commands.continue_(RECONCILER, tenant_id, terms) for _ in range(5)),
        return_exceptions=True,
    )
    assert answers == [tenant_id] * 5
    assert await desk.runs(tenant_id) == 2
    assert (await desk.record(tenant_id)).tenant.heal_count == 1


async def test_the_reconciler_moves_no_held_tenant_and_a_person_lifts_the_hold(desk: Desk) -> None:
    tenant_id = await desk.held()
    before = await desk.scene.everything()
    with pytest.raises(Refused) as caught:
        await desk.commands.continue_(RECONCILER, tenant_id, TERMS)
    assert caught.value.code == "TENANT_HELD"
    assert await desk.scene.everything() == before
    await by_continue(desk, tenant_id)
    record = await desk.record(tenant_id)
    assert (record.tenant.hold, record.tenant.state) == (None, TenantState.IN_PROGRESS)


async def test_the_reconciler_moves_no_cancelled_tenant_and_a_person_does(desk: Desk) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.PENDING})
    await desk.scene.change_run(tenant_id, state="CANCELLED")
    with pytest.raises(Refused) as caught:
        await desk.commands.continue_(RECONCILER, tenant_id, TERMS)
    assert caught.value.code == "TENANT_CANCELLED"
    await by_continue(desk, tenant_id)
    assert await desk.runs(tenant_id) == 2


async def test_the_healing_budget_grows_with_the_reconciler_and_is_given_back_by_a_person(
    desk: Desk,
) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    for count in (1, 2):
        await desk.commands.continue_(RECONCILER, tenant_id, TERMS)
        tenant = (await desk.record(tenant_id)).tenant
        assert (tenant.heal_count, tenant.healed_at) == (count, NOON)
        await desk.end(tenant_id, {REQUIRED: StepState.FAILED})
    await by_continue(desk, tenant_id)
    tenant = (await desk.record(tenant_id)).tenant
    assert (tenant.heal_count, tenant.healed_at) == (0, None)
