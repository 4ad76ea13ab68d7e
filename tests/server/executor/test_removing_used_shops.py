"""A shop that sold, or whose till somebody opened, is removed only as far as it was ordered."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from server.commands import OrderTerms
from server.erpnext import site
from server.erpnext.requests import delete, make
from server.erpnext.undo.transactions import Transactions
from server.errors import Refused
from server.model.actor import LOCAL
from server.model.states import TenantState
from tests.server.executor.removals import (
    NAME,
    before_step,
    codes,
    made_by_tenant,
    refusal,
    removed,
    sell,
)
from tests.server.executor.scene import TILL_USER, WHOLE

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from tests.server.executor.scene import Shop


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
