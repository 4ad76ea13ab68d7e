"""What was recorded as tables: calls at the same moment, and the time of each call.

A row of calls at the same moment holds the stand-in to this: one of them is made; those that are
not get only what the recorded losers got, in the same words; where nobody lost, nobody loses here.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from server.erpnext.steps.step_2_company import make_seconds
from server.model.blueprint import ERPNEXT
from server.standin.latency import read_seconds, write_seconds
from tests.server.standin.calls import break_things, company, make, payment_row, said, warehouse
from tests.server.standin.recordings import FOLDER, exchanges
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    import httpx

    from server.standin.app import StandIn

    Sent = Coroutine[Any, Any, httpx.Response]  # Any: what awaiting sends is nobody's business
    # Sends the call of this number.
    Sender = Callable[[httpx.AsyncClient, int], Sent]

_YEAR = {"year": "2040", "year_start_date": "2040-01-01", "year_end_date": "2040-12-31"}


def table(case: str) -> list[dict[str, Any]]:  # Any: JSON
    rows = json.loads((FOLDER / f"{case}.json").read_text("utf-8"))["table"]
    return list(rows)


def _account(client: httpx.AsyncClient, title: str, number: int) -> Sent:
    return make(
        client,
        "Account",
        account_name=title,
        parent_account=f"Bank Accounts - C{number}",
        company=f"Company {number}",
    )


def _profile(client: httpx.AsyncClient, title: str, number: int) -> Sent:
    return make(
        client,
        "POS Profile",
        name=title,
        company=f"Company {number}",
        warehouse=f"Stores - C{number}",
        currency="KES",
        write_off_account=f"Write Off - C{number}",
        write_off_cost_center=f"Main - C{number}",
        payments=[{"mode_of_payment": "Cash", "default": 1}],
    )


def _opening(client: httpx.AsyncClient, _number: int) -> Sent:
    return make(
        client,
        "POS Opening Entry",
        period_start_date="2026-11-23 17:34:23",
        posting_date="2026-11-23",
        company="Company 0",
        pos_profile="POS of all",
        user="till@example.com",
        balance_details=[{"mode_of_payment": "Cash", "opening_amount": 0}],
        docstatus=1,
    )


def _customer(client: httpx.AsyncClient, title: str) -> Sent:
    return make(
        client,
        "Customer",
        customer_name=title,
        customer_type="Individual",
        customer_group="Individual",
        territory="Kenya",
    )


def _item(client: httpx.AsyncClient, code: str) -> Sent:
    return make(client, "Item", item_code=code, item_group="Products", stock_uom="Nos")


async def _put_rows(client: httpx.AsyncClient, number: int) -> httpx.Response:
    row = {"company": f"Company {number}", "default_account": f"Cash - C{number}"}
    return await client.put("/api/resource/Mode of Payment/Cheque", json={"accounts": [row]})


def _different_doctypes(client: httpx.AsyncClient, number: int) -> Sent:
    makers: tuple[Callable[[], Sent], ...] = (
        lambda: company(client, "New", "NEW"),
        lambda: warehouse(client, "Beside", "Company 0", "C0"),
        lambda: _customer(client, "Beside"),
        lambda: _item(client, "beside"),
        lambda: _profile(client, "Beside", 1),
    )
    return makers[number]()


# By what the tables call them, without how many; and what such a request names.
_SENDERS: dict[str, tuple[tuple[str, ...], Sender]] = {
    "different companies": (
        ("Company",),
        lambda client, number: company(client, f"New {number}", f"NEW{number}"),
    ),
    "leaf accounts, each of another Company": (
        ("Account",),
        lambda client, number: _account(client, "Till", number),
    ),
    "leaf accounts of one Company": (
        ("Account",),
        lambda client, number: _account(client, f"Till {number}", 0),
    ),
    "payment rows (frappe.client.insert) of one Mode of Payment, each of another Company": (
        ("frappe.client.insert",),
        lambda client, number: payment_row(
            client, "Cheque", f"Company {number}", f"Cash - C{number}"
        ),
    ),
    "times the same payment row": (
        ("frappe.client.insert",),
        lambda client, _number: payment_row(client, "Cheque", "Company 0", "Cash - C0"),
    ),
    "times the same Fiscal Year": (
        ("Fiscal Year",),
        lambda client, _number: make(client, "Fiscal Year", **_YEAR),
    ),
    "different Item Groups": (
        ("Item Group",),
        lambda client, number: make(
            client,
            "Item Group",
            item_group_name=f"Group {number}",
            parent_item_group="All Item Groups",
        ),
    ),
    "POS Profiles, each of another Company": (
        ("POS Profile",),
        lambda client, number: _profile(client, f"POS {number}", number),
    ),
    "POS Profiles of one company": (
        ("POS Profile",),
        lambda client, number: _profile(client, f"POS {number}", 0),
    ),
    "different warehouses of one company": (
        ("Warehouse",),
        lambda client, number: warehouse(client, f"Store {number}", "Company 0", "C0"),
    ),
    "different warehouses, each of another company": (
        ("Warehouse",),
        lambda client, number: warehouse(client, "Store", f"Company {number}", f"C{number}"),
    ),
    "times the same warehouse": (
        ("Warehouse",),
        lambda client, _number: warehouse(client, "Store", "Company 0", "C0"),
    ),
    "times the same customer (no name sent)": (
        ("Customer",),
        lambda client, _number: _customer(client, "Walk-In"),
    ),
    "different customers": (
        ("Customer",),
        lambda client, number: _customer(client, f"Walk-In {number}"),
    ),
    "different items": (("Item",), lambda client, number: _item(client, f"item-{number}")),
    "times the same item": (("Item",), lambda client, _number: _item(client, "item")),
    "POS Opening Entries (one number series)": (("POS Opening Entry",), _opening),
    "PUT of Selling Settings": (
        ("Selling Settings",),
        lambda client, _number: client.put(
            "/api/resource/Selling Settings/Selling Settings",
            json={"cust_master_name": "Customer Name"},
        ),
    ),
    "PUT of Stock Settings": (
        ("Stock Settings",),
        lambda client, _number: client.put(
            "/api/resource/Stock Settings/Stock Settings", json={"item_naming_by": "Item Code"}
        ),
    ),
    "PUT of one Mode of Payment": (("Mode of Payment",), _put_rows),
    "new company, at the same moment 1 warehouse of another company, 1 customer, 1 item, "
    "1 POS profile": (
        ("Company", "Warehouse", "Customer", "Item", "POS Profile"),
        _different_doctypes,
    ),
}


def _rows_at_once() -> dict[str, tuple[int, set[str]]]:
    """Give each kind of call at the same moment: the most at once, and how the losers ended."""
    rows = [
        *table("12-concurrent-accounts-and-payment-rows"),
        *table("12-concurrent-other-calls"),
        *(
            {
                "what": f"{row['concurrent']} different companies",
                "n": row["concurrent"],
                "others": row["failures"],
            }
            for row in table("12-concurrent-companies")
        ),
    ]
    found: dict[str, tuple[int, set[str]]] = {}
    for row in rows:
        what = re.sub(r"^\d+ | \(round \d\)$", "", row["what"])
        most, lost = found.get(what, (0, set()))
        found[what] = max(most, row["n"]), lost | set(row["others"])
    return found


_AT_ONCE = _rows_at_once()

_RACES = (
    "11-race-same-abbr",
    "11-race-same-company",
    "12-concurrent-accounts-and-payment-rows",
    "12-concurrent-companies",
    "12-concurrent-other-calls",
)
# What is another each time: the document's name, the row and the Company it names, times.
_NAMES = (
    (r"', '.*', IntegrityError.*", "', <name>"),
    (r"<strong>.*</strong>", "<name>"),
    (r"Row #\d+: Default Account: Cash - \w+", "<row>"),
    (r"\(\d{4}-.*\)", "<times>"),
)


def _told(body: dict[str, Any]) -> str:  # Any: JSON
    """Give all that a client reads of a refusal, without the names in it."""
    messages = [json.loads(text) for text in json.loads(body.get("_server_messages", "[]"))]
    for message in messages:
        message.pop("__frappe_exc_id", None)
        message["message"] = _nameless(message["message"])
    said = _nameless(body["exception"])
    return json.dumps([sorted(body), body["exc_type"], said, messages], sort_keys=True)


def _nameless(text: str) -> str:
    for pattern, stands_for in _NAMES:
        text = re.sub(pattern, stands_for, text)
    return text


_RECORDED_LOSERS = {
    _told(exchange["response"]["body"])
    for case in _RACES
    for exchange in exchanges(case)
    if exchange["response"]["status"] >= 400
}


def test_every_recorded_kind_of_calls_at_once_is_sent_here() -> None:
    assert _SENDERS.keys() == _AT_ONCE.keys()


@pytest.mark.parametrize("what", _SENDERS)
async def test_calls_at_once_end_as_the_recorded_ones(
    standin: StandIn, client: httpx.AsyncClient, what: str
) -> None:
    count, losers = _AT_ONCE[what]
    for number in range(8):
        assert (await company(client, f"Company {number}", f"C{number}")).status_code == 200
    await make(client, "User", email="till@example.com", first_name="Till", roles=[])
    assert (await _profile(client, "POS of all", 0)).status_code == 200
    targets, send = _SENDERS[what]
    method = "PUT" if what.startswith("PUT") else "POST"
    before = {target: standin.arrivals(method, target) for target in targets}
    async with plain_client(base_url=standin.url, headers=client.headers, timeout=60) as other:
        await break_things(client, latency_ms=60_000)
        sent = []
        for number in range(count):
            sent.append(asyncio.create_task(send(other, number)))
            target = targets[number % len(targets)]
            await standin.arrived(method, target, before[target] + 1 + number // len(targets))
        await break_things(client)
        while not all(task.done() for task in sent):
            standin.hurry()
            await asyncio.wait(sent, timeout=0.01)
        answers = [task.result() for task in sent]
    made = [answer for answer in answers if answer.status_code == 200]
    lost = {f"{status} {kind}" for status, kind in map(said, answers) if status != 200}
    assert made
    assert lost <= losers
    assert bool(lost) is bool(losers)
    assert {_told(each.json()) for each in answers if each not in made} <= _RECORDED_LOSERS


# The tables' words for a call, and what it names; the first word is its method.
_TARGETS = {
    "GET /api/method/ping (no token)": "ping",
    "GET get_versions": "frappe.utils.change_log.get_versions",
    "GET Company, exists": "Company",
    "GET Company, missing (404)": "Company",
    "GET list Company with filter": "Company",
    "GET get_count Account of a company": "frappe.client.get_count",
    "GET get_charts_for_country": "charts",
    "POST frappe.client.cancel (POS Opening Entry)": "frappe.client.cancel",
    "POST POS Opening Entry, submitted": "POS Opening Entry",
    "DELETE Company (no linked documents)": "Company",
}


@pytest.mark.parametrize("row", table("12-latencies"), ids=lambda row: row["call"])
def test_a_call_takes_here_as_long_as_recorded(row: dict[str, Any]) -> None:  # Any: JSON
    method, _, rest = row["call"].partition(" ")
    target = _TARGETS.get(row["call"], rest.partition(",")[0])
    few, many = row["median_ms_with_1_company"], row["median_ms_with_49_companies"]
    if method == "GET" or row["statuses"][0] >= 400:
        ours = {read_seconds(method, target)}
    else:
        ours = {write_seconds(method, target, 1), write_seconds(method, target, 49)}
    for seconds in ours:
        assert min(few, many) / 2 <= seconds * 1000 <= row["max_ms_of_both"]


def test_the_making_of_a_company_grows_as_recorded_and_is_waited_for_twice_as_long() -> None:
    rows = table("12-company-create-time-grows")
    ours = [write_seconds("POST", "Company", row["companies_before"]) for row in rows]
    assert sum(ours) == pytest.approx(sum(row["ms"] for row in rows) / 1000, rel=0.1)
    assert all(make_seconds(row["companies_before"]) > 2 * row["ms"] / 1000 for row in rows)
    # What the tenants before one in line are reckoned with.
    assert ERPNEXT.seconds_for_each_company == pytest.approx(
        (rows[-1]["ms"] - rows[0]["ms"])
        / 1000
        / (rows[-1]["companies_before"] - rows[0]["companies_before"]),
        abs=0.05,
    )
