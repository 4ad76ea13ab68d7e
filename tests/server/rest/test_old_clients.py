"""What the old scripts do, run as scripts against the real program and a stand-in ERPNext."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tools.installation import installation
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tools.installation import Installation

SCRIPTS = Path(__file__).parent / "clients"
PATIENCE_SECONDS = 120.0


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Installation]:
    """A server as old clients expect it, without a reconciler."""
    async with installation(tmp_path, PROVISIONER_AUTH="on", PROVISIONER_COMPAT="on") as made:
        await made.start_site()
        await made.start_server()
        yield made


async def run(shop: Installation, *command: str, answer: str = "") -> str:
    """Run a script; it must end well."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env={
            **shop.environment,
            "API": f"http://127.0.0.1:{shop.http_port}/api",
            "PAUSE": "0.2",
            "LOOKS": "300",
        },
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        out, err = await process.communicate(answer.encode())
    assert process.returncode == 0, (command, out.decode(), err.decode(), shop.logs())
    assert err == b""
    return out.decode()


async def bash(shop: Installation, script: str, *arguments: str, answer: str = "") -> str:
    return await run(shop, "bash", str(SCRIPTS / script), *arguments, answer=answer)


async def test_the_scripts_that_make_tenants_end_well(shop: Installation, tmp_path: Path) -> None:
    base = f"http://127.0.0.1:{shop.http_port}"
    answer_file = str(tmp_path / "answer")
    grep, simple, monitor, python, whole = await asyncio.gather(
        bash(shop, "grep_test.sh", "Grep Stores", "grep@example.com"),
        bash(shop, "simple_test.sh", "Simple Stores", "simple@example.com"),
        bash(shop, "monitor.sh", "Monitor Stores", "monitor@example.com"),
        run(
            shop,
            *(sys.executable, str(SCRIPTS / "watch_tenant.py"), base),
            *("Python Stores", "python@example.com", "0.2"),
        ),
        bash(shop, "end_to_end.sh", "Whole Stores", "whole@example.com", answer_file),
    )
    assert "status=COMPLETED progress=100.0" in grep
    assert '"step":"step_6_items","status":"skipped"' in grep
    assert simple.startswith("began: ")
    # Ten steps, and a line for the one that was not asked for.
    assert monitor.splitlines()[-1] == "11"
    assert python.splitlines()[-1] == "11"
    assert whole.splitlines()[-1] == "200 COMPLETED"
    # Once more: the tenant exists, and is found in the list.
    again = await bash(shop, "end_to_end.sh", "Whole Stores", "whole@example.com", answer_file)
    assert again.splitlines() == ["409 COMPLETED"]


async def test_the_scripts_that_look_and_mend_end_well(shop: Installation) -> None:
    out = await bash(shop, "grep_test.sh", "Kijani Stores", "owner@example.com")
    assert "COMPLETED" in out
    (tenant_id,) = (row[0] for row in shop.sql("SELECT id FROM tenants"))
    said = await bash(shop, "check_status.sh", tenant_id)
    assert said == "status=COMPLETED errors=0 lines=11\n"
    assert await bash(shop, "fix_partial.sh", tenant_id) == "nothing to fix: COMPLETED 10\n"
    # The damage that used to stand for days.
    shop.sql("DELETE FROM steps")
    shop.sql("UPDATE runs SET state = 'PARTIAL'")
    shop.sql("UPDATE tenants SET state = 'PARTIAL'")
    said = await bash(shop, "check_status.sh", tenant_id)
    assert said == (
        "status=PARTIAL errors=1 lines=0\nWARNING: partial with nothing done\nWARNING: no log\n"
    )
    said = await bash(shop, "fix_partial.sh", tenant_id, answer="y\n")
    assert said.splitlines()[-1] == "COMPLETED"
    site = await shop.site_state()
    assert [each["name"] for each in site["documents"]["Company"]] == [
        *("Base Company", "Kijani Stores"),
    ]


async def test_the_suites_that_compare_words_end_well(shop: Installation) -> None:
    """What the Robot suites do, step by step; they call the API itself, without /api."""
    base = f"http://127.0.0.1:{shop.http_port}"
    async with plain_client(base_url=base, trust_env=False, timeout=60) as api:
        health = await api.get("/health")
        assert (health.status_code, health.json()["status"]) == (200, "healthy")
        docs = await api.get("/docs")
        assert docs.status_code == 200
        assert "Swagger UI" in docs.text
        assert {"openapi", "info", "paths"} <= set((await api.get("/openapi.json")).json())
        form = {"name": "Robot Stores", "admin_email": "robot@example.com", "category": "Chama"}
        answer = await api.post(
            "/iam/tenants", json={**form, "admin_name": "R", "admin_password": "Test1234!"}
        )
        assert answer.status_code == 200
        assert answer.json()["message"] == "Tenant created successfully"
        path = f"/iam/tenants/{answer.json()['tenant']['id']}/invite"
        answer = await api.post(path, json={"email": "new@example.com", "role": "CASHIER"})
        assert (answer.status_code, answer.json()["type"]) == (200, "INVITED_NEW")
        answer = await api.post(path, json={"email": "admin@moran.com", "role": "ADMIN"})
        assert (answer.status_code, answer.json()["type"]) == (200, "INVITED_EXISTING")
        answer = await api.post(
            "/auth/login", json={"email": "admin@moran.com", "password": "admin123"}
        )
        assert answer.json()["user_code"]
        assert answer.json()["tenants"]
    assert "Traceback" not in str(shop.logs())
