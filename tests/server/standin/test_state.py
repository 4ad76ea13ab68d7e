"""What the stand-in keeps and shows, and that it stays the same site."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import datetime
from typing import TYPE_CHECKING

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.standin.app import StandIn, create_app, run
from server.standin.countries import countries
from server.standin.keeping import OtherSiteError
from server.standin.naming import fold
from tests.server.standin.calls import TOKEN, company, make, said, state, warehouse
from tests.server.standin.recordings import exchanges
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from pathlib import Path

_NOS = "/api/resource/UOM/Nos"


async def _made(**options: str) -> str:
    async with (
        StandIn(**options) as standin,  # type: ignore[arg-type]  # options by name, all texts
        plain_client(base_url=standin.url, headers=TOKEN) as client,
    ):
        return str((await client.get(_NOS)).json()["data"]["creation"])


async def test_a_restarted_stand_in_is_the_same_site_and_another_name_is_another() -> None:
    first = await _made()
    assert await _made() == first
    assert await _made(site="other.local") != first
    assert await _made(site="other.local") == await _made(site="other.local")


async def test_the_state_shows_documents_and_counts_requests(client: httpx.AsyncClient) -> None:
    await company(client, "One", "ONE")
    await company(client, "One", "ONE")
    await client.get("/api/method/ping")
    seen = await state(client)
    assert [d["name"] for d in seen["documents"]["Company"]] == ["Base Company", "One"]
    assert seen["documents"]["Warehouse"][0]["company"] == "Base Company"
    assert seen["requests"] == [
        {"method": "GET", "doctype": "ping", "status": 200, "count": 1},
        {"method": "POST", "doctype": "Company", "status": 200, "count": 1},
        {"method": "POST", "doctype": "Company", "status": 409, "count": 1},
    ]


async def test_times_are_in_the_zone_of_the_site_and_grow(client: httpx.AsyncClient) -> None:
    first = (await warehouse(client, "A")).json()["data"]
    second = (await warehouse(client, "B")).json()["data"]
    assert first["owner"] == "provisioner@example.com"
    assert second["creation"] > first["creation"]
    behind = datetime.fromisoformat(first["creation"] + "+03:00").timestamp()
    assert abs(behind - datetime.now().astimezone().timestamp()) < 60


async def test_documents_survive_a_restart_when_asked_to(tmp_path: Path) -> None:
    path = tmp_path / "site.json"
    for expected in (200, 409):
        async with (
            StandIn(state_file=path) as standin,
            plain_client(base_url=standin.url, headers=TOKEN) as client,
        ):
            assert (await company(client, "One", "ONE")).status_code == expected
    assert not list(tmp_path.glob("*.new"))
    with pytest.raises(OtherSiteError, match=r"other\.local"):
        StandIn(site="other.local", state_file=path)


async def test_a_site_may_have_companies_from_the_start() -> None:
    async with (
        StandIn(companies=3) as standin,
        plain_client(base_url=standin.url, headers=TOKEN) as client,
    ):
        listed = (await client.get("/api/resource/Company")).json()["data"]
    assert [d["name"] for d in listed] == ["Base Company", "Company 2", "Company 3"]


async def test_the_application_runs_under_any_server() -> None:
    transport = httpx.ASGITransport(create_app())
    async with httpx.AsyncClient(
        transport=transport, base_url="http://erpnext.local", headers=TOKEN
    ) as client:
        assert (await client.get(_NOS)).status_code == 200


async def test_the_command_serves_until_it_is_told_to_stop() -> None:
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run("127.0.0.1:0", started=address.set_result))
    async with plain_client(base_url=await address, headers=TOKEN) as client:
        assert (await client.get("/api/method/ping")).json() == {"message": "pong"}
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(10):
        await running


@pytest.mark.parametrize("listen", ["8080", "127.0.0.1", "127.0.0.1:http"])
async def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ValueError, match="listen"):
        await run(listen)


def test_an_unknown_latency_is_refused() -> None:
    with pytest.raises(ValueError, match="fast"):
        StandIn(latency="fast")


async def test_recorded_latency_only_takes_longer() -> None:
    async with (
        StandIn(latency="recorded") as standin,
        plain_client(base_url=standin.url, headers=TOKEN) as client,
    ):
        answer = await warehouse(client, "Main Store")
    assert answer.json()["data"]["name"] == "Main Store - BC"
    assert answer.elapsed.total_seconds() >= 0.03


async def test_submitting_what_was_changed_meanwhile_is_refused(client: httpx.AsyncClient) -> None:
    profile = {
        "name": "POS BC",
        "company": "Base Company",
        "warehouse": "Stores - BC",
        "write_off_account": "Write Off - BC",
        "write_off_cost_center": "Main - BC",
        "payments": [{"mode_of_payment": "Cash", "default": 1}],
    }
    assert (await make(client, "POS Profile", **profile)).status_code == 200
    opening = {
        "period_start_date": "2026-11-23 08:00:00",
        "pos_profile": "POS BC",
        "user": "till@example.com",
        "balance_details": [{"mode_of_payment": "Cash", "opening_amount": 0}],
    }
    draft = (await make(client, "POS Opening Entry", **opening)).json()["data"]
    submit = "/api/method/frappe.client.submit"
    done = (await client.post(submit, json={"doc": draft})).json()["message"]
    assert (done["docstatus"], done["status"]) == (1, "Open")
    again = await client.post(submit, json={"doc": draft})
    assert said(again) == (417, "TimestampMismatchError")


def test_countries_have_the_recorded_codes_and_currencies() -> None:
    known = {c.name: (c.code, c.currency, c.time_zone) for c in countries()}
    answer = exchanges("02-countries-by-code")[5]["response"]
    recorded = answer["body"]["message"]["country_info"]
    for name, facts in recorded.items():
        zone = facts.get("timezones", [None])[0]
        assert known[name] == (facts["code"], facts.get("currency"), zone)
    assert len(known) == 249


# No database: it would be a folder in the checkout. No deadline: the first call is slow.
@settings(database=None, deadline=None)
@given(st.text(max_size=20))
def test_a_folded_name_is_folded_already(text: str) -> None:
    assert fold(fold(text)) == fold(text)
    assert fold(f" {text.upper()} ") == fold(text.upper())


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Mama Njeri Traders", "  mama njeri traders "),
        ("Café Ñandú 🏪", "CAFE NANDU 🏦"),
        ("Straße", "STRASSE"),
        ("Ærø Œuvre", "aero OEUVRE"),
    ],
)
def test_names_the_database_takes_for_one_fold_alike(left: str, right: str) -> None:
    assert fold(left) == fold(right)
