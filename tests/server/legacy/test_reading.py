"""The old database is read as it is: columns gone, words of another flow, broken JSON."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from server.errors import SettingsError, StoreUnavailable
from server.store.legacy import read_legacy
from tests.server.legacy.old import make_old, steps, tenant_id

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import URL


def told(url: URL) -> str:
    return url.render_as_string(hide_password=False)


async def test_a_tenant_is_read_with_its_words_and_steps(database_url: URL) -> None:
    onboarding = {
        "status": "PARTIAL",
        "provisioning_config": {"include_demo_data": True, "country_template": "Kenya"},
        "provisioning_steps": {
            **steps("step_0_engine_check", "step_2_company"),
            "step_9_pos_session": {"status": "failed", "error": "user is disabled"},
        },
        "error_message": "deadlock",
        "error_step": "step_8_pos_profile",
    }
    await make_old(
        database_url,
        [{"number": 1, "name": "Kijani Stores", "word": "PARTIAL", "onboarding": onboarding}],
    )
    (tenant,) = await read_legacy(told(database_url))
    assert (tenant.id, tenant.name, tenant.engine) == (tenant_id(1), "Kijani Stores", "erpnext")
    assert (tenant.word, tenant.onboarding_word, tenant.steps_done) == ("PARTIAL", "PARTIAL", 2)
    assert tenant.include_demo_data is True
    assert tenant.steps["step_9_pos_session"].error == "user is disabled"
    assert (tenant.error_step, tenant.error_message) == ("step_8_pos_profile", "deadlock")
    assert tenant.passed_company
    assert "Kijani Stores" in tenant.evidence


async def test_columns_and_tables_may_be_gone(database_url: URL) -> None:
    await make_old(
        database_url, [{"number": 1, "name": "A"}], columns_dropped=True, onboarding=False
    )
    (tenant,) = await read_legacy(told(database_url))
    assert (tenant.word, tenant.was_begun) == ("", False)


async def test_words_of_the_other_flow_say_nothing(database_url: URL) -> None:
    other = {"status": "COMPLETED", "provisioning_type": None, "workspace_type": "RETAIL"}
    await make_old(database_url, [{"number": 1, "name": "A", "onboarding": other}])
    (tenant,) = await read_legacy(told(database_url))
    assert not tenant.was_begun


async def test_broken_json_is_an_empty_record(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'old.db'}"
    await make_old(
        url,
        [
            {
                "number": 1,
                "name": "A",
                "word": "PARTIAL",
                "onboarding": {"status": "PARTIAL", "provisioning_steps": "{not json"},
            }
        ],
    )
    (tenant,) = await read_legacy(url)
    assert (tenant.word, tenant.steps) == ("PARTIAL", {})


@pytest.mark.parametrize(
    "odd",
    [
        {"provisioning_steps": "[" * 100_000},
        {"provisioning_steps": '{"step_2_company": {"error": "\\ud800\\u0000"}}'},
        {"error_message": "half\0"},
        {"updated_at": "9999-12-31T23:59:59-14:00"},
        {"updated_at": "0001-01-01T00:00:00+14:00"},
    ],
)
async def test_an_odd_row_keeps_nobody_back_and_can_be_kept(
    odd: dict[str, str], tmp_path: Path
) -> None:
    # A name that means something in a uri is the file's all the same.
    url = f"sqlite+aiosqlite:///{tmp_path / 'old#1%20.db'}"
    onboarding = {"status": "FAILED", **odd}
    await make_old(url, [{"number": 1, "name": "A", "onboarding": onboarding}])
    (tenant,) = await read_legacy(url)
    assert tenant.name == "A"
    texts = [tenant.evidence, tenant.error_message]
    texts += [step.error for step in tenant.steps.values()]
    for each in texts:
        assert "\0" not in each.encode().decode()


async def test_bytes_are_no_name(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'old.db'}"
    await make_old(url, [{"number": 1, "name": b"\xff\xfe"}])
    (tenant,) = await read_legacy(url)
    assert tenant.name == ""


async def test_a_text_that_is_none_keeps_nobody_back(tmp_path: Path) -> None:
    """SQLite keeps any bytes as text; the others of the file are read all the same."""
    url = f"sqlite+aiosqlite:///{tmp_path / 'old.db'}"
    broken = {"status": "FAILED", "error_message": "disk"}
    await make_old(
        url,
        [
            {"number": 1, "name": "A", "onboarding": broken},
            {"number": 2, "name": "B"},
        ],
    )
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection, connection:
        connection.execute("UPDATE tenants SET name = CAST(x'41ff' AS TEXT) WHERE name = 'A'")
        connection.execute(
            "UPDATE tenant_onboarding SET error_message = CAST(x'fe' AS TEXT), "
            "provisioning_steps = CAST(x'7bff7d' AS TEXT)"
        )
    first, second = await read_legacy(url)
    assert (first.name, first.onboarding_word, first.steps) == ("", "FAILED", {})
    assert (second.name, second.word) == ("B", "")


async def test_a_run_is_quiet_only_after_its_time(database_url: URL) -> None:
    await make_old(
        database_url,
        [
            {
                "number": 1,
                "name": "A",
                "word": "PROVISIONING",
                "onboarding": {"status": "IN_PROGRESS"},
            }
        ],
    )
    (tenant,) = await read_legacy(told(database_url))
    assert tenant.runs
    hour = timedelta(hours=1)
    assert not tenant.is_quiet(datetime(2026, 1, 20, 22, 0, tzinfo=UTC), hour)
    assert tenant.is_quiet(datetime(2026, 1, 20, 22, 31, tzinfo=UTC), hour)


@pytest.mark.parametrize("touched", ["tenants.created_at", "tenant_onboarding.started_at"])
async def test_a_run_that_was_begun_a_moment_ago_is_not_quiet_whichever_time_says_so(
    tmp_path: Path, touched: str
) -> None:
    file = tmp_path / "old.db"
    begun = {"number": 1, "name": "A", "word": "PROVISIONING"}
    if touched.startswith("tenant_onboarding"):
        begun["onboarding"] = {"status": "PARTIAL"}
    await make_old(f"sqlite+aiosqlite:///{file}", [begun])
    table, _, column = touched.partition(".")
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(f"UPDATE {table} SET {column} = '2026-01-20T22:00:00+00:00'")  # noqa: S608 - ours
    (tenant,) = await read_legacy(f"sqlite+aiosqlite:///{file}")
    assert tenant.runs
    hour = timedelta(hours=1)
    assert not tenant.is_quiet(datetime(2026, 1, 20, 22, 45, tzinfo=UTC), hour)
    assert tenant.is_quiet(datetime(2026, 1, 20, 23, 0, tzinfo=UTC), hour)


@pytest.mark.parametrize(
    "form", ["replace(id, '-', '')", "unhex(replace(id, '-', ''))", "upper(id)"]
)
async def test_ids_of_a_copy_are_read_in_any_form(tmp_path: Path, form: str) -> None:
    file = tmp_path / "old.db"
    lost = {"number": 1, "name": "A", "onboarding": {"status": "PARTIAL"}}
    await make_old(f"sqlite+aiosqlite:///{file}", [lost])
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.create_function("unhex", 1, bytes.fromhex)
        connection.execute(f"UPDATE tenants SET id = {form}")  # noqa: S608 - ours
    (tenant,) = await read_legacy(f"sqlite+aiosqlite:///{file}")
    assert (tenant.id, tenant.onboarding_word) == (tenant_id(1), "PARTIAL")


async def test_reading_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "old.db"
    await make_old(f"sqlite+aiosqlite:///{file}", [{"number": 1, "name": "A"}])
    before = file.read_bytes()
    file.chmod(0o400)
    await read_legacy(f"sqlite+aiosqlite:///{file}")
    assert file.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["old.db"]


@pytest.mark.parametrize(
    ("url", "error", "says"),
    [
        ("nonsense", SettingsError, "no database URL"),
        ("mysql://x/y", SettingsError, "sqlite or postgresql"),
        ("sqlite+aiosqlite:////nowhere/at/all.db", StoreUnavailable, "no file"),
        ("postgresql://u:secret@h/d?sslmode=require", SettingsError, "--from has sslmode= .* ssl="),
        ("postgresql+asyncpg://u@h/d?port=x", SettingsError, "--from has a port in its query"),
        ("postgresql+asyncpg://u@h:99999/d", SettingsError, "--from has an impossible host or"),
        ("postgresql://u@/d?host=/nowhere&pooler=transaction", StoreUnavailable, "No such file"),
    ],
)
async def test_a_wrong_address_says_what_is_wrong(
    url: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        await read_legacy(url)


async def test_another_programs_database_is_refused(database_url: URL) -> None:
    with pytest.raises((SettingsError, StoreUnavailable), match=r"old system|no file"):
        await read_legacy(told(database_url))
