"""An engine that is away: nothing is counted, nothing fails, and work goes on by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.executor import gates
from server.model.states import TenantState
from server.standin.app import StandIn
from tests.server.executor.scene import COMPANY
from tools.installation import free_port

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from tests.server.executor.scene import Shop


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "PROBE_PAUSES_SECONDS", (0.02,))


async def must_cost_nothing(shop: Shop, tenant: TenantId) -> None:
    """Check a tenant that came through an outage."""
    await shop.must_complete(tenant)
    assert [step.tries for step in (await shop.record(tenant)).steps] == [1] * 10
    ended = {outcome for each in (await shop.outcomes(tenant)).values() for outcome in each}
    assert ended <= {"APPLIED", "ADOPTED", "WAIT_ENGINE"}


async def must_wait(shop: Shop, tenant: TenantId, code: str) -> None:
    await shop.until_waiting(tenant, code)
    record = await shop.record(tenant)
    assert record.tenant.state is TenantState.IN_PROGRESS
    assert {step.tries for step in record.steps} == {0}
    assert {o for each in (await shop.outcomes(tenant)).values() for o in each} <= {"WAIT_ENGINE"}
    assert record.run is not None
    assert record.run.waiting_for is not None
    assert record.run.waiting_for.message


@pytest.mark.parametrize("outage", ["down", "maintenance"])
async def test_a_site_that_is_down_costs_nothing(shop: Shop, outage: str) -> None:
    await shop.faults(**{outage: True})
    tenant = await shop.order()
    await must_wait(shop, tenant, "ENGINE_DOWN")

    await shop.faults()
    await must_cost_nothing(shop, tenant)


async def test_nothing_listening_at_the_port_costs_nothing(still: Shop) -> None:
    port = free_port()
    still.url = f"http://127.0.0.1:{port}"
    await still.drive()
    tenant = await still.order()
    await must_wait(still, tenant, "ENGINE_DOWN")

    standin = StandIn()
    await standin.start(port=port)
    try:
        await must_cost_nothing(still, tenant)
    finally:
        await standin.stop()


async def test_a_refused_token_is_the_engines_fault_not_the_tenants(shop: Shop) -> None:
    await shop.faults(token="other:token")
    tenant = await shop.order()
    await must_wait(shop, tenant, "ENGINE_MISCONFIGURED")

    await shop.faults(token="key:secret")
    await must_cost_nothing(shop, tenant)


async def test_an_outage_in_mid_step_costs_nothing(shop: Shop) -> None:
    await shop.faults({"method": "POST", "doctype": "Company", "hang_seconds": 60, "status": 503})
    tenant = await shop.order()
    await shop.site.arrived("POST", "Company")
    await shop.faults(maintenance=True)
    shop.site.hurry()
    await shop.until_waiting(tenant, "ENGINE_DOWN")

    await shop.faults()
    await must_cost_nothing(shop, tenant)
    assert (await shop.outcomes(tenant))[COMPANY] == ["WAIT_ENGINE", "APPLIED"]


async def test_one_tenants_503_does_not_shut_the_gate(shop: Shop) -> None:
    await shop.faults({"method": "POST", "doctype": "Company", "status": 503})
    tenant = await shop.completed()

    assert (await shop.outcomes(tenant))[COMPANY] == ["RETRY", "APPLIED"]
    assert shop.sql("SELECT gate FROM engines") == [("UP",)]


async def test_a_whole_fleet_waits_and_goes_on(shop: Shop) -> None:
    await shop.faults(down=True)
    tenants = [await shop.order(f"Branch {number} Traders") for number in range(5)]
    await shop.until_waiting(tenants[0], "ENGINE_DOWN")

    await shop.faults()
    for tenant in tenants:
        await must_cost_nothing(shop, tenant)


async def test_a_restart_during_an_outage_keeps_waiting_and_then_goes_on(shop: Shop) -> None:
    await shop.faults(down=True)
    tenant = await shop.order()
    await shop.until_waiting(tenant, "ENGINE_DOWN")
    await shop.leave(shop.store)
    await shop.drive()
    await shop.until_waiting(tenant, "ENGINE_DOWN")

    await shop.faults()
    await must_cost_nothing(shop, tenant)
