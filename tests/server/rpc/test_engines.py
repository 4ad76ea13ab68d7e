"""ListEngines over a real connection: gates, slots, queues and measured times."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import grpc.aio

from provisioner.v1 import engines_pb2, fleet_pb2
from provisioner.v1.fleet_pb2_grpc import FleetServiceStub
from server.model.actor import Actor, Role
from server.model.identifiers import TenantId
from server.model.states import GateState
from server.store.operations import GateOperation
from tests.server.rpc.conftest import NOW
from tests.server.rpc.failing import failure

if TYPE_CHECKING:
    from tests.server.rpc.conftest import Rig


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


async def test_engines_are_not_for_members_of_some_tenants(unserved: Rig) -> None:
    member = Actor(name="jane", role=Role.ADMIN, tenants={TenantId("t"): Role.ADMIN})

    async def identify(_context: object) -> Actor:
        return member

    await unserved.serve(identify=identify)
    stub = FleetServiceStub(unserved.channel)
    failed = await failure(stub.ListEngines(fleet_pb2.ListEnginesRequest()))
    assert failed.code is grpc.StatusCode.PERMISSION_DENIED
    await unserved.close()
