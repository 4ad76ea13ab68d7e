"""A printed command can be pasted: it reaches the service that was called."""

from __future__ import annotations

import shlex
from collections import deque
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import typer

from clients.cli import pasting
from clients.cli.program import app
from provisioner.v1 import tenant_pb2
from tests.clients import builders
from tests.clients.builders import TENANT
from tests.clients.fake_service import FakeService, Fault, Serving
from tests.clients.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Walk the program's commands, those of groups too."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


def test_the_address_is_added_where_a_command_takes_it_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(pasting.ADDRESS, raising=False)
    pasting.call("10.0.0.1:50051")
    try:
        for path, command in commands(typer.main.get_command(app)):
            takes = any(parameter.name == "address" for parameter in command.params)
            added = pasting.pasted(f"provisioner {' '.join(path)}").endswith(
                " --address 10.0.0.1:50051"
            )
            assert added == takes, path
    finally:
        pasting.call("")


@pytest.mark.parametrize(
    "command",
    [
        "provisioner continue T --address 10.9.9.9:1",
        "provisioner accept-site main --local",
        "Ask an administrator.",
        "",
    ],
)
def test_what_says_where_or_is_no_command_is_left_alone(command: str) -> None:
    pasting.call("10.0.0.1:50051")
    try:
        assert pasting.pasted(command) == command
    finally:
        pasting.call("")


async def test_the_next_command_of_a_status_names_the_address_that_was_given(
    service: FakeService, server: Serving
) -> None:
    status = builders.status(3, tenant_pb2.TENANT_STATE_FAILED)
    service.statuses = deque([status])
    said = await run("status", TENANT, "--address", server.address)
    (line,) = [each for each in said.out.splitlines() if each.startswith("Next ")]
    words = shlex.split(line.removeprefix("Next"))
    assert words == ["provisioner", "continue", TENANT, "--address", server.address]
    # It is a command of the program's, as it stands.
    assert (await run(*words[1:])).code == 0


async def test_the_address_of_the_environment_need_not_be_said_again(
    service: FakeService, server: Serving
) -> None:
    service.statuses = deque([builders.status(3, tenant_pb2.TENANT_STATE_FAILED)])
    for given in ((), ("--address", server.address)):
        said = await run("status", TENANT, *given, PROVISIONER_GRPC_ADDRESS=server.address)
        assert f"provisioner continue {TENANT}\n" in said.out


async def test_a_refusals_next_command_names_it_for_people_and_scripts(
    service: FakeService, server: Serving
) -> None:
    service.faults["Continue"] = deque(
        [
            Fault(code=grpc.StatusCode.FAILED_PRECONDITION, reason="TENANT_IN_MOTION")
            for _ in range(2)
        ]
    )
    wanted = f"provisioner status {TENANT} --watch --address {server.address}"
    people = await run("continue", TENANT, "--address", server.address)
    assert people.err.splitlines()[-1] == f"Next: {wanted}"
    scripts = await run("continue", TENANT, "--json", "--address", server.address)
    assert scripts.document["error"]["next_command"] == wanted


async def test_a_refusal_that_watching_does_not_help_against_leads_to_what_does(
    service: FakeService, server: Serving
) -> None:
    helps = f"provisioner deprovision {TENANT}"
    service.faults["Cancel"] = deque(
        [
            Fault(
                code=grpc.StatusCode.FAILED_PRECONDITION,
                reason="NOTHING_TO_CANCEL",
                metadata=metadata,
            )
            for metadata in ({"next_command": helps}, {})
        ]
    )
    told = await run("cancel", TENANT, PROVISIONER_GRPC_ADDRESS=server.address)
    assert told.err.splitlines()[-1] == f"Next: {helps}"
    # An older service tells none: the status does.
    untold = await run("cancel", TENANT, PROVISIONER_GRPC_ADDRESS=server.address)
    assert untold.err.splitlines()[-1] == f"Next: provisioner status {TENANT}"
