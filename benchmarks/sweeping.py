"""One sweep with a hundred stuck tenants, at ten thousand, a hundred thousand and a million."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from benchmarks.rows import Row, alone
from benchmarks.run import database, folder
from reconciler.sweep import Sweeper
from server.commands import Commands, EngineEntry
from server.model.blueprint import NOOP
from server.model.states import GateState
from server.store.database import Database
from server.store.operations import GateOperation
from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection

STUCK = 100
GOAL = 1.3
_PAGE = 20_000
_SWEEPS = 5


def bench(*, quick: bool) -> Iterator[Row]:
    """Measure on both databases."""
    sizes = (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000)
    with folder() as place:
        yield from asyncio.run(_grown("SQLite", f"sqlite+aiosqlite:///{place / 'p.db'}", sizes))
    with postgres.cluster() as cluster, database(cluster) as url:
        yield from asyncio.run(_grown("PostgreSQL", url, sizes))


async def _grown(kind: str, url: str | URL, sizes: tuple[int, ...]) -> list[Row]:
    store = await Database.open(url)
    now = datetime.now(UTC)
    await store.register_engines([GateOperation(site="site", at=now, gate=GateState.UP)])
    entries = {"noop": EngineEntry(site="site", blueprint=NOOP)}
    commands = Commands(store, engines=entries, default_engine="noop", now=lambda: now)
    rows, medians = [], []
    there = 0
    try:
        for size in sizes:
            await _fill(store, there, size, now)
            there = size
            sweeper = Sweeper(store, commands, engines=entries, now=lambda: now, lease_seconds=10.0)
            took = []
            for _ in range(_SWEEPS):
                began = time.perf_counter()
                report = await sweeper.sweep(dry_run=True)
                took.append((time.perf_counter() - began) * 1000)
                if report.observed < STUCK:
                    raise RuntimeError(f"the sweep saw {report.observed} of {STUCK}")
            rows.append(alone(f"one sweep, {STUCK} stuck, {kind}, {size:,} tenants", "ms", took))
            medians.append(sorted(took)[len(took) // 2])
        rows.append(
            Row(
                name=f"a sweep's growth, {kind}, {sizes[0]:,} to {sizes[-1]:,} tenants",
                unit="times",
                ours=round(medians[-1] / medians[0], 2),
                goal=GOAL,
                at_most=True,
            )
        )
    finally:
        await store.close()
    return rows


async def _fill(store: Database, first: int, last: int, now: datetime) -> None:
    """Write finished tenants by SQL, and a hundred that stand at PARTIAL without steps."""
    for begin in range(first, last, _PAGE):
        numbers = range(begin, min(begin + _PAGE, last))

        def write(connection: Connection, numbers: range = numbers) -> None:
            connection.execute(_INSERT, [_tenant(number, now) for number in numbers])

        await store.in_transaction(write)


_INSERT = text(
    "INSERT INTO tenants (id, company_name, company_fold, spec, engine_id, site, state,"
    " current_step, steps_completed, total_steps, fencing_token, log_seq, revision, words,"
    " state_since, created_at, updated_at) VALUES (:id, :name, :name, :spec, 'noop', 'site',"
    " :state, '', 10, 10, 1, 0, 1, :name, :at, :at, :at)"
)


def _tenant(number: int, now: datetime) -> dict[str, object]:
    name = f"shop {number}"
    spec = {
        "company_name": name, "country_code": "KE", "currency": "KES", "engine_id": "noop",
        "chart_template": "Standard", "include_demo_data": False, "pos_store_enabled": True,
        "till_user": None, "payment_methods": ["Cash"], "opening_amount": 0.0,
    }  # fmt: skip
    return {
        "id": f"01900000-0000-7000-8000-{number:012d}",
        "name": name,
        "spec": json.dumps(spec),
        "state": "PARTIAL" if number < STUCK else "COMPLETED",
        "at": now - timedelta(hours=1),
    }
