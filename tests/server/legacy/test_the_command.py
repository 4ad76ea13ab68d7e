"""`provisioner import-legacy` as a program: what it writes, prints and ends with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from clients.cli.exit_codes import ExitCode
from server.program import EXIT_DONE, EXIT_NOT_WELL, EXIT_WRONG_USE
from server.upkeep import import_legacy
from tests.clients.processes import GUARD_SECONDS, finish, running
from tests.server.legacy.old import make_old, tenant_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.server.executor.scene import Shop

NEVER_BEGUN: dict[str, Any] = {"number": 1, "name": "Kijani Stores"}
GONE: dict[str, Any] = {"number": 2, "name": "Gone Shop", "word": "PROVISIONED"}


class Machine:
    """The machine of the database: an old one, an empty one of ours, and an engines file."""

    def __init__(self, folder: Path, shop: Shop) -> None:
        self._old = f"sqlite+aiosqlite:///{folder / 'old.db'}"
        self._own = folder / "own.db"
        self._engines = folder / "engines.toml"
        for name in ("key", "secret"):
            (folder / name).touch(mode=0o600)
            (folder / name).write_text(name)
        self._engines.write_text(
            f'default = "main"\n[engines.main]\nurl = "{shop.site.url}"\n'
            'api_key_file = "key"\napi_secret_file = "secret"\n'
        )

    async def holds(self, *tenants: dict[str, Any]) -> None:
        await make_old(self._old, tenants)

    async def imports(
        self, *, engine: str = "", dry_run: bool = False, as_json: bool = True
    ) -> int:
        def program() -> int:
            return import_legacy(
                source=self._old,
                engine=engine,
                quiet_minutes=60.0,
                dry_run=dry_run,
                config=None,
                overrides={
                    "database_url": f"sqlite+aiosqlite:///{self._own}",
                    "engines_file": str(self._engines),
                    "auth": "off",
                },
                as_json=as_json,
            )

        # It has a loop of its own.
        return await asyncio.to_thread(program)

    @contextlib.asynccontextmanager
    async def importing(self, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run the command as a process of its own."""
        async with running(
            "import-legacy",
            *("--from", self._old),
            *("--database-url", f"sqlite+aiosqlite:///{self._own}"),
            *("--engines-file", str(self._engines)),
            *options,
        ) as process:
            yield process

    def rows(self) -> list[tuple[str, str]]:
        with closing(sqlite3.connect(self._own)) as connection:
            return connection.execute(
                "SELECT company_name, state FROM tenants ORDER BY id"
            ).fetchall()


@pytest.fixture
async def machine(still: Shop, tmp_path: Path) -> Machine:
    return Machine(tmp_path, still)


async def test_it_writes_what_it_says_and_a_repetition_changes_nothing(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    await machine.holds(NEVER_BEGUN)
    with pytest.raises(sqlite3.OperationalError):
        machine.rows()
    codes = [await machine.imports()]
    first = json.loads(capsys.readouterr().out)
    codes.append(await machine.imports(dry_run=True))
    again = json.loads(capsys.readouterr().out)
    assert codes == [EXIT_DONE, EXIT_DONE]
    assert (first["dry_run"], first["totals"]) == (False, {"PENDING": 1})
    assert first["tenants"] == [
        {
            "tenant_id": tenant_id(1),
            "name": "Kijani Stores",
            "recorded": "tenant none, run none, 0 steps",
            "imported_as": "PENDING",
            "why": "It was never begun.",
            "differs": "",
            "next": f"provisioner continue {tenant_id(1)}",
        }
    ]
    assert first["left"] == 0
    assert (again["dry_run"], again["totals"]) == (True, {"UNCHANGED": 1})
    assert machine.rows() == [("Kijani Stores", "PENDING")]


async def test_where_a_person_must_look_at_one_it_ends_with_1_and_brings_the_others(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    await machine.holds(NEVER_BEGUN, GONE)
    assert await machine.imports(as_json=False) == EXIT_NOT_WELL
    told = capsys.readouterr().out.splitlines()
    assert told[-1] == "Imported. 1 HELD, 1 PENDING"
    assert f"{'HELD':<13} {tenant_id(2)}  Gone Shop  (2 of 2)" in told
    assert f"{'':<13} next: provisioner diagnose {tenant_id(2)}" in told
    assert [name for name, _ in machine.rows()] == ["Kijani Stores", "Gone Shop"]


async def test_each_tenant_is_reported_at_once_and_ctrl_c_says_how_far_it_came(
    machine: Machine, still: Shop
) -> None:
    await machine.holds(NEVER_BEGUN, GONE, {"number": 3, "name": "Never Asked"})
    await still.faults({"name": "Gone Shop", "hang_seconds": 600, "times": None})
    async with machine.importing() as process:
        assert process.stdout is not None
        first = (await asyncio.wait_for(process.stdout.readline(), GUARD_SECONDS)).decode()
        assert first.rstrip().endswith("Kijani Stores  (1 of 3)")
        process.send_signal(signal.SIGINT)
        ended = await finish(process)
    assert (ended.code, ended.err) == (ExitCode.INTERRUPTED, "")
    assert ended.out.splitlines()[-2:] == [
        "Stopped after 1 of 3 tenants. Imported. 1 PENDING",
        "The same command goes on with the others.",
    ]
    assert machine.rows() == [("Kijani Stores", "PENDING")]


async def test_a_script_that_is_interrupted_hears_what_was_done_and_how_many_are_left(
    machine: Machine, still: Shop
) -> None:
    await machine.holds(GONE, {"number": 3, "name": "Never Asked"})
    await still.faults({"name": "Gone Shop", "hang_seconds": 600, "times": None})
    async with machine.importing("--json") as process:
        await asyncio.wait_for(still.site.arrived("GET", "Company"), GUARD_SECONDS)
        process.send_signal(signal.SIGINT)
        ended = await finish(process)
    assert ended.code == ExitCode.INTERRUPTED
    facts = json.loads(ended.out)
    assert (facts["tenants"], facts["totals"], facts["left"]) == ([], {}, 2)


async def test_without_an_engine_nobody_can_look_and_nothing_is_made(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    await machine.holds(NEVER_BEGUN)
    assert await machine.imports(engine="other", as_json=False) == EXIT_WRONG_USE
    assert "No engine 'other' is configured" in capsys.readouterr().err
    with pytest.raises(sqlite3.OperationalError):
        machine.rows()
