"""Tenants that are cancelled and removed, on both databases: nothing unknown, nothing left behind.

`test_removing*.py` and `test_cancelling.py` in `tests/server/executor/` have every case on SQLite,
`tests/crash/test_removal_crash_points.py` every death.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from server.commands import OrderTerms
from server.erpnext.undo import removing
from server.executor import quarantine
from server.model.actor import LOCAL
from server.model.states import OPEN_RUN_STATES, TenantState
from server.model.undo import UndoOptions
from tests.scenarios.stuck.town import WHOLE
from tests.scenarios.stuck.town import town as open_town
from tests.support.waiting import PATIENCE_SECONDS, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import URL

    from server.model.identifiers import TenantId
    from tests.scenarios.stuck.town import Town

NAME = "Kijani Stores"
NOTHING = dict.fromkeys(WHOLE, 0)


@pytest.fixture
async def town(store_url: URL, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Town]:
    # The time after which a removal without an answer can have no effect any more.
    monkeypatch.setattr(removing, "REMOVE_SECONDS", 1.0)
    monkeypatch.setattr(quarantine, "GRACE_SECONDS", 0.5)
    async with open_town(store_url) as opened:
        yield opened


async def hang(town: Town, method: str, doctype: str) -> int:
    """Let the next such request hang; return how many there will have been when it does."""
    arrivals = town.site.arrivals(method, doctype)
    await town.faults({"method": method, "doctype": doctype, "hang_seconds": 600})
    return arrivals + 1


async def arrived(town: Town, method: str, doctype: str, count: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await town.site.arrived(method, doctype, count)


async def cancel(town: Town, tenant: TenantId) -> None:
    await town.core.commands.cancel(LOCAL, tenant, OrderTerms(reason="the customer left"))


async def remove(town: Town, tenant: TenantId) -> None:
    terms = OrderTerms(reason="the customer left")
    await town.core.commands.deprovision(LOCAL, tenant, terms, options=UndoOptions())


async def must_be_gone(town: Town, tenant: TenantId) -> None:
    async def closed() -> bool:
        run = (await town.record(tenant)).run
        return run is not None and run.state not in OPEN_RUN_STATES

    await until(closed)
    state = (await town.record(tenant)).tenant.state
    assert state is TenantState.DEPROVISIONED, await town.lines(tenant)
    assert await town.belongings(NAME) == NOTHING
    bound = "SELECT site FROM bindings WHERE tenant_id = :id"
    assert await town.sql(bound, id=tenant) == []
    left = "SELECT name FROM resources WHERE tenant_id = :id AND NOT shared AND state <> 'REMOVED'"
    assert await town.sql(left, id=tenant) == []
    assert await town.sql("SELECT site FROM engines WHERE slot_tenant_id IS NOT NULL") == []
    # Nobody else lost anything.
    assert [await town.belongings(name) for name in ("Healthy One", "Healthy Two")] == [WHOLE] * 2


async def test_a_run_is_cancelled_in_mid_request_driven_on_and_its_tenant_removed(
    town: Town,
) -> None:
    count = await hang(town, "POST", "Company")
    shop = await town.order(NAME)
    await arrived(town, "POST", "Company", count)
    await cancel(town, shop)
    assert (await town.record(shop)).tenant.state is TenantState.IN_PROGRESS, "one is still out"
    town.site.hurry()
    assert await town.rest(shop) is TenantState.CANCELLED
    assert (await town.belongings(NAME))["Warehouse"] == WHOLE["Warehouse"] - 2, "no more was sent"
    await town.sweep()
    assert (await town.record(shop)).tenant.state is TenantState.CANCELLED

    await town.continue_(shop)
    assert await town.rest(shop) is TenantState.COMPLETED
    assert await town.belongings(NAME) == WHOLE

    await remove(town, shop)
    await must_be_gone(town, shop)


async def test_a_removal_goes_on_where_a_worker_left_it_and_the_name_is_free_again(
    town: Town,
) -> None:
    shop = await town.completed(NAME)
    await town.close_worker()
    await town.open_worker(drain_seconds=0.1)
    count = await hang(town, "DELETE", "POS Profile")
    await remove(town, shop)
    await arrived(town, "DELETE", "POS Profile", count)
    await town.close_worker()
    await town.faults()
    town.site.hurry()
    await town.open_worker()
    await must_be_gone(town, shop)

    assert await town.completed(NAME) != shop
    assert await town.belongings(NAME) == WHOLE
