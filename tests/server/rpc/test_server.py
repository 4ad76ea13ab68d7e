"""The listening server: health, reflection, addresses."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from server.errors import SettingsError
from server.rpc import RpcServer
from tests.server.rpc.failing import taken_apart

if TYPE_CHECKING:
    from tests.server.rpc.conftest import Rig

PATIENCE_SECONDS = 45.0
SERVICE = "provisioner.v1.ProvisioningService"


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_health_says_serving_for_the_server_and_its_service(rig: Rig, service: str) -> None:
    # Any: the published types have no asyncio stub for health and reflection.
    stub: Any = health_pb2_grpc.HealthStub(rig.channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_health_says_not_serving_before_the_server_is_gone(rig: Rig) -> None:
    stub: Any = health_pb2_grpc.HealthStub(rig.channel)
    watching = stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.SERVING
    stopping = asyncio.create_task(rig.server.stop(5))
    assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watching.cancel()
    await stopping


async def test_reflection_lists_the_services_and_gives_the_contract(rig: Rig) -> None:
    channel: Any = rig.channel
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    asked = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE),
    ]
    listed, file = [answer async for answer in stub.ServerReflectionInfo(iter(asked))]
    names = {service.name for service in listed.list_services_response.service}
    assert {SERVICE, "grpc.health.v1.Health"} <= names
    assert file.file_descriptor_response.file_descriptor_proto


async def test_a_question_for_health_that_is_no_message_is_answered_as_any_other(rig: Rig) -> None:
    ask: Any = rig.channel.unary_unary("/grpc.health.v1.Health/Check")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(b"\xff")
    assert taken_apart(caught.value).reason == "MALFORMED_MESSAGE"


@pytest.mark.parametrize("sent", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
async def test_who_connects_and_does_not_greet_is_hung_up_on(
    unserved: Rig, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """By default gRPC keeps such a connection, and with it an open file, for two minutes."""
    monkeypatch.setattr("server.rpc.server.HEAD_SECONDS", 0.2)
    await unserved.serve()
    reader, writer = await asyncio.open_connection("127.0.0.1", unserved.server.port)
    writer.write(sent)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await reader.read()
    writer.close()
    await unserved.close()


async def test_no_method_costs_each_call_a_task(rig: Rig) -> None:
    # What grpc.aio looks at again at each call (docs/decisions/0046): one for all methods.
    waiting = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    asked = [each for each in waiting if each.startswith("AioServer._request")]
    assert asked == ["AioServer._request_call"], waiting


async def test_an_address_in_use_is_a_setting_to_mend(rig: Rig) -> None:
    with pytest.raises(SettingsError, match=r"PROVISIONER_GRPC_ADDRESS.*choose another"):
        await RpcServer(rig.service, f"127.0.0.1:{rig.server.port}", fleet=rig.fleet).start()


async def test_a_server_that_was_not_started_can_be_stopped(rig: Rig) -> None:
    await RpcServer(rig.service, "127.0.0.1:0", fleet=rig.fleet).stop()
