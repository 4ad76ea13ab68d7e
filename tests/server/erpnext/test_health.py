"""The prober's word: up, down, or not set up right, and what step_0 says of the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from server.erpnext.client import ErpNextEngine
from server.erpnext.codes import Code
from server.erpnext.requests import make
from server.errors import EngineError
from server.model.states import ErrorClass, GateState
from server.standin.app import StandIn
from tests.server.erpnext.conftest import SECRET, credentials
from tests.server.erpnext.context import NOON, MemoryContext, drive_step, kenyan
from tests.server.erpnext.recordings import Exchange, exchanges_of
from tests.server.erpnext.sitework import fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.model.step_context import EngineHealth

USER = "get_logged_user"
VERSIONS = "get_versions"
PAGE = "<html><body>Internal Server Error</body></html>"


def answering(**answers: httpx.Response | Exception) -> Callable[[httpx.Request], httpx.Response]:
    """Answer like a healthy site, but for paths that contain a given word."""

    def answer(request: httpx.Request) -> httpx.Response:
        for word, given in answers.items():
            if word in request.url.path:
                if isinstance(given, Exception):
                    raise given
                return given
        if request.url.path.endswith("/ping"):
            return httpx.Response(200, json={"message": "pong"})
        if USER in request.url.path:
            return httpx.Response(200, json={"message": "provisioner@example.com"})
        if VERSIONS in request.url.path:
            return httpx.Response(200, json={"message": {"erpnext": {"version": "15.65.4"}}})
        return httpx.Response(200, json={"data": {"name": request.url.path.rpartition("/")[2]}})

    return answer


async def health(answer: Callable[[httpx.Request], httpx.Response]) -> EngineHealth:
    engine = ErpNextEngine(
        url="http://erp.example.com",
        credentials=credentials(),
        transport=httpx.MockTransport(answer),
    )
    found = await engine.check()
    await engine.close()
    return found


def recorded(case: str, index: int = 0) -> httpx.Response:
    each: Exchange = exchanges_of(case)[index]
    assert each.reply is not None
    return httpx.Response(each.reply.status, content=each.reply.body)


def versions(erpnext: str | None) -> httpx.Response:
    apps = {"frappe": {"version": "15.71.0"}}
    if erpnext:
        apps["erpnext"] = {"version": erpnext}
    return httpx.Response(200, json={"message": apps})


async def test_a_healthy_site_is_up(engine: ErpNextEngine) -> None:
    found = await engine.check()
    assert (found.state, found.code) == (GateState.UP, "")


async def test_a_closed_port_is_down() -> None:
    async with StandIn(now=lambda: NOON) as site:
        url = site.url
    engine = ErpNextEngine(url=url, credentials=credentials())
    found = await engine.check()
    await engine.close()
    assert (found.state, found.code) == (GateState.DOWN, Code.ENGINE_DOWN)


@pytest.mark.parametrize(
    ("answers", "state", "code"),
    [
        ({"ping": httpx.ReadTimeout("x")}, GateState.DOWN, Code.ENGINE_DOWN),
        ({"ping": httpx.Response(502, text=PAGE)}, GateState.DOWN, Code.ENGINE_DOWN),
        ({"ping": recorded("11-mariadb-down", 0)}, GateState.DOWN, Code.ENGINE_DOWN),
        ({USER: recorded("11-mariadb-down", 3)}, GateState.DOWN, Code.ENGINE_DOWN),
        (
            {"ping": recorded("11-maintenance-mode", 2)},
            GateState.DOWN,
            Code.ENGINE_MAINTENANCE,
        ),
        (
            {"ping": recorded("01-unknown-site", 0)},
            GateState.MISCONFIGURED,
            Code.ENGINE_WRONG_HOST,
        ),
        (
            {"ping": httpx.Response(200, json={"message": "hello"})},
            GateState.MISCONFIGURED,
            Code.ENGINE_WRONG_HOST,
        ),
        (
            {"ping": httpx.Response(301, headers={"location": "https://x"})},
            GateState.MISCONFIGURED,
            Code.ENGINE_WRONG_HOST,
        ),
        *[
            (
                {USER: recorded(case, index)},
                GateState.MISCONFIGURED,
                Code.ENGINE_CREDENTIALS_REFUSED,
            )
            for case, index in (
                ("01-logged-user-unknown-key", 0),
                ("01-logged-user-wrong-secret", 0),
                ("01-logged-user-no-token", 0),
                ("01-logged-user-malformed-authorization", 2),
            )
        ],
        (
            {USER: httpx.Response(200, json={"message": "Guest"})},
            GateState.MISCONFIGURED,
            Code.ENGINE_CREDENTIALS_REFUSED,
        ),
        (
            {VERSIONS: versions("13.5.0")},
            GateState.MISCONFIGURED,
            Code.ENGINE_VERSION_UNSUPPORTED,
        ),
        ({VERSIONS: versions(None)}, GateState.MISCONFIGURED, Code.ENGINE_VERSION_UNSUPPORTED),
        (
            {"Stock Settings": recorded("01-permissions-system-manager-only", 17)},
            GateState.MISCONFIGURED,
            Code.ROLE_MISSING,
        ),
        ({"ping": recorded("11-rate-limit", 3)}, GateState.UP, ""),
        ({VERSIONS: versions("16.0.0-dev")}, GateState.UP, ""),
    ],
)
async def test_the_prober_tells_down_from_not_set_up_right(
    answers: dict[str, httpx.Response | Exception], state: GateState, code: str
) -> None:
    found = await health(answering(**answers))
    assert (found.state, found.code) == (state, code)
    assert bool(found.message) is (state is not GateState.UP)
    assert SECRET not in found.message


async def test_step_0_stops_where_the_roles_are_missing_for_every_tenant(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await fault(site, method="GET", doctype="Stock Settings", status=403, times=None)
    with pytest.raises(EngineError) as caught:
        await drive_step(MemoryContext(engine=engine, spec=kenyan()), "step_0_engine_check")
    assert caught.value.code == Code.ROLE_MISSING
    assert caught.value.error_class is ErrorClass.ENGINE_MISCONFIGURED
    assert caught.value.ask_prober
    assert (await engine.check()).state is GateState.MISCONFIGURED


@pytest.mark.parametrize("answer", [versions("14.2.0"), versions("16.0.0")])
async def test_another_version_is_tried_with_a_note(answer: httpx.Response) -> None:
    zone = httpx.Response(200, json={"message": {"time_zone": "Africa/Nairobi"}})
    country = httpx.Response(200, json={"data": [{"name": "Kenya", "code": "ke"}]})
    engine = ErpNextEngine(
        url="http://erp.example.com",
        credentials=credentials(),
        transport=httpx.MockTransport(
            answering(**{VERSIONS: answer, "get_time_zone": zone, "Country": country})
        ),
    )
    context = MemoryContext(engine=engine, spec=kenyan())
    await drive_step(context, "step_0_engine_check")
    await engine.close()
    assert "15" in context.found["step_0_engine_check"].notes[0]


async def test_a_time_zone_that_this_machine_does_not_know_stops_the_run() -> None:
    zone = httpx.Response(200, json={"message": {"time_zone": "Mars/Olympus"}})
    engine = ErpNextEngine(
        url="http://erp.example.com",
        credentials=credentials(),
        transport=httpx.MockTransport(answering(get_time_zone=zone)),
    )
    with pytest.raises(EngineError) as caught:
        await drive_step(MemoryContext(engine=engine, spec=kenyan()), "step_0_engine_check")
    await engine.close()
    assert caught.value.code == Code.ENGINE_TIME_ZONE_UNKNOWN


async def test_a_site_that_refuses_writes_counts_as_down_for_a_few_checks(
    site: StandIn, engine: ErpNextEngine
) -> None:
    refused = {"method": "POST", "doctype": "UOM", "status": 503, "exc_type": "InReadOnlyMode"}
    await fault(site, **refused)
    with pytest.raises(EngineError) as caught:
        await engine.send(make("UOM", "Crate", {"uom_name": "Crate"}))
    assert caught.value.ask_prober
    states = [(await engine.check()).state for _ in range(5)]
    assert states == [*[GateState.DOWN] * 4, GateState.UP]

    await fault(site, **refused)
    with pytest.raises(EngineError):
        await engine.send(make("UOM", "Crate", {"uom_name": "Crate"}))
    await engine.send(make("UOM", "Crate", {"uom_name": "Crate"}))
    assert (await engine.check()).state is GateState.UP
