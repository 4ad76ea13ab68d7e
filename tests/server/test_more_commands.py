"""Skip, cancel, release, adopt and deprovision, on a real store with nobody to drive."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from server.commands import Commands, OrderTerms
from server.errors import AlreadyExists, EngineNotReady, InvalidInput, NotAllowed, Refused
from server.model.actor import RECONCILER
from server.model.identifiers import WorkerId
from server.model.ownership import Resource
from server.model.records import Hold
from server.model.states import (
    LogLevel,
    Order,
    ResourceState,
    RunState,
    StepState,
    TenantState,
)
from server.model.step_context import Answer, AnswerKind
from server.model.undo import UNSETTLED_AT, UndoOptions
from server.noop import NoopEngine
from server.store.operations import ResourceRow, RunRow, TenantOperation, WorkerOperation
from server.validation import RawSpec
from tests.server.store.scene import NOON, SITE, later
from tests.server.test_commands import ENGINES, JANE, NAME, OPTIONAL, REQUIRED, TERMS, VIEWER, Desk
from tests.server.test_commands import desk as desk  # noqa: PLC0414 - a fixture

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    from server.model.identifiers import TenantId
    from server.model.step_context import Request

WHY = OrderTerms(reason="agreed with the shop")
PLAIN = UndoOptions()
DEMO = "step_6_items"


async def _last_line(desk: Desk, tenant_id: TenantId) -> str:
    log = await desk.scene.database.reads.log_page(tenant_id, after=0, limit=1000)
    return log[-1].message


async def _resource(
    desk: Desk, tenant_id: TenantId, doctype: str, state: ResourceState, *, shared: bool = False
) -> None:
    record = await desk.record(tenant_id)
    assert record.run is not None
    row = ResourceRow(
        resource=Resource(doctype=doctype, name=f"A {doctype}", state=state, intended_at=NOON),
        shared=shared,
        run_id=record.run.id,
        step_key="step_2_company",
        settled_at=None,
    )
    await desk.scene.written(TenantOperation(tenant_id=tenant_id, at=NOON, resources=(row,)))


async def _driven(desk: Desk, tenant_id: TenantId, *, beat: bool) -> None:
    """Have a worker at the tenant's run; alive, or dead for a minute."""
    worker = WorkerId("01900000-0000-7000-8000-00000000aaaa")
    await desk.scene.database.submit(
        WorkerOperation(
            worker_id=worker,
            at=NOON if beat else later(seconds=-60),
            lease_seconds=10.0,
        )
    )
    record = await desk.record(tenant_id)
    assert record.run is not None
    run = replace(record.run, state=RunState.RUNNING, worker_id=worker)
    await desk.scene.written(
        TenantOperation(tenant_id=tenant_id, at=NOON, runs=(RunRow(run=run, site=SITE),))
    )


# Skip


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
    assert "jane" in await _last_line(desk, tenant_id)


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
    assert _next(caught.value) == f"provisioner diagnose {tenant_id}"
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
        assert _next(caught.value) == f"provisioner status {tenant_id}{options}"


def _next(refused: Refused) -> str:
    """Return the command that a refusal names: its last words, and a fact for programs."""
    command = refused.facts["next_command"]
    assert refused.message.endswith(f": {command}")
    return command


# Cancel


async def test_a_queued_run_is_cancelled_at_once(desk: Desk) -> None:
    tenant_id = await desk.start()
    before = await desk.record(tenant_id)
    await desk.commands.cancel(JANE, tenant_id, WHY)
    record = await desk.record(tenant_id)
    assert record.tenant.state is TenantState.CANCELLED
    assert record.run is not None
    assert (record.run.state, record.run.finished_at) == (RunState.CANCELLED, NOON)
    assert record.tenant.fencing_token > before.tenant.fencing_token
    assert "Nothing of it is left at the engine" in await _last_line(desk, tenant_id)
    await desk.commands.continue_(JANE, tenant_id, TERMS)
    assert (await desk.record(tenant_id)).tenant.state is TenantState.IN_PROGRESS


async def test_a_cancelled_run_says_what_is_left_behind_but_not_what_tenants_share(
    desk: Desk,
) -> None:
    tenant_id = await desk.start()
    await _resource(desk, tenant_id, "Company", ResourceState.CREATED)
    await _resource(desk, tenant_id, "Mode of Payment", ResourceState.CREATED, shared=True)
    await desk.commands.cancel(JANE, tenant_id, WHY)
    line = await _last_line(desk, tenant_id)
    assert "Company 'A Company'" in line
    assert "Mode of Payment" not in line


async def test_a_request_of_unknown_outcome_is_looked_up_before_the_run_is_closed(
    desk: Desk,
) -> None:
    tenant_id = await desk.start()
    await _resource(desk, tenant_id, "Company", ResourceState.INTENDED)
    await desk.commands.cancel(JANE, tenant_id, WHY)
    record = await desk.record(tenant_id)
    assert record.tenant.state is TenantState.IN_PROGRESS
    assert record.run is not None
    assert record.run.state is RunState.QUEUED
    assert record.run.cancellation is not None
    assert (record.run.cancellation.by, record.run.cancellation.reason) == ("jane", WHY.reason)


async def test_a_driven_run_gets_a_mark_that_its_workers_writes_leave_alone(desk: Desk) -> None:
    tenant_id = await desk.start()
    await _driven(desk, tenant_id, beat=True)
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
    assert _next(caught.value) == f"provisioner deprovision {tenant_id}"


# Release


async def test_releasing_lifts_a_hold_and_drives_nothing(desk: Desk) -> None:
    tenant_id = await desk.held()
    holder = await desk.commands.holder(JANE, tenant_id)
    assert holder.hold == Hold(reason="The Company is gone", by="reconciler", since=NOON)
    await desk.commands.release(JANE, tenant_id, WHY)
    record = await desk.record(tenant_id)
    assert record.tenant.hold is None
    assert record.tenant.state is TenantState.FAILED
    assert "The Company is gone" in await _last_line(desk, tenant_id)


async def test_a_dead_workers_run_is_released_and_the_dead_ones_token_counts_no_more(
    desk: Desk,
) -> None:
    tenant_id = await desk.start()
    await _driven(desk, tenant_id, beat=False)
    before = await desk.record(tenant_id)
    holder = await desk.commands.holder(JANE, tenant_id)
    assert (holder.dead, holder.heartbeat_at) == (True, later(seconds=-60))
    await desk.commands.release(JANE, tenant_id, WHY)
    record = await desk.record(tenant_id)
    assert record.run is not None
    assert (record.run.state, record.run.worker_id) == (RunState.QUEUED, None)
    assert record.tenant.fencing_token > before.tenant.fencing_token
    assert "60 s ago" in await _last_line(desk, tenant_id)


async def test_a_living_workers_run_is_not_released(desk: Desk) -> None:
    tenant_id = await desk.start()
    await _driven(desk, tenant_id, beat=True)
    with pytest.raises(Refused) as caught:
        await desk.commands.release(JANE, tenant_id, WHY)
    assert caught.value.code == "LEASE_ALIVE"
    assert _next(caught.value) == f"provisioner cancel {tenant_id}"


# Adopt


class _Site(NoopEngine):
    """An engine with one Company."""

    company: dict[str, object] | None = None

    async def send(self, request: Request) -> Answer:
        if request.doctype == "Country":
            return Answer(kind=AnswerKind.OK, data=[{"name": "Kenya", "code": "ke"}])
        if self.company is None:
            return Answer(kind=AnswerKind.MISSING, status=404)
        return Answer(kind=AnswerKind.OK, data=self.company)


def _company(**changes: object) -> dict[str, object]:
    return {
        "name": NAME,
        "abbr": "KST",
        "default_currency": "KES",
        "country": "Kenya",
        "owner": "administrator@example.com",
        "creation": "2026-05-04 10:00:00.000000",
        "is_group": 0,
    } | changes


def _with_site(desk: Desk, company: dict[str, object] | None) -> Commands:
    site = _Site()
    site.company = company
    return Commands(
        desk.scene.database,
        engines=ENGINES,
        default_engine="main",
        now=lambda: NOON,
        adapters={"main": site, "other": site},
    )


async def test_a_company_that_agrees_is_adopted_and_the_run_goes_on_over_it(desk: Desk) -> None:
    tenant_id = await desk.held()
    commands = _with_site(desk, _company())
    shown = await commands.adoption(JANE, tenant_id)
    assert shown.possible
    await commands.adopt_company(JANE, tenant_id, WHY)
    record = await desk.record(tenant_id)
    assert record.tenant.state is TenantState.IN_PROGRESS
    assert record.tenant.hold is None
    (resource,) = await desk.scene.database.reads.resources(tenant_id)
    assert (resource.doctype, resource.state) == ("Company", ResourceState.ADOPTED)
    bound = await desk.scene.database.reads.binding(tenant_id)
    assert bound is not None
    assert bound.abbreviation == "KST"


@pytest.mark.parametrize(
    ("company", "says"),
    [
        (None, "There is no Company"),
        (_company(country="Uganda"), "country: wanted Kenya, there is Uganda"),
        (_company(default_currency="UGX"), "currency"),
        (_company(is_group=1), "a group of companies"),
    ],
)
async def test_a_company_that_does_not_agree_is_not_adopted(
    desk: Desk, company: dict[str, object] | None, says: str
) -> None:
    tenant_id = await desk.stopped({"step_2_company": StepState.FAILED})
    before = await desk.scene.everything()
    with pytest.raises(Refused) as caught:
        await _with_site(desk, company).adopt_company(JANE, tenant_id, WHY)
    assert says in caught.value.message
    assert await desk.scene.everything() == before


async def test_a_company_bound_to_another_tenant_by_its_abbreviation_is_not_adopted(
    desk: Desk,
) -> None:
    other = await desk.stopped({"step_2_company": StepState.FAILED})
    await _with_site(desk, _company()).adopt_company(JANE, other, WHY)
    mine = await desk.commands.start(JANE, RawSpec(company_name="Bidii"))
    await desk.end(mine, {"step_2_company": StepState.FAILED})
    with pytest.raises(Refused) as caught:
        await _with_site(desk, _company(name="Bidii")).adopt_company(JANE, mine, WHY)
    assert other in caught.value.message


async def test_nothing_is_adopted_from_an_engine_that_cant_be_asked(desk: Desk) -> None:
    tenant_id = await desk.stopped({"step_2_company": StepState.FAILED})
    with pytest.raises(EngineNotReady):
        await desk.commands.adopt_company(JANE, tenant_id, WHY)


# Deprovision


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
    await _resource(desk, tenant_id, "Company", ResourceState.CREATED)
    await _resource(desk, tenant_id, "Customer", ResourceState.ADOPTED)
    await _resource(desk, tenant_id, "Mode of Payment", ResourceState.CREATED, shared=True)
    shown = await desk.commands.documents(VIEWER, tenant_id)
    assert [(each.doctype, each.removed) for each in shown] == [
        ("Company", True),
        ("Customer", False),
    ]


# All of them


def _all(commands: Commands) -> list[Callable[[Any, str, OrderTerms], Coroutine[Any, Any, Any]]]:
    return [
        lambda who, tenant, terms: commands.skip_step(who, tenant, terms, step_key=OPTIONAL),
        commands.cancel,
        commands.release,
        commands.adopt_company,
        lambda who, tenant, terms: commands.deprovision(who, tenant, terms, options=PLAIN),
    ]


async def test_the_healer_and_those_who_may_only_look_give_none_of_these_orders(
    desk: Desk,
) -> None:
    """Promise 8: none of these is the reconciler's to give."""
    tenant_id = await desk.stopped({OPTIONAL: StepState.FAILED})
    before = await desk.scene.everything()
    for order in _all(desk.commands):
        for who in (RECONCILER, VIEWER):
            with pytest.raises(NotAllowed):
                await order(who, tenant_id, WHY)
    assert await desk.scene.everything() == before


async def test_an_order_repeated_with_its_request_id_is_the_same_order(desk: Desk) -> None:
    """Promise 10."""
    commands = _with_site(desk, _company())
    for number, order in enumerate(_all(commands)):
        tenant_id = await desk.start(f"Shop {number}")
        await desk.end(tenant_id, {OPTIONAL: StepState.FAILED})
        terms = OrderTerms(request_id=f"order-{number}", reason="once")
        await order(JANE, tenant_id, terms)
        before = await desk.scene.everything()
        await order(JANE, tenant_id, terms)
        assert await desk.scene.everything() == before
