"""What the old system guessed, overwrote or took for done: asked for by name here, and looked at.

The letters are those of `docs/stuck.md`. Documents of the site are changed in place where the
old system, or a person at the desk, would have changed them.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from server.commands import OrderTerms
from server.model.actor import LOCAL
from server.model.states import TenantState
from tests.scenarios.stuck.town import WHOLE
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from server.diagnosis import Diagnosis
    from tests.scenarios.stuck.town import Town

pytestmark = pytest.mark.asyncio(loop_scope="module")

REBUILT = ("STEP_RECORD_LOST", "REBUILD_RECORD", "ORDERED")
DRIVEN_ON = ("PASSING_ERROR", "DRIVE_ON", "ORDERED")
CALLED = ("PERMANENT_ERROR", "CALL_OPERATOR", "OPERATOR_CALLED")
# More than a run bears, so that it stops there.
STOPS_AT_THE_PROFILE = {
    "method": "POST",
    "doctype": "POS Profile",
    "exc_type": "QueryDeadlockError",
    "times": 20,
}


def codes(found: Diagnosis) -> list[str]:
    return [cause.code for cause in found.causes]


def theirs(town: Town, doctype: str, company: str) -> list[dict[str, Any]]:
    """Return the documents of a kind that a Company has at the site, to look at or to change."""
    held = town.site.site.documents[doctype].values()
    return [each for each in held if each.get("company") == company]


def forget(town: Town, doctype: str, name: str) -> None:
    """Take a document away from the site."""
    held = town.site.site.documents[doctype]
    (key,) = [key for key, document in held.items() if document["name"] == name]
    del held[key]


async def make(town: Town, doctype: str, **fields: object) -> str:
    """Make a document as another user of the site would."""
    async with plain_client(headers={"Authorization": "token other:secret"}) as client:
        answer = await client.post(f"{town.site.url}/api/resource/{doctype}", json=fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"]["name"])


async def make_company(town: Town, name: str, abbreviation: str) -> None:
    await make(
        town,
        "Company",
        company_name=name,
        abbr=abbreviation,
        country="Kenya",
        default_currency="KES",
    )


async def lose_record(town: Town, shop: str) -> None:
    """PARTIAL, 0 of 10 steps, never a live shop."""
    await town.sql("DELETE FROM steps WHERE tenant_id = :id", id=shop)
    await town.sql(
        "UPDATE tenants SET state = 'PARTIAL', first_completed_at = NULL WHERE id = :id", id=shop
    )


async def test_c4_a_409_that_speaks_of_something_else_is_not_taken_for_exists(town: Town) -> None:
    await town.faults(
        {
            "method": "POST",
            "doctype": "Company",
            "exc_type": "DuplicateEntryError",
            "message": "Account Cash - XX already exists",
            "times": 2,
        }
    )
    shop = await town.completed("C4 Shop")

    assert codes(await town.diagnose(shop)) == []
    assert await town.found(shop) == [], "looked at, not there, asked for again"
    assert await town.belongings("C4 Shop") == WHOLE


async def test_c4_a_name_that_the_site_refuses_is_handed_over_as_what_it_is(town: Town) -> None:
    await town.faults(
        {"method": "POST", "doctype": "Company", "exc_type": "NameError", "times": None}
    )
    shop = await town.order("C4 Refused")
    assert await town.rest(shop) is TenantState.FAILED

    found = await town.diagnose(shop)
    await town.sweep()

    assert codes(found) == ["NAME_REFUSED"]
    assert "a spec can't be changed later" in found.causes[0].remedy.says
    assert found.causes[0].remedy.command == f"provisioner deprovision {shop} --watch"
    assert await town.found(shop) == [CALLED]
    last = (await town.lines(shop))[-1]
    assert last.endswith(f"What to do: provisioner diagnose {shop}"), "no continue gets over it"
    assert (await town.belongings("C4 Refused"))["Company"] == 0


async def test_c6_an_abbreviation_is_chosen_by_those_that_are_taken(town: Town) -> None:
    for number, abbreviation in enumerate(("SXC", "SXC2", "sxc3")):
        await make_company(town, f"Somebody Else {number}", abbreviation)

    shop = await town.completed("Sixth Xylophone Corner")

    bound = await town.sql("SELECT abbreviation FROM bindings WHERE tenant_id = :id", id=shop)
    assert bound == [{"abbreviation": "SXC4"}]
    assert codes(await town.diagnose(shop)) == []
    assert await town.belongings("Sixth Xylophone Corner") == WHOLE


async def test_c7_a_company_made_along_with_the_tenant_is_adopted_under_its_own_abbreviation(
    town: Town,
) -> None:
    await make_company(town, "Mama Njeri Traders", "MAMNJETRA")
    shop = await town.order("Mama Njeri Traders")
    assert await town.rest(shop) is TenantState.FAILED

    found = await town.diagnose(shop)
    await town.sweep()
    handed_over = await town.found(shop)
    await town.core.commands.adopt_company(LOCAL, shop, OrderTerms(reason="ours after all"))
    end = await town.rest(shop)

    assert codes(found) == ["COMPANY_NOT_OURS"]
    assert "MAMNJETRA" in found.causes[0].message
    assert found.causes[0].remedy.command == f"provisioner adopt {shop} --watch"
    assert handed_over == [CALLED]
    assert end is TenantState.COMPLETED
    bound = await town.sql("SELECT abbreviation FROM bindings WHERE tenant_id = :id", id=shop)
    assert bound == [{"abbreviation": "MAMNJETRA"}]
    assert {
        w["name"].endswith(" - MAMNJETRA") for w in theirs(town, "Warehouse", "Mama Njeri Traders")
    } == {True}
    assert await town.belongings("Mama Njeri Traders") == WHOLE


async def test_c9_without_its_notes_a_step_asks_by_company_and_takes_no_strangers_document(
    town: Town,
) -> None:
    await town.faults(STOPS_AT_THE_PROFILE)
    shop = await town.order("C9 Shop")
    assert await town.rest(shop) is TenantState.FAILED
    await town.faults()
    await town.sql("UPDATE steps SET outputs = '{}' WHERE tenant_id = :id", id=shop)

    found = await town.diagnose(shop)
    await town.healed(shop)

    assert codes(found) == ["ENGINE_DEADLOCK"]
    assert await town.found(shop) == [DRIVEN_ON]
    (profile,) = theirs(town, "POS Profile", "C9 Shop")
    (warehouse,) = [
        each
        for each in theirs(town, "Warehouse", "C9 Shop")
        if each["name"] == profile["warehouse"]
    ]
    assert not warehouse["is_group"]
    (entry,) = theirs(town, "POS Opening Entry", "C9 Shop")
    assert entry["pos_profile"] == profile["name"]
    assert await town.belongings("C9 Shop") == WHOLE


async def test_c10_a_group_is_not_taken_for_the_leaf_that_is_missing(town: Town) -> None:
    shop = await town.completed("C10 Shop")
    modes = copy.deepcopy(dict(town.site.site.documents["Mode of Payment"]))
    await lose_record(town, shop)
    gone = [
        (doctype, each["name"])
        for doctype in ("Warehouse", "Account")
        for each in theirs(town, doctype, "C10 Shop")
        if each["name"].startswith(("POS Store", "M-Pesa"))
    ]
    assert {doctype for doctype, _ in gone} == {"Warehouse", "Account"}, gone
    for doctype, name in gone:
        forget(town, doctype, name)

    found = await town.diagnose(shop)
    await town.healed(shop)

    assert codes(found) == ["STEP_RECORD_LOST"]
    assert await town.found(shop) == [REBUILT]
    for doctype, name in gone:
        made = town.site.site.require(doctype, name)
        assert not made["is_group"]
    assert dict(town.site.site.documents["Mode of Payment"]) == modes, "found, none added"
    assert await town.belongings("C10 Shop") == WHOLE


async def test_c12_a_payment_row_that_another_writer_dropped_comes_back_alone(town: Town) -> None:
    shop, other = await town.completed("C12 Shop"), await town.completed("C12 Other")
    mode = town.site.site.require("Mode of Payment", "M-Pesa")
    mode["accounts"] = [row for row in mode["accounts"] if row["company"] != "C12 Shop"]

    def of_others() -> list[tuple[str, str, str]]:
        rows = town.site.site.require("Mode of Payment", "M-Pesa")["accounts"]
        kept = [row for row in rows if row["company"] != "C12 Shop"]
        return [(row["name"], row["company"], row["default_account"]) for row in kept]

    before = of_others()

    found = await town.diagnose(shop)
    await town.sweep()
    writes = await town.writes()
    await town.core.commands.retry(LOCAL, shop, OrderTerms(), step_key="")
    end = await town.rest(shop)

    assert codes(found) == ["ENGINE_DIFFERS"]
    assert "Mode of Payment Account" in found.causes[0].message
    assert found.causes[0].remedy.command.startswith(f"provisioner retry {shop}")
    assert await town.found(shop) == [], "a live shop is driven by a person's order only"
    assert end is TenantState.COMPLETED
    assert await town.writes() == writes + 1, "one row, never the table"
    assert of_others() == before
    now = town.site.site.require("Mode of Payment", "M-Pesa")["accounts"]
    assert [row["company"] for row in now].count("C12 Shop") == 1
    assert codes(await town.diagnose(other)) == []


async def test_c13_settings_of_the_whole_site_carry_no_tenants_names(town: Town) -> None:
    settings = town.site.site.require("Stock Settings", "Stock Settings")
    settings["default_warehouse"] = "Stores - HO"
    before = copy.deepcopy(settings)

    shop = await town.completed("C13 Shop")

    after = copy.deepcopy(town.site.site.require("Stock Settings", "Stock Settings"))
    assert after == before
    assert codes(await town.diagnose(shop)) == []
    del settings["default_warehouse"]


async def test_c14_a_till_left_as_a_draft_is_submitted_and_not_opened_twice(town: Town) -> None:
    shop = await town.completed("C14 Shop")
    (entry,) = theirs(town, "POS Opening Entry", "C14 Shop")
    entry["docstatus"], entry["status"] = 0, "Draft"
    await lose_record(town, shop)

    found = await town.diagnose(shop)
    await town.healed(shop)

    assert codes(found) == ["STEP_RECORD_LOST"]
    assert any("docstatus" in fact.fact for fact in found.causes[0].evidence)
    assert await town.found(shop) == [REBUILT]
    (only,) = theirs(town, "POS Opening Entry", "C14 Shop")
    assert (only["name"], only["docstatus"]) == (entry["name"], 1)
    assert await town.belongings("C14 Shop") == WHOLE


async def test_c15_what_was_taken_without_effect_is_seen_and_driven_on(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = town.core.engines["main"].step("step_5_settings")

    async def taken_without_effect(*_: object) -> None:
        """As a site answers 200 to a field it does not have."""

    with monkeypatch.context() as patch:
        patch.setattr(type(step), "apply", taken_without_effect)
        shop = await town.order("C15 Shop")
        assert await town.rest(shop) is TenantState.FAILED
        found = await town.diagnose(shop)

    await town.healed(shop)

    assert codes(found) == ["NOT_DONE_AFTER_APPLY"]
    assert "Price List" in found.causes[0].message
    assert found.causes[0].severity.value == "MAY_CLEAR"
    assert await town.found(shop) == [DRIVEN_ON]
    assert await town.belongings("C15 Shop") == WHOLE


async def test_c18_a_walk_in_customer_of_all_is_left_to_all(town: Town) -> None:
    shared = await make(
        town,
        "Customer",
        name="Walk-in Customer",
        customer_name="Walk-in Customer",
        customer_type="Individual",
        customer_group="Individual",
        territory="All Territories",
    )
    before = copy.deepcopy(town.site.site.require("Customer", shared))

    shop = await town.completed("C18 Shop")

    assert town.site.site.require("Customer", shared) == before
    (profile,) = theirs(town, "POS Profile", "C18 Shop")
    abbreviation = profile["name"].removeprefix("POS ")
    assert profile["customer"] == f"Walk-In Customer - {abbreviation}"
    assert codes(await town.diagnose(shop)) == []


async def test_c19_the_last_step_looks_and_does_not_say_done_of_what_is_not(town: Town) -> None:
    await town.faults(STOPS_AT_THE_PROFILE)
    shop = await town.order("C19 Shop")
    assert await town.rest(shop) is TenantState.FAILED
    await town.faults()
    # As the old system left it: the steps say done, whatever the site has.
    await town.sql(
        "UPDATE steps SET state = 'COMPLETED', error_code = NULL, error_class = NULL "
        "WHERE tenant_id = :id AND key <> 'step_10_post_sale_updates'",
        id=shop,
    )

    await town.sweep()
    end = await town.rest(shop)
    found = await town.diagnose(shop)
    await town.sweep()
    handed_over = await town.found(shop)
    await town.core.commands.retry(LOCAL, shop, OrderTerms(), step_key="")

    assert end is not TenantState.COMPLETED
    assert codes(found) == ["FINAL_CHECK_FAILED"]
    assert "step_8_pos_profile: missing: POS Profile" in found.causes[0].message
    assert found.causes[0].remedy.command == f"provisioner retry {shop} --watch"
    assert handed_over[-1] == CALLED
    assert await town.rest(shop) is TenantState.COMPLETED
    assert await town.belongings("C19 Shop") == WHOLE
