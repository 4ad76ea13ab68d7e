"""`provisioner fix`: diagnose, show the remedy, ask, apply it, follow to the end."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING

import pytest

from provisioner.v1 import diagnosis_pb2, provisioning_pb2
from tests.clients import builders
from tests.clients.builders import TENANT
from tests.clients.processes import run

if TYPE_CHECKING:
    from tests.clients.fake_service import FakeService, Serving

SERVICE = "provisioner.v1.ProvisioningService"


def _stuck(*, alone: bool = True, state: str = "PARTIAL") -> diagnosis_pb2.Diagnosis:
    found = diagnosis_pb2.Diagnosis(tenant_id=TENANT, state=state, revision=7)
    cause = found.causes.add(
        code="STEP_RECORD_LOST", severity=diagnosis_pb2.SEVERITY_MOVING, message="It is gone."
    )
    cause.remedy.says = "Free the name."
    cause.remedy.call = f"{SERVICE}/Continue"
    cause.remedy.request = json.dumps(
        {"tenant_id": TENANT, "expected_revision": 7, "reason": "diagnosed", "of_tomorrow": 1}
    )
    cause.remedy.command = f"provisioner continue {TENANT} --watch"
    cause.remedy.alone = alone
    return found


async def test_the_remedy_is_applied_and_followed_to_the_end(
    service: FakeService, server: Serving
) -> None:
    service.diagnosis = _stuck()
    service.statuses = deque([builders.status(0), builders.status(3), builders.completed()])
    service.acknowledged = builders.status(1)
    result = await run("fix", TENANT, "--yes", "--address", server.address)
    assert result.code == 0, result.err
    assert "STEP_RECORD_LOST" in result.out
    assert result.out.rstrip().endswith("COMPLETED")
    (order,) = service.requests["Continue"]
    assert order.request_id
    order.ClearField("request_id")
    assert order == provisioning_pb2.ContinueRequest(
        tenant_id=TENANT, expected_revision=7, reason="diagnosed"
    )


@pytest.mark.parametrize("options", [("--dry-run",), ("--json",), ()])
async def test_nothing_is_changed_unless_somebody_says_yes(
    service: FakeService, server: Serving, options: tuple[str, ...]
) -> None:
    service.diagnosis = _stuck()
    result = await run("fix", TENANT, *options, "--address", server.address)
    assert result.code == 1
    assert service.requests["Continue"] == []
    if "--json" in options:
        assert result.document["applied"] is False
        assert result.document["remedy"]["command"] == f"provisioner continue {TENANT} --watch"


async def test_what_must_be_mended_first_is_said_before_the_question(
    service: FakeService, server: Serving
) -> None:
    service.diagnosis = _stuck(alone=False)
    result = await run("fix", TENANT, "--address", server.address)
    assert result.code == 1
    assert result.err.index("First: Free the name.") < result.err.index("[y/N]")


async def test_a_tenant_in_motion_is_followed_and_not_ordered_about(
    service: FakeService, server: Serving
) -> None:
    service.diagnosis = _stuck(state="IN_PROGRESS")
    service.statuses = deque([builders.status(3), builders.completed()])
    result = await run("fix", TENANT, "--yes", "--json", "--address", server.address)
    assert result.code == 0, result.err
    assert service.requests["Continue"] == []
    assert (result.document["applied"], result.document["state_after"]) == (False, "COMPLETED")


async def test_a_tenant_where_nothing_is_wrong_ends_with_0(
    service: FakeService, server: Serving
) -> None:
    service.diagnosis = diagnosis_pb2.Diagnosis(tenant_id=TENANT, state="COMPLETED")
    result = await run("fix", TENANT, "--yes", "--address", server.address)
    assert result.code == 0, result.err


@pytest.mark.parametrize("arguments", [(), (TENANT, "--all-stuck")])
async def test_either_a_tenant_or_all_of_them(server: Serving, arguments: tuple[str, ...]) -> None:
    result = await run("fix", *arguments, "--address", server.address)
    assert result.code == 2
    assert "--all-stuck" in result.err
