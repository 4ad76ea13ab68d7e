"""`accept-site` says what it did, and with --json nothing else."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from server.model.states import GateState
from server.program import EXIT_NOT_FOUND, EXIT_WRONG_USE
from server.store.database import Database
from server.store.operations import GateOperation
from server.upkeep import accept_site
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def settings(folder: Path) -> dict[str, str]:
    for name in ("key", "secret"):
        (folder / name).write_text(name)
        (folder / name).chmod(0o600)
    (folder / "engines.toml").write_text(
        'default = "main"\n[engines.main]\nurl = "http://127.0.0.1:1"\n'
        'api_key_file = "key"\napi_secret_file = "secret"\n'
    )
    given = {
        "database_url": f"sqlite+aiosqlite:///{folder}/provisioner.db",
        "engines_file": str(folder / "engines.toml"),
        "auth": "off",
    }
    if not (folder / "provisioner.db").exists():
        asyncio.run(copied_store(folder / "provisioner.db"))
    return given


def give(engine: str, folder: Path, *, yes: bool = True, as_json: bool = True) -> int:
    async def confirm(_seen: object) -> bool:
        return yes

    return accept_site(
        engine,
        config=None,
        overrides=settings(folder),
        reason="",
        confirm=confirm,
        dry_run=False,
        as_json=as_json,
    )


def test_stdout_holds_json_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert give("main", tmp_path) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["engine"], said["accepted"]) == ("main", True)
    assert said["site"].startswith("http://127.0.0.1:1 ")


def test_who_lost_his_company_is_not_said_to_be_continued(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would stop at the same error, and the third one would shut the gate again."""

    async def shut(site: str) -> None:
        database = await Database.open(settings(tmp_path)["database_url"])
        try:
            await database.submit(
                GateOperation(
                    site=site,
                    at=datetime.now(UTC),
                    gate=GateState.MISCONFIGURED,
                    code="COMPANIES_VANISHED",
                    message="3 Companies are gone.",
                )
            )
        finally:
            await database.close()

    assert give("main", tmp_path) == 0
    site = json.loads(capsys.readouterr().out)["site"]
    assert give("main", tmp_path, as_json=False) == 0
    assert capsys.readouterr().out.rstrip().endswith("list --held, then continue each.")
    asyncio.run(shut(site))
    assert give("main", tmp_path, as_json=False) == 0
    assert capsys.readouterr().out.rstrip().endswith("list --held, then diagnose each.")


def test_nothing_is_accepted_that_a_person_did_not_agree_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert give("main", tmp_path, yes=False) == EXIT_WRONG_USE
    assert json.loads(capsys.readouterr().out)["accepted"] is False


def test_an_unknown_engine_is_told_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = give("other", tmp_path)
    assert code == EXIT_NOT_FOUND
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["reason"]) == ("NOT_FOUND", "ENGINE_NOT_CONFIGURED")
    assert "Configured: main" in error["message"]
