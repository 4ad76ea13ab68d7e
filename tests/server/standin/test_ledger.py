"""A shop that has sold: its Company goes only by way of a Transaction Deletion Record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from server.standin.app import StandIn
from tests.server.standin.calls import TOKEN, break_things, company, make, said
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

import pytest

_RECORD = "/api/resource/Transaction Deletion Record"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with (
        StandIn() as standin,
        plain_client(base_url=standin.url, headers=TOKEN) as client,
    ):
        await company(client, "Sold Co", "SOLD")
        await make(client, "Customer", name="Buyer", customer_name="B", customer_type="Individual")
        await make(client, "Item", item_code="Thing", item_group="Products", stock_uom="Nos")
        row = {"item_code": "Thing", "qty": 2, "rate": 50, "income_account": "Sales - SOLD"}
        answer = await make(
            client,
            "Sales Invoice",
            customer="Buyer",
            company="Sold Co",
            debit_to="Debtors - SOLD",
            items=[row],
            docstatus=1,
        )
        assert answer.json()["data"]["grand_total"] == 100
        yield client


async def test_a_company_with_entries_stays_until_its_record_is_completed(
    client: httpx.AsyncClient,
) -> None:
    assert said(await client.delete("/api/resource/Company/Sold Co")) == (417, "LinkExistsError")
    made = (await make(client, "Transaction Deletion Record", company="Sold Co")).json()["data"]
    path = f"{_RECORD}/{made['name']}"
    submitted = (await client.put(path, json={"docstatus": 1})).json()["data"]
    assert submitted["status"] == "Queued"
    assert said(await client.delete("/api/resource/Company/Sold Co")) == (417, "LinkExistsError")

    assert (await client.post(path, params={"run_method": "start_deletion_tasks"})).json() == {}

    assert (await client.get(path)).json()["data"]["status"] == "Completed"
    assert (await client.delete("/api/resource/Company/Sold Co")).status_code == 202
    assert (await client.get("/api/resource/GL Entry")).json() == {"data": []}


async def test_the_background_worker_takes_its_time(client: httpx.AsyncClient) -> None:
    name = (
        await make(client, "Transaction Deletion Record", company="Sold Co", docstatus=1)
    ).json()["data"]["name"]
    await break_things(client, latency_ms=300)
    await client.post(f"{_RECORD}/{name}", params={"run_method": "start_deletion_tasks"})
    await break_things(client)
    seen: list[str] = []
    while not seen or seen[-1] != "Completed":
        seen.append((await client.get(f"{_RECORD}/{name}")).json()["data"]["status"])
    assert set(seen) <= {"Running", "Completed"}


async def test_a_cancelled_invoice_still_holds_its_company_back(
    client: httpx.AsyncClient,
) -> None:
    invoice = (await client.get("/api/resource/Sales Invoice")).json()["data"][0]["name"]
    await client.post(
        "/api/method/frappe.client.cancel", json={"doctype": "Sales Invoice", "name": invoice}
    )
    entries = await client.get(
        "/api/resource/GL Entry", params={"filters": json.dumps([["voucher_no", "=", invoice]])}
    )
    assert len(entries.json()["data"]) == 4
    answer = await client.delete(f"/api/resource/Sales Invoice/{invoice}")
    assert said(answer) == (417, "LinkExistsError")
    assert said(await client.delete("/api/resource/Company/Sold Co")) == (417, "LinkExistsError")
