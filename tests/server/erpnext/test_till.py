"""step_9, and the older versions that ignore a name: opened once, and never twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.erpnext.codes import Code
from server.erpnext.requests import call, make
from server.errors import EngineError
from server.model.states import ResourceState
from server.model.step_context import Request
from tests.server.erpnext.context import MemoryContext, drive, drive_step, kenyan
from tests.server.erpnext.sitework import (
    TILL_USER,
    OlderEngine,
    add_till_user,
    document,
    fault,
    names,
)

if TYPE_CHECKING:
    from server.erpnext.client import ErpNextEngine
    from server.standin.app import StandIn

STEP = "step_9_pos_session"
ENTRY = "POS Opening Entry"
BEFORE = tuple(
    f"step_{number}_{rest}"
    for number, rest in enumerate(
        (
            "engine_check",
            "platform_setup",
            "company",
            "chart_of_accounts",
            "warehouses",
            "settings",
            "items",
            "customer",
            "pos_profile",
        )
    )
)


async def ready(engine: ErpNextEngine | OlderEngine, **changes: object) -> MemoryContext:
    spec = kenyan(**{"till_user": TILL_USER, **changes})
    context = MemoryContext(engine=engine, spec=spec)
    await drive(context, *BEFORE)
    context.sent.clear()
    return context


async def enter(
    engine: ErpNextEngine, name: str, *, profile: str = "POS MNT", docstatus: int
) -> None:
    """Make an opening entry as somebody else would."""
    body = {
        "name": name,
        "period_start_date": "2026-11-23 09:00:00",
        "posting_date": "2026-11-23",
        "company": "Mama Njeri Traders",
        "pos_profile": profile,
        "user": TILL_USER,
        "balance_details": [{"mode_of_payment": "Cash", "opening_amount": 0}],
        "docstatus": docstatus,
    }
    await engine.send(make(ENTRY, name, body))


@pytest.fixture(autouse=True)
async def till_user(engine: ErpNextEngine) -> None:
    await add_till_user(engine)


async def test_without_a_till_user_the_step_is_skipped_with_a_reason(
    engine: ErpNextEngine,
) -> None:
    context = await ready(engine, till_user=None)
    await drive_step(context, STEP)
    assert "till_user" in context.found[STEP].skip
    assert not context.sent


async def test_tills_of_a_live_shop_are_left_to_people(engine: ErpNextEngine) -> None:
    context = await ready(engine)
    context.completed_once = True
    await drive_step(context, STEP)
    assert "people" in context.found[STEP].skip
    assert not context.writes


async def test_a_till_that_people_deleted_is_opened_again_on_a_persons_order_only(
    site: StandIn, engine: ErpNextEngine
) -> None:
    """The shop may be in use though it was never COMPLETED: an optional step may have failed."""
    context = await ready(engine)
    await drive_step(context, STEP)
    site.site.documents[ENTRY].clear()
    context.sent.clear()
    await drive_step(context, STEP)
    assert "its opening entry is gone" in context.found[STEP].skip
    assert not context.writes
    context.ordered_to_make_again = True
    await drive_step(context, STEP)
    assert names(site, ENTRY) == ["POS-OPE-MNT-1"]


async def test_an_entry_that_was_ever_submitted_is_enough_for_ever(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await ready(engine)
    await enter(engine, "By Hand", docstatus=1)
    cancel = Request(
        method="POST",
        path=call("frappe.client.cancel").path,
        body={"doctype": ENTRY, "name": "By Hand"},
        doctype=ENTRY,
    )
    await engine.send(cancel)
    await drive_step(context, STEP)
    assert not context.writes
    assert context.outputs(STEP)["opening_entry"] == "By Hand"


async def test_a_draft_of_ours_is_submitted(site: StandIn, engine: ErpNextEngine) -> None:
    context = await ready(engine)
    await enter(engine, "POS-OPE-MNT-1", docstatus=0)
    await drive_step(context, STEP)
    assert [(each.method, each.body) for each in context.writes] == [("PUT", {"docstatus": 1})]
    assert document(site, ENTRY, "POS-OPE-MNT-1")["status"] == "Open"


async def test_a_draft_of_somebody_else_is_noted_and_ours_is_opened(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await ready(engine)
    await enter(engine, "POS-OPE-2026-00009", docstatus=0)
    found = await engine.step(STEP).probe(context)
    assert "POS-OPE-2026-00009" in found.notes[0]
    await drive_step(context, STEP)
    assert document(site, ENTRY, "POS-OPE-2026-00009")["docstatus"] == 0
    assert document(site, ENTRY, "POS-OPE-MNT-1")["docstatus"] == 1


async def test_a_name_used_up_by_another_profile_leads_to_the_next_number(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await ready(engine)
    await enter(engine, "POS-OPE-MNT-1", docstatus=1)
    document(site, ENTRY, "POS-OPE-MNT-1")["pos_profile"] = "Another"
    await drive_step(context, STEP)
    assert context.outputs(STEP)["opening_entry"] == "POS-OPE-MNT-2"
    assert [intent.name for intent in context.intents if intent.doctype == ENTRY] == [
        "POS-OPE-MNT-1",
        "POS-OPE-MNT-2",
    ]


async def test_names_used_up_without_end_stop_the_step(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await ready(engine)
    for number in range(1, 21):
        await enter(engine, f"POS-OPE-MNT-{number}", docstatus=1)
        document(site, ENTRY, f"POS-OPE-MNT-{number}")["pos_profile"] = "Another"
    with pytest.raises(EngineError) as caught:
        await drive_step(context, STEP)
    assert caught.value.code == Code.NAME_TAKEN


async def opened_beside(
    site: StandIn, engine: ErpNextEngine, context: MemoryContext, *, refuses: bool
) -> None:
    """Let a person open the till between our look and our request for it."""
    step = engine.step(STEP)
    found = await step.probe(context)
    assert not found.done
    await enter(engine, "By Hand", docstatus=1)
    if refuses:
        await fault(site, method="POST", doctype=ENTRY, exc_type="ValidationError", status=417)
    await step.apply(context, found)
    context.take(STEP, await step.probe(context))


async def test_a_till_that_a_person_opened_a_moment_ago_is_enough_where_a_second_is_refused(
    site: StandIn, engine: ErpNextEngine
) -> None:
    """As newer versions do; the step failed, and the tenant waited for a person."""
    context = await ready(engine)
    await opened_beside(site, engine, context, refuses=True)
    assert context.found[STEP].done
    assert context.outputs(STEP)["opening_entry"] == "By Hand"
    assert names(site, ENTRY) == ["By Hand"]


async def test_a_till_that_is_refused_though_nobody_opened_it_stops_the_step(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await ready(engine)
    await enter(engine, "By Hand", docstatus=0)
    await fault(site, method="POST", doctype=ENTRY, exc_type="ValidationError", status=417)
    with pytest.raises(EngineError) as caught:
        await drive_step(context, STEP)
    assert caught.value.code == Code.ENGINE_REFUSED


async def test_a_till_that_a_person_opened_beside_ours_is_told_of(
    site: StandIn, engine: ErpNextEngine
) -> None:
    """The recorded version takes both."""
    context = await ready(engine)
    await opened_beside(site, engine, context, refuses=False)
    (note,) = context.found[STEP].notes
    assert "By Hand, POS-OPE-MNT-1" in note
    context.completed_once = True
    assert (await engine.step(STEP).probe(context)).notes == ()


async def test_a_lost_answer_does_not_open_the_till_twice(
    site: StandIn, engine: ErpNextEngine
) -> None:
    context = await ready(engine)
    await fault(site, method="POST", doctype=ENTRY, when="after", action="cut")
    with pytest.raises(EngineError) as caught:
        await drive_step(context, STEP)
    assert caught.value.code == Code.OUTCOME_UNKNOWN
    await drive_step(context, STEP)
    assert names(site, ENTRY) == ["POS-OPE-MNT-1"]


async def test_an_older_version_that_ignores_names_makes_one_of_each(
    site: StandIn, engine: ErpNextEngine
) -> None:
    older = OlderEngine(engine)
    context = await ready(older)
    await drive_step(context, STEP)
    again = MemoryContext(
        engine=older, spec=context.spec, abbreviation="MNT", resources=context.resources
    )
    await drive(again)
    assert not again.writes
    assert names(site, "Customer").count("Walk-In Customer - MNT") == 1
    assert len(names(site, ENTRY)) == 1
    assert names(site, ENTRY) != ["POS-OPE-MNT-1"]
    assert document(site, "POS Profile", "POS MNT")["customer"] == "Walk-In Customer - MNT"
    customer = context.resources["Customer", "walk-in customer - mnt"]
    assert customer.state is ResourceState.CREATED


async def test_an_older_version_that_counted_a_customer_up_is_found_by_its_title(
    site: StandIn, engine: ErpNextEngine
) -> None:
    older = OlderEngine(engine)
    context = await ready(older)
    customer = document(site, "Customer", "Walk-In Customer - MNT")
    site.site.remove(customer)
    site.site.add({**customer, "name": "Walk-In Customer - MNT - 1"})
    await drive_step(context, "step_7_customer")
    assert not context.writes
    assert context.outputs("step_7_customer")["customer"] == "Walk-In Customer - MNT - 1"
