"""Start, on a real store with nobody to carry it out."""

from __future__ import annotations

import asyncio

import pytest

from server.commands import Commands
from server.errors import AlreadyExists, InvalidInput
from server.model.actor import LOCAL
from server.model.identifiers import new_id
from server.model.states import Order, RunState, TenantState
from server.validation import RawSpec
from tests.server.commands.desk import ENGINES, JANE, NAME, Desk, undone
from tests.server.store.scene import KINDS, NOON, OTHER_SITE, SITE


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
