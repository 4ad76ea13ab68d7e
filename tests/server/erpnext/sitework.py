"""What tests do to the stand-in site behind the adapter's back."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from server.erpnext.requests import JsonObject, insert_row, make
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from collections.abc import Collection

    from server.erpnext.client import ErpNextEngine
    from server.model.step_context import Answer, EngineHealth, Request, Step
    from server.standin.app import StandIn

TILL_USER = "till.mnt@example.com"


def document(site: StandIn, doctype: str, name: str) -> dict[str, Any]:  # Any: JSON
    """Return a stored document; changing it changes the site."""
    return site.site.require(doctype, name)


def counts(site: StandIn) -> Counter[str]:
    """Count the documents of the site by doctype."""
    return Counter({doctype: len(site.site.every(doctype)) for doctype in site.site.documents})


def names(site: StandIn, doctype: str) -> list[str]:
    """Return the names of all documents of a doctype."""
    return [each["name"] for each in site.site.every(doctype)]


async def fault(site: StandIn, **values: object) -> None:
    """Let the next matching request go wrong."""
    async with plain_client() as client:
        answer = await client.post(f"{site.url}/standin/faults", json={"faults": [values]})
        assert answer.status_code == 200, answer.text


async def add_till_user(engine: ErpNextEngine) -> None:
    """Make the user who opens the till."""
    body = {"email": TILL_USER, "first_name": "Till", "send_welcome_email": 0}
    await engine.send(make("User", TILL_USER, body))


async def add_company(
    engine: ErpNextEngine, name: str, abbr: str, currency: str = "KES", country: str = "Kenya"
) -> None:
    """Make a Company that is nobody's tenant."""
    body = {
        "company_name": name,
        "abbr": abbr,
        "default_currency": currency,
        "country": country,
        "create_chart_of_accounts_based_on": "Standard Template",
        "chart_of_accounts": "Standard",
    }
    await engine.send(make("Company", name, body))


async def add_row(engine: ErpNextEngine, method: str, company: str, account: str) -> None:
    """Add a payment row."""
    row = {
        "parent": method,
        "parenttype": "Mode of Payment",
        "parentfield": "accounts",
        "company": company,
        "default_account": account,
    }
    await engine.send(insert_row("Mode of Payment Account", "", row))


class OlderEngine:
    """An ERPNext of 15.44, which ignores `name` in the body of two doctypes."""

    def __init__(self, engine: ErpNextEngine) -> None:
        self._engine = engine
        self.site = engine.site
        self.blueprint_name = engine.blueprint_name
        self.timeout_seconds = engine.timeout_seconds

    def step(self, key: str) -> Step:
        return self._engine.step(key)

    async def send(self, request: Request) -> Answer:
        if request.method == "POST" and request.doctype in {"Customer", "POS Opening Entry"}:
            request = replace(request, body=_without_name(request.body or {}))
        answer = await self._engine.send(request)
        if request.path.endswith("get_versions"):
            apps = {**answer.data, "frappe": {"version": "15.44.0"}}
            return replace(answer, data=apps)
        return answer

    async def check(self) -> EngineHealth:
        return await self._engine.check()

    async def identity(self) -> str | None:
        return await self._engine.identity()

    async def missing_companies(self, names: Collection[str]) -> frozenset[str]:
        return await self._engine.missing_companies(names)

    async def close(self) -> None:
        await self._engine.close()


def _without_name(body: JsonObject) -> JsonObject:
    return {field: value for field, value in body.items() if field != "name"}
