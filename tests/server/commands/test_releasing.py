"""Release: a hold is lifted, or a dead worker's run is freed."""

from __future__ import annotations

import pytest

from server.errors import Refused
from server.model.records import Hold
from server.model.states import RunState, TenantState
from tests.server.commands.desk import JANE, WHY, Desk, driven, last_line, next_command
from tests.server.store.scene import NOON, later


async def test_releasing_lifts_a_hold_and_drives_nothing(desk: Desk) -> None:
    tenant_id = await desk.held()
    holder = await desk.commands.holder(JANE, tenant_id)
    assert holder.hold == Hold(reason="The Company is gone", by="reconciler", since=NOON)
    await desk.commands.release(JANE, tenant_id, WHY)
    record = await desk.record(tenant_id)
    assert record.tenant.hold is None
    assert record.tenant.state is TenantState.FAILED
    assert "The Company is gone" in await last_line(desk, tenant_id)


async def test_a_dead_workers_run_is_released_and_the_dead_ones_token_counts_no_more(
    desk: Desk,
) -> None:
    tenant_id = await desk.start()
    await driven(desk, tenant_id, beat=False)
    before = await desk.record(tenant_id)
    holder = await desk.commands.holder(JANE, tenant_id)
    assert (holder.dead, holder.heartbeat_at) == (True, later(seconds=-60))
    await desk.commands.release(JANE, tenant_id, WHY)
    record = await desk.record(tenant_id)
    assert record.run is not None
    assert (record.run.state, record.run.worker_id) == (RunState.QUEUED, None)
    assert record.tenant.fencing_token > before.tenant.fencing_token
    assert "60 s ago" in await last_line(desk, tenant_id)


async def test_a_living_workers_run_is_not_released(desk: Desk) -> None:
    tenant_id = await desk.start()
    await driven(desk, tenant_id, beat=True)
    with pytest.raises(Refused) as caught:
        await desk.commands.release(JANE, tenant_id, WHY)
    assert caught.value.code == "LEASE_ALIVE"
    assert next_command(caught.value) == f"provisioner cancel {tenant_id}"
