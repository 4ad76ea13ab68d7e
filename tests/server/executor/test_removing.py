"""Deprovision: what we made goes, in the engine's order, and nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from server.commands import OrderTerms
from server.erpnext import site
from server.erpnext.codes import Code
from server.erpnext.requests import delete, make
from server.erpnext.seeing import conflict
from server.erpnext.timeouts import Timeouts
from server.erpnext.undo import removing
from server.erpnext.undo.company import Company
from server.erpnext.undo.final_check import NothingIsLeft
from server.erpnext.undo.transactions import Transactions
from server.errors import Refused
from server.executor import context
from server.model.actor import LOCAL
from server.model.ownership import CLOCK_TOLERANCE
from server.model.states import ResourceState, TenantState
from server.standin.site import stamp_text
from server.validation import RawSpec
from tests.server.executor.scene import PATIENCE_SECONDS, TILL_USER, WHOLE, now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.model.identifiers import TenantId
    from server.model.step_context import Found, Step, StepContext
    from tests.server.executor.scene import Shop

NAME = "Kijani Stores"
# What a tenant has without belonging to its Company.
LOOSE = ("Customer", "Price List", "Item", "Item Price", "Item Group", "POS Profile")


async def made_by_tenant(shop: Shop) -> Counter[str]:
    """Count what belongs to the tenant's Company, and what bears its abbreviation."""
    held = (await shop.look())["documents"]
    counts = await shop.belongings(NAME)
    for doctype in LOOSE:
        counts[doctype] += sum("KS" in str(each["name"]).split() for each in held.get(doctype, []))
    return +counts


async def removed(shop: Shop, tenant: TenantId, **options: bool) -> None:
    await shop.remove(tenant, **options)
    states = await shop.rest(tenant)
    if states != [TenantState.DEPROVISIONED]:
        raise AssertionError(await shop.lines(tenant))


async def codes(shop: Shop, tenant: TenantId) -> list[str | None]:
    return [step.error_code for step in (await shop.record(tenant)).steps if step.error_code]


async def refusal(shop: Shop, tenant: TenantId) -> str:
    """Return the message of the one step at which a removal stopped."""
    (failed,) = [step for step in (await shop.record(tenant)).steps if step.error_code]
    return str(failed.error_message)


async def sell(shop: Shop) -> None:
    """Make one sale of the tenant's shop."""
    body = {
        "company": NAME,
        "customer": "Walk-In Customer - KS",
        "debit_to": "Debtors - KS",
        "docstatus": 1,
        "items": [
            {
                "item_code": "DEMO-KS-001",
                "qty": 1,
                "rate": 100,
                "income_account": "Sales - KS",
                "cost_center": "Main - KS",
            }
        ],
    }
    await shop.store.engine.send(make("Sales Invoice", "", body))


async def test_what_we_made_is_removed_and_the_same_spec_makes_it_anew(shop: Shop) -> None:
    before = await shop.documents()
    tenant = await shop.completed(NAME, include_demo_data=True)
    shared = await shop.documents()
    await removed(shop, tenant)
    assert not await made_by_tenant(shop)
    after = await shop.documents()
    # What tenants share stays: years, means of payment.
    for doctype in ("Fiscal Year", "Mode of Payment"):
        assert after[doctype] == shared[doctype]
    assert after["Company"] == before["Company"]
    assert shop.sql("SELECT count(*) FROM bindings") == [(0,)]
    states = {row[0] for row in shop.sql("SELECT state FROM resources WHERE NOT shared")}
    assert states == {ResourceState.REMOVED}
    assert (await shop.lines(tenant))[-1].endswith("Nothing of it is left at the engine.")
    raw = RawSpec(company_name=NAME, include_demo_data=True, till_user=TILL_USER)
    assert await shop.commands.start(LOCAL, raw, tenant_id=tenant) == tenant
    await shop.must_complete(tenant)
    assert await shop.belongings(NAME) == WHOLE
    assert (await shop.record(tenant)).tenant.first_completed_at is not None


async def test_a_removal_repeated_finds_nothing_and_changes_nothing(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    await removed(shop, tenant)
    writes, runs = await shop.writes(), shop.sql("SELECT count(*) FROM runs")
    await removed(shop, tenant)
    assert (await shop.writes(), shop.sql("SELECT count(*) FROM runs")) == (writes, runs)


async def test_a_new_life_is_no_live_shop_and_has_no_company_that_vanished(shop: Shop) -> None:
    """Promise 8 protects a shop that was COMPLETED; a removed one is none any more."""
    tenant = await shop.completed(NAME)
    await removed(shop, tenant)
    await shop.faults({"method": "POST", "doctype": "Company", "status": 417, "times": 1})
    raw = RawSpec(company_name=NAME, till_user=TILL_USER)
    await shop.commands.start(LOCAL, raw, tenant_id=tenant)
    await shop.rest(tenant)
    assert (await shop.record(tenant)).tenant.first_completed_at is None
    await shop.proceed(tenant)
    await shop.must_complete(tenant)
    assert await shop.belongings(NAME) == WHOLE


async def refused(shop: Shop) -> tuple[TenantId, Counter[str]]:
    """Let the removal of a shop that has sold be refused; return it, and what is there."""
    tenant = await shop.completed(NAME, include_demo_data=True)
    await sell(shop)
    before = await shop.documents()
    await shop.remove(tenant)
    assert await shop.rest(tenant) == [TenantState.DEPROVISIONING]
    return tenant, before


async def test_a_shop_that_has_sold_is_protected(shop: Shop) -> None:
    tenant, before = await refused(shop)
    assert await codes(shop, tenant) == ["SHOP_HAS_SOLD"]
    assert await shop.documents() == before
    await shop.remove(tenant, even_if_sold=True)
    await shop.rest(tenant)
    assert await codes(shop, tenant) == ["LEDGER_ENTRIES"]
    assert await shop.documents() == before


async def test_a_refusal_names_the_options_that_were_given_and_those_that_are_needed(
    shop: Shop,
) -> None:
    """Each of them was named alone, so that the command met the refusal before it again."""
    tenant, _ = await refused(shop)
    told = await refusal(shop, tenant)
    assert f"deprovision {tenant} --even-if-sold. To keep it" in told
    assert "only if --delete-transactions is added" in told
    await shop.remove(tenant, delete_transactions=True)
    await shop.rest(tenant)
    told = await refusal(shop, tenant)
    assert f"deprovision {tenant} --even-if-sold --delete-transactions. To keep it" in told
    assert "is added" not in told
    await shop.remove(tenant, even_if_sold=True)
    await shop.rest(tenant)
    told = await refusal(shop, tenant)
    assert told.endswith(f"deprovision {tenant} --even-if-sold --delete-transactions")


async def test_a_removal_that_was_refused_is_taken_back(shop: Shop) -> None:
    """A shop named by a slip has another way out than being removed."""
    tenant, before = await refused(shop)
    with pytest.raises(Refused, match=f"provisioner cancel {tenant}"):
        await shop.proceed(tenant)
    await shop.commands.cancel(LOCAL, tenant, OrderTerms(reason="another shop was meant"))
    assert await shop.rest(tenant) == [TenantState.CANCELLED]
    await shop.proceed(tenant)
    await shop.must_complete(tenant)
    assert await shop.documents() == before


async def test_a_removal_that_stopped_half_way_is_taken_back(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    await shop.faults({"method": "DELETE", "doctype": "Company", "status": 417})
    await shop.remove(tenant)
    assert await shop.rest(tenant) == [TenantState.DEPROVISIONING]
    assert (await made_by_tenant(shop))["POS Profile"] == 0
    await shop.faults()
    await shop.commands.cancel(LOCAL, tenant, OrderTerms(reason="another shop was meant"))
    # Its answer was lost: it is given again, and nothing happens twice.
    await shop.commands.cancel(LOCAL, tenant, OrderTerms(reason="another shop was meant"))
    assert await shop.rest(tenant) == [TenantState.CANCELLED]
    await shop.proceed(tenant)
    await shop.must_complete(tenant)
    # But the till: people open those of a shop that was in use.
    assert await shop.belongings(NAME) == WHOLE - Counter(["POS Opening Entry"])


async def test_a_removal_is_taken_back_though_the_company_is_gone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What we removed ourselves did not vanish: nobody need look where it went."""

    async def stops(_step: NothingIsLeft, _context: object) -> Found:
        raise conflict(Code.STILL_LINKED, "Something is left.")

    tenant = await shop.completed(NAME)
    with monkeypatch.context() as patched:
        patched.setattr(NothingIsLeft, "probe", stops)
        await shop.remove(tenant)
        assert await shop.rest(tenant) == [TenantState.DEPROVISIONING]
    assert not await made_by_tenant(shop)
    await shop.commands.cancel(LOCAL, tenant, OrderTerms(reason="another shop was meant"))
    assert await shop.rest(tenant) == [TenantState.CANCELLED]
    await shop.proceed(tenant)
    await shop.must_complete(tenant)
    assert await shop.belongings(NAME) == WHOLE - Counter(["POS Opening Entry"])


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


async def test_ordered_to_the_engine_deletes_transactions_first(shop: Shop) -> None:
    tenant = await shop.completed(NAME, include_demo_data=True)
    await sell(shop)
    await removed(shop, tenant, even_if_sold=True, delete_transactions=True)
    # The record of the deletion is the site's own history.
    assert set(await made_by_tenant(shop)) == {"Transaction Deletion Record"}
    held = (await shop.look())["documents"]
    (record,) = held["Transaction Deletion Record"]
    assert record["status"] == "Completed"
    assert not held.get("GL Entry")
    assert (await shop.lines(tenant))[-1].endswith("Nothing of it is left at the engine.")


async def open_by_hand(shop: Shop) -> None:
    """Open one more till at the tenant's POS Profile, as people do each day."""
    body = {
        "name": "POS-OPE-BY-HAND",
        "period_start_date": "2026-11-23 08:00:00",
        "posting_date": "2026-11-23",
        "company": NAME,
        "pos_profile": "POS KS",
        "user": TILL_USER,
        "balance_details": [{"mode_of_payment": "Cash", "opening_amount": 0}],
    }
    await shop.store.engine.send(make("POS Opening Entry", "POS-OPE-BY-HAND", body))


async def test_a_till_that_a_person_opened_stops_the_removal(shop: Shop) -> None:
    tenant = await shop.completed(NAME)
    await open_by_hand(shop)
    before = await shop.documents()
    await shop.remove(tenant)
    assert await shop.rest(tenant) == [TenantState.DEPROVISIONING]
    assert await codes(shop, tenant) == ["TILLS_OF_OTHERS"]
    assert await shop.documents() == before
    await shop.store.engine.send(delete("POS Opening Entry", "POS-OPE-BY-HAND"))
    await removed(shop, tenant)


async def test_tills_that_sold_nothing_go_with_the_transactions(shop: Shop) -> None:
    """As the refusal says; nothing was booked, so the ledger does not tell of them."""
    tenant = await shop.completed(NAME)
    await open_by_hand(shop)
    await shop.remove(tenant)
    await shop.rest(tenant)
    command = f"provisioner deprovision {tenant}"
    assert f"{command} --delete-transactions" in await refusal(shop, tenant)
    await shop.remove(tenant, even_if_sold=True)
    await shop.rest(tenant)
    assert f"{command} --even-if-sold --delete-transactions" in await refusal(shop, tenant)
    await removed(shop, tenant, delete_transactions=True)
    assert set(await made_by_tenant(shop)) == {"Transaction Deletion Record"}


async def test_tills_in_a_company_that_is_not_ours_are_only_for_people_to_delete(
    shop: Shop,
) -> None:
    tenant = await shop.completed(NAME)
    shop.sql("UPDATE resources SET state = 'ADOPTED' WHERE doctype = 'Company'")
    await open_by_hand(shop)
    await shop.remove(tenant, even_if_sold=True, delete_transactions=True)
    await shop.rest(tenant)
    assert await codes(shop, tenant) == ["TILLS_OF_OTHERS"]
    told = await refusal(shop, tenant)
    assert told.endswith(f"then: provisioner deprovision {tenant} --even-if-sold")
    await shop.store.engine.send(delete("POS Opening Entry", "POS-OPE-BY-HAND"))
    await removed(shop, tenant)


def before_step(
    monkeypatch: pytest.MonkeyPatch, kind: type[Step], happens: Callable[[], Awaitable[None]]
) -> None:
    """Let something happen at the site just before a step looks for the first time."""
    probe = kind.probe
    waits = [happens]

    async def probes(step: Step, context: StepContext) -> Found:
        if waits:
            await waits.pop()()
        return await probe(step, context)

    monkeypatch.setattr(kind, "probe", probes)


@pytest.mark.parametrize(
    ("delete_transactions", "stopped"), [(False, "undo_3_tills"), (True, "undo_2_transactions")]
)
async def test_a_shop_that_sells_while_its_removal_waits_is_protected(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, delete_transactions: bool, stopped: str
) -> None:
    """The first step had looked, and then the site was down for hours, and up for the shop."""
    tenant = await shop.completed(NAME, include_demo_data=True)
    monkeypatch.setattr(site, "_FRESH", timedelta())
    before_step(monkeypatch, Transactions, lambda: sell(shop))
    await shop.remove(tenant, delete_transactions=delete_transactions)
    assert await shop.rest(tenant) == [TenantState.DEPROVISIONING]
    assert await codes(shop, tenant) == ["SHOP_HAS_SOLD"]
    (failed,) = [step for step in (await shop.record(tenant)).steps if step.error_code]
    assert failed.key == stopped
    assert await shop.belongings(NAME) >= WHOLE + Counter(["Sales Invoice"])
    await removed(shop, tenant, even_if_sold=True, delete_transactions=True)


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


async def test_what_was_there_before_stays(shop: Shop) -> None:
    """Only CREATED is ever deleted."""
    tenant = await shop.completed(NAME)
    shop.sql("UPDATE resources SET state = 'ADOPTED' WHERE doctype IN ('Company', 'Customer')")
    await removed(shop, tenant)
    held = (await shop.look())["documents"]
    assert NAME in [each["name"] for each in held["Company"]]
    assert "Walk-In Customer - KS" in [each["name"] for each in held["Customer"]]
    assert not held.get("POS Profile")
    # Made by us inside a Company that is not: warehouses go, payment rows and accounts stay.
    assert "Main Store - KS" not in [each["name"] for each in held["Warehouse"]]
    assert "Stores - KS" in [each["name"] for each in held["Warehouse"]]
    assert any("Left at the engine" in line for line in await shop.lines(tenant))


async def test_a_tenant_for_which_nothing_was_made_is_removed_too(shop: Shop) -> None:
    await shop.faults(
        {"method": "POST", "doctype": "Company", "status": 417, "exc_type": "ValidationError"}
    )
    tenant = await shop.order(NAME)
    assert await shop.rest(tenant) == [TenantState.FAILED]
    await shop.faults()
    await removed(shop, tenant)
    assert not await shop.belongings(NAME)


async def test_an_outage_in_the_middle_of_a_removal_costs_nothing(shop: Shop) -> None:
    """Promise 6."""
    tenant = await shop.completed(NAME)
    await shop.faults({"method": "DELETE", "doctype": "Customer", "status": 503, "times": 1})
    await removed(shop, tenant)
    assert not await made_by_tenant(shop)


async def test_a_removal_goes_on_where_a_dead_worker_left_it(still: Shop) -> None:
    first = await still.drive()
    tenant = await still.completed(NAME)
    gone = still.site.arrivals("DELETE", "POS Profile")
    await still.faults({"method": "DELETE", "doctype": "POS Profile", "hang_seconds": 60})
    await still.remove(tenant)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await still.site.arrived("DELETE", "POS Profile", gone + 1)
    await still.leave(first)
    await still.faults()
    still.site.hurry()
    # The next worker comes when the time of the request without an answer is over: until then
    # nothing of the tenant is removed (test_quarantine).
    over = timedelta(seconds=removing.REMOVE_SECONDS + context.GRACE_SECONDS + 1)
    await still.drive(clock=lambda: now() + over)
    await still.rest(tenant)
    assert await still.state(tenant) is TenantState.DEPROVISIONED
    assert not await made_by_tenant(still)
    # What the dead worker may have deleted was not somebody else.
    assert (await still.lines(tenant))[-1].endswith("Nothing of it is left at the engine.")


async def test_what_a_slow_engine_may_still_make_is_waited_for_before_it_is_called_gone(
    shop: Shop,
) -> None:
    """The engines file may allow five minutes for an answer; what came later stayed for ever."""
    shop.store.engine._timeouts = Timeouts(seconds=300.0)
    await shop.faults({"method": "POST", "doctype": "Price List", "cut": "before", "times": None})
    tenant = await shop.order(NAME)
    assert await shop.rest(tenant) == [TenantState.FAILED]
    await shop.faults()
    ordered = now()
    await shop.remove(tenant)
    await shop.until_waiting(tenant, "RETRY")
    run = (await shop.record(tenant)).run
    assert run is not None
    assert run.waiting_for is not None
    assert run.waiting_for.until is not None
    assert "may still be made" in run.waiting_for.message
    assert run.waiting_for.until >= ordered + timedelta(seconds=300)


async def test_a_removal_that_stands_in_line_has_nothing_out(shop: Shop) -> None:
    """Else it would wait for minutes for its own request, whenever its worker died in line."""
    first, second = await shop.completed(NAME), await shop.completed("Patient Traders")
    await shop.faults({"method": "DELETE", "doctype": "POS Opening Entry", "hang_seconds": 600})
    await shop.remove(first)
    await shop.site.arrived("DELETE", "POS Opening Entry")
    await shop.remove(second)
    await shop.until_waiting(second, "SITE_SLOT")
    busy = "SELECT DISTINCT tenant_id FROM resources WHERE busy_until IS NOT NULL"
    assert shop.sql(busy) == [(first,)]

    shop.site.hurry()
    assert await shop.rest(first, second) == [TenantState.DEPROVISIONED] * 2
