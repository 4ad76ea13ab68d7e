"""Requests that overlap end as the recorded ones did.

They are made to overlap by a latency nobody waits for: the first is known to be at work when the
second is sent, and both go on when both are there.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from server.standin.latency import read_seconds, write_seconds
from tests.server.standin.calls import (
    break_things,
    company,
    make,
    payment_row,
    said,
    state,
    warehouse,
)
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import httpx

    from server.standin.app import StandIn

    Sent = Coroutine[Any, Any, httpx.Response]  # Any: what awaiting sends is nobody's business

_ALL_ACCOUNTS = 82


async def _overlap(
    standin: StandIn,
    client: httpx.AsyncClient,
    target: str,
    first: Sent,
    second: Sent,
    *,
    other: str | None = None,
) -> tuple[httpx.Response, httpx.Response]:
    """Send the second while the first is at work."""
    before = standin.arrivals("POST", target)
    await break_things(client, latency_ms=60_000)
    one = asyncio.create_task(first)
    await standin.arrived("POST", target, before + 1)
    two = asyncio.create_task(second)
    await standin.arrived("POST", other or target, before + (1 if other else 2))
    await break_things(client)
    standin.hurry()
    return await asyncio.gather(one, two)


async def test_the_second_of_two_companies_deadlocks_and_leaves_nothing(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    first, second = await _overlap(
        standin, client, "Company", company(client, "One", "ONE"), company(client, "Two", "TWO")
    )
    assert first.status_code == 200
    assert said(second) == (500, "QueryDeadlockError")
    documents = (await state(client))["documents"]
    assert [d["name"] for d in documents["Company"]] == ["Base Company", "One"]
    assert len(documents["Account"]) == 2 * _ALL_ACCOUNTS
    assert (await company(client, "Two", "TWO")).status_code == 200


async def test_the_next_collision_names_an_account_of_the_other_company(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    await _overlap(
        standin, client, "Company", company(client, "One", "ONE"), company(client, "Two", "TWO")
    )
    first, second = await _overlap(
        standin, client, "Company", company(client, "Red", "RED"), company(client, "Two", "TWO")
    )
    assert first.status_code == 200
    assert said(second) == (417, "LinkValidationError")
    # Cash has the rows of three Companies by now; the fourth would be this one's.
    assert "Row #4: Default Account: Cash - RED" in second.json()["exception"]


async def test_the_second_maker_of_a_company_waits_for_the_first(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    first, second = await _overlap(
        standin, client, "Company", company(client, "One", "ONE"), company(client, "oné", "ONE")
    )
    assert first.status_code == 200
    assert said(second) == (409, "DuplicateEntryError")
    assert "'Company'" in second.json()["exception"]


async def test_the_second_of_one_abbreviation_collides_with_an_account(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    first, second = await _overlap(
        standin, client, "Company", company(client, "One", "ABC"), company(client, "Two", "abc")
    )
    assert first.status_code == 200
    assert said(second) == (409, "DuplicateEntryError")
    assert "('Account', 'Application of Funds (Assets) - ABC'" in second.json()["exception"]
    assert (await client.get("/api/resource/Company/Two")).status_code == 404


async def test_warehouses_and_accounts_deadlock_across_companies(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    await company(client, "One", "ONE")
    first, second = await _overlap(
        standin, client, "Warehouse", warehouse(client, "A"), warehouse(client, "B", "One", "ONE")
    )
    assert (first.status_code, said(second)) == (200, (500, "QueryDeadlockError"))

    def account(of: str, abbr: str) -> Sent:
        parent = f"Bank Accounts - {abbr}"
        return make(client, "Account", account_name="Till", parent_account=parent, company=of)

    first, second = await _overlap(
        standin, client, "Account", account("Base Company", "BC"), account("One", "ONE")
    )
    assert (first.status_code, said(second)) == (200, (500, "QueryDeadlockError"))


@pytest.mark.parametrize(
    ("doctype", "body"),
    [
        ("Warehouse", {"warehouse_name": "A", "company": "Base Company"}),
        ("Customer", {"customer_name": "A", "customer_group": "Individual"}),
        (
            "Fiscal Year",
            {"year": "2040", "year_start_date": "2040-01-01", "year_end_date": "2040-12-31"},
        ),
    ],
)
async def test_the_second_of_one_name_is_a_duplicate(
    standin: StandIn, client: httpx.AsyncClient, doctype: str, body: dict[str, str]
) -> None:
    first, second = await _overlap(
        standin, client, doctype, make(client, doctype, **body), make(client, doctype, **body)
    )
    assert (first.status_code, said(second)) == (200, (409, "DuplicateEntryError"))


async def test_item_groups_and_other_doctypes_do_not_disturb_each_other(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    def group(name: str) -> Sent:
        return make(client, "Item Group", item_group_name=name, parent_item_group="")

    answers = await _overlap(standin, client, "Item Group", group("A"), group("B"))
    assert [answer.status_code for answer in answers] == [200, 200]
    answers = await _overlap(
        standin,
        client,
        "Company",
        company(client, "One", "ONE"),
        warehouse(client, "A"),
        other="Warehouse",
    )
    assert [answer.status_code for answer in answers] == [200, 200]


async def test_rows_of_one_mode_of_payment_push_each_other_out(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    await company(client, "One", "ONE")
    first, second = await _overlap(
        standin,
        client,
        "frappe.client.insert",
        payment_row(client, "Cheque", "Base Company", "Cash - BC"),
        payment_row(client, "Cheque", "One", "Cash - ONE"),
    )
    assert (first.status_code, said(second)) == (200, (417, "TimestampMismatchError"))
    again = await payment_row(client, "Cheque", "One", "Cash - ONE")
    assert [row["company"] for row in again.json()["message"]["accounts"]] == [
        "Base Company",
        "One",
    ]


async def test_a_client_that_gives_up_does_not_stop_the_work(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    await break_things(client, faults=[{"doctype": "Company", "hang_seconds": 60}])
    async with plain_client(base_url=standin.url, headers=client.headers) as hasty:
        gone = asyncio.create_task(company(hasty, "Slow", "SLO"))
        await standin.arrived("POST", "Company")
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
    assert (await client.get("/api/resource/Company/Slow")).status_code == 404
    # A repetition waits for the first one, which nobody waits for any more.
    again = asyncio.create_task(company(client, "Slow", "SLO"))
    await standin.arrived("POST", "Company", 2)
    standin.hurry()
    assert said(await again) == (409, "DuplicateEntryError")
    assert (await client.get("/api/resource/Company/Slow")).status_code == 200


def test_recorded_times_grow_with_the_companies() -> None:
    assert write_seconds("POST", "Company", 1) == pytest.approx(1.6)
    assert write_seconds("POST", "Company", 49) == pytest.approx(11.2)
    assert write_seconds("DELETE", "Company", 1) == pytest.approx(3.634)
    assert read_seconds("GET", "Company") == pytest.approx(0.013)
