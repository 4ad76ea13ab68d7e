"""A change whose answer was lost may still be carried out: the tenant's names wait for that."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from server.executor import quarantine
from server.executor.state import DrivenRun
from server.model.blueprint import ERPNEXT
from server.model.identifiers import TenantId
from server.model.ownership import Resource, resource_key
from server.model.states import ResourceState, TenantState
from server.model.step_context import Intent
from tests.server.executor.scene import TILL, now

if TYPE_CHECKING:
    from server.store.claims import Claim
    from tests.server.executor.scene import Shop

NAME = "Kijani Stores"
ENTRY = "POS-OPE-KS-1"


@pytest.fixture
async def drafted(shop: Shop) -> Shop:
    """A tenant whose till entry is a draft again, as one that lost its submission."""
    await shop.completed(NAME)
    return shop


async def draft(shop: Shop) -> None:
    entry = shop.site.site.require("POS Opening Entry", ENTRY)
    entry["docstatus"], entry["status"] = 0, "Draft"
    # Never COMPLETED before: the step may touch the till.
    shop.sql("UPDATE tenants SET first_completed_at = NULL")


def busy(shop: Shop) -> list[tuple[object, ...]]:
    return shop.sql("SELECT name, busy_until FROM resources WHERE busy_until IS NOT NULL")


async def test_a_change_says_until_when_it_may_be_out_before_it_is_sent(drafted: Shop) -> None:
    await draft(drafted)
    await drafted.faults({"method": "PUT", "doctype": "POS Opening Entry", "hang_seconds": 600})
    tenant = TenantId(drafted.sql("SELECT id FROM tenants")[0][0])
    await drafted.again(tenant, step_key=TILL)
    await drafted.site.arrived("PUT", "POS Opening Entry")

    assert [name for name, _ in busy(drafted)] == [ENTRY]
    drafted.site.hurry()
    await drafted.must_complete(tenant)
    assert busy(drafted) == []


async def test_a_change_that_was_done_behind_a_lost_answer_is_not_sent_again(
    drafted: Shop,
) -> None:
    await draft(drafted)
    await drafted.faults({"method": "PUT", "doctype": "POS Opening Entry", "cut": "after"})
    tenant = TenantId(drafted.sql("SELECT id FROM tenants")[0][0])
    await drafted.again(tenant, step_key=TILL)
    await drafted.must_complete(tenant)

    assert drafted.site.arrivals("PUT", "POS Opening Entry") == 1
    assert busy(drafted) == []
    assert (await drafted.outcomes(tenant))[TILL] == ["RETRY", "APPLIED"]


async def test_a_change_that_was_lost_is_sent_again_when_its_time_is_over(
    drafted: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "GRACE_SECONDS", -27.0)  # three seconds in all
    await draft(drafted)
    await drafted.faults({"method": "PUT", "doctype": "POS Opening Entry", "cut": "before"})
    tenant = TenantId(drafted.sql("SELECT id FROM tenants")[0][0])
    await drafted.again(tenant, step_key=TILL)
    await drafted.until_waiting(tenant, "QUARANTINE")
    record = await drafted.record(tenant)
    assert record.tenant.state is TenantState.IN_PROGRESS
    assert record.run is not None
    assert record.run.waiting_for is not None
    assert ENTRY in record.run.waiting_for.message
    until = record.run.waiting_for.until
    assert until is not None

    await drafted.must_complete(tenant)
    assert drafted.site.arrivals("PUT", "POS Opening Entry") == 2
    assert now() >= until
    assert (await drafted.outcomes(tenant))[TILL] == ["RETRY", "WAIT_ENGINE", "APPLIED"]
    assert {step.tries for step in (await drafted.record(tenant)).steps if step.key == TILL} == {2}
    waits = [line for line in await drafted.lines(tenant) if "no try is counted" in line]
    assert len(waits) == 1


async def test_nothing_of_the_tenant_is_made_while_a_change_may_be_out(still: Shop) -> None:
    """A late removal would hit the new document of the same name."""
    store = await still.open()
    tenant = await still.order(NAME)
    claims = await store.database.reads.claims({tenant}, passed_step="step_2_company")
    claim = claims[tenant]
    assert claim.record.run is not None
    driven = _driven(still, claim)
    entry = Resource(
        doctype="POS Opening Entry",
        name=ENTRY,
        state=ResourceState.CREATED,
        intended_at=now(),
    )
    driven.resources[resource_key(entry.doctype, entry.name)] = entry
    made = Intent(doctype="Warehouse", name="Main Store - KS")
    changed = Intent(doctype="POS Opening Entry", name=ENTRY, update=True)
    other = Intent(doctype="POS Profile", name="POS KS", update=True)
    shared = Intent(doctype="Stock Settings", name="Stock Settings", shared=True, update=True)
    kind = ERPNEXT.steps[9]

    quarantine.check(driven, made)
    quarantine.mark(driven, kind, changed, timedelta(minutes=1))
    removed = Intent(doctype="POS Profile", name="POS KS", update=True, removes=True)
    for intent in (made, changed, removed):
        with pytest.raises(quarantine.InQuarantine, match=ENTRY):
            quarantine.check(driven, intent)
    quarantine.check(driven, other)
    quarantine.check(driven, shared)
    quarantine.lift(driven, kind, changed)
    quarantine.check(driven, made)


def _driven(shop: Shop, claim: Claim) -> DrivenRun:
    assert claim.record.run is not None
    return DrivenRun(
        shop.store.database,
        tenant=claim.record.tenant,
        run=claim.record.run,
        steps={step.key: step for step in claim.record.steps},
        blueprint=ERPNEXT,
        resources={},
        attempt_numbers={},
        rate_limited={},
        token=claim.record.tenant.fencing_token,
        now=now,
    )
