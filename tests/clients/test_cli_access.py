"""`login`, profiles and `users`, as programs against a server with authentication on."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from server.app import App
from server.model.blueprint import NOOP
from server.model.identifiers import SiteKey
from server.settings import Address, EngineConfig, EnginesConfig, Settings
from tests.clients.processes import Answer, run_fed, run_in_terminal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PASSWORD = "correct horse battery"


class Shell:
    """Runs commands with a configuration directory of their own."""

    def __init__(self, folder: Path, url: str, port: int) -> None:
        self.folder = folder
        self.database_url = url
        self.address = f"127.0.0.1:{port}"
        self.environ = {
            key: value for key, value in os.environ.items() if not key.startswith("PROVISIONER_")
        } | {"XDG_CONFIG_HOME": str(folder), "PROVISIONER_DATABASE_URL": url}

    async def run(
        self, *arguments: str, stdin: str = "", **environ: str
    ) -> tuple[int, dict[str, Any], str]:
        """Run a command with --json; return its exit code, its object and all it printed."""
        ended = await run_fed(
            *arguments, "--json", environ={**self.environ, **environ}, stdin=stdin.encode()
        )
        return ended.code, ended.document, ended.out + ended.err


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    url = f"sqlite+aiosqlite:///{tmp_path / 'provisioner.db'}"
    settings = Settings(
        database_url=url,
        grpc_address=Address(host="127.0.0.1", port=0),
        http_address=Address(host="127.0.0.1", port=0),
    )
    engine = EngineConfig(id="main", blueprint=NOOP.name, site=SiteKey("noop"))
    async with App(settings, EnginesConfig(default="main", engines={"main": engine})) as app:
        yield Shell(tmp_path / "config", url, app.grpc_port)


async def test_a_person_is_added_signs_in_and_orders_and_is_out_when_disabled(
    shell: Shell,
) -> None:
    code, made, said = await shell.run(
        "users", "add", "jane@example.com", "--password-stdin", stdin=PASSWORD
    )
    assert (code, made["role"], made["all_tenants"]) == (0, "OPERATOR", True)
    assert PASSWORD not in said
    # Another database than the one that is served would look just the same.
    assert f"The first user of {shell.database_url}: serve that one to sign in." in said
    address = ("--address", shell.address)
    code, refused, _ = await shell.run("list", *address)
    assert (code, refused["error"]["reason"]) == (4, "NOT_SIGNED_IN")
    assert refused["error"]["next_command"].startswith("provisioner login")
    code, refused, _ = await shell.run(
        "login", "jane@example.com", "--password-stdin", *address, stdin="wrong"
    )
    assert (code, refused["error"]["reason"]) == (4, "BAD_CREDENTIALS")
    assert refused["error"]["next_command"].startswith("provisioner login jane@example.com")
    code, signed, said = await shell.run(
        "login", "jane@example.com", "--password-stdin", *address, stdin=PASSWORD
    )
    assert (code, signed["caller"]["name"]) == (0, "jane@example.com")
    (file,) = (shell.folder / "tenant-provisioner").iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    token = json.loads(file.read_text())["default"]["token"]
    assert token not in said
    # From here on the profile says where.
    code, started, _ = await shell.run("start", "Acme")
    assert code == 0
    code, rows, _ = await shell.run("users", "audit", "--target", started["tenant_id"])
    assert [(row["actor"], row["action"], row["outcome"]) for row in rows["audit"]] == [
        ("jane@example.com", "StartProvisioning", "OK")
    ]
    assert rows["audit"][0]["origin"] == "grpc 127.0.0.1"
    file.chmod(0o644)
    code, refused, _ = await shell.run("whoami")
    assert code == 2
    assert "chmod 600" in refused["error"]["message"]
    file.chmod(0o600)
    assert (await shell.run("users", "disable", "jane@example.com"))[0] == 0
    code, refused, _ = await shell.run(
        "login", "jane@example.com", "--password-stdin", *address, stdin=PASSWORD
    )
    assert refused["error"]["reason"] == "BAD_CREDENTIALS"


async def test_a_members_role_is_any_text_and_acts_on_no_terminal(shell: Shell) -> None:
    """Old clients may say it as they like, some of them without signing in."""
    _, made, _ = await shell.run(
        "users", "add", "jane@example.com", "--password-stdin", stdin=PASSWORD
    )
    with sqlite3.connect(shell.database_url.partition("///")[2]) as connection:
        connection.execute(
            "INSERT INTO memberships (user_id, tenant_id, role, status, created_at)"
            " SELECT id, ?, ?, 'INVITED', created_at FROM users",
            ("11111111-1111-7111-8111-111111111111", "CASHIER\x1b[8m\nroot@example.com  admin"),
        )
    connection.close()
    ended = await run_fed("users", "list", environ=shell.environ, stdin=b"")
    assert ended.code == 0
    listed = ended.out.splitlines()
    assert [line.split()[0] for line in listed] == [
        made["email"],
        "11111111-1111-7111-8111-111111111111",
    ]
    assert r"CASHIER\x1b[8m\nroot@example.com" in listed[1]


async def test_a_machine_sends_its_key_from_the_environment(shell: Shell) -> None:
    code, made, _ = await shell.run("users", "keys", "create", "ci", "--role", "viewer")
    assert code == 0
    key = made["key"]
    code, caller, said = await shell.run(
        "whoami", "--address", shell.address, PROVISIONER_TOKEN=key
    )
    assert (code, caller["name"], caller["role"]) == (0, "key:ci", "VIEWER")
    code, refused, more = await shell.run(
        "start", "Acme", "--address", shell.address, PROVISIONER_TOKEN=key
    )
    assert (code, refused["error"]["reason"]) == (4, "NOT_ALLOWED")
    _, listed, most = await shell.run("users", "keys", "list")
    assert [each["name"] for each in listed["keys"]] == ["ci"]
    assert key not in said + more + most
    code, rows, _ = await shell.run("users", "audit", "--actor", "key:ci")
    assert [(row["action"], row["outcome"]) for row in rows["audit"]] == [
        ("StartProvisioning", "NOT_ALLOWED")
    ]


async def test_what_is_wrong_with_a_users_command_is_said_as_json(shell: Shell) -> None:
    code, refused, _ = await shell.run("users", "disable", "nobody@example.com")
    assert (code, refused["error"]["reason"]) == (5, "USER_NOT_FOUND")
    code, refused, _ = await shell.run("users", "add", "no-address", stdin=PASSWORD)
    assert (code, refused["error"]["fields"][0]["field"]) == (2, "email")


async def test_a_password_file_that_others_can_read_is_refused(
    shell: Shell, tmp_path: Path
) -> None:
    file = tmp_path / "jane password"
    file.write_text(PASSWORD)
    file.chmod(0o640)
    add = ("users", "add", "jane@example.com", "--password-file", str(file))
    code, refused, said = await shell.run(*add)
    assert code == 2
    assert f"chmod 600 '{file}'" in refused["error"]["message"]
    assert PASSWORD not in said
    file.chmod(0o600)
    assert (await shell.run(*add))[0] == 0


@pytest.mark.parametrize("keys", [b"", b"\x04"])
async def test_who_leaves_at_the_question_for_a_password_gets_no_trace(keys: bytes) -> None:
    answer = Answer(b"Password: ", keys)
    result = await run_in_terminal("login", "jane@example.com", answer=answer)
    assert (result.code, "Traceback" in result.out) == (130, False)


async def test_ctrl_c_is_heard_also_where_a_script_runs_the_tests_in_the_background() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        result = await run_in_terminal("login", "jane@example.com", answer=Answer(b"Password: "))
    finally:
        signal.signal(signal.SIGINT, before)
    assert result.code == 130
