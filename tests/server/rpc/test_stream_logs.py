"""A tenant's log over a real connection: each line once, whatever happens to the stream."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest

from provisioner.v1 import provisioning_pb2 as pb
from provisioner.v1.provisioning_pb2_grpc import ProvisioningServiceStub
from tests.server.rpc.failing import Failed, failure, taken_apart

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.rpc.conftest import Rig

    Call = grpc.aio.UnaryStreamCall[pb.StreamLogsRequest, pb.StreamLogsResponse]

TENANT = "01900000-0000-7000-8000-000000000001"


def stream(rig: Rig, *, after: int = 0, follow: bool = True, tenant: str = TENANT) -> Call:
    return rig.stub.StreamLogs(
        pb.StreamLogsRequest(tenant_id=tenant, after_cursor=after, follow=follow)
    )


async def page(call: Call) -> pb.StreamLogsResponse:
    answer = await asyncio.wait_for(call.read(), 10)
    assert isinstance(answer, pb.StreamLogsResponse)
    return answer


async def rest_of(call: Call) -> list[int]:
    """Read to the end; with `read` throughout, which may not be mixed with iteration."""
    cursors: list[int] = []
    async with asyncio.timeout(20):
        while isinstance(answer := await call.read(), pb.StreamLogsResponse):
            cursors += [entry.cursor for entry in answer.entries]
    return cursors


async def failed_stream(call: Call) -> Failed:
    try:
        await rest_of(call)
    except grpc.aio.AioRpcError as error:
        return taken_apart(error)
    raise AssertionError("the stream ended with OK")


async def test_without_follow_the_log_is_sent_as_it_is_and_the_stream_ends(rig: Rig) -> None:
    await rig.start("Acme", tenant_id=TENANT)
    await rig.write(TENANT, *(f"line {n}" for n in range(250)))
    pages = [answer async for answer in stream(rig, follow=False)]
    assert [len(answer.entries) for answer in pages] == [200, 51]
    assert [answer.cursor for answer in pages] == [200, 251]
    entry = pages[0].entries[0]
    assert entry.cursor == 1
    assert entry.level == pb.LOG_LEVEL_INFO
    assert entry.run_id
    assert (entry.fields["event"], entry.fields["tenant"]) == ("run.opened", TENANT)
    assert entry.time.ToSeconds() > 0


@pytest.mark.parametrize("damage", ["''", "'garbage'", "x'ff'"])
@pytest.mark.parametrize("number", [3, 2])
async def test_a_cursor_that_is_no_number_ends_the_log_there_and_does_not_begin_it_again(
    unserved: Rig, damage: str, number: int
) -> None:
    """SQLite keeps it, and sorts it after all numbers."""
    rig = unserved
    await rig.serve()
    await rig.start("Acme", tenant_id=TENANT)
    await rig.write(TENANT, "two", "three")
    rig.damage(f"UPDATE log_entries SET cursor = {damage} WHERE cursor = {number}")  # noqa: S608 - our own words
    call = stream(rig, follow=False)
    failed = await failed_stream(call)
    assert (failed.code, failed.reason) == (grpc.StatusCode.DATA_LOSS, "CURSOR_TOO_OLD")
    assert failed.metadata == {"oldest_cursor": str(number + 1)}
    await rig.close()


async def test_a_followed_log_ends_with_ok_once_the_tenant_is_at_rest_and_all_is_sent(
    rig: Rig,
) -> None:
    await rig.start("Acme", tenant_id=TENANT)
    call = stream(rig)
    assert (await page(call)).cursor == 1
    for number in range(2, 6):
        await rig.write(TENANT, f"line {number}")
        assert (await page(call)).cursor == number
    await rig.write(TENANT, "the last", rest=True)
    assert await rest_of(call) == [6]
    assert await call.code() is grpc.StatusCode.OK


async def test_a_stream_cut_off_and_resumed_gives_each_line_once(rig: Rig) -> None:
    await rig.start("Acme", tenant_id=TENANT)
    writing = asyncio.create_task(_write_many(rig, 300))
    seen: list[int] = []
    for _ in range(20):
        call = stream(rig, after=seen[-1] if seen else 0)
        seen += [entry.cursor for entry in (await page(call)).entries]
        call.cancel()
    call = stream(rig, after=seen[-1])
    seen += await rest_of(call)
    await writing
    assert seen == list(range(1, 302))


async def _write_many(rig: Rig, count: int) -> None:
    for number in range(count):
        await rig.write(TENANT, f"line {number}", rest=number == count - 1)


async def test_a_cursor_from_the_future_is_out_of_range(rig: Rig) -> None:
    await rig.start("Acme", tenant_id=TENANT)
    failed = await failed_stream(stream(rig, after=2))
    assert (failed.code, failed.reason) == (
        grpc.StatusCode.OUT_OF_RANGE,
        "CURSOR_OUT_OF_RANGE",
    )
    failed = await failed_stream(stream(rig, after=-1))
    assert (failed.code, failed.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ("after_cursor",))


async def test_a_cursor_older_than_what_is_kept_is_data_loss_with_the_oldest(rig: Rig) -> None:
    await rig.start("Acme", tenant_id=TENANT)
    await rig.write(TENANT, "two", "three")
    rig.damage("DELETE FROM log_entries WHERE cursor < 3")
    failed = await failed_stream(stream(rig))
    assert (failed.code, failed.reason) == (grpc.StatusCode.DATA_LOSS, "CURSOR_TOO_OLD")
    assert failed.metadata == {"oldest_cursor": "3"}


async def test_the_log_of_an_unknown_tenant_is_not_found(rig: Rig) -> None:
    failed = await failed_stream(stream(rig))
    assert (failed.code, failed.reason) == (grpc.StatusCode.NOT_FOUND, "TENANT_NOT_FOUND")
    failed = await failed_stream(stream(rig, tenant="acme"))
    assert failed.fields == ("tenant_id",)


async def test_bytes_that_are_no_message_are_an_invalid_argument_for_streams_too(rig: Rig) -> None:
    channel: Any = rig.channel  # typed by its serializers, of which a raw call has none
    call = channel.unary_stream("/provisioner.v1.ProvisioningService/StreamLogs")(b"\xff")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert taken_apart(caught.value).reason == "MALFORMED_MESSAGE"


async def test_a_line_that_utf8_can_not_hold_is_sent_with_a_mark_in_its_place(rig: Rig) -> None:
    await rig.start("Acme", tenant_id=TENANT)
    rig.damage("UPDATE log_entries SET fields = ?", '{"event": "\\ud800"}')
    (answer,) = [answer async for answer in stream(rig, follow=False)]
    assert answer.entries[0].fields["event"] == "\N{REPLACEMENT CHARACTER}"


async def test_a_stream_ends_after_its_time_and_says_to_come_again(unserved: Rig) -> None:
    await unserved.serve(longest_stream_seconds=0.05)
    await unserved.start("Acme", tenant_id=TENANT)
    failed = await failed_stream(stream(unserved))
    assert (failed.code, failed.reason) == (grpc.StatusCode.UNAVAILABLE, "STREAM_TIME_OVER")
    assert failed.retry_seconds == 0
    await unserved.close()


async def test_a_connection_has_so_many_streams_and_gets_one_back_for_each_it_cancels(
    unserved: Rig,
) -> None:
    await unserved.serve(most_streams_per_peer=3)
    await unserved.start("Acme", tenant_id=TENANT)
    calls = [stream(unserved) for _ in range(3)]
    for call in calls:
        await page(call)
    failed = await failed_stream(stream(unserved))
    assert (failed.code, failed.reason) == (
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "TOO_MANY_STREAMS",
    )
    calls[0].cancel()
    await _until_open(unserved, 2)
    calls[0] = stream(unserved)
    await page(calls[0])
    for call in calls:
        call.cancel()
    await unserved.close()


async def test_a_caller_has_so_many_streams_over_all_his_connections(unserved: Rig) -> None:
    await unserved.serve(most_streams_per_caller=2)
    await unserved.start("Acme", tenant_id=TENANT)
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(
        f"127.0.0.1:{unserved.server.port}", options=options
    ) as elsewhere:
        request = pb.StreamLogsRequest(tenant_id=TENANT, follow=True)
        calls = [stream(unserved), ProvisioningServiceStub(elsewhere).StreamLogs(request)]
        for call in calls:
            await page(call)
        failed = await failed_stream(stream(unserved))
        assert failed.reason == "TOO_MANY_STREAMS"
        assert "This caller has 2 streams open" in failed.message
        for call in calls:
            call.cancel()
    await unserved.close()


async def test_two_hundred_cancelled_streams_leave_nothing_behind(rig: Rig) -> None:
    await rig.start("Acme", tenant_id=TENANT)
    await page(warm := stream(rig))
    warm.cancel()
    await _until_open(rig, 0)
    await _until(lambda: not _reading())
    before = _tasks()
    calls = [stream(rig) for _ in range(200)]
    for index, call in enumerate(calls):
        if index % 2:
            await page(call)
        call.cancel()
    await _until_open(rig, 0)
    del calls, call
    # A page that others may share is read to its end, also when its reader has gone.
    # A task of the first stream's call may still have been counted before: fewer are fine.
    await _until(lambda: not _tasks() - before)
    assert rig.queries.hub.follower_count == 0
    # The store still answers, on connections that were given back whole.
    await rig.write(TENANT, "two", rest=True)
    assert await rest_of(stream(rig)) == [1, 2]
    gc.collect()


def _tasks() -> Counter[str]:
    """Count the tasks that are not done, by what they run."""
    return Counter(repr(task.get_coro()).split(" at 0x")[0] for task in asyncio.all_tasks())


async def _until_open(rig: Rig, count: int) -> None:
    """Wait until so many streams are open at the server."""
    await _until(lambda: rig.service.streams.count == count and _handlers() <= count)


async def _until(true: Callable[[], bool]) -> None:
    """Give the loop turns until something is so; the timeout bounds a hang."""
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0)


def _reading() -> bool:
    """Tell whether a page of a log is being read."""
    return any(task.get_name() == "log-page" for task in asyncio.all_tasks())


def _handlers() -> int:
    """Count gRPC's own tasks for calls under way."""
    return sum("handle_rpc" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def test_a_server_that_stops_tells_its_followers_to_come_back(rig: Rig) -> None:
    await rig.start("Acme", tenant_id=TENANT)
    call = stream(rig)
    await page(call)
    stopping = asyncio.create_task(rig.server.stop(10))
    failed = await failed_stream(call)
    assert (failed.code, failed.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_STOPPING")
    assert failed.retry_seconds == 1.0
    await asyncio.wait_for(stopping, 5)  # well before its grace is over


async def test_a_reader_that_does_not_read_holds_up_neither_others_nor_the_end(rig: Rig) -> None:
    await rig.start("Acme", tenant_id=TENANT)
    for _ in range(5):
        await rig.write(TENANT, *("x" * 8000 for _ in range(200)))
    slow = stream(rig)
    await page(slow)
    assert len(await rest_of(stream(rig, follow=False))) == 1001
    await asyncio.wait_for(rig.server.stop(1), 5)
    failed = await failure(rig.stub.GetStatus(pb.GetStatusRequest(tenant_id=TENANT)))
    assert failed.code is grpc.StatusCode.UNAVAILABLE
    slow.cancel()
