"""PostgreSQL whose rows or connections others hold: nobody waits behind what is not his."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select, text

from server.errors import StoreUnavailable
from server.model.identifiers import WorkerId
from server.model.states import GateState
from server.store import writer as store_writer
from server.store.database import Database
from server.store.locks import Locking
from server.store.operations import (
    GateOperation,
    Refusal,
    SlotFree,
    TenantOperation,
    WorkerOperation,
)
from server.store.tables import LOG_ENTRIES
from tests.server.store.scene import NOON, OTHER_SITE, SITE, Scene, logs, take
from tests.server.store.trouble import lines, outside, said

if TYPE_CHECKING:
    from sqlalchemy import URL

    from server.model.identifiers import TenantId

pytestmark = pytest.mark.postgres


async def test_readers_that_use_up_the_pool_do_not_stop_writing_nor_the_heartbeat(
    postgres_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = postgres_scene
    tenant_id = await scene.tenant()
    pool = scene.database._engine.sync_engine.pool
    monkeypatch.setattr(pool, "_timeout", 0.2)
    taken = [await scene.database._engine.connect() for _ in range(15)]
    with pytest.raises(StoreUnavailable, match="can't be read"):
        await scene.record(tenant_id)
    beat = WorkerOperation(worker_id=WorkerId("me"), at=NOON, lease_seconds=10)
    assert (await scene.submit(beat)).applied
    assert (await scene.submit(said(tenant_id, "written"))).applied
    for connection in taken:
        await connection.close()
    assert (await scene.record(tenant_id)).tenant.id == tenant_id


async def test_a_row_that_somebody_holds_stops_only_its_own_tenant(
    postgres_scene: Scene,
) -> None:
    scene = postgres_scene
    held, free = await scene.tenant("Held", log_count=0), await scene.tenant("Free", log_count=0)
    async with outside(scene) as other:
        await other.execute(text("SELECT 1 FROM tenants WHERE id = :id FOR UPDATE"), {"id": held})
        waiting = [asyncio.create_task(scene.submit(said(held, f"{n}"))) for n in range(3)]
        for number in range(20):
            assert (await scene.submit(said(free, f"{number}"))).applied
        assert not any(task.done() for task in waiting)
        await other.rollback()
    assert all([(await task).applied for task in waiting])
    assert await lines(scene, held) == ["0", "1", "2"]


async def test_who_holds_a_row_for_long_is_named_as_the_cause(
    postgres_scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = postgres_scene
    tenant_id = await scene.tenant(log_count=0)
    monkeypatch.setattr(store_writer, "_BUSY_SECONDS", 0.2)
    async with outside(scene) as other:
        await other.execute(text("SELECT 1 FROM tenants FOR UPDATE"))
        with pytest.raises(StoreUnavailable, match="pg_stat_activity"):
            await scene.submit(said(tenant_id, "never"))
    assert await lines(scene, tenant_id) == []


async def test_who_is_stopped_within_a_transaction_is_cut_off_by_the_server(
    postgres_scene: Scene,
) -> None:
    """A suspended process must not keep its locks beyond a lease."""
    question = (
        "SELECT current_setting('idle_in_transaction_session_timeout') AS idle,"
        " current_setting('lock_timeout') AS lock,"
        " current_setting('synchronous_commit') AS durable"
    )
    settings = {"idle": "5s", "lock": "2s", "durable": "on"}
    assert await postgres_scene.sql(question) == [settings]
    locking = Locking([])
    # The writer's own connection, which has settings besides.
    told = await postgres_scene.database.in_transaction(
        lambda connection: connection.execute(text(question)).mappings().one(), locking=locking
    )
    assert (dict(told), locking.locked) == (settings, [])


async def test_writers_that_change_the_same_tenants_and_sites_never_wait_for_each_other(
    postgres_url: URL,
) -> None:
    stores = [await Database.open(postgres_url) for _ in range(3)]
    scenes = [Scene(database=store) for store in stores]
    first = scenes[0]
    try:
        await first.gate(SITE)
        await first.gate(OTHER_SITE)
        tenants = [await first.tenant(f"Branch {number}", log_count=0) for number in range(6)]

        async def drive(scene: Scene, tenant_id: TenantId, site: str) -> int:
            taken = 0
            for _ in range(8):
                operation = TenantOperation(
                    tenant_id=tenant_id, at=NOON, token=1, slot=take(site=site), log=logs()
                )
                outcome = await scene.submit(operation)
                assert outcome.refusal in {None, Refusal.SLOT_BUSY}
                taken += outcome.applied
                gate = GateOperation(site=site, at=NOON, gate=GateState.UP)
                free = TenantOperation(tenant_id=tenant_id, at=NOON, slot=SlotFree(site=site))
                await asyncio.gather(scene.submit(gate), scene.submit(free))
            return taken

        taken = await asyncio.gather(
            *(
                drive(scene, tenant_id, (SITE, OTHER_SITE)[(at + number) % 2])
                for number, scene in enumerate(scenes)
                for at, tenant_id in enumerate(tenants)
            )
        )
        entries = await first.execute(select(LOG_ENTRIES.c.tenant_id))
        assert len(entries) == sum(taken) > 0
        for tenant_id in tenants:
            await lines(first, tenant_id)
        deadlocks = await first.sql(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        )
        assert deadlocks == [{"deadlocks": 0}]
    finally:
        for store in stores:
            await store.close()
