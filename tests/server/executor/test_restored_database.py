"""The provisioner's own database is restored from a backup, while ERPNext went on."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest

from server.commands import Commands, EngineEntry, OrderTerms
from server.errors import SettingsError, StoreUnavailable
from server.model.actor import LOCAL
from server.model.blueprint import ERPNEXT
from server.model.states import TenantState
from server.store.backup import LEAP, copy_sqlite
from server.store.operations import Refusal, TenantOperation
from tests.server.executor.scene import PATIENCE_SECONDS, WHOLE, now

if TYPE_CHECKING:
    from pathlib import Path

    from server.commands import Restored
    from server.model.identifiers import TenantId
    from tests.server.executor.scene import Shop

NAME = "Kijani Stores"


def restore(shop: Shop, copy: Path) -> None:
    for suffix in ("-wal", "-shm"):
        shop.file.with_name(shop.file.name + suffix).unlink(missing_ok=True)
    shutil.copyfile(copy, shop.file)


async def settle(shop: Shop) -> Restored:
    """Do what `provisioner db restored` does, in a process that drives nothing."""
    store = await shop.open()
    commands = Commands(
        store.database,
        engines={"main": EngineEntry(site=store.engine.site, blueprint=ERPNEXT)},
        default_engine="main",
        now=now,
        adapters={"main": store.engine},
    )
    restored = await commands.after_restore(LOCAL)
    await shop.leave(store)
    return restored


async def held_up(shop: Shop) -> TenantId:
    """Order a tenant, and let the engine not answer while its first warehouse is made."""
    await shop.faults({"method": "POST", "doctype": "Warehouse", "hang_seconds": 60})
    tenant = await shop.order(NAME)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await shop.site.arrived("POST", "Warehouse")
    return tenant


async def test_a_run_that_was_open_at_the_backup_makes_nothing_twice(
    still: Shop, tmp_path: Path
) -> None:
    copy = tmp_path / "backup.db"
    first = await still.drive()
    tenant = await held_up(still)
    await asyncio.to_thread(copy_sqlite, still.file, copy)
    still.site.hurry()
    await still.must_complete(tenant)
    later = await still.completed("Made After The Backup")
    token = (await still.record(tenant)).tenant.fencing_token
    await still.leave(first)

    restore(still, copy)
    restored = await settle(still)

    assert restored.tenants == 1
    assert restored.probed == (tenant,)
    unbound = [company.name for company in restored.unbound["main"]]
    assert "Made After The Backup" in unbound
    assert NAME not in unbound
    await still.drive()
    await still.must_complete(tenant)
    assert await still.belongings(NAME) == WHOLE
    assert (await still.record(tenant)).tenant.fencing_token > token + LEAP / 2
    assert still.sql("SELECT run_order FROM runs WHERE state = 'COMPLETED'") == [("REBUILD",)]
    # The shop started after the backup is known again by a Start with its id.
    live = await still.store.database.reads.live(later)
    assert live is None


async def test_a_cancel_that_the_backup_has_is_carried_out(still: Shop, tmp_path: Path) -> None:
    """The run was replaced by one that looks at everything, and the order to stop was lost."""
    copy = tmp_path / "backup.db"
    first = await still.drive()
    tenant = await held_up(still)
    await still.commands.cancel(LOCAL, tenant, OrderTerms(reason="the customer left"))
    await asyncio.to_thread(copy_sqlite, still.file, copy)
    still.site.hurry()
    assert await still.rest(tenant) == [TenantState.CANCELLED]
    await still.leave(first)

    restore(still, copy)
    restored = await settle(still)
    assert restored.probed == (tenant,)
    asked = still.site.arrivals("POST", "Warehouse")
    await still.drive()
    assert await still.rest(tenant) == [TenantState.CANCELLED]
    assert still.site.arrivals("POST", "Warehouse") == asked


async def test_what_a_worker_knew_before_the_restore_fits_nothing(
    still: Shop, tmp_path: Path
) -> None:
    copy = tmp_path / "backup.db"
    first = await still.drive()
    tenant = await still.completed(NAME)
    await asyncio.to_thread(copy_sqlite, still.file, copy)
    await still.again(tenant)
    await still.must_complete(tenant)
    held = (await still.record(tenant)).tenant.fencing_token
    await still.leave(first)

    restore(still, copy)
    await settle(still)

    store = await still.open()
    late = await store.database.submit(TenantOperation(tenant_id=tenant, at=now(), token=held))
    assert late.refusal is Refusal.REPLACED
    assert await still.state(tenant) is TenantState.COMPLETED


async def test_a_backup_is_whole_while_the_service_writes(still: Shop, tmp_path: Path) -> None:
    await still.drive()
    tenants = [await still.order(f"Branch {number} Traders") for number in range(3)]
    size = await asyncio.to_thread(copy_sqlite, still.file, tmp_path / "backup.db")
    assert size == (tmp_path / "backup.db").stat().st_size > 0
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o600
    await still.must_complete(*tenants)


@pytest.mark.parametrize("by_link", [False, True])
def test_a_backup_writes_into_no_file_that_was_laid_in_its_way(
    tmp_path: Path, *, by_link: bool
) -> None:
    """In a folder that others may write, what has the name of a half of a backup may be theirs."""
    sqlite3.connect(tmp_path / "provisioner.db").close()
    theirs, laid = tmp_path / "theirs", tmp_path / ".backup.db.unfinished"
    theirs.touch(mode=0o666)
    if by_link:
        laid.symlink_to(theirs)
    else:
        laid.hardlink_to(theirs)
    copy_sqlite(tmp_path / "provisioner.db", tmp_path / "backup.db")
    made = (tmp_path / "backup.db").lstat()
    assert stat.filemode(made.st_mode) == "-rw-------"
    assert made.st_ino != theirs.stat().st_ino
    assert theirs.read_bytes() == b""


def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    target = tmp_path / "backup.db"
    target.write_text("precious")
    with pytest.raises(SettingsError, match="there already"):
        copy_sqlite(tmp_path / "p.db", target)
    assert target.read_text() == "precious"


def test_a_backup_of_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="could not be written"):
        copy_sqlite(tmp_path / "nowhere.db", tmp_path / "backup.db")
    assert list(tmp_path.iterdir()) == []
