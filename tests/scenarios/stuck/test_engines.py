"""The engine says no, or says it unclearly: waited for, adopted, or handed to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.model.states import TenantState
from tests.scenarios.stuck.town import WHOLE
from tests.support.waiting import until
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from server.diagnosis import Diagnosis
    from tests.scenarios.stuck.town import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")


def codes(found: Diagnosis) -> list[str]:
    return [cause.code for cause in found.causes]


async def test_c1_while_the_engine_is_down_nothing_fails_and_all_of_it_is_said(town: Town) -> None:
    await town.faults({"status": 503, "exc_type": "SessionStopped", "times": None})
    shop = await town.order("C1 Shop")

    async def named() -> Diagnosis | None:
        found = await town.diagnose(shop)
        return found if codes(found)[0].startswith("ENGINE_") else None

    found = await until(named)
    report = await town.sweep()
    tries = await town.sql("SELECT max(tries) AS most FROM steps WHERE tenant_id = :id", id=shop)

    await town.faults()

    assert codes(found) == ["ENGINE_MAINTENANCE"]
    assert found.causes[0].severity.value == "MAY_CLEAR"
    assert any(fact.source == "engines" for fact in found.causes[0].evidence)
    assert [f for f in report.findings if f.tenant_id == shop] == []
    assert tries == [{"most": 0}], "an outage costs no try"
    assert await town.rest(shop) is TenantState.COMPLETED
    assert await town.belongings("C1 Shop") == WHOLE


async def test_c1_a_stopped_tenant_waits_for_its_engine_before_it_is_driven_on(town: Town) -> None:
    shop = await town.completed("C1 Stopped")
    await town.sql("DELETE FROM steps WHERE tenant_id = :id", id=shop)
    await town.sql("UPDATE tenants SET state = 'PARTIAL' WHERE id = :id", id=shop)
    site = town.core.entries["main"].site
    shut = "UPDATE engines SET gate = :gate, gate_code = :code WHERE site = :site"
    await town.close_worker()
    await town.sql(shut, gate="MISCONFIGURED", code="ENGINE_CREDENTIALS_REFUSED", site=site)

    found = await town.diagnose(shop)
    await town.sweep()
    waiting = await town.record(shop)
    await town.sql(shut, gate="UP", code="", site=site)
    await town.open_worker()
    await town.healed(shop)

    assert codes(found) == ["ENGINE_CREDENTIALS_REFUSED", "STEP_RECORD_LOST"]
    assert found.causes[0].severity.value == "PERSON"
    assert (waiting.tenant.heal_count, waiting.tenant.state) == (0, TenantState.PARTIAL)
    assert await town.found(shop) == [
        ("ENGINE_NOT_UP", "WAIT_FOR_ENGINE", "WAITING"),
        ("STEP_RECORD_LOST", "REBUILD_RECORD", "ORDERED"),
    ]
    assert await town.belongings("C1 Stopped") == WHOLE


async def test_c2_a_company_made_though_its_answer_was_lost_is_taken_as_ours(town: Town) -> None:
    await town.faults({"method": "POST", "doctype": "Company", "when": "after", "status": 0})
    shop = await town.completed("C2 Shop")

    assert await town.belongings("C2 Shop") == WHOLE
    made = await town.sql(
        "SELECT state FROM resources WHERE tenant_id = :id AND doctype = 'Company'", id=shop
    )
    assert made == [{"state": "CREATED"}]
    assert codes(await town.diagnose(shop)) == []


async def test_c3_deadlocks_beyond_what_a_run_bears_are_driven_on_by_the_healer(town: Town) -> None:
    await town.faults(
        {"method": "POST", "doctype": "Warehouse", "exc_type": "QueryDeadlockError", "times": 20}
    )
    shop = await town.order("C3 Shop")
    assert await town.rest(shop) is TenantState.FAILED

    found = await town.diagnose(shop)
    await town.healed(shop)

    assert codes(found) == ["ENGINE_DEADLOCK"]
    assert found.causes[0].severity.value == "MAY_CLEAR"
    facts = [fact.fact for fact in found.causes[0].evidence]
    assert any("20 races" in fact for fact in facts)
    assert any("the engine's last answer" in fact for fact in facts)
    assert await town.found(shop) == [("PASSING_ERROR", "DRIVE_ON", "ORDERED")]
    assert await town.belongings("C3 Shop") == WHOLE


async def test_c5_c8_a_company_of_somebody_else_is_handed_over_and_nothing_is_made(
    town: Town,
) -> None:
    await _make_company(town, "c8 SHOP", "C8X")
    shop = await town.order("C8 Shop")
    assert await town.rest(shop) is TenantState.FAILED
    writes = await town.writes()

    found = await town.diagnose(shop)
    await town.sweep()
    await town.sweep()

    assert codes(found) == ["COMPANY_NOT_OURS"]
    assert found.causes[0].severity.value == "PERSON"
    assert shop in found.causes[0].remedy.command
    assert await town.found(shop) == [("PERMANENT_ERROR", "CALL_OPERATOR", "OPERATOR_CALLED")]
    assert await town.writes() == writes
    assert (await town.belongings("C8 Shop"))["Warehouse"] == 0
    told = await town.sql("SELECT kind FROM outbox WHERE body LIKE :like", like=f"%{shop}%")
    assert told == [{"kind": "needs_person"}], "once"


async def test_c11_what_a_person_must_mend_is_driven_on_by_that_persons_continue(
    town: Town,
) -> None:
    await town.faults(
        {
            "method": "POST",
            "doctype": "POS Profile",
            "exc_type": "MandatoryError",
            "message": "write_off_account is mandatory",
            "times": None,
        }
    )
    shop = await town.order("C11 Shop")
    assert await town.rest(shop) is TenantState.FAILED

    found = await town.diagnose(shop)
    await town.sweep()
    await town.faults()
    await town.continue_(shop)
    end = await town.rest(shop)
    await town.sweep()

    assert codes(found) == ["ENGINE_REFUSED"]
    assert "write_off_account" in found.causes[0].message
    assert found.causes[0].remedy.command.startswith("provisioner continue")
    assert end is TenantState.COMPLETED
    assert await town.found(shop) == [("PERMANENT_ERROR", "CALL_OPERATOR", "OPERATOR_CALLED")]
    ended = await town.sql("SELECT ended_as FROM findings WHERE tenant_id = :id", id=shop)
    assert ended == [{"ended_as": "MENDED"}]
    assert await town.belongings("C11 Shop") == WHOLE


async def test_c16_c17_odd_names_and_unknown_charts_do_not_stop_a_tenant(town: Town) -> None:
    name = 'C16 O\'Neil / "Söhne" & Co 100%'
    shop = await town.completed(name, chart_template="Kenya")

    assert codes(await town.diagnose(shop)) == []
    assert await town.belongings(name) == WHOLE


async def test_what_was_deleted_at_a_live_shop_is_said_and_left_alone(town: Town) -> None:
    shop = await town.completed("Drifted Shop")
    profiles = town.site.site.documents["POS Profile"]
    for name in [n for n, d in profiles.items() if d.get("company") == "Drifted Shop"]:
        del profiles[name]
    before = await town.rows_of([shop])

    found = await town.diagnose(shop)
    await town.sweep()

    assert codes(found) == ["ENGINE_DIFFERS"]
    assert "POS Profile" in found.causes[0].message
    assert found.causes[0].remedy.method == "Retry"
    assert await town.rows_of([shop]) == before


async def test_what_a_run_would_stop_at_is_not_said_to_be_retried(town: Town) -> None:
    shop = await town.completed("Disabled Shop")
    for warehouse in town.site.site.documents["Warehouse"].values():
        if warehouse["company"] == "Disabled Shop" and warehouse["warehouse_name"] == "Main Store":
            warehouse["disabled"] = 1

    found = await town.diagnose(shop)

    assert codes(found) == ["ENGINE_DIFFERS"]
    assert found.causes[0].remedy.method == ""
    assert found.causes[0].remedy.command == f"provisioner verify {shop}"


async def test_a_company_that_vanished_is_not_made_again_and_a_person_is_called_once(
    town: Town,
) -> None:
    shop = await town.completed("Vanished Shop")
    for held in town.site.site.documents.values():
        for name in [
            name
            for name, document in held.items()
            if "Vanished Shop" in {document.get("company"), document.get("name")}
        ]:
            del held[name]
    for mode in town.site.site.documents["Mode of Payment"].values():
        mode["accounts"] = [r for r in mode["accounts"] if r["company"] != "Vanished Shop"]
    await town.sql("DELETE FROM steps WHERE tenant_id = :id", id=shop)
    await town.sql("UPDATE tenants SET state = 'PARTIAL' WHERE id = :id", id=shop)
    writes = await town.writes()

    await town.sweep()
    end = await town.rest(shop)
    found = await town.diagnose(shop)
    await town.sweep()
    await town.sweep()

    assert end is TenantState.FAILED
    assert codes(found) == ["COMPANY_VANISHED", "HELD"]
    assert found.causes[0].severity.value == "PERSON"
    assert await town.writes() == writes
    assert (await town.found(shop))[-1] == ("HELD", "NOTHING_YET", "NOTHING")
    told = await town.sql("SELECT kind FROM outbox WHERE body LIKE :like", like=f"%{shop}%")
    assert told == [{"kind": "needs_person"}]


async def _make_company(town: Town, name: str, abbreviation: str) -> None:
    """Make a Company as a person at the desk would."""
    async with plain_client() as client:
        answer = await client.post(
            f"{town.site.url}/api/resource/Company",
            headers={"Authorization": "token other:secret"},
            json={
                "company_name": name,
                "abbr": abbreviation,
                "country": "Kenya",
                "default_currency": "KES",
            },
        )
        assert answer.status_code == 200, answer.text
