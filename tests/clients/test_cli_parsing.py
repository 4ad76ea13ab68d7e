"""What is decided before anything is called: wrong use, help, and the commands that stay here."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from clients.cli import program, tenant_commands
from clients.cli.exit_codes import ExitCode
from clients.sdk import client
from tests.clients.processes import ROOT, environment, finish, run, run_python, running
from tests.support.stores import copied_store


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, Any]]]:
    """What the local commands call, instead of the programs themselves."""
    made: list[tuple[str, dict[str, Any]]] = []
    module = ModuleType("programs")
    for number, name in enumerate(("serve", "reconcile", "standin", "db_upgrade", "db_check")):

        def call(name: str = name, number: int = number, **arguments: object) -> int:
            made.append((name, arguments))
            return number

        setattr(module, name, call)
    for room in ("server.__main__", "server.upkeep"):
        monkeypatch.setitem(sys.modules, room, module)
    return made


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["status", "a", "--no-such-option"],
        ["logs", "a", "--after", "9223372036854775808"],
        ["logs", "a", "--after", "three"],
        ["continue", "a", "--expected-revision", "x"],
        ["start", "Acme", "--opening-amount", "much"],
        ["status", "a", "--address", "nowhere"],
        ["status", "a", "--address", "host:port"],
        ["status", "\udcff"],
        ["status", "a", "--timeout", "inf"],
        ["report", "--hours", "inf"],
        ["report", "--hours", "1e9"],
        ["report", "--from", "9999-12-31T23:59:59-14:00"],
        ["import-legacy", "--from", "sqlite+aiosqlite:///old.db", "--quiet-minutes", "inf"],
        ["no-such-command"],
        ["db"],
        ["standin", "--latency", "slow"],
    ],
)
def test_wrong_use_ends_with_2_and_names_the_help(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run(arguments) == 2
    words = capsys.readouterr()
    assert words.out == ""
    assert words.err.startswith("Error: ")
    assert "--help" in words.err
    assert program.run([*arguments, "--json"]) == 2
    document = capsys.readouterr()
    assert document.err == ""
    assert json.loads(document.out)["error"]["reason"] == "WRONG_USE"


def test_a_double_dash_makes_json_a_name_and_not_an_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program.run(["status", "--address", "nowhere", "--", "--json"]) == 2
    assert capsys.readouterr().out == ""


def test_the_limits_of_the_command_line_are_those_of_the_sdk() -> None:
    """Said twice, as parsing a command must not load gRPC."""
    here, there = tenant_commands, client
    assert here.DEFAULT_ADDRESS == there.DEFAULT_ADDRESS
    assert here.DEFAULT_TIMEOUT_SECONDS == there.DEFAULT_TIMEOUT_SECONDS
    assert here.LONGEST_TIMEOUT_SECONDS == there.LONGEST_TIMEOUT_SECONDS


def test_no_command_at_all_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run([]) == 0
    assert "Exit codes: 0 done" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        *("serve", "reconcile", "standin", "db upgrade", "db check"),
        *("start", "status", "logs", "continue", "retry"),
        *("skip", "cancel", "deprovision", "adopt", "release"),
    ],
)
def test_every_command_has_help_with_an_example_and_takes_json(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.run([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example" in text
    assert f"  provisioner {command}" in text
    assert "--json" in text


@pytest.mark.parametrize("group", ["", "users", "users keys", "db", "engines"])
def test_the_list_of_commands_cuts_no_sentence_short(
    group: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert program.run([*group.split(), "--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:\n")[2].partition("\n\n")[0].splitlines()
    assert listed
    assert [line for line in listed if line.endswith("...")] == []


def test_local_commands_pass_nothing_on_that_was_not_given(
    calls: list[tuple[str, dict[str, Any]]],
) -> None:
    assert program.run(["serve"]) == 0
    assert program.run(["reconcile"]) == 1
    assert program.run(["standin"]) == 2
    assert program.run(["db", "upgrade"]) == 3
    assert program.run(["db", "check"]) == 4
    nothing: dict[str, object] = {"config": None, "overrides": {}}
    assert calls == [
        ("serve", {**nothing, "with_reconciler": False, "demo": False}),
        ("reconcile", {**nothing, "once": False, "dry_run": False, "as_json": False}),
        ("standin", {"listen": "127.0.0.1:8080", "latency": "none", "site": "erpnext.local"}),
        ("db_upgrade", {**nothing, "as_json": False}),
        ("db_check", {**nothing, "as_json": False}),
    ]


def test_serve_passes_on_every_setting_under_its_name(
    calls: list[tuple[str, dict[str, Any]]],
) -> None:
    settings = {
        "database_url": "sqlite+aiosqlite:///x.db",
        "grpc_address": "127.0.0.1:1",
        "http_address": "127.0.0.1:2",
        "lease_seconds": "1.5",
        "sweep_seconds": "2",
        "drain_seconds": "3",
        "engines_file": "engines.toml",
        "auth": "off",
        "compat": "on",
    }
    options = [part for name, value in settings.items() for part in (_option(name), value)]
    program.run(["serve", "--with-reconciler", "--demo", "--config", "x.toml", *options])
    ((name, arguments),) = calls
    assert name == "serve"
    assert arguments == {
        "config": Path("x.toml"),
        "overrides": settings,
        "with_reconciler": True,
        "demo": True,
    }


def test_reconcile_and_db_pass_on_what_was_asked_for(
    calls: list[tuple[str, dict[str, Any]]],
) -> None:
    program.run(["reconcile", "--once", "--dry-run", "--json", "--sweep-seconds", "5"])
    program.run(["db", "check", "--json", "--database-url", "u"])
    assert calls == [
        (
            "reconcile",
            {
                "config": None,
                "overrides": {"sweep_seconds": "5"},
                "once": True,
                "dry_run": True,
                "as_json": True,
            },
        ),
        ("db_check", {"config": None, "overrides": {"database_url": "u"}, "as_json": True}),
    ]


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("provisioner 0.")


@pytest.mark.parametrize(
    ("command", "code", "reason"),
    [
        (("db", "check", "--database-url", "bogus"), "INVALID_ARGUMENT", "SETTING_INVALID"),
        (("db", "backup", "/nowhere/at/all"), "UNAVAILABLE", "STORE_UNAVAILABLE"),
        (("engines", "check", "nope"), "INVALID_ARGUMENT", "SETTING_INVALID"),
        (("users", "keys", "revoke", "nope"), "NOT_FOUND", "KEY_NOT_FOUND"),
    ],
)
async def test_a_command_on_the_database_fails_in_json_as_all_do(
    tmp_path: Path, command: tuple[str, ...], code: str, reason: str
) -> None:
    there = {}
    if "--database-url" not in command:
        there["PROVISIONER_DATABASE_URL"] = f"sqlite+aiosqlite:///{tmp_path}/p.db"
    if "users" in command:
        await copied_store(tmp_path / "p.db")
    result = await run(*command, "--json", HOME=str(tmp_path), **there)
    error = result.document["error"]
    assert (error["code"], error["reason"]) == (code, reason)
    assert result.code in {2, 3, 5}
    assert result.err == ""


async def shell(script: str, folder: Path) -> tuple[int, str]:
    """Run a script of bash with `$P` for the command; what it ended with, and what it said."""
    url = await copied_store(folder / "p.db")
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        env=environment(
            P=f"{sys.executable} -W error -m clients.cli", PROVISIONER_DATABASE_URL=url
        ),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode or 0, said.decode()


async def test_ctrl_c_while_the_program_is_being_read_ends_it_in_silence() -> None:
    """A second long on a busy machine: too early a Ctrl-C gave forty lines of traceback."""
    result = await run_python(
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class CtrlC:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'typer':\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, CtrlC())\n"
        "from clients.cli import main\n"
        "main()\n"
    )
    assert (result.code, result.out, result.err) == (ExitCode.INTERRUPTED, "", "")


@pytest.mark.parametrize("command", ["db check", "db check --json", "users list", "--help"])
async def test_an_output_without_room_is_told_and_is_no_tenant_s_fault(
    command: str, tmp_path: Path
) -> None:
    code, said = await shell(f"$P {command} > /dev/full", tmp_path)
    assert code == ExitCode.OUTPUT_CLOSED
    assert said == "Error: The output can't be written: No space left on device.\n"


@pytest.mark.parametrize("command", ["db check", "users list"])
async def test_a_local_command_whose_reader_has_gone_ends_as_all_do(
    command: str, tmp_path: Path
) -> None:
    # The reader goes before the command can have begun to write.
    fifo = tmp_path / "fifo"
    gone = f"mkfifo {fifo}; exec 3<>{fifo}; exec 4>{fifo}; exec 3>&-; $P {command} >&4"
    code, said = await shell(gone, tmp_path)
    assert (code, said) == (ExitCode.OUTPUT_CLOSED, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_a_command_works_with_its_streams_closed(closed: str, tmp_path: Path) -> None:
    assert (await shell(f"$P db check {closed}", tmp_path))[0] == 0
    code, said = await shell(f"$P users add jane@example.com {closed}", tmp_path)
    assert (code, "Traceback" in said) == (ExitCode.WRONG_USE, False)


@pytest.mark.parametrize(
    "command",
    ["--version", "status --no-such-option", "status", "list --json --address 127.0.0.1:1"],
)
async def test_a_command_that_is_forked_says_and_ends_as_one_that_is_started(command: str) -> None:
    """Most tests of commands fork them (`tests/clients/prepared.py`)."""
    words = command.split()
    async with running(*words) as process:
        started = await finish(process)
    assert await run(*words) == started
