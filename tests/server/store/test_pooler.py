"""Through a real pgbouncer in transaction mode: each transaction may be on another session.

Left out where pgbouncer is not installed (`tests/server/store/conftest.py` says so in the
report's header).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from server.store.database import Database
from tests.server.store.scene import Scene, creation, later
from tests.server.store.trouble import lines, said
from tests.support.pgbouncer import pooled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import URL

    from tests.support.pgbouncer import Pooler

pytestmark = pytest.mark.postgres


@pytest.fixture
async def pooler(postgres_url: URL) -> AsyncIterator[Pooler]:
    async with pooled(postgres_url) as made:
        yield made


@pytest.fixture
async def stores(pooler: Pooler) -> AsyncIterator[list[Scene]]:
    """Two processes' hands on one database behind the pooler."""
    made = [Scene(database=await Database.open(pooler.url)) for _ in range(2)]
    try:
        yield made
    finally:
        for scene in made:
            await scene.database.close()


async def test_everything_works_through_a_pooler_in_transaction_mode(
    stores: list[Scene],
) -> None:
    first, second = stores
    tenants = [await first.tenant(f"Branch {number}", log_count=0) for number in range(4)]

    async def write(scene: Scene, number: int) -> None:
        for count in range(5):
            for tenant_id in tenants:
                message = f"{number}.{count}"
                assert (await scene.submit(said(tenant_id, message))).applied
                await scene.record(tenant_id)

    await asyncio.gather(*(write(scene, at) for at, scene in enumerate(stores * 4)))
    for tenant_id in tenants:
        assert len(await lines(second, tenant_id)) == 40
    refused = await second.submit(creation("Branch 0"))
    assert not refused.applied
    await second.beat("worker")
    worker = await first.database.reads.worker("worker")
    assert worker is not None
    assert worker.is_alive(later(days=300))


async def test_a_pooler_that_dies_costs_nobody_anything(
    stores: list[Scene], pooler: Pooler
) -> None:
    scene = stores[0]
    tenant_id = await scene.tenant(log_count=0)
    writing = [asyncio.create_task(scene.submit(said(tenant_id, f"{n}"))) for n in range(10)]
    await asyncio.sleep(0)
    await pooler.kill()
    await pooler.start()
    assert all([(await task).applied for task in writing])
    assert (await scene.submit(said(tenant_id, "after"))).applied
    assert await lines(scene, tenant_id) == [*map(str, range(10)), "after"]
    # The sessions behind it have settings of their transactions only.
    told = await scene.sql("SELECT count(*) AS n FROM pg_prepared_statements")
    assert told == [{"n": 0}]
