"""What the tests of removals share: what is left of a tenant, what its removal said, a sale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.requests import make
from server.model.states import TenantState

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Awaitable, Callable

    import pytest

    from server.model.identifiers import TenantId
    from server.model.step_context import Found, Step, StepContext
    from tests.server.executor.scene import Shop

NAME = "Kijani Stores"
# What a tenant has without belonging to its Company.
LOOSE = ("Customer", "Price List", "Item", "Item Price", "Item Group", "POS Profile")


async def made_by_tenant(shop: Shop) -> Counter[str]:
    """Count what belongs to the tenant's Company, and what bears its abbreviation."""
    held = (await shop.look())["documents"]
    counts = await shop.belongings(NAME)
    for doctype in LOOSE:
        counts[doctype] += sum("KS" in str(each["name"]).split() for each in held.get(doctype, []))
    return +counts


async def removed(shop: Shop, tenant: TenantId, **options: bool) -> None:
    await shop.remove(tenant, **options)
    states = await shop.rest(tenant)
    if states != [TenantState.DEPROVISIONED]:
        raise AssertionError(await shop.lines(tenant))


async def codes(shop: Shop, tenant: TenantId) -> list[str | None]:
    return [step.error_code for step in (await shop.record(tenant)).steps if step.error_code]


async def refusal(shop: Shop, tenant: TenantId) -> str:
    """Return the message of the one step at which a removal stopped."""
    (failed,) = [step for step in (await shop.record(tenant)).steps if step.error_code]
    return str(failed.error_message)


async def sell(shop: Shop) -> None:
    """Make one sale of the tenant's shop."""
    body = {
        "company": NAME,
        "customer": "Walk-In Customer - KS",
        "debit_to": "Debtors - KS",
        "docstatus": 1,
        "items": [
            {
                "item_code": "DEMO-KS-001",
                "qty": 1,
                "rate": 100,
                "income_account": "Sales - KS",
                "cost_center": "Main - KS",
            }
        ],
    }
    await shop.store.engine.send(make("Sales Invoice", "", body))


def before_step(
    monkeypatch: pytest.MonkeyPatch, kind: type[Step], happens: Callable[[], Awaitable[None]]
) -> None:
    """Let something happen at the site just before a step looks for the first time."""
    probe = kind.probe
    waits = [happens]

    async def probes(step: Step, context: StepContext) -> Found:
        if waits:
            await waits.pop()()
        return await probe(step, context)

    monkeypatch.setattr(kind, "probe", probes)
