"""FleetService over a real connection: a sweep that is ordered, and what it left behind."""

from __future__ import annotations

import base64
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from provisioner.v1 import diagnosis_pb2, fleet_pb2
from provisioner.v1.fleet_pb2_grpc import FleetServiceStub
from reconciler.healer import LocalHealer
from reconciler.schedule import Schedule
from server.healing import History, history
from server.queries.fleet import Fleet
from server.rpc import RpcServer, healing, local_caller
from server.rpc.fleet import FleetService
from tests.reconciler.conftest import sqlite_scene
from tests.reconciler.scene import OPTIONAL_PASSING, PERMANENT
from tests.server.rpc.failing import failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from server.healing import Healer
    from tests.reconciler.scene import Scene
    from tests.server.rpc.conftest import Rig

# The history it tells is read on both databases in tests/server/store/test_healing.py.
scene = sqlite_scene


@asynccontextmanager
async def fleet(rig: Rig, scene: Scene, healer: Healer | None) -> AsyncIterator[grpc.aio.Channel]:
    service = FleetService(
        History(scene.database, now=scene.clock),
        fleet=Fleet(scene.database, engines={}, default_engine="", max_runs={}),
        commands=scene.commands,
        identify=local_caller,
        healer=healer,
    )
    server = RpcServer(rig.service, "127.0.0.1:0", fleet=service)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel
    await server.stop(0)


async def test_what_a_sweep_did_can_be_read_back_and_is_in_the_report(
    rig: Rig, scene: Scene
) -> None:
    lost = await scene.stopped("Kijani Stores", OPTIONAL_PASSING)
    await scene.lose_steps(lost)
    refused = await scene.stopped("Refused", PERMANENT)
    scene.clock.forward(seconds=20)
    async with fleet(rig, scene, LocalHealer(scene.sweeper())) as channel:
        stub = FleetServiceStub(channel)
        dry = await stub.Sweep(fleet_pb2.SweepRequest(dry_run=True))
        none = await stub.ListSweeps(fleet_pb2.ListSweepsRequest())
        done = await stub.Sweep(fleet_pb2.SweepRequest())
        scene.clock.forward(seconds=5)
        await scene.end_run(lost)
        again = await stub.Sweep(fleet_pb2.SweepRequest())
        waiting = await stub.Sweep(fleet_pb2.SweepRequest(dry_run=True))
        sweeps = await stub.ListSweeps(fleet_pb2.ListSweepsRequest())
        first = await stub.ListFindings(fleet_pb2.ListFindingsRequest(page_size=1))
        rest = await stub.ListFindings(
            fleet_pb2.ListFindingsRequest(page_size=1, page_token=first.next_page_token)
        )
        called = await stub.ListFindings(fleet_pb2.ListFindingsRequest(person_only=True))
        scene.clock.forward(seconds=1)
        report = (await stub.GetHealingReport(fleet_pb2.GetHealingReportRequest())).report

    assert (dry.dry_run, dry.sweep.observed, dry.sweep.acted) == (True, 2, 0)
    assert len(none.sweeps) == 0
    assert {(f.tenant_id, f.verdict) for f in done.findings} == {
        (lost, "REBUILD_RECORD"),
        (refused, "CALL_OPERATOR"),
    }
    assert again.healed == 1
    assert [tenant.tenant_id for tenant in waiting.handed_over] == [refused]
    assert waiting.handed_over[0].command == f"provisioner diagnose {refused}"
    assert [(sweep.findings, sweep.acted) for sweep in sweeps.sweeps] == [(2, 2)]
    assert not sweeps.HasField("watch"), "this process sweeps only when asked"
    pages = [*first.findings, *rest.findings]
    assert {finding.tenant_id for finding in pages} == {lost, refused}
    assert rest.next_page_token == ""
    (person,) = called.findings
    assert (person.tenant_id, person.severity) == (refused, diagnosis_pb2.SEVERITY_PERSON)
    assert dict(report.outcomes) == {"HEALED": 1, "HANDED_OVER": 1}
    healed = next(case for case in report.cases if case.outcome == "HEALED")
    assert (healed.tenant_id, healed.cause) == (lost, "STEP_RECORD_LOST")
    assert (healed.seconds_to_notice, healed.seconds_to_heal) == (20.0, 5.0)
    assert (report.time_to_heal.count, report.time_to_heal.p50) == (1, 5.0)
    assert "| STEP_RECORD_LOST | 1 | 1 | 0 |" in report.markdown


async def test_a_server_without_a_reconciler_says_how_to_sweep(rig: Rig, scene: Scene) -> None:
    async with fleet(rig, scene, None) as channel:
        failed = await failure(FleetServiceStub(channel).Sweep(fleet_pb2.SweepRequest()))
    assert (failed.code, failed.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_RECONCILER")
    assert "provisioner reconcile --once" in failed.message


def token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (fleet_pb2.ListFindingsRequest(page_size=5000), "page_size"),
        (fleet_pb2.ListFindingsRequest(page_token="mine"), "page_token"),
        # Before there were years, after them, and an id that PostgreSQL takes for an attack.
        (fleet_pb2.ListFindingsRequest(page_token=token("0001-01-01T00:00+23:59|a")), "page_token"),
        (fleet_pb2.ListFindingsRequest(page_token=token("9999-12-31T23:59-23:59|a")), "page_token"),
        (fleet_pb2.ListFindingsRequest(page_token=token("2026-11-24T12:00Z|\0")), "page_token"),
        (fleet_pb2.ListFindingsRequest(tenant_id="kijani"), "tenant_id"),
    ],
)
async def test_a_wrong_page_is_refused_by_its_field(
    rig: Rig, scene: Scene, request_: fleet_pb2.ListFindingsRequest, field: str
) -> None:
    async with fleet(rig, scene, None) as channel:
        failed = await failure(FleetServiceStub(channel).ListFindings(request_))
    assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failed.fields == (field,)


async def test_a_report_is_made_where_it_keeps_nobody_waiting(
    rig: Rig, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    makers: list[int] = []

    def noting(module: ModuleType, name: str) -> None:
        really = getattr(module, name)

        def noted(*arguments: Any, **named: Any) -> Any:
            makers.append(threading.get_ident())
            return really(*arguments, **named)

        monkeypatch.setattr(module, name, noted)

    noting(history, "report")
    noting(healing, "report_message")
    async with fleet(rig, scene, None) as channel:
        await FleetServiceStub(channel).GetHealingReport(fleet_pb2.GetHealingReportRequest())
    assert len(makers) == 2
    assert threading.get_ident() not in makers


async def test_a_report_of_a_period_before_there_were_years_is_empty(
    rig: Rig, scene: Scene
) -> None:
    request = fleet_pb2.GetHealingReportRequest()
    request.ends_at.FromJsonString("0001-01-01T12:00:00Z")
    async with fleet(rig, scene, None) as channel:
        report = (await FleetServiceStub(channel).GetHealingReport(request)).report
        assert report.begins_at.ToJsonString() == "0001-01-01T00:00:00Z"
        assert not report.cases
        request.ends_at.FromJsonString("0001-01-01T00:00:00Z")
        failed = await failure(FleetServiceStub(channel).GetHealingReport(request))
    assert (failed.code, failed.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ("begins_at",))


async def test_health_says_whether_sweeps_come(rig: Rig, scene: Scene) -> None:
    async def hangs() -> None:
        raise RuntimeError("no sweep ends")

    healer = LocalHealer(scene.sweeper())
    late = Schedule(hangs, seconds=3600.0, timeout_seconds=60.0)
    async with fleet(rig, scene, healer) as channel:
        asked = health_pb2.HealthCheckRequest(service="reconciler")
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its stubs name no methods
        unknown = await failure(stub.Check(asked))
        healer.schedule = late
        late.start()
        young = await stub.Check(asked)
        late._started -= 7261.0
        old = await stub.Check(asked)
        watch = (await FleetServiceStub(channel).ListSweeps(fleet_pb2.ListSweepsRequest())).watch
        await late.stop()

    assert unknown.code is grpc.StatusCode.NOT_FOUND
    assert young.status == health_pb2.HealthCheckResponse.SERVING
    assert old.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert not watch.healthy
    assert watch.age_seconds > 7260
