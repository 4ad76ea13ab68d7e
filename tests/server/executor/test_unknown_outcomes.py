"""Requests whose outcome is not known: settled by a look before anything is sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from server.erpnext.reply import Reply
from server.model.states import ResourceState
from server.model.step_context import Answer, AnswerKind
from server.store.operations import TenantOperation
from tests.server.executor.scene import COMPANY, INSERT, PROFILE, TILL, WAREHOUSE, WHOLE

if TYPE_CHECKING:
    import httpx

    from server.model.step_context import Request
    from server.store.operations import Operation, Outcome
    from tests.server.executor.scene import Shop

NAME = "Kijani Stores"
# What is asked for, by which step, and as what it is recorded.
WRITES: dict[str, tuple[str, str, tuple[str, str]]] = {
    "Company": ("Company", COMPANY, ("Company", NAME)),
    "Warehouse": ("Warehouse", WAREHOUSE, ("Warehouse", "Main Store - KS")),
    "payment row": (INSERT, PROFILE, ("Mode of Payment Account", f"M-Pesa / {NAME}")),
    "POS Profile": ("POS Profile", PROFILE, ("POS Profile", "POS KS")),
    "opening entry": ("POS Opening Entry", TILL, ("POS Opening Entry", "POS-OPE-KS-1")),
}
FAULTS: dict[str, dict[str, Any]] = {
    "cut before it was done": {"action": "cut"},
    "cut after it was done": {"action": "cut", "when": "after"},
    "an error page though it was done": {"status": 500, "html": True, "when": "after"},
    "an error page and not done": {"status": 502, "html": True},
}


async def must_be_whole(shop: Shop, resource: tuple[str, str]) -> None:
    """Everything is there once, and the site's slot is not left taken."""
    doctype, name = resource
    rows = shop.sql("SELECT state FROM resources WHERE doctype = ? AND name = ?", doctype, name)
    assert rows == [(ResourceState.CREATED,)]
    assert shop.sql("SELECT slot_tenant_id, slot_doctype FROM engines") == [(None, None)]
    assert await shop.belongings(NAME) == WHOLE


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("happened", FAULTS)
async def test_a_lost_answer_is_settled_by_a_look(shop: Shop, what: str, happened: str) -> None:
    doctype, step_key, resource = WRITES[what]
    await shop.faults({"method": "POST", "doctype": doctype, **FAULTS[happened]})

    tenant = await shop.completed(NAME)

    assert (await shop.outcomes(tenant))[step_key] == ["RETRY", "APPLIED"]
    attempt = next(each for each in await shop.attempts(tenant) if each.error_class)
    assert attempt.error_class == "UNKNOWN_OUTCOME"
    await must_be_whole(shop, resource)


async def test_somebody_elses_yes_does_not_make_a_company_that_then_seems_to_have_vanished(
    shop: Shop,
) -> None:
    """A gateway says with 200 and JSON of its own that the site is away: the tenant was held."""
    engine, exchange = shop.store.engine, shop.store.engine._exchange
    said = [b'{"message": "We are back in a few minutes."}']

    async def answered(client: httpx.AsyncClient, request: Request) -> Reply:
        if (request.method, request.doctype) == ("POST", "Company") and said:
            return Reply(status=200, headers={}, body=said.pop())
        return await exchange(client, request)

    engine._exchange = answered  # type: ignore[method-assign]  # the gateway
    tenant = await shop.completed(NAME)
    assert (await shop.outcomes(tenant))[COMPANY] == ["RETRY", "APPLIED"]
    await must_be_whole(shop, ("Company", NAME))


@pytest.mark.parametrize("what", WRITES)
async def test_a_request_the_engine_is_still_at_is_not_made_twice(shop: Shop, what: str) -> None:
    """The second one waits at the engine for the first, and is told that it is there."""
    doctype, step_key, resource = WRITES[what]
    await shop.faults({"method": "POST", "doctype": doctype, "hang_seconds": 60})
    before = shop.site.arrivals("POST", doctype)
    engine, send = shop.store.engine, shop.store.engine.send
    hurried = False

    async def impatient(request):  # type: ignore[no-untyped-def]  # as it is
        nonlocal hurried
        about = request.doctype == resource[0] and request.method == "POST"
        if about and not hurried:
            hurried = True
            engine.patience = [0.2]
        return await send(request)

    engine.send = impatient  # type: ignore[method-assign]  # gives up on the first one only
    tenant = await shop.order(NAME)
    await shop.site.arrived("POST", doctype, before + 2)
    shop.site.hurry()

    await shop.must_complete(tenant)
    outcomes = (await shop.outcomes(tenant))[step_key]
    assert outcomes[0] == "RETRY"
    assert outcomes[-1] in {"APPLIED", "ADOPTED"}
    await must_be_whole(shop, resource)


async def test_a_document_found_after_a_lost_answer_is_ours_by_owner_and_time(shop: Shop) -> None:
    await shop.faults({"method": "POST", "doctype": "Company", "action": "cut", "when": "after"})
    tenant = await shop.completed(NAME)

    settled = [line for line in await shop.lines(tenant) if "whose answer was lost" in line]
    assert settled == [
        f"{COMPANY}: Company {NAME!r} was made by an earlier request of ours whose answer was lost."
    ]
    assert (await shop.outcomes(tenant))[COMPANY] == ["RETRY", "APPLIED"]


@pytest.mark.parametrize("what", ["Company", "Warehouse", "payment row"])
async def test_the_slot_outlives_who_has_no_answer(shop: Shop, what: str) -> None:
    """The engine may still be at it: nobody else may ask for such a document meanwhile."""
    doctype, _, _ = WRITES[what]
    await shop.faults({"method": "POST", "doctype": doctype, "action": "cut"})
    submit, held = shop.store.database.submit, []

    async def watched(operation: Operation) -> Outcome:
        outcome = await submit(operation)
        ended = operation.attempts if isinstance(operation, TenantOperation) else ()
        if any(attempt.outcome == "RETRY" for attempt in ended):
            held.append(shop.sql("SELECT slot_tenant_id FROM engines"))
        return outcome

    shop.store.database.submit = watched  # type: ignore[method-assign]  # the test looks on
    tenant = await shop.completed(NAME)

    assert held == [[(tenant,)]], "its attempt is over, its request is not"
    assert shop.sql("SELECT slot_tenant_id FROM engines") == [(None,)]


async def test_an_engine_that_says_done_is_not_believed_before_it_is_seen(shop: Shop) -> None:
    engine, send, lies = shop.store.engine, shop.store.engine.send, ["POS Profile"]

    async def lying(request: Request) -> Answer:
        if request.method == "POST" and request.doctype in lies:
            lies.remove(request.doctype)
            return Answer(kind=AnswerKind.OK, data={"name": "POS KS"})
        return await send(request)

    engine.send = lying  # type: ignore[method-assign]  # answers once in the engine's place
    tenant = await shop.completed(NAME)

    assert (await shop.outcomes(tenant))[PROFILE] == ["RETRY", "APPLIED"]
    attempt = next(each for each in await shop.attempts(tenant) if each.outcome == "RETRY")
    assert attempt.error_code == "NOT_DONE_AFTER_APPLY"
    assert await shop.belongings(NAME) == WHOLE
