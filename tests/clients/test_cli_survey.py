"""`provisioner plan`, `verify` and `start --plan`: what is read, asked, sent and ended with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.v1 import provisioning_pb2 as pb
from provisioner.v1 import survey_pb2
from provisioner.v1.tenant_pb2 import TenantSpec
from tests.clients.builders import TENANT
from tests.clients.processes import run

if TYPE_CHECKING:
    from tests.clients.fake_service import FakeService, Serving


def _survey(*, foreign: bool = False) -> survey_pb2.Survey:
    survey = survey_pb2.Survey(
        spec=TenantSpec(company_name="Acme Ltd"),
        engine_id="main",
        engine="ERPNext 15.65.4 (Frappe 15.71.0), as provisioner@example.com",
        expected_requests=70,
        expected_seconds=4.2,
    )
    step = survey.steps.add(
        step_key="step_4_warehouses",
        required=True,
        standing=survey_pb2.STEP_STANDING_MISSING,
        expected_requests=4,
        expected_seconds=0.2,
    )
    step.missing.add(doctype="Warehouse", name="Main Store - AL")
    if foreign:
        step = survey.steps.add(
            step_key="step_8_pos_profile",
            required=True,
            standing=survey_pb2.STEP_STANDING_FOREIGN,
            code="DOCUMENT_NOT_OURS",
            message="POS Profile 'POS AL' belongs to 'Other'.\x1b[2J",
        )
        step.differences.add(
            doctype="POS Profile", name="POS AL", field="company", have="Other", want="Acme Ltd"
        )
    return survey


async def test_people_read_what_would_be_made_and_how_long_it_takes(
    service: FakeService, server: Serving
) -> None:
    service.plan = pb.PlanResponse(survey=_survey(), feasible=True)
    result = await run("plan", "Acme Ltd", "--country", "UG", "--address", server.address)
    assert result.code == 0, result.err
    assert "main is ready: ERPNext 15.65.4" in result.out
    assert "would make Warehouse Main Store - AL" in result.out
    assert "about 70 requests, in about 4.2 s" in result.out
    assert service.requests["Plan"][0].spec.country_code == "UG"


async def test_a_conflict_is_shown_field_by_field_and_ends_with_1(
    service: FakeService, server: Serving
) -> None:
    service.plan = pb.PlanResponse(survey=_survey(foreign=True), feasible=False)
    result = await run("plan", TENANT, "--address", server.address)
    assert result.code == 1
    assert "POS Profile POS AL: company is Other, wanted Acme Ltd" in result.out
    assert "DOCUMENT_NOT_OURS" in result.out
    assert "\\x1b[2J" in result.out, "text of others is shown, not sent to the terminal"
    request = service.requests["Plan"][0]
    assert (request.tenant_id, request.HasField("spec")) == (TENANT, False)


async def test_a_tenant_that_is_there_takes_no_options_of_a_spec(server: Serving) -> None:
    result = await run("plan", TENANT, "--country", "UG", "--address", server.address)
    assert result.code == 2
    assert "leave those options out" in result.err


async def test_verify_ends_with_1_on_drift_and_names_the_order_that_mends_it(
    service: FakeService, server: Serving
) -> None:
    command = f"provisioner retry {TENANT} --step step_4_warehouses --watch"
    service.drift = pb.VerifyResponse(survey=_survey(), clean=False, next_command=command)
    result = await run("verify", TENANT, "--address", server.address)
    assert result.code == 1
    assert "not there: Warehouse Main Store - AL" in result.out
    assert command in result.out


async def test_verify_of_a_clean_tenant_ends_with_0(service: FakeService, server: Serving) -> None:
    service.drift = pb.VerifyResponse(clean=True)
    result = await run("verify", TENANT, "--json", "--address", server.address)
    assert result.code == 0, result.err
    assert result.document["clean"] is True


async def test_start_with_a_plan_starts_nothing_that_a_conflict_would_stop(
    service: FakeService, server: Serving
) -> None:
    service.plan = pb.PlanResponse(survey=_survey(foreign=True), feasible=False)
    result = await run("start", "Acme Ltd", "--plan", "--yes", "--address", server.address)
    assert result.code == 1
    assert "Nothing was started" in result.err
    assert not service.requests["StartProvisioning"]


async def test_start_with_a_plan_needs_a_yes_where_nobody_can_be_asked(
    service: FakeService, server: Serving
) -> None:
    service.plan = pb.PlanResponse(survey=_survey(), feasible=True)
    result = await run("start", "Acme Ltd", "--plan", "--address", server.address)
    assert result.code == 2
    assert "give --yes" in result.err
    assert not service.requests["StartProvisioning"]
    result = await run("start", "Acme Ltd", "--plan", "--yes", "--address", server.address)
    assert result.code == 0, result.err
    assert len(service.requests["StartProvisioning"]) == 1


async def test_start_with_a_plan_gives_scripts_one_document(
    service: FakeService, server: Serving
) -> None:
    service.plan = pb.PlanResponse(survey=_survey(), feasible=True)
    planned = await run("start", "Acme", "--plan", "--json", "--address", server.address)
    assert planned.code == 0, planned.err
    assert planned.document["feasible"] is True
    assert not service.requests["StartProvisioning"]
    started = await run("start", "Acme", "--plan", "--yes", "--json", "--address", server.address)
    assert "tenant_id" in started.document
