"""Estimates against real runs: a stand-in as slow as ERPNext, five times faster for all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from server.commands import Commands, EngineEntry
from server.erpnext.client import Credentials, ErpNextEngine
from server.executor.executor import Executor, ExecutorOptions
from server.model.actor import LOCAL
from server.model.blueprint import ERPNEXT
from server.model.states import GateState, TenantState
from server.queries import Queries, outlook
from server.standin import latency
from server.standin.app import StandIn
from server.store.database import Database
from server.store.operations import GateOperation
from server.validation import RawSpec
from tests.support import proof
from tests.support.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from server.model.records import Record

SCALE = 0.2


def now() -> datetime:
    return datetime.now(UTC)


class Town:
    """One site, and the tenants that are made on it."""

    def __init__(self, commands: Commands, queries: Queries) -> None:
        self._commands = commands
        self._queries = queries

    async def begin(self, name: str) -> str:
        """Start a tenant, and have its status made for the answer, as the service does."""
        made: list[Record] = []
        tenant_id = await self._commands.start(
            LOCAL, RawSpec(company_name=name), tenant_id="", request_id="", made=made.append
        )
        await self._queries.status_of_new(LOCAL, made[0])
        return tenant_id

    async def estimate(self, tenant_id: str) -> tuple[datetime, datetime]:
        eta = (await self._queries.status(LOCAL, tenant_id)).eta
        assert eta is not None
        return now(), eta

    async def end(self, tenant_id: str) -> datetime:
        async def completed_at() -> datetime | None:
            status = await self._queries.status(LOCAL, tenant_id)
            if status.completed_at is not None:
                assert status.standing.state is TenantState.COMPLETED
            return status.completed_at

        return await until(completed_at)


@pytest.mark.prove
async def test_after_five_tenants_the_first_estimate_of_each_is_within_a_factor_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, write = latency.read_seconds, latency.write_seconds
    monkeypatch.setattr(latency, "read_seconds", lambda *call: read(*call) * SCALE)
    monkeypatch.setattr(latency, "write_seconds", lambda *call: write(*call) * SCALE)
    # A site five times as fast is old news five times as soon.
    for name in ("WAITING_SECONDS", "_PACES_SECONDS", "_ANEW_SECONDS"):
        monkeypatch.setattr(outlook, name, getattr(outlook, name) * SCALE)
    async with StandIn(latency="recorded") as site:
        engine = ErpNextEngine(url=site.url, credentials=Credentials(api_key="k", api_secret="s"))
        database = await Database.open(f"sqlite+aiosqlite:///{tmp_path / 'p.db'}")
        await database.register_engines(
            [GateOperation(site=engine.site, at=now(), gate=GateState.UP)]
        )
        entries = {"main": EngineEntry(site=engine.site, blueprint=ERPNEXT)}
        queries = Queries(database, engines=entries, now=now, lease_seconds=10.0)
        await queries.start()
        commands = Commands(database, engines=entries, default_engine="main", now=now)
        executor = Executor(database, {"main": engine}, now=now, options=ExecutorOptions())
        await executor.start()
        town = Town(commands, queries)
        for tenant in [await town.begin(f"Duka {number} Ltd") for number in range(5)]:
            await town.end(tenant)
        ratios = []
        for more in (1, 6):
            tenants = [await town.begin(f"Soko {more} {number} Ltd") for number in range(more)]
            said = [await town.estimate(tenant) for tenant in tenants]
            for tenant, (at, eta) in zip(tenants, said, strict=True):
                took = (await town.end(tenant) - at).total_seconds()
                ratios.append((eta - at).total_seconds() / took)
        await executor.stop()
        await queries.stop()
        await database.close()
        await engine.close()
    proof.note(estimates=len(ratios), said_to_took=f"{min(ratios):.2f} to {max(ratios):.2f}")
    assert all(0.5 <= ratio <= 2 for ratio in ratios), ratios
