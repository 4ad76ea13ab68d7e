"""Every write of every step loses its answer once, in each way there is: nothing is made twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from server.model.states import LogLevel, ResourceState
from tests.server.executor.scene import INSERT, SOON

if TYPE_CHECKING:
    from server.model.step_context import Answer, Request
    from tests.server.executor.scene import Shop

NAME = "Kijani Stores"
CONTROL = "Control Traders"
# All that the steps ask for, as the stand-in's faults name it.
WRITES = (
    "Warehouse Type",
    "Customer Group",
    "Fiscal Year",
    "Mode of Payment",
    "Company",
    "Account",
    "Warehouse",
    "Price List",
    "Item Group",
    "Item",
    "Item Price",
    "Customer",
    INSERT,
    "POS Profile",
    "POS Opening Entry",
)
WAYS: dict[str, dict[str, Any]] = {
    "cut before the request is carried out": {"cut": "before"},
    "cut after it": {"cut": "after"},
    "cut in the middle of the answer": {"cut": "middle"},
    "an error page though it was done": {"status": 500, "html": True, "when": "after"},
    "an error page and not done": {"status": 502, "html": True},
}


async def must_be_as_undisturbed(shop: Shop) -> None:
    """The tenant has what another one has that was never disturbed; the site has nothing twice."""
    await shop.faults()
    await shop.completed(CONTROL, include_demo_data=True)
    assert await shop.belongings(NAME) == await shop.belongings(CONTROL)
    held = (await shop.look())["documents"]
    for doctype in ("Company", "Customer", "Item", "Price List", "Mode of Payment", "Fiscal Year"):
        names = [document["name"] for document in held[doctype]]
        assert len(names) == len(set(names)), doctype
    prices = [(each["item_code"], each["price_list"]) for each in held["Item Price"]]
    assert len(prices) == len(set(prices))
    assert shop.sql("SELECT slot_tenant_id FROM engines") == [(None,)]
    # What was made behind a lost answer is ours all the same: our user, and after we asked.
    assert settled(shop, NAME) == settled(shop, CONTROL)


def settled(shop: Shop, company: str) -> Counter[tuple[str, str]]:
    """Count what the record says of a tenant's own documents, by doctype and who made them."""
    rows = shop.sql(
        "SELECT doctype, state FROM resources WHERE shared = 0"
        " AND tenant_id = (SELECT id FROM tenants WHERE company_name = ?)",
        company,
    )
    return Counter((doctype, state) for doctype, state in rows)


def take_masters_away(shop: Shop) -> None:
    """Let step_1 have them to make, too."""
    for doctype, name in (("Warehouse Type", "Transit"), ("Customer Group", "Individual")):
        shop.site.site.remove(shop.site.site.require(doctype, name))


@pytest.mark.parametrize("way", WAYS)
async def test_each_write_of_each_step_loses_its_answer(shop: Shop, way: str) -> None:
    take_masters_away(shop)
    await shop.faults(*({"method": "POST", "doctype": each, **WAYS[way]} for each in WRITES))
    tenant = await shop.order(NAME, include_demo_data=True)
    await shop.must_complete(tenant)

    lost = [each for each in await shop.attempts(tenant) if each.error_class == "UNKNOWN_OUTCOME"]
    assert len(lost) >= len(WRITES) - 1
    warnings = await shop.lines(tenant, LogLevel.WARNING)
    assert sum("look before it is sent again" in line for line in warnings) == len(lost)
    await must_be_as_undisturbed(shop)


async def test_each_write_of_each_step_hangs_past_its_time_and_is_done_later(still: Shop) -> None:
    """A Company that appears after we gave up on it is the tenant's, and there once."""
    shop = still
    take_masters_away(shop)
    await shop.drive(pacing=replace(SOON, race_low=0.05, race_high=0.1))
    await shop.faults(*({"method": "POST", "doctype": each, "hang_ms": 500} for each in WRITES))
    engine, send = shop.store.engine, shop.store.engine.send
    given_up: set[str] = set()

    async def impatient(request: Request) -> Answer:
        if request.method == "POST" and request.doctype not in given_up:
            given_up.add(request.doctype)
            engine.patience = [0.2]
        return await send(request)

    engine.send = impatient  # type: ignore[method-assign]  # gives up on the first of each kind
    tenant = await shop.order(NAME, include_demo_data=True)
    await shop.must_complete(tenant)

    assert len(given_up) == len(WRITES)
    await must_be_as_undisturbed(shop)


async def test_a_company_that_appears_long_after_is_adopted_as_ours(shop: Shop) -> None:
    """The request was given up, looked for in vain, and carried out at last."""
    await shop.faults({"method": "POST", "doctype": "Company", "hang_seconds": 600})
    shop.store.engine.patience = [30.0, 30.0, 30.0, 0.2]  # the years, the means, the Company
    tenant = await shop.order(NAME)
    await shop.site.arrived("POST", "Company", 2)
    assert (await shop.documents())["Company"] == 1  # the site's own

    shop.site.hurry()
    await shop.must_complete(tenant)
    assert (await shop.belongings(NAME))["Company"] == 1
    states = shop.sql("SELECT state FROM resources WHERE doctype = 'Company'")
    assert states == [(ResourceState.CREATED,)]
