"""Every rpc and route by every role on own, foreign and unknown tenant, found by reflection.

What is added to the contract later is walked by itself: a new method without a rule fails
here, and so does one that answers a foreign tenant otherwise than an unknown one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pool, message_factory

from provisioner.v1 import access_pb2, fleet_pb2, provisioning_pb2
from server.access.policy import PUBLIC, RULES
from server.app import App
from server.model.actor import LOCAL, MEMBER_RIGHTS, RIGHTS, Right, Role
from server.model.blueprint import NOOP
from server.model.identifiers import SiteKey
from server.settings import Address, EngineConfig, EnginesConfig, Settings
from server.validation import RawSpec
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import httpx

OWN = "11111111-1111-7111-8111-111111111111"
FOREIGN = "22222222-2222-7222-8222-222222222222"
UNKNOWN = "33333333-3333-7333-8333-333333333333"
SECRET_NAME = "Hush Hush Holdings"
_DENIED = {"UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND"}
_METHODS = [
    method
    for module in (provisioning_pb2, fleet_pb2, access_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


@dataclass
class Caller:
    role: Role | None
    member: bool
    authorization: str | None

    def may(self, right: Right | None) -> bool:
        if right is None or self.role is None:
            return self.role is not None
        return right in (MEMBER_RIGHTS if self.member else RIGHTS)[self.role]


@dataclass
class House:
    app: App
    channel: grpc.aio.Channel
    callers: list[Caller]

    async def call(self, method: Any, caller: Caller, tenant_id: str) -> tuple[str, str]:
        """Call; return the code, and all that was said."""
        cls = message_factory.GetMessageClass(
            descriptor_pool.Default().FindMessageTypeByName(method.input_type.full_name)
        )
        request: Any = cls()
        if "tenant_id" in method.input_type.fields_by_name:
            request.tenant_id = tenant_id
        if "reason" in method.input_type.fields_by_name:
            request.reason = "because"
        if "spec" in method.input_type.fields_by_name and method.name == "StartProvisioning":
            request.spec.company_name = f"Company of {tenant_id[:4]}"
        path = f"/{method.containing_service.full_name}/{method.name}"
        answer_class = message_factory.GetMessageClass(
            descriptor_pool.Default().FindMessageTypeByName(method.output_type.full_name)
        )
        make = self.channel.unary_stream if method.server_streaming else self.channel.unary_unary
        stub: Any = make(
            path,
            request_serializer=cls.SerializeToString,
            response_deserializer=answer_class.FromString,
        )
        metadata = (
            () if caller.authorization is None else (("authorization", caller.authorization),)
        )
        try:
            if method.server_streaming:
                call = stub(request, metadata=metadata, timeout=60)
                answer = await call.read()
                call.cancel()
                said = str(answer)
            else:
                said = str(await stub(request, metadata=metadata, timeout=60))
        except grpc.aio.AioRpcError as error:
            details = dict(error.trailing_metadata() or ())
            said = f"{error.details()} {details.get('grpc-status-details-bin')!r}"
            return error.code().name, said.replace(tenant_id, "ID")
        return "OK", said


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    settings = Settings(
        database_url=f"sqlite+aiosqlite:///{tmp_path / 'provisioner.db'}",
        grpc_address=Address(host="127.0.0.1", port=0),
        http_address=Address(host="127.0.0.1", port=0),
    )
    engine = EngineConfig(id="main", blueprint=NOOP.name, site=SiteKey("noop"))
    async with App(settings, EnginesConfig(default="main", engines={"main": engine})) as app:
        for tenant_id, name in ((OWN, "Own Shop"), (FOREIGN, SECRET_NAME)):
            await app.core.commands.start(LOCAL, RawSpec(company_name=name), tenant_id=tenant_id)
        callers = [Caller(None, member=False, authorization=None)]
        for role in Role:
            for member in (False, True):
                made = await app.access.keys.create(
                    LOCAL,
                    name=f"{role.lower()}-{member}".lower(),
                    role=role,
                    tenants=frozenset({OWN}) if member else None,
                )
                callers.append(Caller(role, member, f"Bearer {made.text.get_secret_value()}"))
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{app.grpc_port}")
        yield House(app, channel, callers)
        await channel.close()


def test_every_method_of_the_contract_has_a_rule() -> None:
    assert _METHODS
    assert {method.name for method in _METHODS} <= set(RULES) | PUBLIC


async def test_every_rpc_asks_every_role_about_own_foreign_and_unknown_tenants(
    house: House,
) -> None:
    wrong: list[str] = []
    for method in _METHODS:
        if method.name in PUBLIC:
            continue
        for caller in house.callers:
            own, foreign, unknown = [
                await house.call(method, caller, tenant) for tenant in (OWN, FOREIGN, UNKNOWN)
            ]
            who = f"{method.name} by {caller.role} member={caller.member}"
            wrong += [f"{who}: {each}" for each in _problems(method, caller, own, foreign, unknown)]
    assert not wrong, "\n".join(wrong)


def _problems(
    method: Any,
    caller: Caller,
    own: tuple[str, str],
    foreign: tuple[str, str],
    unknown: tuple[str, str],
) -> list[str]:
    right = RULES[method.name]
    about_one = "tenant_id" in method.input_type.fields_by_name
    if caller.role is None:
        return [
            f"let in: {each}" for each in (own, foreign, unknown) if each[0] != "UNAUTHENTICATED"
        ]
    found = []
    starts_own = method.name == "StartProvisioning" and caller.may(Right.ORDER)
    allowed = caller.may(right) or (caller.member and starts_own)
    if allowed and own[0] in _DENIED:
        found.append(f"refused though allowed: {own}")
    if not allowed and own[0] != "PERMISSION_DENIED":
        found.append(f"let through: {own}")
    if caller.member and foreign != unknown:
        found.append(f"foreign and unknown differ: {foreign} {unknown}")
    if caller.member and about_one and foreign[0] not in _DENIED:
        found.append(f"reached a foreign tenant: {foreign}")
    if caller.member and any(
        SECRET_NAME in each[1] or FOREIGN in each[1] for each in (own, foreign)
    ):
        found.append("told of a foreign tenant")
    return found


async def test_every_route_asks_members_about_own_foreign_and_unknown_tenants(
    house: House,
) -> None:
    base = f"http://127.0.0.1:{house.app.http_port}"
    members = [caller for caller in house.callers if caller.member]
    wrong = []
    async with plain_client(base_url=base, timeout=60, trust_env=False) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
        assert any("{tenant_id}" in path for path in paths)
        for path, methods in paths.items():
            for verb in set(methods) & {"get", "post", "put", "patch", "delete"}:
                for caller in members:
                    said = [
                        await _ask(client, verb, path, caller, tenant)
                        for tenant in (FOREIGN, UNKNOWN)
                    ]
                    if _tells_apart(path, *said) or any(SECRET_NAME in text for _, text in said):
                        wrong.append(f"{verb} {path} by {caller.role}: {said}")
                nobody = await _ask(client, verb, path, house.callers[0], FOREIGN)
                if SECRET_NAME in nobody[1]:
                    wrong.append(f"{verb} {path} by nobody: {nobody}")
    assert not wrong, "\n".join(wrong)


def _tells_apart(path: str, foreign: tuple[int, str], unknown: tuple[int, str]) -> bool:
    """Tell whether a route says more of a foreign tenant than it may."""
    if "{tenant_id}" not in path or foreign == unknown:
        # What names no tenant is answered by the clock, too (metrics).
        return False
    # Old clients hear whether there is one, and no more (decision 0025).
    old = not path.startswith("/v1/")
    return not old or (foreign, unknown) != (
        (403, '{"detail":"Not a member of this tenant"}'),
        (404, '{"detail":"Tenant not found"}'),
    )


async def _ask(
    client: httpx.AsyncClient, verb: str, path: str, caller: Caller, tenant: str
) -> tuple[int, str]:
    url = path.replace("{tenant_id}", tenant).replace("{engine_id}", "main")
    headers = {} if caller.authorization is None else {"Authorization": caller.authorization}
    body = None if verb == "get" else {"reason": "because"}
    async with (
        asyncio.timeout(60),
        client.stream(verb.upper(), url, json=body, headers=headers) as answer,
    ):
        text = ""
        async for part in answer.aiter_text():
            text += part
            if "event-stream" in answer.headers.get("content-type", "") and text:
                break
    return answer.status_code, text.replace(tenant, "ID")
