"""Changes and removals lose their answers, in each way there is: settled by a look, never twice.

What makes documents is in test_unknown_everywhere; this is about what changes one or takes it away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from server.erpnext.requests import make
from server.erpnext.timeouts import Timeouts
from server.erpnext.undo import removing
from server.executor import quarantine
from server.model.states import LogLevel, TenantState
from tests.server.executor.removals import NAME, made_by_tenant, removed, sell
from tests.server.executor.scene import TILL, draft_of_till
from tests.server.executor.test_unknown_everywhere import WAYS

if TYPE_CHECKING:
    from tests.server.executor.scene import Shop

# Long enough for a busy machine to answer in, short enough to wait for twice.
LIMIT = 3.0
# Every request of a removal that changes something, as the stand-in's faults name it.
REMOVALS = (
    ("POST", "frappe.client.cancel"),
    ("DELETE", "POS Opening Entry"),
    ("DELETE", "POS Profile"),
    ("DELETE", "Item Price"),
    ("DELETE", "Item"),
    ("DELETE", "Customer"),
    ("DELETE", "Price List"),
    ("DELETE", "Item Group"),
    ("DELETE", "Company"),
)
SETTINGS = {"Selling Settings": "cust_master_name", "Stock Settings": "item_naming_by"}
RECORD = "Transaction Deletion Record"


def ways(*short: str) -> list[Any]:
    """Return all ways: those of a making are all short tests, those of a change differ little."""
    return [way if way in short else pytest.param(way, marks=pytest.mark.prove) for way in WAYS]


# Carried out, and not.
SOME_WAYS = ways("cut after it", "an error page and not done")
ONE_WAY = ways("cut after it")


@pytest.fixture(autouse=True)
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of unknown outcome is waited for as long as it may be carried out."""
    monkeypatch.setattr(quarantine, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(removing, "REMOVE_SECONDS", 0.5)


async def faults(shop: Shop, *what: tuple[str, str], **how: Any) -> None:
    await shop.faults(*({"method": method, "doctype": doctype, **how} for method, doctype in what))


async def lost(shop: Shop, tenant: Any) -> int:
    """Count the answers that were lost, each told in the log in plain words."""
    attempts = await shop.attempts(tenant)
    unknown = sum(each.error_class == "UNKNOWN_OUTCOME" for each in attempts)
    warnings = await shop.lines(tenant, LogLevel.WARNING)
    assert sum("look before it is sent again" in line for line in warnings) >= unknown
    return unknown


@pytest.mark.parametrize("way", SOME_WAYS)
async def test_each_removal_loses_its_answer(shop: Shop, way: str) -> None:
    tenant = await shop.completed(NAME, include_demo_data=True)
    await faults(shop, *REMOVALS, **WAYS[way])
    await removed(shop, tenant)
    assert await lost(shop, tenant) >= len(REMOVALS)
    assert not await made_by_tenant(shop)
    assert shop.sql("SELECT slot_tenant_id FROM engines") == [(None,)]


async def test_each_removal_hangs_past_its_time_and_is_done_later(shop: Shop) -> None:
    tenant = await shop.completed(NAME, include_demo_data=True)
    await faults(shop, *REMOVALS, hang_ms=800)
    engine, send = shop.store.engine, shop.store.engine.send
    given_up: set[tuple[str, str]] = set()

    async def impatient(request: Any) -> Any:
        if request.method != "GET" and (kind := (request.method, request.doctype)) not in given_up:
            given_up.add(kind)
            engine.patience = [0.3]
        return await send(request)

    engine.send = impatient  # type: ignore[method-assign]  # gives up on the first of each kind
    await removed(shop, tenant)
    assert len(given_up) == len(REMOVALS)
    assert not await made_by_tenant(shop)


@pytest.mark.parametrize("way", ONE_WAY)
async def test_each_step_of_a_deletion_of_transactions_loses_its_answer(
    shop: Shop, way: str
) -> None:
    """The record is made, submitted and started; ERPNext takes one a Company at a time."""
    shop.store.engine._timeouts = Timeouts(seconds=LIMIT)
    tenant = await shop.completed(NAME, include_demo_data=True)
    await sell(shop)
    await faults(shop, ("POST", RECORD), ("PUT", RECORD), **WAYS[way])
    await removed(shop, tenant, even_if_sold=True, delete_transactions=True)
    assert await lost(shop, tenant) >= 2
    held = (await shop.look())["documents"]
    assert [each["status"] for each in held[RECORD]] == ["Completed"]
    assert set(await made_by_tenant(shop)) == {RECORD}


@pytest.mark.parametrize("way", ONE_WAY)
async def test_each_change_of_a_setting_of_the_site_loses_its_answer(shop: Shop, way: str) -> None:
    shop.store.engine._timeouts = Timeouts(seconds=LIMIT)
    for doctype, field in SETTINGS.items():
        shop.site.site.require(doctype, doctype)[field] = "Naming Series"
    await faults(shop, *(("PUT", doctype) for doctype in SETTINGS), **WAYS[way])
    tenant = await shop.completed(NAME)
    assert await lost(shop, tenant) == len(SETTINGS)
    for doctype, field in SETTINGS.items():
        assert shop.site.site.require(doctype, doctype)[field] != "Naming Series"


@pytest.mark.parametrize("way", ONE_WAY)
async def test_the_submission_of_a_draft_of_the_till_loses_its_answer(shop: Shop, way: str) -> None:
    shop.store.engine._timeouts = Timeouts(seconds=LIMIT)
    entry = "POS Opening Entry"
    await shop.faults({"method": "POST", "doctype": entry, "status": 417})
    tenant = await shop.order(NAME)
    assert await shop.rest(tenant) == [TenantState.PARTIAL]
    await shop.store.engine.send(make(entry, "POS-OPE-KS-1", draft_of_till()))
    await faults(shop, ("PUT", entry), **WAYS[way])
    await shop.again(tenant, step_key=TILL)
    await shop.must_complete(tenant)
    assert await lost(shop, tenant) == 1
    held = (await shop.look())["documents"][entry]
    assert [(each["name"], each["docstatus"]) for each in held] == [("POS-OPE-KS-1", 1)]
