"""Every command that a page shows can be given."""

from __future__ import annotations

import json
import re
import shlex
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
from google.protobuf import json_format, message_factory

from clients.cli.program import app
from provisioner.v1 import provisioning_pb2
from tests.docs.pages import PAGES, README, ROOT, blocks, commands, name_of

if TYPE_CHECKING:
    from pathlib import Path

_SERVICE = provisioning_pb2.DESCRIPTOR.services_by_name["ProvisioningService"]


def _shown(program: str) -> list[Any]:  # Any: pytest's own
    return [
        pytest.param(command, id=f"{name_of(page)}: {command}")
        for page in PAGES
        for command in commands(page, program)
    ]


@cache
def _program() -> Any:  # Any: click's objects are untyped
    """Return all commands: to make them takes a tenth of a second."""
    return typer.main.get_command(app)


def _command(words: list[str]) -> tuple[Any, list[str]]:  # Any: click's objects are untyped
    """Walk down the groups to the command that is called."""
    command = _program()
    while hasattr(command, "commands") and words:
        if words[0].startswith("--"):
            known = [name for option in command.params for name in option.opts]
            assert words[0] in known, f"there is no option {words[0]}"
            break
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


@pytest.mark.parametrize("shown", _shown("provisioner"))
def test_a_command_and_its_options_exist(shown: str) -> None:
    command, arguments = _command(shlex.split(shown)[1:])
    if hasattr(command, "commands") or not arguments:
        return  # named in prose, without its arguments
    with command.make_context("provisioner", arguments):
        pass


@pytest.mark.parametrize("shown", _shown("make"))
def test_a_make_target_exists(shown: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in shlex.split(shown)[1:]:
        name, is_variable, _ = target.partition("=")
        if is_variable:
            assert f"$({name})" in makefile, target
            continue
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), target


def test_every_command_is_in_the_readme_or_the_runbook() -> None:
    shown = {
        shlex.split(command)[1]
        for page in (README, ROOT / "docs" / "operations.md")
        for command in commands(page, "provisioner")
    }
    assert shown == set(_program().commands)


def _grpcurl(page: Path) -> list[list[str]]:
    return [
        shlex.split(line)
        for block in blocks(page)
        for line in block.lines
        if line.startswith("grpcurl ")
    ]


def test_each_grpcurl_call_is_one_of_the_contract() -> None:
    called = set()
    for words in _grpcurl(README):
        if words[-1] == "list":
            continue
        service, _, name = words[-1].partition("/")
        assert service == _SERVICE.full_name
        method = _SERVICE.methods_by_name[name]
        body = json.loads(words[words.index("-d") + 1])
        json_format.ParseDict(body, message_factory.GetMessageClass(method.input_type)())
        called.add(name)
    assert called == {"StartProvisioning", "GetStatus", "StreamLogs"}
