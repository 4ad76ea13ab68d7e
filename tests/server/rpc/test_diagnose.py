"""Diagnose over a real connection."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import grpc.aio

from provisioner.v1 import diagnosis_pb2
from provisioner.v1 import provisioning_pb2 as pb
from tests.server.rpc.failing import failure

if TYPE_CHECKING:
    from tests.server.rpc.conftest import Rig


async def test_a_lost_record_is_diagnosed_with_evidence_and_an_order(rig: Rig) -> None:
    tenant = (await rig.start("Acme")).tenant_id
    rig.damage("DELETE FROM steps WHERE tenant_id = ?", tenant)
    rig.damage("UPDATE runs SET state = 'PARTIAL' WHERE tenant_id = ?", tenant)
    rig.damage("UPDATE tenants SET state = 'PARTIAL' WHERE id = ?", tenant)
    before = rig.row_counts()

    found = (await rig.stub.Diagnose(pb.DiagnoseRequest(tenant_id=tenant))).diagnosis

    assert rig.row_counts() == before
    assert (found.tenant_id, found.state, found.progress) == (tenant, "PARTIAL", "0 of 10 steps")
    cause = found.causes[0]
    assert cause.code == "STEP_RECORD_LOST"
    assert cause.severity == diagnosis_pb2.SEVERITY_MOVING
    assert cause.evidence[0].source == "steps"
    assert cause.evidence[0].HasField("at")
    assert cause.remedy.command == f"provisioner continue {tenant} --watch"
    order = pb.ContinueRequest(**json.loads(cause.remedy.request))
    assert (await rig.stub.Continue(order)).status.revision == found.revision + 1


async def test_an_unknown_tenant_cannot_be_diagnosed(rig: Rig) -> None:
    unknown = pb.DiagnoseRequest(tenant_id="01900000-0000-7000-8000-00000000abcd")
    failed = await failure(rig.stub.Diagnose(unknown))
    assert (failed.code, failed.reason) == (grpc.StatusCode.NOT_FOUND, "TENANT_NOT_FOUND")
