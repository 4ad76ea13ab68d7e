"""Whether engines take work, and metrics: as stored, never by asking an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.model.actor import Role
from server.model.states import GateState
from server.settings import Address
from tests.server.rest.conftest import BOSS

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from tests.server.rest.conftest import Rig

UNKNOWN = "01900000-0000-7000-8000-000000000000"


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_an_engine_that_takes_work_is_200(open_rig: Rig, prefix: str) -> None:
    answer = await open_rig.get(f"{prefix}/erpnext/health")
    assert answer.status_code == 200
    said = answer.json()
    assert list(said) == [
        *("erpnext_host", "erpnext_site", "erpnext_user", "tenant_id", "resolved_site"),
        *("connected", "authenticated", "error", "message"),
    ]
    assert (said["connected"], said["authenticated"], said["error"]) == (True, True, None)
    assert "erp.example.com" not in answer.text


@pytest.mark.parametrize(
    ("gate", "connected"), [(GateState.DOWN, False), (GateState.MISCONFIGURED, True)]
)
async def test_one_that_does_not_is_503_with_the_same_facts(
    open_rig: Rig, gate: GateState, connected: bool
) -> None:
    await open_rig.gate(gate, "key refused")
    answer = await open_rig.get("/erpnext/health")
    assert answer.status_code == 503
    said = answer.json()["detail"]
    assert (said["connected"], said["authenticated"]) == (connected, False)
    assert (said["message"], said["error"]) == ("key refused", f"ENGINE_{gate}")


async def test_without_a_configured_engine_health_is_503(
    serve: Callable[..., AbstractAsyncContextManager[Rig]],
) -> None:
    async with serve(auth=False, engines=False) as rig:
        answer = await rig.get("/erpnext/health")
        assert answer.status_code == 503
        assert answer.json()["detail"]["message"] == "No engine is configured here."


async def test_the_engines_of_several_tenants_are_told_one_by_one(rig: Rig) -> None:
    mine, foreign = await rig.begun("Kijani Stores"), await rig.begun("Baraka Stores")
    bearer = await rig.member("cashier@example.com", mine)
    sent = {"tenant_ids": [mine, foreign, UNKNOWN, "TEN-1"]}
    answer = await rig.post("/auth/engine-health", json=sent, headers=bearer)
    results = answer.json()["results"]
    assert {key: result["status"] for key, result in results.items()} == {
        mine: "online",
        foreign: "unauthorized",
        UNKNOWN: "not_found",
        "TEN-1": "error",
    }
    assert list(results[mine]) == [
        *("status", "engine", "message", "checked_at", "response_time_ms", "error"),
    ]
    await rig.gate(GateState.DOWN, "no answer")
    boss = await rig.signed_in("admin@moran.com", "admin123")
    answer = await rig.post("/auth/engine-health", json=sent, headers=boss)
    results = answer.json()["results"]
    assert (results[mine]["status"], results[mine]["error"]) == ("offline", "no answer")
    assert results[UNKNOWN]["status"] == "not_found"


async def test_metrics_tell_tenants_runs_gates_and_requests(open_rig: Rig) -> None:
    await open_rig.begun()
    await open_rig.gate(GateState.DOWN)
    for _ in range(2):
        await open_rig.get("/nope")
    answer = await open_rig.get("/api/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert 'provisioner_tenants{state="IN_PROGRESS"} 1.0' in lines
    assert 'provisioner_tenants{state="COMPLETED"} 0.0' in lines
    assert "provisioner_open_runs 1.0" in lines
    assert 'provisioner_engine_gate{engine="main",state="DOWN"} 1.0' in lines
    assert 'provisioner_http_requests_total{method="GET",status="404"} 2.0' in lines
    assert "last_full_sweep" not in answer.text
    open_rig.metrics.swept_seconds_ago = lambda: 12.5
    again = await open_rig.get("/metrics")
    assert "provisioner_last_full_sweep_age_seconds 12.5" in again.text.splitlines()


OUTSIDE = {"http_address": Address(host="192.0.2.1", port=4000), "insecure": True}


async def test_where_others_can_ask_metrics_are_for_who_sees_all_tenants(
    serve: Callable[..., AbstractAsyncContextManager[Rig]],
) -> None:
    async with serve(**OUTSIDE) as rig:
        for path in ("/metrics", "/api/metrics"):
            answer = await rig.get(path)
            assert (answer.status_code, answer.json()) == (
                *(401, {"detail": "Could not validate credentials"}),
            )
        mine = await rig.begun()
        member = await rig.member("cashier@example.com", mine)
        assert (await rig.get("/metrics", headers=member)).status_code == 403
        made = await rig.access.keys.create(BOSS, name="prometheus", role=Role.VIEWER)
        monitor = {"Authorization": f"Bearer {made.text.get_secret_value()}"}
        answer = await rig.get("/metrics", headers=monitor)
        assert answer.status_code == 200
        assert "provisioner_open_runs 1.0" in answer.text


@pytest.mark.parametrize("given", [{}, {**OUTSIDE, "open_metrics": True}, {"auth": False}])
async def test_metrics_are_free_on_this_machine_and_where_it_is_said(
    serve: Callable[..., AbstractAsyncContextManager[Rig]], given: dict[str, object]
) -> None:
    async with serve(**given) as rig:
        assert (await rig.get("/metrics")).status_code == 200


async def test_metrics_look_at_the_database_once_for_all_who_ask(
    open_rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_rig.get("/metrics")

    async def fail(_: object) -> None:
        raise AssertionError("looked again")

    monkeypatch.setattr("server.store.tenant_pages.TenantPages.counts", fail)
    assert (await open_rig.get("/metrics")).status_code == 200
