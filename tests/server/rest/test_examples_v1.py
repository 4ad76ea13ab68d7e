"""The examples of `/v1` are true: each shows what the running program answers, and no more."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass

from server.rest import examples_v1
from server.rest.routes_v1 import fields_in_path, routes_of
from server.rest.transcoding import as_json
from tests.support.waiting import until
from tools.installation import installation
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from google.protobuf.message import Message

ROUTES = {route.rpc: route for route in routes_of({"ProvisioningService", "FleetService"})}
PATIENCE_SECONDS = 120.0


def message(rpc: str, document: Any, *, sent: bool = False) -> Message:
    """Read a document as an rpc's request or answer."""
    route = ROUTES[rpc]
    if sent:
        made: Message = route.request()
    else:
        made = GetMessageClass(route.method.output_type)()
    json_format.ParseDict(document, made)
    return made


def shown(value: Message, path: str = "") -> Iterator[str]:
    """Give the path of every field that is set, through lists and messages."""
    for field, found in value.ListFields():
        here = f"{path}.{field.name}" if path else field.name
        yield here
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for each in found if field.is_repeated else (found,):
            yield from shown(each, here)


@pytest.mark.parametrize("rpc", ROUTES)
def test_every_answer_has_an_example_with_every_field_that_is_always_sent(rpc: str) -> None:
    example = examples_v1.ANSWERS[rpc]
    assert keys(as_json(message(rpc, example))) == keys(example)


def keys(value: Any) -> Any:
    """Return a document without its leaves."""
    if isinstance(value, dict):
        return {key: keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [keys(item) for item in value]
    return None


@pytest.mark.parametrize("rpc", [rpc for rpc, route in ROUTES.items() if route.verb == "POST"])
def test_every_order_has_an_example_of_what_is_sent(rpc: str) -> None:
    message(rpc, examples_v1.REQUESTS[rpc], sent=True)


async def test_what_an_example_shows_is_shown_by_a_real_answer(tmp_path: Path) -> None:
    """One story on the real program and a stand-in site, through every address of `/v1`."""
    async with (
        asyncio.timeout(PATIENCE_SECONDS),
        installation(tmp_path) as shop,
        plain_client(
            base_url=f"http://127.0.0.1:{shop.http_port}", trust_env=False, timeout=60
        ) as web,
    ):
        await shop.start_site()
        await shop.start_server("--with-reconciler")
        caller = Caller(web)
        done, stuck = await _look(caller)
        # Slow enough for the orders' answers to be those of runs in motion.
        await shop.site_faults({"latency_ms": 400})
        await _order(caller, done, stuck)
    assert set(caller.shown) == set(ROUTES)
    # A status is the same message wherever it is told.
    statuses = {
        path
        for paths in caller.shown.values()
        for path in paths
        if path.partition(".")[0] == "status"
    }
    wrong = {
        rpc: missing
        for rpc, found in caller.shown.items()
        if (missing := set(shown(message(rpc, examples_v1.ANSWERS[rpc]))) - found - statuses)
    }
    assert not wrong


class Caller:
    """Calls `/v1`, and keeps what each rpc's answers showed."""

    def __init__(self, web: httpx.AsyncClient) -> None:
        self.shown: dict[str, set[str]] = {}
        self._web = web

    async def call(self, rpc: str, sent: Any = None, **path: str) -> Any:
        """Call an rpc at the address that takes these fields in its path."""
        (route,) = [
            each
            for each in routes_of({"ProvisioningService", "FleetService"})
            if each.rpc == rpc and set(fields_in_path(each.path)) == set(path)
        ]
        body = None if route.verb == "GET" else sent or {}
        answer = await self._web.request(route.verb, route.path.format(**path), json=body)
        assert answer.status_code == 200, (rpc, answer.text)
        said = answer.json()
        self.shown.setdefault(rpc, set()).update(shown(message(rpc, said)))
        return said

    async def start(self, name: str, **more: str) -> str:
        sent = {"spec": {"company_name": name, **more}, "request_id": f"start {name}"}
        return str((await self.call("StartProvisioning", sent))["status"]["tenant_id"])

    async def until(self, tenant_id: str, true: Callable[[Any], bool]) -> Any:
        async def told() -> Any:
            status = (await self.call("GetStatus", tenant_id=tenant_id))["status"]
            return status if true(status) else None

        return await until(told)

    async def findings(self) -> Any:
        return (await self.call("ListFindings"))["findings"]


def _rests(status: Any) -> bool:
    return bool(status["state"] != "TENANT_STATE_IN_PROGRESS")


async def _look(caller: Caller) -> tuple[str, str]:
    """Make a tenant that is done and one that is stuck, and look at them in every way."""
    call = caller.call
    await call("Plan", {"spec": {"company_name": "Kijani Stores"}})
    done = await caller.start("Kijani Stores")
    assert (await caller.until(done, _rests))["state"] == "TENANT_STATE_COMPLETED"
    stuck = await caller.start("Baraka Stores", till_user="nobody@example.com")
    assert (await caller.until(stuck, _rests))["state"] == "TENANT_STATE_FAILED"
    for rpc in ("Plan", "Verify", "StreamLogs", "Diagnose", "WatchStatus"):
        await call(rpc, tenant_id=done)
    await call("Diagnose", tenant_id=stuck)
    await until(caller.findings)  # the reconciler sweeps by itself
    await call("Sweep", {"dry_run": True})
    for rpc in ("ListTenants", "ListSweeps", "GetHealingReport", "ListEngines"):
        await call(rpc)
    return done, stuck


async def _order(caller: Caller, done: str, stuck: str) -> None:
    """Give every order."""
    call = caller.call
    why = {"reason": "agreed with the shop", "validate_only": True}
    for rpc in ("Deprovision", "AdoptCompany", "Release"):
        await call(rpc, why, tenant_id=done)
    await call("AcceptSite", why, engine_id="main")
    await call("SkipStep", {"step_key": "step_9_pos_session", "reason": "later"}, tenant_id=stuck)
    await call("Continue", {"reason": "mended"}, tenant_id=stuck)
    await call("Retry", {"reason": "mended"}, tenant_id=done)
    moving = await caller.start("Neema Stores")
    await caller.until(moving, lambda status: status["steps_completed"] > 2)
    await call("Cancel", {"reason": "wrong name"}, tenant_id=moving)
