"""What tests and the demo can break, and how it looks to a client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.server.standin.calls import break_things, company, make, said, state, warehouse

if TYPE_CHECKING:
    from server.standin.app import StandIn

_PING = "/api/method/ping"
_USER = "/api/method/frappe.auth.get_logged_user"
_BASE = "/api/resource/Company/Base Company"


async def test_a_fault_before_the_work_does_nothing_so_many_times(
    client: httpx.AsyncClient,
) -> None:
    fault = {"method": "POST", "doctype": "UOM", "exc_type": "QueryDeadlockError", "times": 2}
    await break_things(client, faults=[fault])
    assert said(await make(client, "UOM", uom_name="Tray")) == (500, "QueryDeadlockError")
    assert said(await make(client, "UOM", uom_name="Tray")) == (500, "QueryDeadlockError")
    assert (await client.get("/api/resource/UOM/Tray")).status_code == 404
    assert (await make(client, "UOM", uom_name="Tray")).status_code == 200


async def test_a_fault_after_the_work_has_done_it(client: httpx.AsyncClient) -> None:
    await break_things(client, faults=[{"doctype": "UOM", "status": 503, "when": "after"}])
    assert said(await make(client, "UOM", uom_name="Tray")) == (503, "SessionStopped")
    assert (await client.get("/api/resource/UOM/Tray")).status_code == 200


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("how", [{"status": 0}, {"action": "cut"}])
async def test_a_cut_connection_has_no_answer(
    client: httpx.AsyncClient, when: str, how: dict[str, Any]
) -> None:
    await break_things(client, faults=[{"doctype": "Company", "when": when, **how}])
    with pytest.raises(httpx.TransportError):
        await company(client, "One", "ONE")
    there = await client.get("/api/resource/Company/One")
    assert there.status_code == (404 if when == "before" else 200)
    requests = (await state(client))["requests"]
    assert {"method": "POST", "doctype": "Company", "status": 0, "count": 1} in requests


async def test_a_fault_may_mean_one_document_only(client: httpx.AsyncClient) -> None:
    fault = {"name": "Main Store - BC", "status": 500, "html": True, "times": None}
    await break_things(client, faults=[fault])
    assert (await warehouse(client, "POS Store")).status_code == 200
    answer = await warehouse(client, "Main Store")
    assert answer.status_code == 500
    assert answer.headers["content-type"].startswith("text/html")
    assert (await client.get("/api/resource/Warehouse/main store - bc")).status_code == 500
    assert (await client.get("/api/resource/Warehouse/POS Store - BC")).status_code == 200


async def test_a_fault_may_mean_a_method(client: httpx.AsyncClient) -> None:
    fault = {"doctype": "ping", "status": 429, "retry_after": 7, "message": "Slow down"}
    await break_things(client, faults=[fault])
    answer = await client.get(_PING)
    assert said(answer) == (429, "TooManyRequestsError")
    assert answer.headers["retry-after"] == "7"
    assert "Slow down" in answer.json()["exception"]
    assert (await client.get(_PING)).status_code == 200


async def test_a_hang_after_the_work_leaves_it_done(
    standin: StandIn, client: httpx.AsyncClient
) -> None:
    fault = {"doctype": "UOM", "when": "after", "hang_seconds": 30}
    await break_things(client, faults=[fault])
    hanging = asyncio.create_task(make(client, "UOM", uom_name="Tray"))
    await standin.arrived("POST", "UOM")
    assert (await client.get("/api/resource/UOM/Tray")).status_code == 200
    assert not hanging.done()
    standin.hurry()
    assert (await hanging).status_code == 200


async def test_a_body_replaces_what_was_set_before(client: httpx.AsyncClient) -> None:
    await break_things(client, maintenance=True)
    assert said(await client.get(_PING)) == (503, "SessionStopped")
    await break_things(client, down=True)
    answer = await client.get(_BASE)
    assert said(answer) == (500, "OperationalError")
    assert "2003" in answer.json()["exception"]
    assert (await client.get(_PING, headers={"authorization": ""})).status_code == 500
    await break_things(client)
    assert (await client.get(_BASE)).status_code == 200


async def test_only_the_token_that_was_set_is_let_in(client: httpx.AsyncClient) -> None:
    await break_things(client, token="new:pair")
    assert said(await client.get(_USER)) == (401, "AuthenticationError")
    right = {"authorization": "token new:pair"}
    assert (await client.get(_USER, headers=right)).json() == {"message": "provisioner@example.com"}


async def test_a_missing_role_is_a_403(client: httpx.AsyncClient) -> None:
    await break_things(client, roles=["System Manager"])
    settings = "/api/resource/Stock Settings/Stock Settings"
    assert said(await client.get(settings)) == (403, "PermissionError")
    assert said(await warehouse(client, "Main Store")) == (403, "PermissionError")
    assert (await company(client, "One", "ONE")).status_code == 200


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ([], "object"),
        ({"latency": 5}, "unknown latency"),
        ({"latency_ms": -1}, "latency_ms"),
        ({"down": "yes"}, "down"),
        ({"token": "secret"}, "token"),
        ({"roles": "System Manager"}, "roles"),
        ({"faults": {}}, "faults"),
        ({"faults": [{"doctype": "UOM"}]}, "does nothing"),
        ({"faults": [{"status": 200}]}, "status"),
        ({"faults": [{"status": 500, "when": "during"}]}, "when"),
        ({"faults": [{"status": 500, "times": 0}]}, "times"),
        ({"faults": [{"status": 500, "exc": "X"}]}, "unknown exc"),
        ({"faults": [{"status": 500, "method": 1}]}, "method"),
    ],
)
async def test_faults_that_make_no_sense_are_refused_by_name(
    client: httpx.AsyncClient, body: object, named: str
) -> None:
    answer = await client.post("/standin/faults", json=body)
    assert answer.status_code == 400
    assert named in answer.json()["error"]


async def test_faults_that_are_not_json_are_refused(client: httpx.AsyncClient) -> None:
    assert (await client.post("/standin/faults", content=b"{")).status_code == 400


async def test_requests_too_large_are_refused_by_the_web_server(
    client: httpx.AsyncClient,
) -> None:
    long = await client.get("/api/resource/Company", params={"filters": "x" * 4100})
    assert (long.status_code, "Request Line is too large" in long.text) == (400, True)
    big = await client.post("/api/resource/UOM", content=b" " * (26 * 1024 * 1024))
    assert big.status_code == 413


async def test_a_body_that_is_not_text_crashes_as_recorded(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/resource/UOM", content=b'{"uom_name": "\xff"}')
    assert said(answer) == (500, "AttributeError")


@pytest.mark.parametrize(
    ("method", "path", "sent"),
    [
        ("GET", "/api/resource/Company", {"params": {"limit_page_length": "many"}}),
        ("GET", "/api/resource/Company", {"params": {"filters": '["name"]'}}),
        ("POST", "/api/method/frappe.client.insert", {"json": {"doc": "{"}}),
        ("POST", "/api/resource/UOM", {"json": {"uom_name": "Tray", "docstatus": "soon"}}),
    ],
)
async def test_a_request_nobody_expects_is_answered_all_the_same(
    client: httpx.AsyncClient, method: str, path: str, sent: dict[str, Any]
) -> None:
    answer = await client.request(method, path, **sent)
    assert answer.status_code in {417, 500}
    assert answer.json()["exc_type"]
