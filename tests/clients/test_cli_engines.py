"""`provisioner engines list` and `check`: what is read, and what they end with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from provisioner.v1 import engines_pb2
from server.standin.app import StandIn
from tests.clients.builders import TENANT
from tests.clients.processes import run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clients.fake_service import FakeService, Serving


async def test_people_read_gate_slot_queue_and_times(service: FakeService, server: Serving) -> None:
    engine = engines_pb2.EngineStatus(
        engine_id="main",
        site="https://erp.example.com",
        gate=engines_pb2.ENGINE_GATE_DOWN,
        gate_code="ENGINE_MAINTENANCE",
        gate_message="The site is in maintenance.\x1b[2J",
        queued_runs=7,
        max_runs=4,
    )
    engine.slot.tenant_id = TENANT
    engine.slot.doctype, engine.slot.name = "Company", "Acme"
    engine.step_times.add(
        step_key="step_2_company", attempts=12, median_seconds=3.5, longest_seconds=11.25
    )
    service.engines = [engine]
    result = await run("engines", "list", "--address", server.address)
    assert result.code == 1, "a gate is shut"
    for words in (
        "shut: down",
        "ENGINE_MAINTENANCE",
        "\\x1b[2J",
        f"Company Acme of tenant {TENANT}",
        "7 queued",
        "at most 4 at once",
        "3.50 s    11.25 s     12",
    ):
        assert words in result.out


async def test_scripts_get_engines_as_a_list(service: FakeService, server: Serving) -> None:
    service.engines = [engines_pb2.EngineStatus(engine_id="main", gate=engines_pb2.ENGINE_GATE_UP)]
    result = await run("engines", "list", "--json", "--address", server.address)
    assert result.code == 0, result.err
    assert result.document["engines"][0]["gate"] == "UP"


async def test_an_engine_is_checked_without_a_server(tmp_path: Path) -> None:
    for name in ("key", "secret"):
        (tmp_path / name).write_text(f"the-{name}")
        (tmp_path / name).chmod(0o600)
    file = tmp_path / "engines.toml"
    async with StandIn() as site:
        file.write_text(
            f'[engines.main]\nurl = "{site.url}"\n'
            'api_key_file = "key"\napi_secret_file = "secret"\n'
        )
        ready = await run("engines", "check", "main", "--engines-file", str(file), "--json")
        unknown = await run("engines", "check", "mian", "--engines-file", str(file))
    gone = await run("engines", "check", "main", "--engines-file", str(file))
    assert ready.code == 0, ready.err
    assert ready.document["ready"] is True
    assert "the-secret" not in json.dumps(ready.document)
    assert unknown.code == 2
    assert "main" in unknown.err
    assert gone.code == 3
    assert "Fix: Check the engine's url, its network and certificate" in gone.out


def in_question(code: str, message: str) -> engines_pb2.SiteInQuestion:
    return engines_pb2.SiteInQuestion(
        engine_id="main",
        site="https://erp.example.com",
        gate=engines_pb2.ENGINE_GATE_MISCONFIGURED,
        gate_code=code,
        gate_message=message,
        held_tenants=3,
    )


async def test_a_site_is_accepted_only_when_somebody_says_so(
    service: FakeService, server: Serving
) -> None:
    service.site = in_question("SITE_CHANGED", "Another site.\x1b[2J")
    there = ("--address", server.address)
    unasked = await run("accept-site", "main", *there)
    assert unasked.code == 2
    for words in ("SITE_CHANGED: Another site.\\x1b[2J", "3 of its tenants are held"):
        assert words in unasked.out
    assert "--yes" in unasked.err
    dry = await run("accept-site", "main", "--dry-run", "--json", *there)
    assert (dry.code, dry.document["accepted"], dry.document["held_tenants"]) == (0, False, 3)
    assert all(request.validate_only for request in service.requests["AcceptSite"])

    done = await run("accept-site", "main", "--yes", "--reason", "moved", *there)
    assert done.code == 0, done.err
    assert "Its gate opens" in done.out
    assert done.out.rstrip().endswith("provisioner list --held, then continue each.")
    order = service.requests["AcceptSite"][-1]
    assert (order.engine_id, order.reason, order.validate_only) == ("main", "moved", False)


async def test_who_lost_his_company_is_not_said_to_be_continued(
    service: FakeService, server: Serving
) -> None:
    """It would stop at the same error, and the third one would shut the gate again."""
    service.site = in_question("COMPANIES_VANISHED", "3 Companies are gone.")
    done = await run("accept-site", "main", "--yes", "--address", server.address)
    assert done.out.rstrip().endswith("provisioner list --held, then diagnose each.")


async def test_without_a_server_it_says_how_to_accept_a_site_in_the_database() -> None:
    result = await run("accept-site", "main", "--yes", "--address", "127.0.0.1:1")
    assert result.code == 3
    assert "Next: provisioner accept-site main --local" in result.err
    wrong = await run("accept-site", "main", "--engines-file", "engines.toml")
    assert wrong.code == 2
    assert "--local" in wrong.err
