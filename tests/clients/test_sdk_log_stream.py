"""What the client promises about logs: every entry once, whatever the connection does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest

from clients.sdk import CursorOutOfRange, NotFound, ProvisionerClient, Unreachable
from tests.clients.builders import TENANT, entries
from tests.clients.fake_service import FakeService, Fault, Hang, Serving, WaitFor

if TYPE_CHECKING:
    from clients.sdk import LogStream
    from tests.clients.conftest import Pauses

BROKEN = Fault(code=grpc.StatusCode.UNAVAILABLE)
TIME_OVER = Fault(code=grpc.StatusCode.UNAVAILABLE, reason="STREAM_TIME_OVER")
GUARD_SECONDS = 20


async def cursors(stream: LogStream) -> list[int]:
    async with stream:
        return [entry.cursor async for entry in stream]


async def test_a_log_is_read_in_order_to_its_end(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.stream(entries(1, 3), entries(4, 4))
    assert await cursors(client.stream_logs(TENANT)) == [1, 2, 3, 4]
    (request,) = service.requests["StreamLogs"]
    assert (request.tenant_id, request.after_cursor, request.follow) == (TENANT, 0, False)


async def test_a_broken_stream_is_resumed_after_the_last_entry(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.stream(entries(5, 6), BROKEN)
    service.stream(BROKEN)
    service.stream(entries(7, 8), TIME_OVER)
    service.stream(entries(9, 9), Fault(code=grpc.StatusCode.DEADLINE_EXCEEDED))
    # As gRPC ends a call that a service which is being stopped had not taken up yet.
    service.stream(Fault(code=grpc.StatusCode.CANCELLED))
    service.stream(entries(10, 10))
    stream = client.stream_logs(TENANT, after_cursor=4, follow=True)
    assert await cursors(stream) == [5, 6, 7, 8, 9, 10]
    asked = [(request.after_cursor, request.follow) for request in service.requests["StreamLogs"]]
    assert asked == [(4, True), (6, True), (6, True), (8, True), (9, True), (9, True)]


async def test_an_entry_sent_twice_is_given_once(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.stream(entries(1, 4), BROKEN)
    service.stream(entries(3, 6), entries(6, 7))
    assert await cursors(client.stream_logs(TENANT)) == [1, 2, 3, 4, 5, 6, 7]


async def test_a_stream_goes_on_when_the_service_went_away_and_came_back(
    server: Serving, service: FakeService
) -> None:
    service.stream(entries(1, 2), Hang())
    service.stream(entries(3, 4))
    async with (
        ProvisionerClient(server.address) as client,
        client.stream_logs(TENANT, follow=True) as stream,
    ):
        assert [(await anext(stream)).cursor, (await anext(stream)).cursor] == [1, 2]
        reading = asyncio.create_task(anext(stream))
        await server.stop()
        await server.start()
        assert (await asyncio.wait_for(reading, GUARD_SECONDS)).cursor == 3
        assert [entry.cursor async for entry in stream] == [4]


async def test_a_stream_gives_up_after_failures_in_a_row_without_an_entry(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.stream(BROKEN, times=2)
    service.stream(entries(1, 1), BROKEN)
    service.stream(BROKEN, times=9)
    stream = client.stream_logs(TENANT, max_failures=3)
    assert (await anext(stream)).cursor == 1
    with pytest.raises(Unreachable):
        await anext(stream)
    # Two before the entry, the one that brought it, and three more.
    assert len(service.requests["StreamLogs"]) == 2 + 1 + 3
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_a_stream_whose_time_is_over_has_not_failed(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.stream(TIME_OVER, times=5)
    service.stream(entries(1, 1))
    assert await cursors(client.stream_logs(TENANT, follow=True, max_failures=0)) == [1]


async def test_the_pauses_grow_to_a_limit_and_are_never_equal_for_all(
    client: ProvisionerClient, service: FakeService, pauses: Pauses
) -> None:
    service.stream(BROKEN, times=9)
    service.stream(entries(1, 1))
    await cursors(client.stream_logs(TENANT))
    limits = [min(0.1 * 2**failures, 5.0) for failures in range(1, 10)]
    assert len(pauses.seconds) == 9
    for seconds, limit in zip(pauses.seconds, limits, strict=True):
        assert limit / 2 <= seconds <= limit


async def test_the_service_may_say_how_long_to_wait(
    client: ProvisionerClient, service: FakeService, pauses: Pauses
) -> None:
    patient = Fault(code=grpc.StatusCode.UNAVAILABLE, retry_delay_seconds=7)
    service.stream(patient)
    service.stream(entries(1, 1))
    await cursors(client.stream_logs(TENANT))
    assert pauses.seconds == [7]


@pytest.mark.parametrize(
    ("code", "kind"),
    [(grpc.StatusCode.NOT_FOUND, NotFound), (grpc.StatusCode.OUT_OF_RANGE, CursorOutOfRange)],
)
async def test_what_resuming_can_not_mend_is_raised_at_once(
    client: ProvisionerClient,
    service: FakeService,
    code: grpc.StatusCode,
    kind: type[Exception],
) -> None:
    service.stream(Fault(code=code))
    with pytest.raises(kind):
        await cursors(client.stream_logs(TENANT))
    assert len(service.requests["StreamLogs"]) == 1


async def test_leaving_a_stream_early_cancels_it_at_the_service(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.stream(entries(1, 1), Hang())
    async with client.stream_logs(TENANT, follow=True) as stream:
        async for _ in stream:
            break
    await asyncio.wait_for(service.cancelled.get(), GUARD_SECONDS)
    assert [entry async for entry in stream] == []


async def test_a_stream_that_is_merely_dropped_is_cancelled_too(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.stream(entries(1, 2), Hang())
    async for _ in client.stream_logs(TENANT, follow=True):
        break
    await asyncio.wait_for(service.cancelled.get(), GUARD_SECONDS)
    # To be let go of is no reason to call again, as a broken stream is.
    assert len(service.requests["StreamLogs"]) == 1


async def test_cancelling_the_reader_cancels_the_stream(
    client: ProvisionerClient, service: FakeService
) -> None:
    service.stream(Hang())
    stream = client.stream_logs(TENANT, follow=True)
    reading = asyncio.create_task(anext(stream))
    await asyncio.wait_for(service.opened.get(), GUARD_SECONDS)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await asyncio.wait_for(service.cancelled.get(), GUARD_SECONDS)


async def test_closing_the_client_ends_its_streams(service: FakeService, server: Serving) -> None:
    service.stream(entries(1, 1), Hang())
    async with ProvisionerClient(server.address) as client:
        stream = client.stream_logs(TENANT, follow=True)
        assert (await anext(stream)).cursor == 1
    await asyncio.wait_for(service.cancelled.get(), GUARD_SECONDS)
    assert len(service.requests["StreamLogs"]) == 1


async def test_a_page_that_was_read_is_given_before_waiting_for_more(
    client: ProvisionerClient, service: FakeService
) -> None:
    more = asyncio.Event()
    service.stream(entries(1, 2), WaitFor(more), entries(3, 3))
    async with client.stream_logs(TENANT, follow=True) as stream:
        assert [(await anext(stream)).cursor, (await anext(stream)).cursor] == [1, 2]
        more.set()
        assert (await anext(stream)).cursor == 3
        assert stream.cursor == 3
