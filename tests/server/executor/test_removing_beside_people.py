"""What people renamed, deleted or made anew is found by a removal, kept, and told of."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.requests import delete
from server.erpnext.seeing import conflict
from server.erpnext.undo.company import Company
from server.erpnext.undo.final_check import NothingIsLeft
from server.model.actor import LOCAL
from server.model.ownership import CLOCK_TOLERANCE
from server.model.states import TenantState
from server.standin.site import stamp_text
from tests.server.executor.removals import NAME, before_step, codes, made_by_tenant, removed, sell
from tests.server.executor.scene import now

if TYPE_CHECKING:
    import pytest

    from server.model.identifiers import TenantId
    from server.model.step_context import Found
    from tests.server.executor.scene import Shop


async def test_a_company_that_was_renamed_is_not_told_of_as_gone(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    documents = shop.site.site.documents["Company"]
    (key,) = (key for key, each in documents.items() if each["name"] == NAME)
    documents["Kijani Groceries"] = {**documents.pop(key), "name": "Kijani Groceries"}
    writes = await shop.writes()

    await shop.remove(tenant)
    assert await shop.rest(tenant) == [TenantState.DEPROVISIONING]
    assert await codes(shop, tenant) == ["COMPANY_RENAMED"]
    assert await shop.writes() == writes
    assert any("'Kijani Groceries'" in line for line in await shop.lines(tenant))

    documents[key] = {**documents.pop("Kijani Groceries"), "name": NAME}
    await removed(shop, tenant)
    assert not await made_by_tenant(shop)


async def test_what_a_removal_can_not_account_for_is_named(shop: Shop) -> None:
    """A Customer that a person renamed stays; by its own name it reads as gone, as if we had."""
    tenant = await shop.completed(NAME, include_demo_data=True)
    customers = shop.site.site.documents["Customer"]
    (key,) = (key for key, each in customers.items() if each["name"] == "Walk-In Customer - KS")
    customers["Counter"] = {**customers.pop(key), "name": "Counter"}
    await shop.store.engine.send(delete("Item", "DEMO-KS-002"))
    await removed(shop, tenant)
    *_, last = await shop.lines(tenant)
    assert last.endswith(
        "Nothing of it is left at the engine. Not there, although we did not delete it: Item "
        "'DEMO-KS-002', Customer 'Walk-In Customer - KS'. Somebody deleted or renamed them in "
        "ERPNext; what was renamed is still there."
    )
    assert not await made_by_tenant(shop)


def replace_by_hand(shop: Shop, doctype: str, name: str) -> None:
    """Delete a document of ours, and make one of its name, as a person does at the desk."""
    at = stamp_text(now() + CLOCK_TOLERANCE + timedelta(seconds=1))
    shop.site.site.require(doctype, name).update(owner="jane@example.com", creation=at, modified=at)


async def test_what_a_person_made_in_place_of_ours_stays(shop: Shop) -> None:
    """The record calls ours what was made under a name, and another may have the name by now."""
    tenant = await shop.completed(NAME, include_demo_data=True)
    theirs = (("Customer", "Walk-In Customer - KS"), ("Item", "DEMO-KS-002"))
    for doctype, name in theirs:
        replace_by_hand(shop, doctype, name)
    await shop.remove(tenant)
    await shop.rest(tenant)
    # Theirs is in our group; the group stays until they decide.
    assert await codes(shop, tenant) == ["STILL_LINKED"]
    there = shop.site.site
    for doctype, name in theirs:
        assert there.find(doctype, name) is not None
        told = f"{doctype} {name!r} was made by somebody else; it stays."
        assert any(told in line for line in await shop.lines(tenant))
    assert [each["item_code"] for each in there.every("Item Price")] == ["DEMO-KS-002"]
    assert there.find("Item", "DEMO-KS-001") is None

    await shop.store.engine.send(delete("Item", "DEMO-KS-002"))
    await removed(shop, tenant)
    assert await made_by_tenant(shop) == Counter(["Customer"])


async def test_a_company_that_a_person_made_in_place_of_ours_stays(shop: Shop) -> None:
    tenant = await shop.completed(NAME, include_demo_data=True)
    replace_by_hand(shop, "Company", NAME)
    await sell(shop)
    before = await shop.belongings(NAME)
    await shop.remove(tenant, even_if_sold=True, delete_transactions=True)
    await shop.rest(tenant)
    # The demo item that they sold stays for as long as their invoice does.
    assert await codes(shop, tenant) == ["STILL_LINKED"]
    left = await shop.belongings(NAME)
    assert left == before - Counter(["POS Profile", "POS Opening Entry"])
    told = f"Company {NAME!r} was made by somebody else; it stays."
    lines = await shop.lines(tenant)
    assert any(told in line for line in lines)
    assert not any("taken over" in line for line in lines)


async def foreseen(shop: Shop, tenant: TenantId) -> dict[str, tuple[bool, str]]:
    """Ask what a removal would do with each document, as --dry-run does."""
    shown = await shop.commands.foreseen(LOCAL, tenant)
    return {f"{each.doctype} {each.name}": (each.removed, each.why) for each in shown}


async def test_a_dry_run_says_what_the_removal_will_find(shop: Shop) -> None:
    """It went by the record alone, and listed as going what the removal then left."""
    tenant = await shop.completed(NAME, include_demo_data=True)
    before = await foreseen(shop, tenant)
    assert all(removed for removed, _ in before.values())
    writes = await shop.writes()
    for doctype, name in (("Customer", "Walk-In Customer - KS"), ("Item", "DEMO-KS-002")):
        replace_by_hand(shop, doctype, name)
    await shop.store.engine.send(delete("Item", "DEMO-KS-003"))
    requests = await shop.writes()
    after = await foreseen(shop, tenant)
    assert await shop.writes() == requests == writes + 1
    theirs = (False, "made by somebody else in place of ours; stays")
    assert {what: now for what, now in after.items() if now != before[what]} == {
        "Customer Walk-In Customer - KS": theirs,
        "Item DEMO-KS-002": theirs,
        "Item Price DEMO-KS-002 / Retail KS": theirs,
        "Item DEMO-KS-003": (
            False,
            "not there any more: somebody deleted it, or renamed it, and then it stays",
        ),
    }
    # As it then is.
    await shop.store.engine.send(delete("Item", "DEMO-KS-002"))
    foretold = {what for what, (removed, _) in (await foreseen(shop, tenant)).items() if removed}
    await removed(shop, tenant)
    gone = shop.sql("SELECT doctype, name FROM resources WHERE state = 'REMOVED' AND NOT shared")
    assert foretold <= {f"{doctype} {name}" for doctype, name in gone}
    assert await made_by_tenant(shop) == Counter(["Customer"])


async def test_a_dry_run_keeps_what_belongs_to_a_company_that_somebody_made_in_place_of_ours(
    shop: Shop,
) -> None:
    tenant = await shop.completed(NAME)
    replace_by_hand(shop, "Company", NAME)
    replace_by_hand(shop, "Warehouse", "Main Store - KS")
    shown = await foreseen(shop, tenant)
    for theirs in (f"Company {NAME}", "Warehouse Main Store - KS"):
        assert not shown[theirs][0]
    assert shown["Warehouse POS Store - KS"] == (True, "made by us")


async def test_a_dry_run_that_can_not_ask_the_engine_says_what_is_on_record(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    recorded = [(each.name, each.removed) for each in await shop.commands.documents(LOCAL, tenant)]
    await shop.faults({"method": "GET", "action": "cut"})
    shown = await shop.commands.foreseen(LOCAL, tenant)
    assert [(each.name, each.removed) for each in shown] == recorded
    assert {each.why for each in shown} == {
        "made by us, says the record; the engine could not be asked whether it is still so",
        "goes with the Company, says the record; the engine could not be asked whether it is "
        "still so",
    }


async def test_a_removal_given_again_names_what_the_one_before_it_missed_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks at what is left only, and its last line said that there is nothing."""

    async def stops(_step: NothingIsLeft, _context: object) -> Found:
        raise conflict(Code.STILL_LINKED, "Something is left.")

    tenant = await shop.completed(NAME, include_demo_data=True)
    await shop.store.engine.send(delete("Item", "DEMO-KS-002"))
    with monkeypatch.context() as patched:
        patched.setattr(NothingIsLeft, "probe", stops)
        for _ in range(2):
            await shop.remove(tenant)
            assert await shop.rest(tenant) == [TenantState.DEPROVISIONING]
            assert "we did not delete it: Item 'DEMO-KS-002'. " in (await shop.lines(tenant))[-1]
    await removed(shop, tenant)
    assert "we did not delete it: Item 'DEMO-KS-002'. " in (await shop.lines(tenant))[-1]


async def test_a_company_that_is_renamed_during_its_removal_is_not_told_of_as_gone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = await shop.completed(NAME)
    documents = shop.site.site.documents["Company"]
    (key,) = (key for key, each in documents.items() if each["name"] == NAME)

    async def rename() -> None:
        documents["other"] = {**documents.pop(key), "name": "Other"}

    before_step(monkeypatch, Company, rename)
    await shop.remove(tenant)
    assert await shop.rest(tenant) == [TenantState.DEPROVISIONING]
    assert await codes(shop, tenant) == ["COMPANY_RENAMED"]
    documents[key] = {**documents.pop("other"), "name": NAME}
    await removed(shop, tenant)
    assert not await made_by_tenant(shop)
