"""Everything a site must have, looked at in one go: each thing that can be wrong is named."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from server.erpnext.check import engine_table
from server.erpnext.client import ErpNextEngine
from server.erpnext.codes import Code
from server.erpnext.requests import make
from server.errors import EngineError
from server.model.states import ErrorClass, GateState
from server.standin import company
from server.standin.app import StandIn
from tests.server.erpnext.conftest import KEY, SECRET, credentials
from tests.server.erpnext.context import MemoryContext, drive_step, kenyan
from tests.server.erpnext.sitework import document
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from server.erpnext.check import Checked

STEP_0 = "step_0_engine_check"
ALL = [
    "System Manager",
    "Accounts Manager",
    "Stock Manager",
    "Stock User",
    "Sales Manager",
    "Item Manager",
]


async def faults(site: StandIn, **body: object) -> None:
    async with plain_client() as client:
        answer = await client.post(f"{site.url}/standin/faults", json=body)
        assert answer.status_code == 200, answer.text


def wrong(checked: Checked) -> dict[str, str]:
    return {each.what: each.code for each in checked.findings if each.ok is not True}


async def test_a_site_that_has_everything_is_ready(engine: ErpNextEngine) -> None:
    checked = await engine.check_all("KE")
    assert checked.ready
    table = engine_table(checked)
    for words in (
        "user provisioner@example.com",
        "ERPNext 15.65.4",
        "Africa/Nairobi",
        "Standard with Numbers",
        "role Sales Master Manager or Sales Manager",
        "Ready",
    ):
        assert words in table


@pytest.mark.parametrize("role", [each for each in ALL if each != "Stock User"])
async def test_each_role_that_is_missing_is_named_with_its_remedy(
    site: StandIn, engine: ErpNextEngine, role: str
) -> None:
    await faults(site, roles=[each for each in ALL if each != role])
    checked = await engine.check_all("KE")
    assert not checked.ready
    assert checked.reachable
    lacking = [each for each in checked.findings if each.what.startswith("role") and not each.ok]
    assert len(lacking) == 1
    assert role in lacking[0].what
    assert lacking[0].remedy.startswith("Give the API user the role")
    assert lacking[0].code == Code.ROLE_MISSING


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        ({"cut": "middle"}, Code.ENGINE_NO_ANSWER),
        ({"exc_type": "SessionStopped"}, Code.ENGINE_MAINTENANCE),
        ({"exc_type": "PermissionError"}, Code.ROLE_MISSING),
    ],
)
async def test_roles_that_were_not_read_are_missing_only_where_that_is_why(
    site: StandIn, engine: ErpNextEngine, broken: dict[str, str], code: Code
) -> None:
    await faults(site, faults=[{"doctype": "User", **broken}])
    checked = await engine.check_all("KE")
    roles = [each for each in checked.findings if each.what.startswith("role ")]
    assert {(each.ok, each.code) for each in roles} == {(None, code)}
    told_to_give = {"Give the API user the role" in each.remedy for each in roles}
    assert told_to_give == {code == Code.ROLE_MISSING}


async def test_all_that_is_wrong_is_told_at_once(site: StandIn, engine: ErpNextEngine) -> None:
    await faults(site, roles=["System Manager", "Stock User"])
    site.site.remove(document(site, "Item Group", "All Item Groups"))
    found = wrong(await engine.check_all("XX"))
    assert found == {
        "role Accounts Manager": Code.ROLE_MISSING,
        "role Stock Manager": Code.ROLE_MISSING,
        "role Sales Master Manager or Sales Manager": Code.ROLE_MISSING,
        "role Item Manager": Code.ROLE_MISSING,
        "set up": Code.SITE_NOT_SET_UP,
        "charts for XX": Code.COUNTRY_UNKNOWN,
    }


async def test_a_user_of_another_language_is_named(site: StandIn, engine: ErpNextEngine) -> None:
    document(site, "User", "provisioner@example.com")["language"] = "fr"
    assert wrong(await engine.check_all("KE")) == {"language of the user": Code.ENGINE_REFUSED}
    document(site, "User", "provisioner@example.com")["language"] = "en-GB"
    assert (await engine.check_all("KE")).ready


async def test_a_wrong_key_ends_the_look_and_is_never_shown(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await faults(site, token="other:key")
    checked = await engine.check_all("KE")
    assert checked.reachable
    assert wrong(checked)["token valid"] == Code.ENGINE_CREDENTIALS_REFUSED
    table = engine_table(checked)
    assert KEY not in table
    assert SECRET not in table
    assert "not looked at" in table


async def test_a_shut_gate_says_what_is_wrong_once_and_at_once_how_to_fix_it(
    site: StandIn, engine: ErpNextEngine
) -> None:
    """At night it is read in the status of a tenant."""
    await faults(site, token="other:key")
    message = (await engine.check()).message
    assert message.count("does not accept our API key and secret") == 1
    said, _, found = message.partition(" Engine check: ")
    assert said.endswith("Put a valid key and secret of the API user into the engine's key files.")
    assert found.startswith("right: reachable, right site; not looked at: version")


async def test_the_table_has_the_same_rows_whatever_is_wrong(
    site: StandIn, engine: ErpNextEngine
) -> None:
    rows = [each.what for each in (await engine.check_all("KE")).findings]
    assert sum(what.startswith("role ") for what in rows) == 5
    for wrong_thing in ({"token": "other:key"}, {"down": True}, {"roles": ["Sales User"]}):
        await faults(site, **wrong_thing)
        assert [each.what for each in (await engine.check_all("KE")).findings] == rows


@pytest.mark.parametrize(
    ("off", "words"),
    [(0, "as ours"), (-4, "as ours"), (90, "90 s behind ours"), (-90, "90 s ahead of ours")],
)
async def test_a_clock_that_is_off_is_named(site: StandIn, off: int, words: str) -> None:
    """Whose a document is, is told by the time it was made."""

    def now() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=off)

    class Dated(httpx.AsyncHTTPTransport):
        """Says the time, as a real web server does."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            response.headers["date"] = format_datetime(datetime.now(UTC), usegmt=True)
            return response

    adapter = ErpNextEngine(url=site.url, credentials=credentials(), now=now, transport=Dated())
    checked = await adapter.check_all("KE")
    await adapter.close()
    clock = checked.findings[-1]
    # A Date header has whole seconds.
    told = re.sub(r"\b(89|91)\b", "90", clock.found)
    assert (clock.what, told) == ("clock", words)
    assert (clock.code == Code.ENGINE_CLOCK_OFF) is (abs(off) > 5)
    assert checked.ready is (abs(off) <= 5)


async def test_a_rate_limit_is_nothing_wrong_and_not_ready(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await faults(site, faults=[{"method": "GET", "doctype": "ping", "status": 429, "times": 2}])
    checked = await engine.check_all("KE")
    assert checked.reachable
    assert not checked.ready
    assert all(each.ok is not False for each in checked.findings)


async def test_the_only_chart_of_a_country_is_no_fault(
    site: StandIn, engine: ErpNextEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A country with one chart of its own is not offered Standard, which it may have."""
    monkeypatch.setattr(company, "CHARTS", ())
    monkeypatch.setattr(company, "NATIONAL_CHARTS", {"kenya": ("Kenya - Chart of Accounts",)})
    checked = await engine.check_all("KE")
    assert checked.ready
    assert "Kenya - Chart of Accounts, Standard" in engine_table(checked)


async def test_a_site_set_up_in_another_language_is_set_up(
    site: StandIn, engine: ErpNextEngine
) -> None:
    root = document(site, "Item Group", "All Item Groups")
    site.site.remove(root)
    site.site.add({**root, "name": "Alle Artikelgruppen"})
    assert (await engine.check_all("KE")).ready


async def test_step_0_tells_all_that_is_wrong_at_once_and_shuts_the_gate(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await faults(site, roles=["System Manager", "Stock Manager"])
    site.site.remove(document(site, "Item Group", "All Item Groups"))
    context = MemoryContext(engine=engine, spec=kenyan())
    with pytest.raises(EngineError) as caught:
        await drive_step(context, STEP_0)
    error = caught.value
    assert (error.error_class, error.code) == (
        ErrorClass.ENGINE_MISCONFIGURED,
        Code.ROLE_MISSING,
    )
    for words in (
        "role Accounts Manager: missing. Give the API user the role Accounts Manager in ERPNext.",
        "role Sales Master Manager or Sales Manager: missing.",
        "role Item Manager: missing.",
        "set up: no Item Group All Item Groups. Finish the site's setup wizard",
        "right: reachable, right site, token valid, version",
        "time zone, charts for KE",
    ):
        assert words in error.message
    assert not context.writes

    # Nothing was refused with a 403, and yet every tenant would meet it.
    health = await engine.check()
    assert (health.state, health.code) == (GateState.MISCONFIGURED, Code.ROLE_MISSING)
    assert "role Item Manager: missing." in health.message
    await faults(site, roles=ALL)
    assert (await engine.check()).state is GateState.UP


async def test_step_0_says_what_it_found_right(engine: ErpNextEngine) -> None:
    context = MemoryContext(engine=engine, spec=kenyan())
    await drive_step(context, STEP_0)
    (told,) = context.found[STEP_0].notes
    for words in ("provisioner@example.com", "15.65.4", "every role", "Africa/Nairobi", "Standard"):
        assert words in told


async def test_a_country_the_site_has_not_comes_with_the_whole_check(
    site: StandIn, engine: ErpNextEngine
) -> None:
    site.site.remove(document(site, "Country", "Kenya"))
    with pytest.raises(EngineError) as caught:
        await drive_step(MemoryContext(engine=engine, spec=kenyan()), STEP_0)
    assert caught.value.code == Code.COUNTRY_UNKNOWN
    assert "right: reachable" in caught.value.message


async def test_an_outage_in_step_0_is_told_without_a_table(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await faults(site, down=True)
    with pytest.raises(EngineError) as caught:
        await drive_step(MemoryContext(engine=engine, spec=kenyan()), STEP_0)
    assert caught.value.code == Code.ENGINE_DOWN
    assert "Engine check" not in caught.value.message


async def test_a_site_that_is_down_is_not_reachable(site: StandIn, engine: ErpNextEngine) -> None:
    await faults(site, down=True)
    checked = await engine.check_all("KE")
    assert not checked.reachable
    assert wrong(checked)["reachable"] == Code.ENGINE_DOWN


async def test_a_wrong_host_is_told_from_a_site_that_is_down() -> None:
    async with StandIn(host="erp.example.com") as site:
        adapter = ErpNextEngine(url=site.url, credentials=credentials(), host="other.example.com")
        checked = await adapter.check_all("KE")
        await adapter.close()
    assert checked.reachable
    assert wrong(checked)["right site"] == Code.ENGINE_WRONG_HOST


async def test_a_role_that_is_missing_shuts_the_gate_and_giving_it_opens_it(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await faults(site, roles=["System Manager", "Stock Manager"])
    # The prober's reads go through: nothing was refused yet.
    assert (await engine.check()).state is GateState.UP
    with pytest.raises(EngineError) as caught:
        await engine.send(make("Price List", "Retail X", {"price_list_name": "Retail X"}))
    assert caught.value.code == Code.ROLE_MISSING
    assert caught.value.ask_prober

    health = await engine.check()

    assert (health.state, health.code) == (GateState.MISCONFIGURED, Code.ROLE_MISSING)
    assert "Sales Master Manager" in health.message
    assert "Price List" in health.message
    await faults(site, roles=ALL)
    assert (await engine.check()).state is GateState.UP


async def test_a_403_with_all_roles_given_is_one_tenants_trouble(
    site: StandIn, engine: ErpNextEngine
) -> None:
    await faults(
        site,
        faults=[{"method": "POST", "doctype": "Customer", "status": 403, "times": 1}],
    )
    with pytest.raises(EngineError):
        await engine.send(make("Customer", "C", {"customer_name": "C"}))
    assert (await engine.check()).state is GateState.UP
