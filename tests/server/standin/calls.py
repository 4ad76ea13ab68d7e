"""The calls the tests of the stand-in make, in one line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx

TOKEN = {"authorization": "token key:secret", "accept": "application/json"}


async def make(client: httpx.AsyncClient, doctype: str, **values: object) -> httpx.Response:
    """POST a document."""
    return await client.post(f"/api/resource/{doctype}", json=values)


async def company(client: httpx.AsyncClient, name: str, abbr: str) -> httpx.Response:
    """POST a Kenyan Company with the standard chart."""
    return await make(
        client,
        "Company",
        company_name=name,
        abbr=abbr,
        default_currency="KES",
        country="Kenya",
        create_chart_of_accounts_based_on="Standard Template",
        chart_of_accounts="Standard",
    )


async def warehouse(
    client: httpx.AsyncClient, title: str, of: str = "Base Company", abbr: str = "BC"
) -> httpx.Response:
    """POST a warehouse below the root of a Company."""
    return await make(
        client,
        "Warehouse",
        warehouse_name=title,
        company=of,
        is_group=0,
        parent_warehouse=f"All Warehouses - {abbr}",
    )


async def payment_row(
    client: httpx.AsyncClient, mode: str, of: str, account: str
) -> httpx.Response:
    """Add a row to a Mode of Payment."""
    doc = {
        "doctype": "Mode of Payment Account",
        "parent": mode,
        "parenttype": "Mode of Payment",
        "parentfield": "accounts",
        "company": of,
        "default_account": account,
    }
    return await client.post("/api/method/frappe.client.insert", json={"doc": doc})


async def break_things(client: httpx.AsyncClient, **body: object) -> None:
    """Set faults."""
    answer = await client.post("/standin/faults", json=body)
    assert answer.status_code == 200, answer.text


def said(answer: httpx.Response) -> tuple[int, str | None]:
    """Status and type of error."""
    return answer.status_code, answer.json().get("exc_type")


async def state(client: httpx.AsyncClient) -> Any:  # Any: JSON
    """Look inside."""
    return (await client.get("/standin/state", headers={"authorization": ""})).json()
