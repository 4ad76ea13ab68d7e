"""`provisioner fix --all-stuck`: all that stand still are looked at, and driven on at one word."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import TYPE_CHECKING

import grpc
import pytest

from provisioner.v1 import diagnosis_pb2, fleet_pb2
from tests.clients import builders
from tests.clients.fake_service import Fault
from tests.clients.processes import Answer, run, run_in_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.clients.fake_service import FakeService, Serving

SERVICE = "provisioner.v1.ProvisioningService"
FIRST, SECOND, THIRD = (f"01900000-0000-7000-8000-00000000000{number}" for number in (1, 2, 3))


def stuck(tenant: str, *, method: str = "Continue", alone: bool = True) -> diagnosis_pb2.Diagnosis:
    found = diagnosis_pb2.Diagnosis(tenant_id=tenant, state="PARTIAL", revision=7)
    cause = found.causes.add(
        code="STEP_RECORD_LOST", severity=diagnosis_pb2.SEVERITY_MOVING, message="It is gone."
    )
    cause.remedy.says = "Give the order."
    cause.remedy.call = f"{SERVICE}/{method}"
    cause.remedy.request = json.dumps({"tenant_id": tenant, "expected_revision": 7})
    cause.remedy.command = f"provisioner continue {tenant} --watch"
    cause.remedy.alone = alone
    return found


def found_by_a_sweep(service: FakeService, *found: str, before: Sequence[str] = ()) -> None:
    service.sweep = fleet_pb2.SweepResponse(dry_run=True)
    for tenant in found:
        service.sweep.findings.add(tenant_id=tenant)
    for tenant in before:
        service.sweep.handed_over.add(tenant_id=tenant)
    for tenant in dict.fromkeys((*found, *before)):
        well = diagnosis_pb2.Diagnosis(tenant_id=tenant, state="COMPLETED")
        service.diagnoses_of[tenant] = deque([stuck(tenant), well])
    service.statuses = deque([builders.completed()])


def ordered(service: FakeService) -> list[str]:
    given = [name for name, asked in service.requests.items() if asked]
    assert set(given) <= {"Sweep", "Diagnose", "Continue"}, "no other order is given for all"
    assert all(request.dry_run for request in service.requests["Sweep"])
    return sorted(request.tenant_id for request in service.requests["Continue"])


async def test_those_an_order_helps_are_driven_on_and_the_others_shown(
    service: FakeService, server: Serving
) -> None:
    found_by_a_sweep(service, FIRST, SECOND, FIRST, before=[THIRD, FIRST])
    service.diagnoses_of[SECOND] = deque([stuck(SECOND, alone=False)])
    service.diagnoses_of[THIRD] = deque([stuck(THIRD, method="AdoptCompany")])
    result = await run("fix", "--all-stuck", "--yes", "--address", server.address)
    assert ordered(service) == [FIRST]
    assert "3 tenants are stuck: 1 can be driven on now, 2 need something" in result.err
    # Each once, in the order of the sweep, however many looks there were at a time.
    places = [result.out.index(f"  {tenant}\n") for tenant in (FIRST, SECOND, THIRD)]
    assert places == sorted(places)
    assert result.out.splitlines()[-1].split() == [FIRST, "COMPLETED"]
    assert result.code == 1, "two of them still stand still"


async def test_where_all_of_them_come_through_it_ends_with_0(
    service: FakeService, server: Serving
) -> None:
    found_by_a_sweep(service, FIRST, before=[SECOND])
    result = await run("fix", "--all-stuck", "--yes", "--json", "--address", server.address)
    assert result.code == 0, result.err
    assert ordered(service) == [FIRST, SECOND]
    tenants = result.document["tenants"]
    assert [(each["tenant_id"], each["applied"], each["state_after"]) for each in tenants] == [
        (FIRST, True, "COMPLETED"),
        (SECOND, True, "COMPLETED"),
    ]


async def test_what_is_refused_for_one_keeps_no_other_back(
    service: FakeService, server: Serving
) -> None:
    found_by_a_sweep(service, FIRST, SECOND)
    service.faults["Continue"].append(
        Fault(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="TENANT_IN_MOTION",
            message="It moves already.",
        )
    )
    result = await run("fix", "--all-stuck", "--yes", "--address", server.address)
    assert result.code == 1
    assert ordered(service) == [FIRST, SECOND]
    assert (result.out.count("It moves already."), result.out.count("COMPLETED")) == (1, 1)


async def test_one_that_stops_again_is_named_with_why(
    service: FakeService, server: Serving
) -> None:
    found_by_a_sweep(service, FIRST)
    again = stuck(FIRST)
    again.state = "FAILED"
    service.diagnoses_of[FIRST] = deque([stuck(FIRST), again])
    service.statuses = deque([builders.failed()])
    result = await run("fix", "--all-stuck", "--yes", "--address", server.address)
    assert (result.code, ordered(service)) == (1, [FIRST])
    assert result.out.splitlines()[-1].split() == [FIRST, "FAILED", "STEP_RECORD_LOST"]


@pytest.mark.parametrize(("options", "code"), [(("--dry-run",), 1), (("--json",), 1), ((), 2)])
async def test_nothing_is_ordered_unless_somebody_says_yes(
    service: FakeService, server: Serving, options: tuple[str, ...], code: int
) -> None:
    found_by_a_sweep(service, FIRST, SECOND)
    result = await run("fix", "--all-stuck", *options, "--address", server.address)
    assert (result.code, ordered(service)) == (code, [])
    if "--json" in options:
        assert [each["applied"] for each in result.document["tenants"]] == [False, False]


async def test_one_answer_is_for_all_of_them(service: FakeService, server: Serving) -> None:
    found_by_a_sweep(service, FIRST, SECOND)
    answer = Answer(b"[y/N] ", b"yes\n")
    result = await run_in_terminal("fix", "--all-stuck", "--address", server.address, answer=answer)
    assert "Drive 2 on?" in result.out
    assert (result.code, ordered(service)) == (0, [FIRST, SECOND])


@pytest.mark.parametrize("options", [(), ("--yes",), ("--dry-run",)])
async def test_where_nobody_stands_still_there_is_nothing_to_ask(
    service: FakeService, server: Serving, options: tuple[str, ...]
) -> None:
    found_by_a_sweep(service)
    result = await run("fix", "--all-stuck", *options, "--address", server.address)
    assert (result.code, ordered(service)) == (0, [])
    assert "No tenant is stuck." in result.err


async def test_nobody_waits_for_the_look_at_another(service: FakeService, server: Serving) -> None:
    """A site that hangs costs five seconds a look: one after the other a night for hundreds."""
    found_by_a_sweep(service, FIRST, SECOND, THIRD)
    service.looks_meet = asyncio.Barrier(3)
    result = await run("fix", "--all-stuck", "--dry-run", "--address", server.address)
    assert result.code == 1
    assert "3 tenants are stuck" in result.err


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (grpc.StatusCode.INTERNAL, "INTERNAL_ERROR"),
        (grpc.StatusCode.NOT_FOUND, "TENANT_NOT_FOUND"),
    ],
)
async def test_one_that_cant_be_diagnosed_keeps_no_other_back(
    service: FakeService, server: Serving, code: grpc.StatusCode, reason: str
) -> None:
    """One tenant's error ended the command before anybody was driven on, and was not named."""
    found_by_a_sweep(service, FIRST, SECOND, THIRD)
    fault = Fault(code=code, reason=reason, message="It can't be read.")
    service.diagnoses_of[SECOND] = deque([fault])
    result = await run("fix", "--all-stuck", "--yes", "--address", server.address)
    assert (result.code, ordered(service)) == (1, [FIRST, THIRD])
    assert "3 tenants are stuck: 2 can be driven on now, 1 needs something" in result.err
    (line,) = (line for line in result.out.splitlines() if "Not diagnosed" in line)
    assert line.startswith(SECOND)
    assert "It can't be read." in line


@pytest.mark.parametrize(
    ("code", "ends"),
    [
        (grpc.StatusCode.PERMISSION_DENIED, 4),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 3),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 3),
    ],
)
async def test_what_each_diagnosis_would_meet_ends_the_command(
    service: FakeService, server: Serving, code: grpc.StatusCode, ends: int
) -> None:
    found_by_a_sweep(service, FIRST, SECOND)
    service.diagnoses_of[FIRST] = deque([Fault(code=code, reason="NO", message="Not you.")])
    result = await run("fix", "--all-stuck", "--yes", "--address", server.address)
    assert (result.code, ordered(service)) == (ends, [])
    assert "Not you." in result.err
