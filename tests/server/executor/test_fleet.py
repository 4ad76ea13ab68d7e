"""Many tenants on few sites with a real ERPNext's times: no deadlock of ours, in fair order.

The short form runs in `make test`, the full one in `make prove`. Each prints how its time
compares with the bound that one Company at a time a site allows.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from server.commands import Commands, EngineEntry
from server.erpnext.client import Credentials, ErpNextEngine
from server.executor.executor import Executor, ExecutorOptions
from server.model.actor import LOCAL
from server.model.blueprint import ERPNEXT
from server.model.states import OPEN_RUN_STATES, GateState, TenantState
from server.standin import latency
from server.standin.app import StandIn
from server.store.database import Database
from server.store.operations import GateOperation
from server.validation import RawSpec
from tests.support.site import look
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from pathlib import Path

    from server.model.identifiers import TenantId
    from server.store.operations import Outcome, TenantOperation

TREES = {"Company", "Warehouse", "Account", "frappe.client.insert"}


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine must not make a tenant late for its turn."""
    monkeypatch.setattr("server.executor.line.COMING_SECONDS", 60.0)


class Done:
    """Hears which tenants are done: to ask for them all again and again would cost more."""

    def __init__(self, tenants: int) -> None:
        self.all = asyncio.Event()
        self._left = tenants

    def heard(self, operation: TenantOperation, _outcome: Outcome) -> None:
        self._left -= sum(row.run.state not in OPEN_RUN_STATES for row in operation.runs)
        if self._left == 0:
            self.all.set()


async def provision(folder: Path, *, tenants: int, sites: int, pace: float, most: float) -> None:
    async with AsyncExitStack() as stack:
        standins = [
            await stack.enter_async_context(
                StandIn(latency="recorded", pace=pace, site=f"site-{number}.local")
            )
            for number in range(sites)
        ]
        database = await Database.open(await copied_store(folder / "provisioner.db"))
        stack.push_async_callback(database.close)
        engines = {
            f"site-{number}": ErpNextEngine(
                url=standin.url, credentials=Credentials(api_key="key", api_secret="secret")
            )
            for number, standin in enumerate(standins)
        }
        for engine in engines.values():
            stack.push_async_callback(engine.close)
        await database.register_engines(
            [
                GateOperation(site=each.site, at=now(), gate=GateState.UP)
                for each in engines.values()
            ]
        )
        # Fewer places than tenants of one site: who waits for a slot must not keep one.
        executor = Executor(database, engines, now=now, options=ExecutorOptions(max_runs=8))
        commands = Commands(
            database,
            engines={
                name: EngineEntry(site=each.site, blueprint=ERPNEXT)
                for name, each in engines.items()
            },
            default_engine="site-0",
            now=now,
        )
        ordered: list[TenantId] = []
        # All of one site first: the other sites must not wait behind them.
        for site in range(sites):
            for number in range(tenants // sites):
                spec = RawSpec(company_name=f"Branch {site}-{number:03}", engine_id=f"site-{site}")
                ordered.append(await commands.start(LOCAL, spec))
        done = Done(tenants)
        database.on_applied(done.heard)
        began, cpu = time.monotonic(), time.process_time()
        await executor.start()
        stack.push_async_callback(executor.stop)
        async with asyncio.timeout(most):
            await done.all.wait()
        took, cpu = time.monotonic() - began, time.process_time() - cpu
        records = await database.reads.records(ordered)
        assert {record.tenant.state for record in records} == {TenantState.COMPLETED}
        assert {step.tries for record in records for step in record.steps} == {1}
        bound = pace * sum(
            latency.write_seconds("POST", "Company", 1 + number)
            for number in range(tenants // sites)
        )
        print(
            f"{tenants} tenants, {sites} sites: {took:.1f} s, {took / bound:.2f} times the bound, "
            f"{cpu:.0f} s of processor time, the sites' included"
        )
        for standin in standins:
            await _check(standin, tenants // sites)


async def _check(standin: StandIn, tenants: int) -> None:
    state = await look(standin.url)
    refused = [
        row
        for row in state["requests"]
        if row["method"] == "POST" and row["doctype"] in TREES and row["status"] >= 400
    ]
    assert refused == [], "no deadlock of ours"
    ours = [each["name"] for each in state["documents"]["Company"] if "Branch" in each["name"]]
    assert len(ours) == len(set(ours)) == tenants
    assert ours == sorted(ours), "who was ordered first goes first"


async def test_a_small_fleet_on_two_sites(tmp_path: Path) -> None:
    await provision(tmp_path, tenants=16, sites=2, pace=0.05, most=120)


@pytest.mark.prove
async def test_two_hundred_tenants_on_four_sites(tmp_path: Path) -> None:
    await provision(tmp_path, tenants=200, sites=4, pace=0.25, most=300)
