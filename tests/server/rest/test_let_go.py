"""A stream under way ends soon after its caller's rights do, also while nothing is sent on it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from provisioner.v1 import provisioning_pb2
from provisioner.v1.provisioning_pb2_grpc import ProvisioningServiceStub
from server.model.actor import Role
from server.rpc.server import RpcServer
from tests.server.rest.conftest import BOSS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.server.rest.conftest import Rig

# Bounds a hang; the streams of these tests are looked at ten times a second.
PATIENCE_SECONDS = 60.0
EMAIL = "cashier@example.com"


@dataclass(frozen=True)
class LetGo:
    """How somebody loses a right that he had, and what he hears."""

    authorization: Callable[[Rig, str], Awaitable[str]]
    end: Callable[[Rig, str], Awaitable[object]]
    code: str
    reason: str


async def _as_user(rig: Rig, tenant_id: str) -> str:
    return (await rig.member(EMAIL, tenant_id))["Authorization"]


async def _with_key(rig: Rig, tenant_id: str) -> str:
    made = await rig.access.keys.create(
        BOSS, name="monitor", role=Role.VIEWER, tenants=frozenset({tenant_id})
    )
    return f"Bearer {made.text.get_secret_value()}"


async def _disable(rig: Rig, _tenant_id: str) -> None:
    await rig.access.users.disable(BOSS, await rig.access.users.find(EMAIL))


async def _new_password(rig: Rig, _tenant_id: str) -> None:
    user = await rig.access.users.find(EMAIL)
    await rig.access.users.set_password(BOSS, user, "another long password")


async def _leave(rig: Rig, tenant_id: str) -> None:
    await rig.access.users.leave(BOSS, await rig.access.users.find(EMAIL), tenant_id)


async def _leave_elsewhere(rig: Rig, _tenant_id: str) -> None:
    """As another process would: nothing here is told."""
    rig.sql("DELETE FROM memberships")


async def _revoke(rig: Rig, _tenant_id: str) -> None:
    await rig.access.keys.revoke(BOSS, "monitor")


WAYS = {
    "user disabled": LetGo(_as_user, _disable, "UNAUTHENTICATED", "TOKEN_INVALID"),
    "new password": LetGo(_as_user, _new_password, "UNAUTHENTICATED", "TOKEN_INVALID"),
    "key revoked": LetGo(_with_key, _revoke, "UNAUTHENTICATED", "TOKEN_INVALID"),
    "no member any more": LetGo(_as_user, _leave, "NOT_FOUND", "TENANT_NOT_FOUND"),
    "by another process": LetGo(_as_user, _leave_elsewhere, "NOT_FOUND", "TENANT_NOT_FOUND"),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stream", ["logs", "watch"])
async def test_a_quiet_stream_of_events_ends_with_the_reason(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, way: str, stream: str
) -> None:
    monkeypatch.setattr("server.access.authenticator.REMEMBER_SECONDS", 0.1)
    let_go = WAYS[way]
    tenant_id = await rig.begun()
    headers = {
        "Authorization": await let_go.authorization(rig, tenant_id),
        "Accept": "text/event-stream",
    }
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        rig.http.stream("GET", f"/v1/tenants/{tenant_id}/{stream}", headers=headers) as answer,
    ):
        assert answer.status_code == 200
        lines = answer.aiter_lines()
        async for line in lines:
            if line.startswith("id: "):
                break
        # The run waits for a worker that never comes: nothing more is told of it.
        await let_go.end(rig, tenant_id)
        rest = [line async for line in lines]
    said = json.loads(rest[rest.index("event: error") + 1].removeprefix("data: "))
    assert said["code"] == let_go.code
    assert said["details"][0]["reason"] == let_go.reason
    assert rig.service.streams.count == 0


@pytest.mark.parametrize("way", WAYS)
async def test_a_quiet_stream_over_grpc_ends_with_the_reason(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr("server.access.authenticator.REMEMBER_SECONDS", 0.1)
    let_go = WAYS[way]
    tenant_id = await rig.begun()
    authorization = await let_go.authorization(rig, tenant_id)
    async with asyncio.timeout(PATIENCE_SECONDS), called(rig) as stub:
        call = stub.StreamLogs(
            provisioning_pb2.StreamLogsRequest(tenant_id=tenant_id, follow=True),
            metadata=(("authorization", authorization),),
        )
        assert isinstance(await call.read(), provisioning_pb2.StreamLogsResponse)
        await let_go.end(rig, tenant_id)
        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await call.read()
    assert ended.value.code().name == let_go.code


@asynccontextmanager
async def called(rig: Rig) -> AsyncIterator[ProvisioningServiceStub]:
    server = RpcServer(rig.service, "127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield ProvisioningServiceStub(channel)
    finally:
        await server.stop()
