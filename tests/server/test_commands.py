"""Orders on a real store, with nobody to carry them out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest

from server.commands import Commands, EngineEntry, OrderTerms
from server.errors import (
    AlreadyExists,
    InvalidInput,
    NotAllowed,
    NotFound,
    Refused,
    RevisionChanged,
)
from server.model.actor import LOCAL, RECONCILER, Actor, Role
from server.model.blueprint import ERPNEXT
from server.model.derive import derive
from server.model.identifiers import new_id
from server.model.records import Hold
from server.model.states import DONE_STEP_STATES, Order, RunState, StepState, TenantState
from server.store.database import Database
from server.store.operations import RunRow, TenantOperation
from server.validation import RawSpec
from tests.server.store.scene import KINDS, NOON, OTHER_SITE, SITE, Scene, creation, later
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
    from pathlib import Path
    from typing import Any

    from server.model.identifiers import TenantId
    from server.model.records import Record, Step
    from server.store.found import KnownRequest
    from server.store.reads import Reads

ENGINES = {
    "main": EngineEntry(site=SITE, blueprint=ERPNEXT),
    "other": EngineEntry(site=OTHER_SITE, blueprint=ERPNEXT),
}
JANE = Actor(name="jane", role=Role.OPERATOR)
VIEWER = Actor(name="vic", role=Role.VIEWER)
NAME = "Kijani Stores"
REQUIRED = "step_4_warehouses"
OPTIONAL = "step_9_pos_session"
ALWAYS = {"step_0_engine_check", "step_10_post_sale_updates"}
TERMS = OrderTerms()
MADE = later(minutes=-30)


@dataclass(slots=True)
class Desk:
    """Commands, and the store behind them."""

    commands: Commands
    scene: Scene

    async def start(
        self, name: str = NAME, *, tenant_id: str = "", request_id: str = ""
    ) -> TenantId:
        return await self.commands.start(
            JANE, RawSpec(company_name=name), tenant_id=tenant_id, request_id=request_id
        )

    async def record(self, tenant_id: str) -> Record:
        record = await self.scene.record(tenant_id)
        if record.run is not None and record.steps:
            assert len(record.steps) == record.run.total_steps  # promise 1
        return record

    async def runs(self, tenant_id: str) -> int:
        (row,) = await self.scene.sql(
            "SELECT count(*) AS n FROM runs WHERE tenant_id = :i", i=tenant_id
        )
        return int(row["n"])

    async def end(self, tenant_id: str, named: Mapping[str, StepState] | None = None) -> None:
        """End the open run as an executor would; steps that are not named are done."""
        record = await self.record(tenant_id)
        assert record.run is not None
        steps = tuple(_ended(step, (named or {}).get(step.key)) for step in record.steps)
        undone = [step for step in steps if step.state not in DONE_STEP_STATES]
        state = RunState.COMPLETED
        if undone:
            failed = any(step.required for step in undone)
            state = RunState.FAILED if failed else RunState.PARTIAL
        run = replace(record.run, state=state, finished_at=NOON)
        standing = derive(stored=None, run=run, steps=steps, step_types=KINDS, at=NOON)
        await self.scene.written(
            TenantOperation(
                tenant_id=record.tenant.id,
                at=NOON,
                token=record.tenant.fencing_token,
                standing=standing,
                runs=(RunRow(run=run, site=record.tenant.site),),
                steps=steps,
                completed_at=NOON if state is RunState.COMPLETED else None,
            )
        )

    async def stopped(self, named: Mapping[str, StepState] | None = None) -> TenantId:
        tenant_id = await self.start()
        await self.end(tenant_id, named)
        return tenant_id

    async def held(self) -> TenantId:
        tenant_id = await self.stopped({REQUIRED: StepState.FAILED})
        hold = Hold(reason="The Company is gone", by="reconciler", since=NOON)
        await self.scene.written(TenantOperation(tenant_id=tenant_id, at=NOON, hold=hold))
        return tenant_id


def _ended(step: Step, named: StepState | None) -> Step:
    if named is None:
        named = StepState.COMPLETED
    failed = named is StepState.FAILED
    return replace(
        step,
        state=named,
        tries=5 if failed else 1,
        error_code="ENGINE_REFUSED" if failed else None,
        error_message="The engine refused it." if failed else None,
        error_at=NOON if failed else None,
        completed_at=MADE if named is StepState.COMPLETED else None,
        outputs={"made": step.key} if named is StepState.COMPLETED else {},
    )


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    database = await Database.open(await copied_store(tmp_path / "orders.db"))
    commands = Commands(database, engines=ENGINES, default_engine="main", now=lambda: NOON)
    yield Desk(commands=commands, scene=Scene(database=database))
    await database.close()


def undone(record: Record) -> set[str]:
    return {step.key for step in record.steps if step.state not in DONE_STEP_STATES}


# Start


async def test_starting_opens_a_run_with_all_its_steps(desk: Desk) -> None:
    tenant_id = await desk.start()
    record = await desk.record(tenant_id)
    assert record.run is not None
    assert (record.run.order, record.run.state, record.run.actor) == (
        Order.START,
        RunState.QUEUED,
        "jane",
    )
    assert [step.key for step in record.steps] == [kind.key for kind in KINDS]
    assert undone(record) == {kind.key for kind in KINDS}
    assert record.tenant.state is TenantState.IN_PROGRESS
    bound = await desk.scene.database.reads.bound_to(SITE, NAME)
    assert bound is not None
    assert bound.tenant_id == tenant_id
    assert await desk.scene.cursors(tenant_id) == [1]


async def test_demo_data_adds_a_step(desk: Desk) -> None:
    raw = RawSpec(company_name=NAME, include_demo_data=True)
    record = await desk.record(await desk.commands.start(JANE, raw))
    assert len(record.steps) == 11


async def test_a_start_repeated_with_its_request_id_is_the_same_order(desk: Desk) -> None:
    """Promise 10."""
    first = await desk.start(request_id="one")
    before = await desk.scene.everything()
    assert await desk.start(request_id="one") == first
    assert await desk.scene.everything() == before


async def test_starts_at_the_same_time_with_one_request_id_make_one_tenant(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.start(request_id="one") for _ in range(10)))
    assert len(set(answers)) == 1
    assert await desk.runs(answers[0]) == 1


@pytest.mark.parametrize("other", ["Bidii", "kijani stores"])
async def test_a_request_id_of_another_start_is_refused(desk: Desk, other: str) -> None:
    await desk.start(request_id="one")
    before = await desk.scene.everything()
    with pytest.raises(InvalidInput) as caught:
        await desk.start(other, request_id="one")
    assert caught.value.code == "REQUEST_ID_REUSED"
    assert [violation.field for violation in caught.value.violations] == ["request_id"]
    assert await desk.scene.everything() == before


@pytest.mark.parametrize("tenant_id", ["", "01900000-0000-7000-8000-000000000001"])
async def test_a_start_is_the_same_order_though_the_default_engine_was_changed(
    desk: Desk, tenant_id: str
) -> None:
    first = await desk.start(tenant_id=tenant_id, request_id="one")
    before = await desk.scene.everything()
    desk.commands = Commands(
        desk.scene.database, engines=ENGINES, default_engine="other", now=lambda: NOON
    )
    assert await desk.start(tenant_id=tenant_id, request_id="one") == first
    with pytest.raises(InvalidInput) as caught:
        await desk.start("Bidii", tenant_id=tenant_id, request_id="one")
    assert caught.value.code == "REQUEST_ID_REUSED"
    said = RawSpec(company_name=NAME, engine_id="other")
    with pytest.raises(InvalidInput) as caught:
        await desk.commands.start(JANE, said, tenant_id=tenant_id, request_id="one")
    assert caught.value.code == "REQUEST_ID_REUSED"
    assert await desk.scene.everything() == before


async def test_a_start_without_an_engine_is_the_same_spec_though_the_default_was_changed(
    desk: Desk,
) -> None:
    """A file of tenants that is given again, and who leaves out what he left out before."""
    tenant_id = await desk.start(tenant_id="01900000-0000-7000-8000-000000000001")
    before = await desk.scene.everything()
    desk.commands = Commands(
        desk.scene.database, engines=ENGINES, default_engine="other", now=lambda: NOON
    )
    assert await desk.start(tenant_id=tenant_id) == tenant_id
    said = RawSpec(company_name=NAME, engine_id="other")
    with pytest.raises(AlreadyExists) as caught:
        await desk.commands.start(JANE, said, tenant_id=tenant_id)
    assert caught.value.code == "SPEC_DIFFERS"
    assert await desk.scene.everything() == before
    # Known by its request id from then on, also after another change.
    assert await desk.start(tenant_id=tenant_id, request_id="one") == tenant_id
    desk.commands = Commands(
        desk.scene.database, engines=ENGINES, default_engine="main", now=lambda: NOON
    )
    assert await desk.start(tenant_id=tenant_id, request_id="one") == tenant_id


async def test_request_ids_are_each_callers_own(desk: Desk) -> None:
    first = await desk.start(request_id="one")
    second = await desk.commands.start(LOCAL, RawSpec(company_name="Bidii"), request_id="one")
    assert first != second


async def test_a_start_on_a_known_id_with_the_same_spec_changes_nothing(desk: Desk) -> None:
    wanted = new_id(NOON)
    assert await desk.start(tenant_id=wanted.upper()) == wanted
    before = await desk.scene.everything()
    assert await desk.start(tenant_id=wanted) == wanted
    spelled_out = RawSpec(company_name=NAME, country_code="ke", currency="KES")
    assert await desk.commands.start(JANE, spelled_out, tenant_id=wanted) == wanted
    assert await desk.scene.everything() == before


async def test_a_start_on_a_known_id_with_another_spec_is_refused(desk: Desk) -> None:
    wanted = new_id(NOON)
    await desk.start(tenant_id=wanted)
    before = await desk.scene.everything()
    others = {
        "company_name is 'Kijani Stores', not 'Bidii'": RawSpec(company_name="Bidii"),
        "till_user is none, not 'till@example.com'": RawSpec(
            company_name=NAME, till_user="till@example.com"
        ),
    }
    for said, raw in others.items():
        with pytest.raises(AlreadyExists) as caught:
            await desk.commands.start(JANE, raw, tenant_id=wanted)
        assert caught.value.code == "SPEC_DIFFERS"
        assert f"exists with another spec: {said}. " in caught.value.message
    assert await desk.scene.everything() == before


@pytest.mark.parametrize("name", [NAME, "KIJANI STORES", "  kijani stores ", "Kijáni Störes"])
async def test_a_company_name_is_taken_in_every_spelling_the_engine_takes_for_one(
    desk: Desk, name: str
) -> None:
    first = await desk.start()
    before = await desk.scene.everything()
    with pytest.raises(AlreadyExists) as caught:
        await desk.start(name)
    assert caught.value.code == "COMPANY_NAME_TAKEN"
    assert first in caught.value.message
    assert await desk.scene.everything() == before


async def test_a_company_name_is_free_on_another_site(desk: Desk) -> None:
    await desk.start()
    raw = RawSpec(company_name=NAME, engine_id="other")
    record = await desk.record(await desk.commands.start(JANE, raw))
    assert record.tenant.site == OTHER_SITE


async def test_of_starts_of_one_name_at_the_same_time_one_wins(desk: Desk) -> None:
    answers = await asyncio.gather(*(desk.start() for _ in range(5)), return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["AlreadyExists"] * 4 + ["str"]


async def test_what_is_wrong_with_a_start_is_said_all_at_once_and_nothing_is_written(
    desk: Desk,
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await desk.commands.start(
            JANE, RawSpec(company_name=""), tenant_id="acme", request_id="x" * 200
        )
    fields = {violation.field for violation in caught.value.violations}
    assert fields == {"spec.company_name", "tenant_id", "request_id"}
    assert not any((await desk.scene.everything()).values())


def _continue(desk: Desk, tenant_id: str) -> Coroutine[Any, Any, TenantId]:
    return desk.commands.continue_(JANE, tenant_id, TERMS)


def _retry(desk: Desk, tenant_id: str) -> Coroutine[Any, Any, TenantId]:
    return desk.commands.retry(JANE, tenant_id, TERMS)


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


# Continue and Retry


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
        await _continue(desk, tenant_id)
        steps = {step.key: step for step in (await desk.record(tenant_id)).steps}
        assert steps["step_2_company"].carried_from == first.id
        await desk.end(tenant_id, {REQUIRED: StepState.FAILED})


async def test_continue_on_a_completed_tenant_does_nothing(desk: Desk) -> None:
    tenant_id = await desk.stopped()
    before = await desk.scene.everything()
    assert await _continue(desk, tenant_id) == tenant_id
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
    await _retry(desk, tenant_id)
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


@pytest.mark.parametrize("order", [_continue, _retry])
async def test_orders_on_a_tenant_in_motion_are_refused(
    desk: Desk, order: Callable[[Desk, str], Coroutine[Any, Any, TenantId]]
) -> None:
    tenant_id = await desk.start()
    before = await desk.scene.everything()
    with pytest.raises(Refused) as caught:
        await order(desk, tenant_id)
    assert caught.value.code == "TENANT_IN_MOTION"
    assert await desk.scene.everything() == before


@pytest.mark.parametrize("order", [_continue, _retry])
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
        await _continue(desk, tenant_id)
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
        *(_continue(desk, tenant_id) for _ in range(5)), return_exceptions=True
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


# Holds and healing


async def test_the_reconciler_moves_no_held_tenant_and_a_person_lifts_the_hold(desk: Desk) -> None:
    tenant_id = await desk.held()
    before = await desk.scene.everything()
    with pytest.raises(Refused) as caught:
        await desk.commands.continue_(RECONCILER, tenant_id, TERMS)
    assert caught.value.code == "TENANT_HELD"
    assert await desk.scene.everything() == before
    await _continue(desk, tenant_id)
    record = await desk.record(tenant_id)
    assert (record.tenant.hold, record.tenant.state) == (None, TenantState.IN_PROGRESS)


async def test_the_reconciler_moves_no_cancelled_tenant_and_a_person_does(desk: Desk) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.PENDING})
    await desk.scene.change_run(tenant_id, state="CANCELLED")
    with pytest.raises(Refused) as caught:
        await desk.commands.continue_(RECONCILER, tenant_id, TERMS)
    assert caught.value.code == "TENANT_CANCELLED"
    await _continue(desk, tenant_id)
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
    await _continue(desk, tenant_id)
    tenant = (await desk.record(tenant_id)).tenant
    assert (tenant.heal_count, tenant.healed_at) == (0, None)


# Lost records


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
    await _continue(desk, tenant_id)
    bound = await desk.scene.database.reads.binding(tenant_id)
    assert bound is not None
    assert (bound.company_name, bound.abbreviation) == (NAME, None)


async def test_a_binding_that_another_tenant_has_now_stops_the_order(desk: Desk) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    await desk.scene.sql("DELETE FROM bindings")
    await desk.scene.written(creation("KIJANI STORES"))
    before = await desk.scene.everything()
    with pytest.raises(Refused) as caught:
        await _continue(desk, tenant_id)
    assert caught.value.code == "COMPANY_NAME_TAKEN"
    assert await desk.scene.everything() == before


@pytest.mark.parametrize("word", ["garbage", ""])
async def test_garbage_words_do_not_keep_a_person_from_driving_on(desk: Desk, word: str) -> None:
    tenant_id = await desk.stopped({REQUIRED: StepState.FAILED})
    await desk.scene.change_tenant(tenant_id, state=word)
    await desk.scene.change_run(tenant_id, state=word)
    await desk.scene.sql("UPDATE steps SET state = :word", word=word)
    await _continue(desk, tenant_id)
    record = await desk.record(tenant_id)
    assert record.tenant.state is TenantState.IN_PROGRESS
    assert undone(record) == {kind.key for kind in KINDS}
