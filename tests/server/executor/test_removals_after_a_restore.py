"""The database is restored to a time before tenants were removed and their names used again.

The record still has the documents of the removed ones, and others of the same names have been made
since: by the same user, because ours makes those of all tenants.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from server.commands import OrderTerms
from server.erpnext.undo.removing import RemoveDocuments
from server.model.actor import LOCAL
from server.model.states import ResourceState, TenantState
from server.restored import as_facts, as_text
from server.store.backup import copy_sqlite
from server.store.columns import time_text
from server.validation import RawSpec
from tests.server.executor.removals import before_step, removed
from tests.server.executor.scene import TILL_USER, WHOLE, now
from tests.server.executor.test_restored_database import restore, settle

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from server.commands import Restored
    from server.model.identifiers import TenantId
    from tests.server.executor.scene import Shop

# Of the same initials, and so of the same abbreviation once the first one is gone.
FIRST, SECOND = "Kijani Stores", "Kilima Stores"
BEARERS = {"Walk-In Customer - KS", "Retail KS", "POS KS"}


async def bearers(shop: Shop) -> set[str]:
    """Return what bears the abbreviation and does not go with a Company."""
    held = (await shop.look())["documents"]
    doctypes = ("Customer", "Price List", "POS Profile")
    return {each["name"] for doctype in doctypes for each in held.get(doctype, [])} & BEARERS


async def restored(shop: Shop, copy: Path, *, hours: int = 1) -> Restored:
    """Restore a backup as if it were that old, and let a process drive on it."""
    await shop.leave(shop.store)
    restore(shop, copy)
    if hours:
        at = time_text(now() - timedelta(hours=hours))
        shop.sql("UPDATE tenants SET updated_at = ?", at)
        shop.sql("UPDATE workers SET heartbeat_at = ?", at)
        shop.sql("UPDATE resources SET intended_at = ?", at)
        shop.sql("UPDATE resources SET settled_at = ? WHERE settled_at IS NOT NULL", at)
    # Who repeats it does not move the moment of the backup.
    await settle(shop)
    told = await settle(shop)
    await shop.drive()
    return told


async def replaced_since(shop: Shop, copy: Path, name: str) -> tuple[TenantId, Restored]:
    """Return a tenant whose place another one has taken since the backup, and what was told."""
    first = await shop.completed(FIRST)
    await asyncio.to_thread(copy_sqlite, shop.file, copy)
    await removed(shop, first)
    await shop.completed(name)
    return first, await restored(shop, copy)


async def must_leave_all(shop: Shop, name: str) -> None:
    assert await shop.belongings(name) == WHOLE
    assert await bearers(shop) == BEARERS


async def test_a_removal_given_again_leaves_who_has_the_abbreviation_since(
    shop: Shop, tmp_path: Path
) -> None:
    """It was said to be the removed one, renamed, so that its binding was never free again."""
    first, told = await replaced_since(shop, tmp_path / "backup.db", SECOND)
    assert [(each.tenant_id, each.name) for each in told.gone["main"]] == [(first, FIRST)]
    assert told.made_anew == {"main": ()}
    assert SECOND in {each.name for each in told.unbound["main"]}
    assert "are gone. Tenants that were removed after the backup are among them" in as_text(told)
    foretold = await shop.commands.foreseen(LOCAL, first)
    assert {each.name for each in foretold if each.removed} & BEARERS == set()
    await removed(shop, first)
    await must_leave_all(shop, SECOND)
    # The second one is known again, and its Company is adopted.
    second = await shop.order(SECOND)
    assert await shop.rest(second) == [TenantState.FAILED]
    await shop.commands.adopt_company(LOCAL, second, OrderTerms(reason="made after the backup"))
    await shop.must_complete(second)
    await must_leave_all(shop, SECOND)


async def test_a_restore_that_is_settled_once_more_later_forgets_no_moment(
    shop: Shop, tmp_path: Path
) -> None:
    """Servers have run since: from here it looks as if the database was restored a second time."""
    first, _ = await replaced_since(shop, tmp_path / "backup.db", SECOND)
    await shop.leave(shop.store)
    await settle(shop)
    await shop.drive()
    await removed(shop, first)
    await must_leave_all(shop, SECOND)


async def test_a_removal_given_again_leaves_who_has_the_company_name_since(
    shop: Shop, tmp_path: Path
) -> None:
    """As where a tenant was ordered with the wrong currency: it was removed with its books."""
    first, told = await replaced_since(shop, tmp_path / "backup.db", FIRST)
    assert told.gone == {"main": ()}
    assert [(each.tenant_id, each.name) for each in told.made_anew["main"]] == [(first, FIRST)]
    assert "in place of those on record: by another tenant" in as_text(told)
    assert as_facts(told)["companies_made_anew"] == {"main": [{"tenant_id": first, "name": FIRST}]}
    foretold = await shop.commands.foreseen(LOCAL, first)
    assert [each.name for each in foretold if each.removed] == []
    await removed(shop, first)
    await must_leave_all(shop, FIRST)
    state = "SELECT state FROM resources WHERE doctype = 'Company' AND tenant_id = ?"
    assert shop.sql(state, first) == [(ResourceState.ADOPTED,)]
    # If it was the same tenant's next life, that takes over what is there.
    raw = RawSpec(company_name=FIRST, till_user=TILL_USER)
    assert await shop.commands.start(LOCAL, raw, tenant_id=first) == first
    await shop.must_complete(first)
    await must_leave_all(shop, FIRST)


async def test_a_removal_that_was_under_way_leaves_what_was_made_since(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first steps, which look whose all of it is, were done before the backup."""
    copy = tmp_path / "backup.db"
    first = await shop.completed(FIRST)

    async def back_up() -> None:
        await asyncio.to_thread(copy_sqlite, shop.file, copy)

    before_step(monkeypatch, RemoveDocuments, back_up)
    await removed(shop, first)
    await shop.completed(SECOND)
    await restored(shop, copy)
    assert await shop.rest(first) == [TenantState.DEPROVISIONED]
    await must_leave_all(shop, SECOND)


async def test_a_removal_after_a_restore_takes_all_that_the_record_knows(
    shop: Shop, tmp_path: Path
) -> None:
    copy = tmp_path / "backup.db"
    first = await shop.completed(FIRST)
    await asyncio.to_thread(copy_sqlite, shop.file, copy)
    told = await restored(shop, copy, hours=0)
    assert (told.gone, told.made_anew) == ({"main": ()}, {"main": ()})
    later = await shop.completed(SECOND)
    await removed(shop, first)
    assert await bearers(shop) == set()
    await removed(shop, later)
    assert await shop.belongings(SECOND) == {}
