"""WatchStatus: where a tenant stands at once, then at each change, until it is at rest."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from provisioner.v1 import provisioning_pb2 as pb
from provisioner.v1 import tenant_pb2
from server.model.states import GateState
from server.store.operations import GateOperation
from tests.server.rpc.conftest import NOW
from tests.server.rpc.failing import failure, taken_apart

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.server.rpc.conftest import Rig

TENANT = "01900000-0000-7000-8000-000000000001"
GUARD_SECONDS = 30


class Watch:
    """A watch as a caller holds it."""

    def __init__(self, call: Any) -> None:  # Any: gRPC's call
        self.call = call

    async def next(self) -> Any:  # Any: a TenantStatus, or None at the end
        async with asyncio.timeout(GUARD_SECONDS):
            answer = await self.call.read()
        return None if answer is grpc.aio.EOF else answer.status


@asynccontextmanager
async def watching(rig: Rig, tenant_id: str) -> AsyncIterator[Watch]:
    call = rig.stub.WatchStatus(pb.WatchStatusRequest(tenant_id=tenant_id))
    try:
        yield Watch(call)
    finally:
        call.cancel()


async def test_each_change_is_told_and_rest_ends_it_with_ok(rig: Rig) -> None:
    started = await rig.start()
    async with watching(rig, started.tenant_id) as watch:
        assert await watch.next() == started
        await rig.write(started.tenant_id, "a line")
        second = await watch.next()
        assert second.revision == started.revision + 1
        await rig.write(started.tenant_id, "over", rest=True)
        rig.damage("UPDATE runs SET state = 'COMPLETED'")
        rig.damage("UPDATE steps SET state = 'COMPLETED'")
        last = second
        while (status := await watch.next()) is not None:
            assert status != last
            last = status
        assert last.state == tenant_pb2.TENANT_STATE_COMPLETED
        assert await watch.call.code() is grpc.StatusCode.OK


async def test_a_tenant_at_rest_is_told_once(rig: Rig) -> None:
    started = await rig.start()
    rig.damage("UPDATE runs SET state = 'CANCELLED'")
    async with watching(rig, started.tenant_id) as watch:
        assert (await watch.next()).state == tenant_pb2.TENANT_STATE_CANCELLED
        assert await watch.next() is None


async def test_a_removal_that_stopped_half_way_is_at_rest(rig: Rig) -> None:
    """Nothing goes on with it but the same order: who watches must not wait for ever."""
    started = await rig.start()
    rig.damage(
        "UPDATE runs SET run_order = 'DEPROVISION', state = 'FAILED', "
        "finished_at = '2026-11-24 12:00:00.000000+00:00'"
    )
    async with watching(rig, started.tenant_id) as watch:
        assert (await watch.next()).state == tenant_pb2.TENANT_STATE_DEPROVISIONING
        assert await watch.next() is None


async def test_the_gate_is_told_though_no_revision_is_raised(rig: Rig) -> None:
    started = await rig.start()
    async with watching(rig, started.tenant_id) as watch:
        assert (await watch.next()).waiting_for.code == "WORKER"
        await rig.database.submit(
            GateOperation(site="site", at=NOW, gate=GateState.DOWN, message="It is away.")
        )
        status = await watch.next()
        assert (status.waiting_for.code, status.revision) == ("ENGINE_DOWN", started.revision)
        await rig.database.submit(GateOperation(site="site", at=NOW, gate=GateState.UP))
        assert (await watch.next()).waiting_for.code == "WORKER"


async def test_standing_still_is_told_though_nothing_was_written(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = await rig.start()
    rig.damage("UPDATE runs SET state = 'RUNNING', worker_id = 'gone'")
    async with watching(rig, started.tenant_id) as watch:
        assert not (await watch.next()).errors
        monkeypatch.setattr(rig.queries._board, "_now", lambda: NOW + timedelta(seconds=31))
        assert [error.code for error in (await watch.next()).errors] == ["STALLED"]


async def test_many_who_watch_one_tenant_are_all_told(rig: Rig) -> None:
    started = await rig.start()
    calls = [
        Watch(rig.stub.WatchStatus(pb.WatchStatusRequest(tenant_id=started.tenant_id)))
        for _ in range(50)
    ]
    first = await asyncio.gather(*(watch.next() for watch in calls))
    assert all(status == started for status in first)
    await rig.write(started.tenant_id, "a line")
    second = await asyncio.gather(*(watch.next() for watch in calls))
    assert {status.revision for status in second} == {started.revision + 1}
    for watch in calls:
        watch.call.cancel()


async def test_no_tenant_is_not_found(rig: Rig) -> None:
    async with watching(rig, TENANT) as watch:
        refused = await failure(watch.call.read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "TENANT_NOT_FOUND")


async def test_a_watch_ends_after_its_time(unserved: Rig) -> None:
    await unserved.serve(longest_stream_seconds=0.3)
    started = await unserved.start()
    async with watching(unserved, started.tenant_id) as watch:
        assert await watch.next() == started
        refused = await failure(watch.call.read())
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "STREAM_TIME_OVER")
    await unserved.close()


async def test_a_server_that_stops_sends_watchers_away(unserved: Rig) -> None:
    await unserved.serve()
    started = await unserved.start()
    async with watching(unserved, started.tenant_id) as watch:
        await watch.next()
        stopping = asyncio.create_task(unserved.server.stop(5))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watch.next()
        assert taken_apart(caught.value).reason == "SERVER_STOPPING"
        await stopping
    await unserved.channel.close()


async def test_a_status_is_never_older_than_its_call(rig: Rig) -> None:
    started = await rig.start()
    request = pb.GetStatusRequest(tenant_id=started.tenant_id)
    for number in range(20):
        await rig.write(started.tenant_id, f"line {number}")
        answer = await rig.stub.GetStatus(request)
        assert answer.status.last_cursor == started.last_cursor + number + 1
    rig.damage("DELETE FROM steps")
    errors = (await rig.stub.GetStatus(request)).status.errors
    assert [error.code for error in errors] == ["STEP_RECORD_LOST"]
    rig.damage("DELETE FROM tenants")
    assert (await failure(rig.stub.GetStatus(request))).reason == "TENANT_NOT_FOUND"
