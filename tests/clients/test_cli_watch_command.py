"""The command `watch` and the client's stream of statuses: across lost connections."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import grpc
import pytest

from clients.cli import render
from clients.sdk import NotFound, Unreachable
from provisioner.v1 import tenant_pb2
from tests.clients import builders
from tests.clients.builders import TENANT
from tests.clients.fake_service import FakeService, Fault, Serving
from tests.clients.processes import run

if TYPE_CHECKING:
    from clients.sdk import ProvisionerClient
    from tests.clients.conftest import Pauses

AWAY = Fault(code=grpc.StatusCode.UNAVAILABLE)
OVER = Fault(code=grpc.StatusCode.UNAVAILABLE, reason="STREAM_TIME_OVER")


def at(done: int, **fields: object) -> tenant_pb2.TenantStatus:
    status = builders.status(done)
    status.revision = done + 1
    for name, value in fields.items():
        setattr(status, name, value)
    return status


def completed() -> tenant_pb2.TenantStatus:
    return at(10, state=tenant_pb2.TENANT_STATE_COMPLETED)


async def test_a_watch_shows_each_change_and_ends_with_0_when_completed(
    service: FakeService, server: Serving
) -> None:
    service.statuses = deque([at(0)])
    service.watches = deque([[at(0), at(4), completed()]])
    result = await run("watch", TENANT, "--address", server.address)
    assert result.code == 0, result.err
    assert "[4/10]" in result.out
    assert "10 of 10 steps" in result.out


async def test_a_watch_in_json_is_a_status_a_line(service: FakeService, server: Serving) -> None:
    service.statuses = deque([at(0)])
    failed = at(5, state=tenant_pb2.TENANT_STATE_FAILED)
    service.watches = deque([[at(0), AWAY], [at(0), failed]])
    result = await run("watch", TENANT, "--json", "--address", server.address)
    assert result.code == 1
    assert [one["revision"] for one in result.documents] == [1, 6]


async def test_an_unknown_tenant_ends_with_5(service: FakeService, server: Serving) -> None:
    service.faults["GetStatus"].append(
        Fault(code=grpc.StatusCode.NOT_FOUND, reason="TENANT_NOT_FOUND")
    )
    result = await run("watch", TENANT, "--address", server.address)
    assert result.code == 5


async def test_a_broken_stream_is_opened_again_and_tells_nothing_twice(
    service: FakeService, client: ProvisionerClient, pauses: Pauses
) -> None:
    service.watches = deque([[at(1), AWAY], [AWAY], [at(1), at(2), OVER], [at(2), completed()]])
    async with client.watch_status(TENANT) as statuses:
        told = [status.revision async for status in statuses]
    assert told == [2, 3, 11]
    assert len(pauses.seconds) == 3


async def test_a_service_that_stays_away_ends_the_stream(
    service: FakeService, client: ProvisionerClient
) -> None:
    service.watches = deque([[AWAY]] * 4)
    stream = client.watch_status(TENANT, max_failures=2)
    with pytest.raises(Unreachable):
        await anext(stream)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_what_resuming_cant_mend_is_raised_at_once(
    service: FakeService, client: ProvisionerClient, pauses: Pauses
) -> None:
    service.watches = deque([[Fault(code=grpc.StatusCode.NOT_FOUND)]])
    with pytest.raises(NotFound):
        await anext(client.watch_status(TENANT))
    assert pauses.seconds == []


def test_a_status_says_when_it_will_be_done() -> None:
    status = at(3)
    assert not any("done by" in line.plain for line in render.status_lines(status))
    status.estimated_completion_at.CopyFrom(builders.moment(90))
    lines = [line.plain for line in render.status_lines(status)]
    assert "Expected  done by 2026-11-24 10:01:30 UTC" in lines
