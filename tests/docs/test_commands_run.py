"""Every command about tenants that a page shows is carried out by a service as it is shown."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
import uuid
from typing import TYPE_CHECKING, Any

from tests.docs.pages import PAGES, README, blocks, commands
from tools.installation import installation

if TYPE_CHECKING:
    from pathlib import Path

_TENANT = str(uuid.uuid4())
_PATIENCE_SECONDS = 240.0
# On the machine of the database, or for as long as somebody wants them; other tests run these.
_NOT_CALLS = {
    "db", "import-legacy", "login", "logout", "reconcile", "selftest", "serve", "standin", "users",
}  # fmt: skip
_NEED_NO_ARGUMENT = {"findings", "list", "report", "sweeps", "whoami"}
# An answer of the service to what cannot be so now is one; these say that the page is wrong.
_PAGE_IS_WRONG = {"WRONG_USE", "INVALID_INPUT", "FILE_INVALID", "FILE_UNREADABLE", "NOT_ALLOWED"}
# Last, because afterwards there is nothing left to show.
_ENDING = ("skip", "cancel", "deprovision")

# One process for all: starting the command line takes longer than what it does here.
_PROGRAM = """
import contextlib, io, json, sys
from clients.cli.program import run
told = []
for arguments in json.load(sys.stdin):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = run(arguments)
    told.append((int(code), out.getvalue()))
json.dump(told, sys.stdout)
"""


def _calls() -> list[list[str]]:
    """Return the commands that call the service, each once, those that end a tenant last."""
    shown = {command: None for page in PAGES for command in commands(page, "provisioner")}
    calls = [_filled_in(shlex.split(command)[1:]) for command in shown]
    kept = [
        words
        for words in calls
        if words[0] not in _NOT_CALLS
        and words[:2] != ["engines", "check"]
        and (set(words) - {words[0], "--json"} or words[0] in _NEED_NO_ARGUMENT)
        and "--address" not in words
    ]
    return sorted(kept, key=lambda words: words[0] in _ENDING and _ENDING.index(words[0]) + 1)


def _filled_in(words: list[str]) -> list[str]:
    given = {"$ID": _TENANT, "ID": _TENANT, "TENANT": _TENANT, "NAME": "Kijani", "ENGINE": "main"}
    filled = [given.get(word, word) for word in words]
    return filled if "--json" in filled else [*filled, "--json"]


def _errors(text: str) -> list[dict[str, Any]]:
    documents = [json.loads(line) for line in text.splitlines()]
    return [each["error"] for each in documents if isinstance(each.get("error"), dict)]


async def test_each_command_of_a_page_is_one_that_the_service_carries_out(tmp_path: Path) -> None:
    (tmp_path / "tenants.yaml").write_text(_the_example_of_a_file(), encoding="utf-8")
    first = ["start", "Acme Ltd", "--tenant-id", _TENANT, "--watch", "--json"]
    calls = [first, *(call for call in _calls() if call != first)]
    assert len(calls) > 40
    async with installation(tmp_path) as shop:
        await shop.start_site()
        await shop.start_server("--with-reconciler")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _PROGRAM,
            cwd=shop.folder,
            env={**shop.environment, "PYTHONPATH": str(README.parent)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(
            process.communicate(json.dumps(calls).encode()), _PATIENCE_SECONDS
        )
    assert process.returncode == 0, err.decode()
    for words, (code, text) in zip(calls, json.loads(out), strict=True):
        said = f"provisioner {shlex.join(words)}: {code} {text[:2000]}"
        assert text, said
        assert code in {0, 1, 2}, said
        assert not [error for error in _errors(text) if error["reason"] in _PAGE_IS_WRONG], said
        # The way on that it names is a command, whole.
        assert all(
            re.match(r"provisioner [a-z]", error.get("next_command") or "provisioner x")
            for error in _errors(text)
        ), said


def _the_example_of_a_file() -> str:
    page = README.parent / "docs" / "cli.md"
    (example,) = [block.text for block in blocks(page) if block.language == "yaml"]
    return example
