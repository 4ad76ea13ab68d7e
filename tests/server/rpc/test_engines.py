"""ListEngines over a real connection: gates, slots, queues and measured times."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from provisioner.v1 import engines_pb2, fleet_pb2
from provisioner.v1.fleet_pb2_grpc import FleetServiceStub
from provisioner.v1.provisioning_pb2 import GetStatusRequest
from server.model.actor import Actor, Role
from server.model.identifiers import TenantId
from server.model.states import GateState
from server.store.operations import GateOperation
from server.store.site_operations import IdentitySeen
from tests.server.rpc.conftest import NOW
from tests.server.rpc.failing import failure

if TYPE_CHECKING:
    from tests.server.rpc.conftest import Rig


def _rows(rig: Rig, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(rig.file)) as connection:
        return connection.execute(sql).fetchall()


async def _engines(rig: Rig) -> list[engines_pb2.EngineStatus]:
    stub = FleetServiceStub(rig.channel)
    return list((await stub.ListEngines(fleet_pb2.ListEnginesRequest())).engines)


async def test_an_engine_is_listed_with_its_gate_queue_and_slot(rig: Rig) -> None:
    (before,) = await _engines(rig)
    assert (before.engine_id, before.site, before.is_default) == ("main", "site", True)
    assert (before.blueprint, before.max_runs, before.queued_runs) == ("noop", 4, 0)
    assert before.gate == engines_pb2.ENGINE_GATE_UP
    tenant = (await rig.start("Acme")).tenant_id
    await rig.database.submit(
        GateOperation(
            site="site",
            at=NOW,
            gate=GateState.MISCONFIGURED,
            code="ROLE_MISSING",
            message="Give the API user the role Item Manager.",
            next_probe_at=NOW + timedelta(seconds=15),
        )
    )
    rig.damage(
        "UPDATE engines SET slot_tenant_id = ?, slot_doctype = 'Company', slot_name = 'Acme'",
        tenant,
    )
    (engine,) = await _engines(rig)
    assert engine.gate == engines_pb2.ENGINE_GATE_MISCONFIGURED
    assert (engine.gate_code, engine.queued_runs) == ("ROLE_MISSING", 1)
    assert engine.gate_since.ToDatetime(NOW.tzinfo) == NOW
    assert engine.next_probe_at.ToDatetime(NOW.tzinfo) == NOW + timedelta(seconds=15)
    assert (engine.slot.tenant_id, engine.slot.doctype, engine.slot.name) == (
        tenant,
        "Company",
        "Acme",
    )


async def test_a_person_accepts_a_site_with_a_reason_that_is_kept(rig: Rig) -> None:
    stub = FleetServiceStub(rig.channel)
    tenant = (await rig.start("Acme")).tenant_id
    rig.damage("UPDATE tenants SET hold_reason = 'x', hold_by = 'run', hold_since = created_at")
    await rig.database.submit(
        GateOperation(
            site="site",
            at=NOW,
            gate=GateState.MISCONFIGURED,
            code="SITE_CHANGED",
            message="Another site.",
            next_probe_at=NOW + timedelta(seconds=15),
        )
    )
    asked = (await rig.stub.GetStatus(GetStatusRequest(tenant_id=tenant))).status
    assert asked.next_command == "provisioner accept-site main"
    shown = await stub.AcceptSite(fleet_pb2.AcceptSiteRequest(engine_id="main", validate_only=True))
    assert (shown.accepted, shown.site.held_tenants) == (False, 1)
    assert (shown.site.gate_code, shown.site.site) == ("SITE_CHANGED", "site")
    assert _rows(rig, "SELECT accepted_at FROM engines") == [(None,)]
    done = await stub.AcceptSite(
        fleet_pb2.AcceptSiteRequest(engine_id="main", reason="moved on Monday")
    )
    assert done.accepted
    assert _rows(rig, "SELECT accepted_at FROM engines") != [(None,)]
    kept = _rows(rig, "SELECT target, reason, outcome FROM audit WHERE action = 'AcceptSite'")
    assert kept == [("main", "moved on Monday", "OK")]


async def test_a_word_on_a_site_that_is_repeated_accepts_nothing_that_came_since(rig: Rig) -> None:
    stub = FleetServiceStub(rig.channel)
    await rig.database.submit(
        GateOperation(site="site", at=NOW, gate=GateState.UP, code="", message="")
    )
    word = fleet_pb2.AcceptSiteRequest(engine_id="main", reason="moved", request_id="one")
    assert (await stub.AcceptSite(word)).accepted
    # The site is known anew, and so would be the next one in its place.
    seen = await rig.database.submit(IdentitySeen(site="site", identity="set up on Monday"))
    assert seen.applied
    assert (await stub.AcceptSite(word)).accepted
    assert _rows(rig, "SELECT identity FROM engines") == [("set up on Monday",)]
    other = fleet_pb2.AcceptSiteRequest(engine_id="main", reason="again", request_id="one")
    failed = await failure(stub.AcceptSite(other))
    assert (failed.code, failed.reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "REQUEST_ID_REUSED",
    )
    other.request_id = "x" * 200
    assert (await failure(stub.AcceptSite(other))).fields == ("request_id",)
    assert (await stub.AcceptSite(fleet_pb2.AcceptSiteRequest(engine_id="main"))).accepted
    assert _rows(rig, "SELECT identity FROM engines") == [(None,)]


@pytest.mark.parametrize(
    ("engine", "code"),
    [("", grpc.StatusCode.INVALID_ARGUMENT), ("other", grpc.StatusCode.NOT_FOUND)],
)
async def test_an_engine_nobody_has_is_told_with_those_there_are(
    rig: Rig, engine: str, code: grpc.StatusCode
) -> None:
    stub = FleetServiceStub(rig.channel)
    failed = await failure(stub.AcceptSite(fleet_pb2.AcceptSiteRequest(engine_id=engine)))
    assert failed.code is code
    assert "Configured: main" in failed.message


async def test_engines_are_not_for_members_of_some_tenants(unserved: Rig) -> None:
    member = Actor(name="jane", role=Role.ADMIN, tenants={TenantId("t"): Role.ADMIN})

    async def identify(_context: object) -> Actor:
        return member

    await unserved.serve(identify=identify)
    stub = FleetServiceStub(unserved.channel)
    for call in (
        stub.ListEngines(fleet_pb2.ListEnginesRequest()),
        stub.AcceptSite(fleet_pb2.AcceptSiteRequest(engine_id="main")),
    ):
        assert (await failure(call)).code is grpc.StatusCode.PERMISSION_DENIED
    await unserved.close()
