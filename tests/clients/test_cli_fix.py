"""`provisioner fix`: diagnose, show the remedy, ask, apply it, follow to the end."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING

import pytest

from provisioner.v1 import diagnosis_pb2, provisioning_pb2, tenant_pb2
from tests.clients import builders
from tests.clients.builders import TENANT
from tests.clients.processes import Answer, run, run_in_terminal

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


def _well() -> diagnosis_pb2.Diagnosis:
    return diagnosis_pb2.Diagnosis(tenant_id=TENANT, state="COMPLETED")


def _with(code: str, method: str, *, alone: bool = True) -> diagnosis_pb2.Diagnosis:
    found = _stuck(alone=alone)
    found.causes[0].code = code
    service = "provisioner.v1.FleetService" if method == "AcceptSite" else SERVICE
    found.causes[0].remedy.call = f"{service}/{method}" if method else ""
    return found


async def test_the_remedy_is_applied_and_followed_to_the_end(
    service: FakeService, server: Serving
) -> None:
    service.diagnoses = deque([_stuck(), _well()])
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
    assert result.code == (1 if options else 2)
    assert service.requests["Continue"] == []
    if not options:
        assert "To go on without asking, give --yes." in result.err
        assert "Nothing was changed." in result.err
    if "--json" in options:
        assert result.document["applied"] is False
        assert result.document["remedy"]["command"] == f"provisioner continue {TENANT} --watch"


async def test_what_must_be_mended_first_is_said_before_the_question(
    service: FakeService, server: Serving
) -> None:
    service.diagnosis = _stuck(alone=False)
    result = await run("fix", TENANT, "--address", server.address)
    assert result.code == 2
    assert result.err.index("First: Free the name.") < result.err.index("[y/N]")


async def test_a_tenant_in_motion_is_followed_and_not_ordered_about(
    service: FakeService, server: Serving
) -> None:
    service.diagnoses = deque([_stuck(state="IN_PROGRESS"), _well()])
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


async def test_what_is_left_after_a_remedy_is_mended_too(
    service: FakeService, server: Serving
) -> None:
    service.diagnoses = deque([_stuck(), _with("ENGINE_NO_ANSWER", "Retry"), _well()])
    service.statuses = deque([builders.completed()])
    result = await run("fix", TENANT, "--yes", "--json", "--address", server.address)
    assert result.code == 0, result.err
    assert (len(service.requests["Continue"]), len(service.requests["Retry"])) == (1, 1)
    rounds = result.document["rounds"]
    assert [each["applied"] for each in rounds] == [True, True, False]
    assert [each["causes"][0]["code"] for each in rounds[:2]] == [
        "STEP_RECORD_LOST",
        "ENGINE_NO_ANSWER",
    ]
    assert (result.document["state_after"], result.document["left"]) == ("COMPLETED", [])


async def test_a_remedy_that_did_not_help_is_not_given_again(
    service: FakeService, server: Serving
) -> None:
    service.diagnosis = _stuck()
    service.statuses = deque([builders.status(3, tenant_pb2.TENANT_STATE_FAILED)])
    result = await run("fix", TENANT, "--yes", "--address", server.address)
    assert result.code == 1
    assert len(service.requests["Continue"]) == 1
    assert "Looked at again:" in result.out
    assert "the problem came back: STEP_RECORD_LOST" in result.err


async def test_ever_new_causes_end_after_a_few(service: FakeService, server: Serving) -> None:
    service.diagnoses = deque(_with(f"CAUSE_{number}", "Continue") for number in range(20))
    service.statuses = deque([builders.status(3, tenant_pb2.TENANT_STATE_FAILED)])
    result = await run("fix", TENANT, "--yes", "--address", server.address)
    assert result.code == 1
    assert len(service.requests["Continue"]) == 5


@pytest.mark.parametrize("method", ["AdoptCompany", "AcceptSite", "Deprovision", ""])
async def test_what_a_person_decides_is_handed_over_with_its_command(
    service: FakeService, server: Serving, method: str
) -> None:
    found = _with("SOMEBODY_DECIDES", method, alone=False)
    found.causes[0].severity = diagnosis_pb2.SEVERITY_PERSON
    found.causes.append(_stuck().causes[0])
    service.diagnosis = found
    result = await run("fix", TENANT, "--yes", "--address", server.address)
    assert result.code == 1
    assert all(not given for name, given in service.requests.items() if name != "Diagnose")
    assert f"Then: provisioner continue {TENANT} --watch" in result.err


async def test_what_moves_for_a_person_only_is_not_waited_for(
    service: FakeService, server: Serving
) -> None:
    found = _stuck(state="IN_PROGRESS")
    found.causes[0].code, found.causes[0].severity = "NO_WORKER", diagnosis_pb2.SEVERITY_PERSON
    service.diagnosis = found
    service.statuses = deque([builders.status(3)])
    result = await run("fix", TENANT, "--yes", "--address", server.address)
    assert result.code == 1
    assert "A person must act: Free the name." in result.err


async def test_an_engine_that_is_away_is_not_waited_for_all_night(
    service: FakeService, server: Serving
) -> None:
    found = diagnosis_pb2.Diagnosis(tenant_id=TENANT, state="IN_PROGRESS", revision=7)
    cause = found.causes.add(code="ENGINE_DOWN", severity=diagnosis_pb2.SEVERITY_MAY_CLEAR)
    cause.remedy.says = "Bring the engine back."
    service.diagnosis = found
    service.statuses = deque([builders.status(3)])
    result = await run("fix", TENANT, "--yes", "--address", server.address)
    assert result.code == 1
    assert "No order helps here: Bring the engine back." in result.err


@pytest.mark.parametrize(("keys", "code"), [(b"\x04", 2), (b"n\n", 1)])
async def test_a_question_without_an_answer_changes_nothing(
    service: FakeService, server: Serving, keys: bytes, code: int
) -> None:
    service.diagnosis = _stuck()
    answer = Answer(b"[y/N] ", keys)
    result = await run_in_terminal("fix", TENANT, "--address", server.address, answer=answer)
    assert (result.code, service.requests["Continue"]) == (code, [])
    assert "Nothing was changed." in result.out
    assert ("No answer came." in result.out) == (code == 2)


async def test_ctrl_c_at_a_question_ends_it_at_once(service: FakeService, server: Serving) -> None:
    service.diagnosis = _stuck()
    answer = Answer(b"[y/N] ")
    result = await run_in_terminal("fix", TENANT, "--address", server.address, answer=answer)
    assert (result.code, service.requests["Continue"]) == (130, [])
    assert "Traceback" not in result.out


async def test_an_answer_in_a_terminal_is_taken(service: FakeService, server: Serving) -> None:
    service.diagnoses = deque([_stuck(), _well()])
    service.statuses = deque([builders.completed()])
    answer = Answer(b"[y/N] ", b"yes\n")
    result = await run_in_terminal("fix", TENANT, "--address", server.address, answer=answer)
    assert (result.code, len(service.requests["Continue"])) == (0, 1)
