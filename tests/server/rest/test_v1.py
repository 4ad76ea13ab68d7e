"""`/v1`: the gRPC contract as JSON, and its streams as events."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from provisioner.v1 import fleet_pb2, provisioning_pb2
from server.model.derive import Standing
from server.model.identifiers import TenantId
from server.model.states import GateState, LogLevel, TenantState
from server.rest.routes_v1 import routes_of
from server.store.operations import LogDraft, TenantOperation
from tests.server.rest.conftest import ADMIN, utc_now
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from tests.server.rest.conftest import Rig

UNKNOWN = "01900000-0000-7000-8000-000000000000"
SERVICES = frozenset({"ProvisioningService", "FleetService"})
EVENTS = {"Accept": "text/event-stream"}


async def write(rig: Rig, tenant_id: str, *lines: str, rest: bool = False) -> None:
    """Append to a tenant's log as a worker does; `rest` brings it to rest."""
    standing = Standing(
        state=TenantState.COMPLETED,
        current_step="",
        steps_completed=10,
        total_steps=10,
        errors=(),
    )
    outcome = await rig.database.submit(
        TenantOperation(
            tenant_id=TenantId(tenant_id),
            at=utc_now(),
            standing=standing if rest else None,
            log=tuple(LogDraft(level=LogLevel.INFO, message=text, event="test") for text in lines),
        )
    )
    assert outcome.applied


async def events(answer: httpx.Response) -> AsyncIterator[dict[str, str]]:
    """Read events as a browser does."""
    event: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            event[name] = value.removeprefix(" ")
        elif event:
            yield event
            event = {}


async def test_a_tenant_is_started_found_and_driven_on(open_rig: Rig) -> None:
    sent = {"spec": {"company_name": "Kijani Stores"}, "request_id": "r-1"}
    first = await open_rig.post("/api/v1/tenants", json=sent)
    assert first.status_code == 200
    status = first.json()["status"]
    assert status["state"] == "TENANT_STATE_IN_PROGRESS"
    assert status["revision"] == "1"
    assert status["errors"] == []
    assert len(status["steps"]) == 10
    # The same order is the same tenant; lower camel case is taken too.
    again = await open_rig.post(
        "/v1/tenants", json={"spec": {"companyName": "Kijani Stores"}, "requestId": "r-1"}
    )
    assert again.json()["status"]["tenant_id"] == status["tenant_id"]
    listed = await open_rig.get("/v1/tenants?states=in_progress&page_size=10")
    assert [each["company_name"] for each in listed.json()["tenants"]] == ["Kijani Stores"]
    assert (await open_rig.get("/v1/tenants?states=COMPLETED")).json()["tenants"] == []
    path = f"/v1/tenants/{status['tenant_id']}"
    answer = await open_rig.post(f"{path}/continue", json={})
    assert answer.status_code == 409
    open_rig.ended(status["tenant_id"], "PARTIAL", done=9)
    answer = await open_rig.post(f"{path}/continue", content=b"")
    assert answer.json()["status"]["state"] == "TENANT_STATE_IN_PROGRESS"
    # The address says which tenant, whatever the body does.
    open_rig.ended(status["tenant_id"], "PARTIAL", done=9)
    answer = await open_rig.post(f"{path}/retry", json={"tenant_id": UNKNOWN})
    assert answer.json()["status"]["tenant_id"] == status["tenant_id"]


async def test_an_error_is_the_one_that_grpc_callers_get(open_rig: Rig) -> None:
    answer = await open_rig.get(f"/v1/tenants/{UNKNOWN}")
    assert answer.status_code == 404
    said = answer.json()
    assert list(said) == ["code", "message", "details"]
    assert said["code"] == "NOT_FOUND"
    (info,) = said["details"]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert (info["reason"], info["domain"]) == ("TENANT_NOT_FOUND", "provisioner")
    answer = await open_rig.post("/v1/tenants", json={"spec": {"company_name": "<"}})
    assert answer.status_code == 400
    fields = [
        violation["field"]
        for detail in answer.json()["details"]
        for violation in detail.get("field_violations", ())
    ]
    assert fields == ["spec.company_name"]


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b'{"spek":{}}',
        b'{"spec":7}',
        b'{"spec":{"company_name":["a"]}}',
        b'{"spec":{"company_name":"A"},"spec":{"company_name":"B"}}',
        b'{"spec":{"company_name":"A","company_name":"B"}}',
        b"[" * 50_000,
        b"\xff",
    ],
)
async def test_what_is_no_message_of_the_rpc_is_400(open_rig: Rig, content: bytes) -> None:
    answer = await open_rig.post("/v1/tenants", content=content)
    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_ARGUMENT"
    assert answer.json()["details"][0]["reason"] == "MALFORMED_MESSAGE"


@pytest.mark.parametrize(
    "query", ["page_size=x", "states=UNHEARD", "held=perhaps", "page_size=9e9"]
)
async def test_a_wrong_query_is_400_and_an_unknown_one_is_passed_over(
    open_rig: Rig, query: str
) -> None:
    assert (await open_rig.get(f"/v1/tenants?{query}")).status_code == 400
    assert (await open_rig.get("/v1/tenants?nonsense=1&held=false")).status_code == 200


@pytest.mark.parametrize("prefix", ["", "/api"])
@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1", None),
        ("GET", "/v1/nope", None),
        ("POST", f"/v1/tenants/{UNKNOWN}/nope", None),
        ("DELETE", "/v1/tenants", "GET, POST"),
        ("PUT", f"/v1/tenants/{UNKNOWN}", "GET"),
    ],
)
async def test_what_is_no_route_is_told_in_the_form_of_all_errors(
    open_rig: Rig, prefix: str, method: str, path: str, allowed: str | None
) -> None:
    answer = await open_rig.http.request(method, f"{prefix}{path}")
    told = answer.json()
    assert list(told) == ["code", "message", "details"]
    assert "/docs" in told["message"]
    assert answer.headers.get("allow") == allowed
    expected = (404, "NOT_FOUND") if allowed is None else (405, "UNIMPLEMENTED")
    assert (answer.status_code, told["code"]) == expected
    if allowed is not None:
        assert allowed in told["message"]


async def test_v1_needs_a_token_also_where_old_clients_need_none(rig: Rig) -> None:
    tenant_id = await rig.begun()
    for path in ("", "/logs", "/watch"):
        answer = await rig.get(f"/v1/tenants/{tenant_id}{path}")
        assert answer.status_code in {401, 404}
        if answer.status_code == 401:
            assert answer.json()["code"] == "UNAUTHENTICATED"
            assert answer.headers["www-authenticate"] == "Bearer"
    answer = await rig.get(f"/v1/tenants/{tenant_id}/logs", headers=EVENTS)
    assert answer.status_code == 401
    bearer = await rig.signed_in(**ADMIN)
    assert (await rig.get(f"/v1/tenants/{tenant_id}", headers=bearer)).status_code == 200
    member = await rig.member("cashier@example.com", role="CASHIER")
    assert (await rig.get(f"/v1/tenants/{tenant_id}", headers=member)).status_code == 404


async def test_a_log_is_read_at_once_as_json_and_again_from_its_cursor(open_rig: Rig) -> None:
    tenant_id = await open_rig.begun()
    await write(open_rig, tenant_id, "one", "two")
    path = f"/v1/tenants/{tenant_id}/logs"
    said = (await open_rig.get(path)).json()
    assert [entry["message"] for entry in said["entries"]][1:] == ["one", "two"]
    assert said["cursor"] == "3"
    assert (await open_rig.get(f"{path}?after_cursor=3&follow=true")).json() == {"entries": []}
    answer = await open_rig.get(f"{path}?after_cursor=99")
    assert answer.status_code == 416


async def test_a_log_is_followed_as_events_and_taken_up_again_where_it_was_left(
    open_rig: Rig,
) -> None:
    tenant_id = await open_rig.begun()
    path = f"/api/v1/tenants/{tenant_id}/logs"
    seen: list[tuple[str, str]] = []
    async with open_rig.http.stream("GET", path, headers=EVENTS) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-store"
        reading = events(answer)
        assert "retry" in await anext(reading)
        async for event in reading:
            entry = json.loads(event["data"])
            seen.append((event["id"], entry["message"]))
            if len(seen) == 1:
                await write(open_rig, tenant_id, "one\nevent: forged\n\nid: 99", "two")
            if len(seen) == 3:
                break
    assert [cursor for cursor, _ in seen] == ["1", "2", "3"]
    assert seen[1][1] == "one\nevent: forged\n\nid: 99"
    await write(open_rig, tenant_id, "three", rest=True)
    headers = {**EVENTS, "Last-Event-ID": "2"}
    async with open_rig.http.stream("GET", path, headers=headers) as answer:
        rest = [event async for event in events(answer)]
    assert [event.get("id") for event in rest[1:]] == ["3", "4", None]
    # The tenant is at rest: the stream says that this is the end.
    assert rest[-1]["event"] == "end"


async def test_a_status_is_watched_as_events_and_one_that_is_known_is_left_out(
    open_rig: Rig,
) -> None:
    tenant_id = await open_rig.begun()
    path = f"/v1/tenants/{tenant_id}/watch"
    assert (await open_rig.get(path)).json()["status"]["revision"] == "1"
    async with open_rig.http.stream("GET", path, headers=EVENTS) as answer:
        reading = events(answer)
        await anext(reading)
        first = await anext(reading)
        assert (first["event"], first["id"]) == ("status", "1")
        assert json.loads(first["data"])["status"]["state"] == "TENANT_STATE_IN_PROGRESS"
        open_rig.ended(tenant_id, "COMPLETED", done=10)
        told = [event async for event in reading]
    assert json.loads(told[-2]["data"])["status"]["state"] == "TENANT_STATE_COMPLETED"
    assert told[-1]["event"] == "end"
    headers = {**EVENTS, "Last-Event-ID": told[-2]["id"]}
    answer = await open_rig.get(path, headers=headers)
    assert "event: status" not in answer.text
    assert "event: end" in answer.text


async def test_a_watch_taken_up_again_tells_of_what_raises_no_revision(open_rig: Rig) -> None:
    tenant_id = await open_rig.begun()
    headers = {**EVENTS, "Last-Event-ID": "1"}
    waits: list[str] = []
    async with (
        asyncio.timeout(20),
        open_rig.http.stream("GET", f"/v1/tenants/{tenant_id}/watch", headers=headers) as answer,
    ):
        async for event in events(answer):
            if event.get("event") != "status":
                continue
            assert event["id"] == "1"
            waits.append(json.loads(event["data"])["status"]["waiting_for"]["code"])
            if waits[-1] == "ENGINE_DOWN":
                break
            await open_rig.gate(GateState.DOWN, "no answer")
    assert waits == ["WORKER", "ENGINE_DOWN"]


async def test_a_stream_that_is_refused_is_no_stream(open_rig: Rig) -> None:
    answer = await open_rig.get(f"/v1/tenants/{UNKNOWN}/logs", headers=EVENTS)
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")
    tenant_id = await open_rig.begun()
    headers = {**EVENTS, "Last-Event-ID": "nonsense"}
    answer = await open_rig.get(f"/v1/tenants/{tenant_id}/logs", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ARGUMENT")


async def test_a_reader_that_leaves_frees_its_stream(open_rig: Rig) -> None:
    tenant_id = await open_rig.begun()
    path = f"/v1/tenants/{tenant_id}/logs"
    async with open_rig.http.stream("GET", path, headers=EVENTS) as answer:
        await anext(events(answer))
        assert open_rig.service.streams.count == 1
    await until(lambda: open_rig.service.streams.count == 0)


async def test_a_stopping_server_tells_its_readers_to_come_again(open_rig: Rig) -> None:
    tenant_id = await open_rig.begun()
    path = f"/v1/tenants/{tenant_id}/logs"
    async with open_rig.http.stream("GET", path, headers=EVENTS) as answer:
        reading = events(answer)
        await anext(reading)
        stopping = asyncio.create_task(open_rig.service.streams.stop())
        told = [event async for event in reading]
        await stopping
    assert told[-1]["event"] == "error"
    assert json.loads(told[-1]["data"])["code"] == "UNAVAILABLE"


async def test_every_address_leads_to_an_rpc_and_its_fields() -> None:
    for route in routes_of(SERVICES):
        assert route.method.input_type is not None
        if "{tenant_id}" in route.path:
            assert "tenant_id" in route.method.input_type.fields_by_name
        if route.resume is not None:
            assert not route.resume.asked or (
                route.resume.asked in route.method.input_type.fields_by_name
            )
        assert bool(route.event) == route.method.server_streaming


async def test_every_rpc_of_the_contract_has_an_address() -> None:
    rpcs = {
        method.name
        for file in (provisioning_pb2, fleet_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert {route.rpc for route in routes_of(SERVICES)} == rpcs


async def test_the_description_shows_every_address_of_v1(open_rig: Rig) -> None:
    described: dict[str, Any] = (await open_rig.get("/openapi.json")).json()
    for route in routes_of(SERVICES):
        said = described["paths"][route.path][route.verb.lower()]
        assert said["summary"] == route.rpc
        assert said["responses"]["404"]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/V1Fault"
        }
