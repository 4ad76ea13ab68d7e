"""A tenant's way through processes that die, and what must hold at its end."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.commands import Commands, EngineEntry
from server.executor.executor import Executor, ExecutorOptions
from server.model.actor import LOCAL
from server.model.blueprint import ERPNEXT
from server.model.states import GateState
from server.standin.app import StandIn
from server.store.operations import GateOperation
from server.validation import RawSpec
from tests.crash.ports import Clock, Life, MortalDatabase, MortalEngine, bury, in_life, label_tasks
from tests.server.executor.scene import (
    PATIENCE_SECONDS,
    SOON,
    TILL_USER,
    WHOLE,
    Shop,
    Store,
    check_all,
)
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from server.model.identifiers import TenantId
    from tests.crash.ports import Death, Point

NAME = "Kijani Stores"
ORDER = "signup-1"
# ERPNext makes this along with the Company: there already, and so adopted.
MADE_BY_THE_COMPANY = [("ADOPTED", "Mode of Payment Account", f"Cash / {NAME}")]


class World:
    """A site, a database file, and one process after the other."""

    def __init__(self, site: StandIn, folder: Path) -> None:
        self.site = site
        self.shop = Shop(site, folder / "provisioner.db")
        self.lives: list[Life] = []
        self.clock = Clock()
        self.acknowledged: TenantId | None = None
        self.faulty = False

    async def live(self, death: Death | None) -> Life:
        """Let one process live until it dies or the tenant stands still."""
        life = Life(death, self.clock)
        self.lives.append(life)
        store: list[Store] = []
        ending = asyncio.ensure_future(life.died.wait())
        working = asyncio.ensure_future(in_life(life, self._work(life, store)))
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.wait({ending, working}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if life.died.is_set():
            await self._bury(life, store, working)
        else:
            await working
            await self.shop.leave(store[0])
        return life

    async def _begin(self, life: Life, opened: list[Store]) -> Commands:
        """Let a process begin to drive; return what takes its orders."""
        store = await self._open(life)
        opened.append(store)
        commands = Commands(
            store.database,
            engines={"main": EngineEntry(site=store.engine.site, blueprint=ERPNEXT)},
            default_engine="main",
            now=self.clock.now,
        )
        await store.executor.start()
        return commands

    async def _work(self, life: Life, opened: list[Store]) -> None:
        commands = await self._begin(life, opened)
        tenant = await commands.start(
            LOCAL, RawSpec(company_name=NAME, till_user=TILL_USER), request_id=ORDER
        )
        if self.acknowledged is not None:
            assert tenant == self.acknowledged, "an order repeated was another order"
        self.acknowledged = tenant
        await self.shop.rest(tenant)

    async def _open(self, life: Life) -> Store:
        database = await MortalDatabase.open(f"sqlite+aiosqlite:///{self.shop.file}")
        database.live_by(life)
        engine = MortalEngine(self.site.url, life)
        await database.register_engines(
            [GateOperation(site=engine.site, at=self.clock.now(), gate=GateState.UP)]
        )
        executor = Executor(
            database,
            {"main": engine},
            now=self.clock.now,
            # On one file the next process need not wait for the lease of a dead one, and a
            # stall of the machine must not end that of a living one: it would be one death
            # more than the test has, and with a clock that was set on, a document of ours
            # that was made before its intent.
            options=ExecutorOptions(lease_seconds=30.0, drain_seconds=5.0, pacing=SOON),
        )
        store = Store(database, engine, executor)
        self.shop._watch(store)
        self.shop.stores.append(store)
        return store

    async def _bury(self, life: Life, opened: list[Store], working: asyncio.Future[Any]) -> None:
        await bury(life)
        await asyncio.gather(working, return_exceptions=True)
        for store in opened:
            self.shop.stores.remove(store)
            await store.engine.close()
            await store.database.dispose()

    async def end(self) -> None:
        """Wait for what dead processes had sent, then check every promise."""
        for life in self.lives:
            await asyncio.gather(*life.late)
        self.clock.offset = timedelta()
        await self._check()

    async def _check(self) -> None:
        store = await self.shop.open()
        try:
            tenant = self.acknowledged
            assert tenant is not None
            shop = self.shop
            assert [row[0] for row in shop.sql("SELECT state FROM tenants")] == ["COMPLETED"], (
                await shop.lines(tenant)
            )
            await check_all(shop)
            assert await shop.belongings(NAME) == WHOLE
            await self._check_once()
            assert shop.sql("SELECT DISTINCT state FROM steps") == [("COMPLETED",)]
            not_ours = shop.sql(
                "SELECT state, doctype, name FROM resources WHERE state != 'CREATED' ORDER BY 2"
            )
            assert not_ours == MADE_BY_THE_COMPANY, not_ours
            assert shop.sql("SELECT slot_tenant_id FROM engines") == [(None,)]
            assert shop.sql("SELECT id FROM attempts WHERE ended_at IS NULL") == []
            self._check_budgets()
        finally:
            await shop.leave(store)

    async def _check_once(self) -> None:
        """No document was made twice under two names either."""
        held = (await self.shop.look())["documents"]
        for doctype, usual in (("Customer", 0), ("Price List", 2)):
            names = [document["name"] for document in held[doctype]]
            assert len(names) == usual + 1, names

    def _check_budgets(self) -> None:
        """Deaths of ours cost no try: each step has its good one, and one for its fault."""
        most = 2 if self.faulty else 1
        spent = self.shop.sql("SELECT key, tries FROM steps WHERE tries > ?", most)
        assert spent == [], spent


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Give a fresh site and an empty database, gone afterwards."""
    label_tasks()
    try:
        with tempfile.TemporaryDirectory() as folder:
            async with StandIn() as site:
                made = World(site, Path(folder))
                await copied_store(made.shop.file)
                yield made
    finally:
        asyncio.get_running_loop().set_task_factory(None)


async def live_through(*deaths: Death, faults: Sequence[dict[str, Any]] = ()) -> World:
    """Let a tenant be ordered and driven by processes that die so, then by one that lives.

    Raises:
        AssertionError: a promise was broken; which, and where.
    """
    async with world() as here:
        if faults:
            here.faulty = True
            await here.shop.faults(*faults)
        for death in (*deaths, None):
            life = await here.live(death)
            if not life.died.is_set():
                break  # it came to the end before it came so far
        await here.end()
        return here


def kinds(points: Sequence[Point]) -> dict[str, int]:
    """Count points by what crosses."""
    return Counter(f"{point.port}: {point.what}" for point in points)
