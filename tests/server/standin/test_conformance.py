"""The stand-in answers recorded requests as the recorded ERPNext did.

The recorded cases are replayed in order over real HTTP, story by story (stories.py). Every
recording is either in a story or in `NOT_IMITATED` with the reason.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from server.erpnext.client import ErpNextEngine
from server.standin.app import StandIn
from tests.server.erpnext.conftest import credentials
from tests.server.erpnext.context import made_and_removed
from tests.server.erpnext.sitework import TILL_USER, add_till_user
from tests.server.standin.calls import TOKEN, company, make
from tests.server.standin.recordings import FOLDER, Replay, exchanges
from tests.server.standin.stories import STORIES, Story
from tools.plain_http import plain_client

if TYPE_CHECKING:
    import httpx

# The day the recordings were made on; some name it.
RECORDED = datetime(2026, 11, 23, 19, 54, 57, tzinfo=UTC)
_USERS = ("cashier1", "cashier2", "till.mnt", "till.cns")
# Cases whose documents were taken away one by one while they were recorded.
TIDIED = {
    "08-pos-profile-create-missing-field",
    "08-pos-profile-create-bad",
    "09-pos-opening-missing-field",
    "09-pos-opening-bad",
}
# Single exchanges that are not compared: the case, and the numbers or None for all.
_OTHER_SITE = "the site was in another state, which no other case shows"
_OTHER_USER = "made by another user"
NOT_COMPARED: dict[tuple[str, int], str] = {
    ("00-happy-path", 10): _OTHER_SITE,
    ("00-happy-path", 11): _OTHER_SITE,
    ("00-happy-path", 12): _OTHER_SITE,
    ("01-versions-guest-and-plain-user", 1): _OTHER_USER,
    ("02-company-create-no-token", 1): _OTHER_USER,
    ("02-company-list-no-token", 1): _OTHER_USER,
    ("02-countries-by-code", 19): "the chart Standard has 82 accounts in every country",
    ("01-permissions-system-manager-only", 13): _OTHER_USER,
    ("04-warehouse-create-as-system-manager-only", 1): _OTHER_USER,
    ("05-selling-settings-list", 1): _OTHER_SITE,
    ("05-settings-no-permission", 2): _OTHER_SITE,
    ("05-selling-settings-put-bad", 2): _OTHER_SITE,
    ("06-price-list-other-currency", 0): "currencies have no sign and no fraction",
    ("06-price-list-other-currency", 8): "currencies have no sign and no fraction",
    ("07-item-group-uom-existing", 1): "a few of 239 units",
    ("09-pos-opening-dates", 5): "a date is shown as stored, not as sent",
    ("09-pos-opening-dates", 6): "a date is shown as stored, not as sent",
    ("09-user-create", 3): "a second message: the user has no roles",
    ("10-after-undo-two-payments", 9): "currencies have no sign and no fraction",
    ("11-accept-html", 3): "any token is taken",
    ("11-odd-bytes", 0): "the bytes were not recorded; see test_faults.py",
    ("11-url-too-long", 0): "the address was not recorded; see test_faults.py",
    ("11-wrong-address", 6): _OTHER_SITE,
    ("02-company-create-name-quotes", 29): "the test's client cuts a name of dots",
    ("02-company-create-name-quotes", 31): "the test's client cuts a name of dots",
    ("02-countries-by-code", 5): "fewer details; see test_state.py for codes and currencies",
    ("08-mode-of-payment-cash-get", 0): _OTHER_USER,
    ("10-after-undo-two-payments", 8): _OTHER_SITE,
    ("10-after-undo-two-payments", 10): "users have fewer fields",
}
# Single exchanges of which status, error and the fields that the stand-in's document has are
# compared: the case and the number.
FEWER_FIELDS: dict[tuple[str, int], str] = {
    ("10-sales-invoice-create-submitted", 0): "an invoice has a few of its hundred fields",
    ("10-delete-company-after-cancelled-invoice", 0): "the same",
    ("02-countries-by-code", 14): "South Africa has permission rules of its own, which it tells of",
    ("10-transaction-deletion-record", 5): "departments are not made with a Company",
}
# Two at once, or one that gives up: no replay one after the other. Their tables, the others, and
# what the losers were told are read in test_recorded_tables.py.
IN_TEST_RACES = frozenset(
    {
        "11-client-timeout",
        "11-race-same-abbr",
        "11-race-same-company",
        "12-concurrent-accounts-and-payment-rows",
        "12-concurrent-companies",
        "12-concurrent-other-calls",
    }
)
# Times, not answers.
TABLES = frozenset(
    {"12-company-create-time-grows", "12-concurrent-companies-with-retry", "12-latencies"}
)
NOT_IMITATED = {
    "09-pos-check-opening-entry": "a call of the POS page",
    "09-pos-create-opening-voucher": "a call of the POS page",
    "09-pos-opening-client-submit": "sends the recorded time of change; see test_state.py",
    "11-body-too-large": "the body was not recorded; see test_faults.py",
    "13-api-v2": "the product speaks v1 only",
}


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_a_recorded_request_gets_the_recorded_answer(story: Story) -> None:
    async with (
        StandIn(host=story.host, now=lambda: RECORDED) as standin,
        plain_client(base_url=standin.url, headers=TOKEN) as client,
        # Without headers of its own: a recorded request brings all it had.
        plain_client(base_url=standin.url) as bare,
    ):
        replay = Replay(bare)
        await _prepare(client, replay, story)
        different = []
        for case in story.cases:
            for number, exchange in enumerate(exchanges(case)):
                if (case, number) in story.then:
                    await client.post("/standin/faults", json=story.then[case, number])
                different += [
                    f"{case} {number} ({exchange.get('note', '')}): {difference}"
                    for difference in await _compare(client, replay, case, number, exchange)
                ]
    assert different == []


def test_every_recording_is_replayed_or_left_out_with_a_reason() -> None:
    replayed = {case for story in STORIES for case in story.cases} | IN_TEST_RACES | TABLES
    recorded = {path.stem for path in FOLDER.glob("*.json")}
    assert recorded - replayed - NOT_IMITATED.keys() == set()
    assert (replayed | NOT_IMITATED.keys()) - recorded == set()


async def test_nothing_our_steps_call_is_missing_here() -> None:
    """What is not imitated is no address that a run or a removal uses."""
    async with StandIn() as standin:
        engine = ErpNextEngine(url=standin.url, credentials=credentials())
        await add_till_user(engine)
        context = await made_and_removed(engine, till_user=TILL_USER, include_demo_data=True)
        await engine.close()
    called = {request.path for request in context.sent}
    assert "/api/method/frappe.client.cancel" in called
    recorded = {
        exchange["request"]["path"]
        for case in NOT_IMITATED.keys() - {"11-body-too-large"}
        for exchange in exchanges(case)
    }
    assert not called & recorded


async def _prepare(client: httpx.AsyncClient, replay: Replay, story: Story) -> None:
    if story.host is None:
        await _give(client, replay, story)
        await _change_tills(client, story)
    await client.post("/standin/faults", json=story.faults)


async def _give(client: httpx.AsyncClient, replay: Replay, story: Story) -> None:
    for user in _USERS:
        email = f"{user}@example.com"
        await make(client, "User", email=email, first_name="Till", roles=_ROLES)
    for case in story.given:
        for exchange in exchanges(case):
            await replay.send(exchange["request"])
    for name, abbr in story.companies.items():
        await company(client, name, abbr)
    for doctype, values in story.made.items():
        await make(client, doctype, **values)
    for name, abbr in story.sold.items():
        await _sell(client, name, abbr)


async def _change_tills(client: httpx.AsyncClient, story: Story) -> None:
    opening = exchanges("09-pos-opening-create-submitted")[0]["request"]["body"]
    for name in story.opened:
        await make(client, "POS Opening Entry", **opening, name=name)
    for name in story.closed:
        path = f"/api/resource/POS Opening Entry/{name}"
        await client.put(path, json={"docstatus": 2})
        await client.delete(path)


async def _sell(client: httpx.AsyncClient, name: str, abbr: str) -> None:
    await make(client, "Customer", name="Buyer", customer_name="Buyer", customer_type="Individual")
    await make(
        client, "Item", item_code="Sold", item_group="Products", stock_uom="Nos", is_stock_item=0
    )
    row = {
        "item_code": "Sold",
        "qty": 1,
        "rate": 100,
        "income_account": f"Sales - {abbr}",
        "cost_center": f"Main - {abbr}",
    }
    made = await make(
        client,
        "Sales Invoice",
        customer="Buyer",
        company=name,
        debit_to=f"Debtors - {abbr}",
        items=[row],
        docstatus=1,
    )
    assert made.status_code == 200, made.text


_ROLES = [{"role": role} for role in ("Sales User", "Accounts User", "Stock User")]


async def _compare(
    client: httpx.AsyncClient,
    replay: Replay,
    case: str,
    number: int,
    exchange: dict[str, Any],  # Any: JSON
) -> list[str]:
    request = exchange["request"]
    answer = await replay.send(request)
    fewer = (case, number) in FEWER_FIELDS
    different = list(replay.differences(answer, exchange["response"], fewer=fewer))
    if case in TIDIED and answer.status_code == 200:
        name = answer.json()["data"]["name"]
        await client.delete(f"{request['path']}/{name}")
    return [] if (case, number) in NOT_COMPARED else different
