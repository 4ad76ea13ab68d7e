"""Plan and Verify over a real connection, against a stand-in ERPNext over real HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest

from provisioner.v1 import provisioning_pb2 as pb
from provisioner.v1 import survey_pb2
from provisioner.v1.tenant_pb2 import TenantSpec
from server.commands import Commands, EngineEntry
from server.erpnext.client import ErpNextEngine
from server.model.blueprint import ERPNEXT
from server.model.states import GateState
from server.probing import Prober, Subject, Survey, probe_all
from server.standin.app import StandIn
from server.store.operations import GateOperation
from tests.server.erpnext.conftest import credentials
from tests.server.rpc.conftest import NOW
from tests.server.rpc.failing import failure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.model.blueprint import Blueprint
    from server.model.step_context import Engine
    from tests.server.rpc.conftest import Rig

PATIENCE_SECONDS = 45.0


@pytest.fixture
async def site() -> AsyncIterator[StandIn]:
    async with StandIn() as standin:
        yield standin


@pytest.fixture
async def shop(unserved: Rig, site: StandIn) -> AsyncIterator[Rig]:
    """A served store whose engine is the stand-in."""
    engine = ErpNextEngine(url=site.url, credentials=credentials())
    unserved.engines["main"] = engine
    unserved.commands = Commands(
        unserved.database,
        engines={"main": EngineEntry(site=engine.site, blueprint=ERPNEXT)},
        default_engine="main",
        now=lambda: NOW,
    )
    await unserved.serve()
    yield unserved
    await unserved.close()
    await engine.close()


async def shut_gate(shop: Rig) -> None:
    engine = shop.engines["main"]
    await shop.database.submit(
        GateOperation(
            site=engine.site,
            at=NOW,
            gate=GateState.DOWN,
            code="ENGINE_MAINTENANCE",
            message="The site is in maintenance mode.",
        )
    )


async def test_a_plan_of_a_spec_names_what_would_be_made_and_writes_nothing(
    shop: Rig, site: StandIn
) -> None:
    before = shop.row_counts()
    plan = await shop.stub.Plan(pb.PlanRequest(spec=TenantSpec(company_name="Acme Ltd")))
    assert plan.feasible
    assert plan.survey.spec.currency == "KES"
    assert plan.survey.engine.startswith("ERPNext 15.65.4")
    assert 50 < plan.survey.expected_requests < 90
    made = [each.name for step in plan.survey.steps for each in step.missing]
    assert {"Acme Ltd", "Main Store - AL", "Retail AL", "POS AL"} <= set(made)
    assert shop.row_counts() == before
    assert {method for method, _, _ in site_log(site)} == {"GET"}


def site_log(site: StandIn) -> list[tuple[str, str, int]]:
    return list(site._gateway.log)


async def test_a_plan_takes_a_tenant_or_a_spec(shop: Rig) -> None:
    for request in (pb.PlanRequest(), pb.PlanRequest(tenant_id="x", spec=TenantSpec())):
        failed = await failure(shop.stub.Plan(request))
        assert failed.code is grpc.StatusCode.INVALID_ARGUMENT
    wrong = pb.PlanRequest(spec=TenantSpec(company_name="", country_code="XX"))
    failed = await failure(shop.stub.Plan(wrong))
    assert set(failed.fields) == {"spec.company_name", "spec.country_code"}


async def test_a_name_that_another_tenant_has_is_a_conflict_of_the_plan(shop: Rig) -> None:
    first = (await shop.start("Acme")).tenant_id
    plan = await shop.stub.Plan(pb.PlanRequest(spec=TenantSpec(company_name="ÁCME")))
    assert not plan.feasible
    company = next(each for each in plan.survey.steps if each.step_key == "step_2_company")
    assert company.code == "COMPANY_NAME_TAKEN"
    assert first in company.message


async def test_many_looks_at_one_tenant_keep_nobody_from_looking_at_another(
    shop: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two looks at a site go on at once, and whoever may see one tenant may ask for any number."""
    busy, other = [(await shop.start(name)).tenant_id for name in ("Busy", "Other")]
    in_line, go_on = asyncio.Semaphore(0), asyncio.Event()
    check_gate = Prober.check_gate

    async def checked(prober: Prober, site: str) -> None:
        await check_gate(prober, site)
        # From here to its place in the line a look does not pause.
        in_line.release()

    async def look(engine: Engine, kind: Blueprint, subject: Subject, **more: Any) -> Survey:
        if subject.spec.company_name == "Busy":
            await go_on.wait()
        return await probe_all(engine, kind, subject, **more)

    monkeypatch.setattr(Prober, "check_gate", checked)
    monkeypatch.setattr("server.probing.probe_all", look)
    asked = [
        asyncio.ensure_future(shop.stub.Plan(pb.PlanRequest(tenant_id=busy))) for _ in range(3)
    ]
    for _ in asked:
        await in_line.acquire()
    plan = await shop.stub.Plan(pb.PlanRequest(tenant_id=other), timeout=PATIENCE_SECONDS)
    assert plan.survey.tenant_id == other
    go_on.set()
    assert {each.survey.tenant_id for each in await asyncio.gather(*asked)} == {busy}


async def test_a_shut_gate_refuses_a_look_without_asking_the_engine(
    shop: Rig, site: StandIn
) -> None:
    await shut_gate(shop)
    failed = await failure(shop.stub.Plan(pb.PlanRequest(spec=TenantSpec(company_name="Acme Ltd"))))
    assert (failed.code, failed.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_MAINTENANCE")
    assert "2026-11-24 12:00:00 UTC" in failed.message
    assert "nothing was written" in failed.message
    assert failed.metadata["next_command"] == "provisioner engines list"
    assert not site_log(site)


async def test_a_tenant_of_another_site_is_not_looked_at_here(shop: Rig, site: StandIn) -> None:
    """What that site lacks it was called to lack, and told to be retried, which is refused."""
    tenant = (await shop.start("Acme")).tenant_id
    await shop.database.in_transaction(
        lambda connection: connection.exec_driver_sql("UPDATE tenants SET site = 'http://gone'")
    )
    failed = await failure(shop.stub.Plan(pb.PlanRequest(tenant_id=tenant)))
    assert (failed.code, failed.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "ENGINE_NOT_CONFIGURED",
    )
    assert "Its row names the site 'http://gone'" in failed.message
    assert failed.metadata["next_command"] == f"provisioner diagnose {tenant}"
    assert not site_log(site)


async def test_a_tenant_in_motion_is_planned_but_not_verified(shop: Rig) -> None:
    tenant = (await shop.start("Acme")).tenant_id
    plan = await shop.stub.Plan(pb.PlanRequest(tenant_id=tenant))
    assert plan.survey.tenant_id == tenant
    failed = await failure(shop.stub.Verify(pb.VerifyRequest(tenant_id=tenant)))
    assert (failed.code, failed.reason) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "TENANT_IN_MOTION",
    )


async def test_a_tenant_at_rest_that_lacks_everything_drifts_and_a_retry_is_named(
    shop: Rig,
) -> None:
    tenant = (await shop.start("Acme")).tenant_id
    await shop.write(tenant, "done", rest=True)
    drift = await shop.stub.Verify(pb.VerifyRequest(tenant_id=tenant))
    assert not drift.clean
    missing = {
        each.step_key
        for each in drift.survey.steps
        if each.standing == survey_pb2.STEP_STANDING_MISSING
    }
    assert "step_2_company" in missing
