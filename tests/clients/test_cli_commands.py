"""The command line as a process: options, exit codes, JSON and errors."""

from __future__ import annotations

from collections import deque

import grpc
import pytest

from clients.cli.exit_codes import ExitCode
from clients.sdk import ProvisionerClient
from provisioner.v1 import provisioning_pb2, tenant_pb2
from tests.clients import builders
from tests.clients.builders import TENANT, entries
from tests.clients.fake_service import FakeService, Fault, Hang, Serving
from tests.clients.processes import (
    run,
    run_python,
    run_unread,
)


async def test_start_is_acknowledged_with_the_tenant_and_the_next_command(
    service: FakeService, server: Serving
) -> None:
    service.statuses = deque([builders.status(0)])
    result = await run("start", "Acme Ltd", "--address", server.address)
    assert result.code == 0, result.err
    assert TENANT in result.out
    assert "0 of 10 steps, 0 %" in result.out
    assert f"provisioner status {TENANT} --watch" in result.out
    assert service.requests["StartProvisioning"][0].request_id


async def test_start_sends_every_option_it_was_given(service: FakeService, server: Serving) -> None:
    result = await run(
        *("start", "Café & Söhne", "--country", "UG", "--currency", "UGX", "--chart", "Standard"),
        *("--demo-data", "--no-pos-store", "--till-user", "till@example.com", "--engine", "main"),
        *("--payment", "Cash", "--payment", "Credit Card", "--opening-amount", "12.5"),
        *("--tenant-id", TENANT, "--request-id", "mine", "--json"),
        PROVISIONER_GRPC_ADDRESS=server.address,
    )
    assert result.code == 0
    assert service.requests["StartProvisioning"] == [
        provisioning_pb2.StartProvisioningRequest(
            tenant_id=TENANT,
            request_id="mine",
            spec=tenant_pb2.TenantSpec(
                company_name="Café & Söhne",
                country_code="UG",
                currency="UGX",
                chart_template="Standard",
                include_demo_data=True,
                pos_store_enabled=False,
                till_user="till@example.com",
                engine_id="main",
                payment_methods=["Cash", "Credit Card"],
                opening_amount=12.5,
            ),
        )
    ]


async def test_options_left_out_are_left_to_the_service(
    service: FakeService, server: Serving
) -> None:
    await run("start", "Acme Ltd", "--address", server.address)
    (request,) = service.requests["StartProvisioning"]
    assert request.spec == tenant_pb2.TenantSpec(company_name="Acme Ltd")
    assert not request.HasField("tenant_id")


async def test_continue_and_retry_send_what_they_were_given(
    service: FakeService, server: Serving
) -> None:
    there = ("--address", server.address)
    order = ("--reason", "mended", "--expected-revision", "0", "--request-id", "mine")
    assert (await run("continue", TENANT, *order, *there)).code == 0
    assert (await run("retry", TENANT, "--step", "step_2_company", *order, *there)).code == 0
    assert service.requests["Continue"] == [
        provisioning_pb2.ContinueRequest(
            tenant_id=TENANT, reason="mended", expected_revision=0, request_id="mine"
        )
    ]
    assert service.requests["Retry"] == [
        provisioning_pb2.RetryRequest(
            tenant_id=TENANT,
            reason="mended",
            expected_revision=0,
            request_id="mine",
            step_key="step_2_company",
        )
    ]


@pytest.mark.parametrize(("status", "code"), [(builders.completed(), 0), (builders.failed(), 1)])
async def test_status_ends_with_1_for_a_tenant_that_is_not_well(
    service: FakeService, server: Serving, status: tenant_pb2.TenantStatus, code: int
) -> None:
    service.statuses = deque([status])
    result = await run("status", TENANT, "--address", server.address)
    assert result.code == code
    assert ("Next" in result.out) == (code == 1)


@pytest.mark.parametrize(
    ("grpc_code", "code"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 2),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 3),
        (grpc.StatusCode.UNAUTHENTICATED, 4),
        (grpc.StatusCode.NOT_FOUND, 5),
    ],
)
async def test_an_error_of_the_service_ends_with_its_code_and_its_words(
    service: FakeService, server: Serving, grpc_code: grpc.StatusCode, code: int
) -> None:
    service.faults["Continue"].append(Fault(code=grpc_code, reason="WHY", message="Plain words."))
    result = await run("continue", TENANT, "--address", server.address)
    assert (result.code, result.out) == (code, "")
    assert "Plain words. (WHY)" in result.err


async def test_wrong_fields_are_named_by_the_option_a_person_typed(
    service: FakeService, server: Serving
) -> None:
    service.faults["StartProvisioning"].append(
        Fault(
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason="INVALID_INPUT",
            fields={"spec.country_code": "No such country.", "spec.payment_methods[1]": "Unknown."},
        )
    )
    result = await run("start", "Acme Ltd", "--country", "XX", "--address", server.address)
    assert result.code == 2
    assert "--country (spec.country_code): No such country." in result.err
    assert "--payment (spec.payment_methods[1]): Unknown." in result.err


async def test_wrong_fields_that_are_the_message_too_are_told_once(
    service: FakeService, server: Serving
) -> None:
    service.faults["Continue"].append(
        Fault(
            code=grpc.StatusCode.INVALID_ARGUMENT,
            message="reason: Too long.; tenant_id: No UUID.",
            fields={"reason": "Too long.", "tenant_id": "No UUID."},
        )
    )
    result = await run("continue", "x", "--address", server.address)
    assert result.err == (
        "Error: Not accepted.\n  --reason (reason): Too long.\n  TENANT (tenant_id): No UUID.\n"
    )


async def test_an_error_in_json_is_json_with_its_fields_and_the_next_command(
    service: FakeService, server: Serving
) -> None:
    service.faults["Continue"].append(
        Fault(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="TENANT_IN_MOTION",
            message="It moves.",
            fields={"reason": "too long"},
        )
    )
    result = await run("continue", TENANT, "--json", "--address", server.address)
    assert result.code == 2
    assert result.document == {
        "error": {
            "code": "FAILED_PRECONDITION",
            "reason": "TENANT_IN_MOTION",
            "message": "It moves.",
            "fields": [{"field": "reason", "description": "too long"}],
            "next_command": f"provisioner status {TENANT} --watch --address {server.address}",
        }
    }


async def test_a_service_that_is_not_there_is_told_with_the_command_that_starts_it(
    server: Serving,
) -> None:
    await server.stop()
    result = await run("status", TENANT, "--address", server.address)
    assert (result.code, result.out) == (3, "")
    assert f"Not reachable at {server.address}." in result.err
    assert "provisioner serve" in result.err


@pytest.mark.parametrize("command", ["continue", "logs"])
async def test_a_service_that_is_not_there_is_told_as_json(server: Serving, command: str) -> None:
    await server.stop()
    result = await run(command, TENANT, "--json", "--address", server.address)
    assert result.code == 3
    assert result.document["error"]["code"] == "UNAVAILABLE"
    assert result.document["error"]["next_command"] == "provisioner serve"


async def test_an_order_without_an_answer_says_how_to_give_it_again_safely(
    service: FakeService, server: Serving
) -> None:
    service.faults["Continue"].append(Hang())
    there = ("--timeout", "0.3", "--address", server.address)
    result = await run("continue", TENANT, "--request-id", "mine", *there)
    assert result.code == 3
    assert f"provisioner continue {TENANT} --request-id mine" in result.err


async def test_an_order_to_a_service_that_was_stopped_says_how_to_give_it_again_safely(
    service: FakeService, server: Serving
) -> None:
    service.faults["Continue"].extend([Fault(code=grpc.StatusCode.CANCELLED)] * 4)
    result = await run("continue", TENANT, "--request-id", "mine", "--address", server.address)
    assert result.code == 3
    assert f"The service at {server.address} was stopped before it answered." in result.err
    assert f"provisioner continue {TENANT} --request-id mine" in result.err


async def test_a_service_that_is_older_than_the_command_is_told_of_as_that(
    service: FakeService, server: Serving
) -> None:
    service.faults["Continue"].append(
        Fault(code=grpc.StatusCode.UNIMPLEMENTED, message="Method not found!")
    )
    result = await run("continue", TENANT, "--address", server.address)
    assert result.code == 2
    assert "older than the command" in result.err
    assert "Method not found" not in result.err


async def test_wrong_use_ends_with_2_in_words_and_in_json() -> None:
    words = await run("logs", TENANT, "--after", "-1")
    assert (words.code, words.out) == (2, "")
    assert "--after" in words.err
    assert "provisioner logs --help" in words.err
    document = await run("logs", TENANT, "--after", "-1", "--json")
    assert (document.code, document.err) == (2, "")
    assert document.document["error"]["code"] == "INVALID_ARGUMENT"
    assert document.document["error"]["next_command"] == "provisioner logs --help"


async def test_status_in_json_has_every_field_and_the_words_of_the_design(
    service: FakeService, server: Serving
) -> None:
    service.statuses = deque([builders.partial()])
    result = await run("status", TENANT, "--json", "--address", server.address)
    assert result.code == 1
    document = result.document
    assert list(document) == [field.name for field in tenant_pb2.TenantStatus.DESCRIPTOR.fields]
    assert document["state"] == "PARTIAL"
    assert document["revision"] == 9
    assert document["waiting_for"] is None
    assert document["steps"][9]["state"] == "PENDING"
    assert document["steps"][9]["attempts"] == 0
    assert document["steps"][9]["adopted"] is False
    assert document["errors"][0]["occurred_at"] == "2026-11-24T10:00:05Z"
    assert document["spec"]["currency"] is None


@pytest.mark.parametrize("arguments", [(), ("--json",)])
async def test_a_reader_that_goes_away_ends_a_log_quietly(
    service: FakeService, server: Serving, arguments: tuple[str, ...]
) -> None:
    service.log = entries(1, 3)
    result = await run_unread("logs", TENANT, *arguments, "--address", server.address)
    assert (result.code, result.err) == (141, "")


async def test_client_commands_import_neither_the_server_nor_sqlalchemy(server: Serving) -> None:
    probe = (
        "import sys\n"
        "from clients.cli import program\n"
        "light = not any(name.startswith(('grpc', 'google')) for name in sys.modules)\n"
        f"code = program.run(['status', {TENANT!r}, '--json', '--address', {server.address!r}])\n"
        "heavy = sorted({name.split('.')[0] for name in sys.modules}"
        " & {'server', 'reconciler', 'sqlalchemy', 'httpx', 'starlette'})\n"
        "print(light, code, heavy, file=sys.stderr)\n"
    )
    result = await run_python(probe)
    assert result.err == "True 0 []\n"


async def test_a_command_does_not_look_for_garbage_among_what_it_imports(server: Serving) -> None:
    probe = (
        "import gc, sys\n"
        "seen = []\n"
        "gc.callbacks.append(lambda phase, what: seen.append(what['generation']))\n"
        "from clients import cli\n"
        f"sys.argv[1:] = ['status', {TENANT!r}, '--json', '--address', {server.address!r}]\n"
        "try:\n"
        "    cli.main()\n"
        "finally:\n"
        "    print([each for each in seen if each], file=sys.stderr)\n"
    )
    result = await run_python(probe)
    assert (result.code, result.err) == (0, "[]\n")


@pytest.mark.parametrize("token", ["prov_abc\ndef", "prov_abc\u2026", "prov_abc\x7f"])
async def test_a_token_that_can_be_none_is_refused_in_words_and_not_shown(
    server: Serving, token: str
) -> None:
    result = await run("status", TENANT, "--address", server.address, PROVISIONER_TOKEN=token)
    assert (result.code, result.out) == (ExitCode.WRONG_USE, "")
    assert "PROVISIONER_TOKEN has a character that no token has" in result.err
    assert "prov_abc" not in result.err
    assert "Traceback" not in result.err
    with pytest.raises(ValueError, match="token has a character that no token has") as refused:
        ProvisionerClient(server.address, token=token)
    assert "prov_abc" not in str(refused.value)


async def test_a_token_of_the_environment_is_said_to_be_the_one_that_is_refused(
    service: FakeService, server: Serving
) -> None:
    """Another sign-in would change nothing while the variable is set."""
    said = "Sign in again with: provisioner login EMAIL"
    refused = Fault(code=grpc.StatusCode.UNAUTHENTICATED, reason="TOKEN_INVALID", message=said)
    service.faults["GetStatus"].extend([refused] * 2)
    there = {"PROVISIONER_GRPC_ADDRESS": server.address}
    result = await run("status", TENANT, PROVISIONER_TOKEN="old", **there)
    assert result.code == 4
    assert f"{said} (The token is the one in PROVISIONER_TOKEN: " in result.err
    assert result.err.splitlines()[-1] == "Next: unset PROVISIONER_TOKEN"
    result = await run("status", TENANT, **there)
    assert result.err.splitlines()[-1] == "Next: provisioner login EMAIL"


async def test_a_command_within_a_sentence_stands_on_a_line_of_its_own_too(
    service: FakeService, server: Serving
) -> None:
    command = f"provisioner cancel {TENANT}"
    service.faults["GetStatus"].append(
        Fault(
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="TENANT_IN_MOTION",
            message=f"Stop it first: {command}",
            metadata={"next_command": command},
        )
    )
    result = await run("status", TENANT, PROVISIONER_GRPC_ADDRESS=server.address)
    assert result.err.splitlines()[-1] == f"Next: {command}"


async def test_an_unknown_tenant_leads_to_those_that_are_known(
    service: FakeService, server: Serving
) -> None:
    service.faults["GetStatus"].append(
        Fault(code=grpc.StatusCode.NOT_FOUND, reason="TENANT_NOT_FOUND", message="No tenant.")
    )
    result = await run("status", TENANT, PROVISIONER_GRPC_ADDRESS=server.address)
    assert (result.code, result.err.splitlines()[-1]) == (5, "Next: provisioner list")
