"""`provisioner diagnose`: what people and scripts read, and what it ends with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.v1 import diagnosis_pb2
from tests.clients.builders import TENANT
from tests.clients.processes import run

if TYPE_CHECKING:
    from tests.clients.fake_service import FakeService, Serving


def _found(severity: diagnosis_pb2.Severity.ValueType) -> diagnosis_pb2.Diagnosis:
    found = diagnosis_pb2.Diagnosis(
        tenant_id=TENANT,
        company_name="Kijani Stores",
        revision=7,
        state="PARTIAL",
        progress="0 of 10 steps",
        engine="The engine answered.",
    )
    cause = found.causes.add(
        code="STEP_RECORD_LOST", severity=severity, message="The record is gone.\x1b[2J"
    )
    cause.evidence.add(source="steps", fact="0 of 10 rows").at.FromSeconds(1_700_000_000)
    cause.remedy.says = "Continue."
    cause.remedy.call = "provisioner.v1.ProvisioningService/Continue"
    cause.remedy.request = "{}"
    cause.remedy.command = f"provisioner continue {TENANT}"
    return found


async def test_people_read_cause_evidence_and_remedy(service: FakeService, server: Serving) -> None:
    service.diagnosis = _found(diagnosis_pb2.SEVERITY_MOVING)
    result = await run("diagnose", TENANT, "--no-engine", "--address", server.address)
    assert result.code == 1, "a PARTIAL tenant is not well"
    assert "1. STEP_RECORD_LOST  (moves on by itself)" in result.out
    assert "\\x1b[2J" in result.out, "text of others is shown, not sent to the terminal"
    assert "- steps: 0 of 10 rows (2023-11-14 22:13:20 UTC)" in result.out
    assert f"provisioner continue {TENANT}" in result.out
    assert service.requests["Diagnose"][0].skip_engine


async def test_scripts_get_causes_as_an_object(service: FakeService, server: Serving) -> None:
    service.diagnosis = _found(diagnosis_pb2.SEVERITY_PERSON)
    result = await run("diagnose", TENANT, "--json", "--address", server.address)
    (cause,) = result.document["causes"]
    assert (cause["code"], cause["severity"]) == ("STEP_RECORD_LOST", "PERSON")
    assert cause["evidence"][0]["source"] == "steps"
    assert cause["remedy"]["command"] == f"provisioner continue {TENANT}"


async def test_a_tenant_where_nothing_is_wrong_ends_with_0(
    service: FakeService, server: Serving
) -> None:
    service.diagnosis = diagnosis_pb2.Diagnosis(tenant_id=TENANT, state="COMPLETED")
    result = await run("diagnose", TENANT, "--address", server.address)
    assert result.code == 0, result.err
    assert "Nothing is wrong." in result.out
