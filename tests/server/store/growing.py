"""Fills a store with what is over, and counts the work of a read: never its time."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from server.model.states import GateState
from server.store.tables import (
    BINDINGS,
    ENGINES,
    FINDINGS,
    HERDS,
    RUNS,
    STEPS,
    SWEEPS,
    TENANTS,
    WORKERS,
)
from tests.server.store.sent import statements_sent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Connection

    from server.store.database import Database

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
SITE = "site"
# As many of what is open, held or stuck, however many are done.
OPEN = 10

_WORDS = ("SELECT", "UPDATE", "DELETE", "INSERT")


def at(number: int) -> datetime:
    """Return when the tenant of a number was done, found, and looked at."""
    return NOON + timedelta(seconds=10 * number)


def tenant(number: int) -> str:
    return f"tenant {number:06}"


async def fill(store: Database, first: int, last: int) -> None:
    """Add tenants of these numbers that are done, one in ten failed and put off to a later look.

    The first of all are held, and have an open finding of one herd each.
    """
    numbers = range(first, last)

    def write(connection: Connection) -> None:
        for table, row in _ROWS.items():
            connection.execute(table.insert(), [row(number) for number in numbers])
        if first == 0:
            opened = [*map(_open, range(OPEN)), _HERDS]
            connection.execute(FINDINGS.insert(), opened)
            connection.execute(HERDS.insert(), [_HERD])
            connection.execute(ENGINES.insert(), [_ENGINE])
            connection.execute(WORKERS.insert(), [_worker(1), _worker(2)])

    await store.in_transaction(write)
    await _analysed(store)


async def more_runs(store: Database, count: int) -> None:
    """Add runs of the first tenant, each of which passed its Company."""
    runs = [_run(0) | {"id": f"older {number:06}", "state": "FAILED"} for number in range(count)]
    steps = [_step(str(run["id"])) for run in runs]

    def write(connection: Connection) -> None:
        connection.execute(RUNS.insert(), runs)
        connection.execute(STEPS.insert(), steps)

    await store.in_transaction(write)
    await _analysed(store)


async def _analysed(store: Database) -> None:
    """Do what autovacuum may do at any moment; nobody does it to an SQLite file."""
    if not store.is_sqlite:
        await store.in_transaction(lambda connection: connection.execute(text("ANALYZE")))


async def work_of(store: Database, call: Callable[[], Awaitable[object]]) -> int:
    """Return the work of what a call sends: steps of SQLite's machine, or PostgreSQL's pages.

    It is sent once more for that, and taken back.
    """
    with statements_sent() as every:
        await call()
    sent = [
        (statement, parameters)
        for statement, parameters in every
        if statement.lstrip().startswith(_WORDS) and "set_config" not in statement
    ]
    assert sent
    if store.is_sqlite:
        return _steps(store.url.database or "", sent)
    return sum([await _pages(store, *each) for each in sent])


def _steps(path: str, sent: list[tuple[str, tuple[Any, ...]]]) -> int:
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN")
    connection.set_progress_handler(step, 1)
    for statement, parameters in sent:
        connection.execute(statement, parameters).fetchall()
    connection.set_progress_handler(None, 0)
    connection.execute("ROLLBACK")
    connection.close()
    return steps


async def _pages(store: Database, statement: str, parameters: tuple[Any, ...]) -> int:
    async with store._engine.connect() as connection:
        how = "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)"
        said = (await connection.exec_driver_sql(f"{how} {statement}", parameters)).scalar_one()
        await connection.rollback()
    ((plan,),) = ((json.loads(said) if isinstance(said, str) else said),)
    pages: int = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    return pages


def _tenant(number: int) -> dict[str, Any]:
    held, failed = number < OPEN, number % 10 == 3 or number < OPEN
    return {
        "id": tenant(number),
        "company_name": f"Shop {number}",
        "company_fold": f"shop {number}",
        "spec": "{}",
        "engine_id": "main",
        "site": SITE,
        "state": "FAILED" if failed else "COMPLETED",
        "error_code": "COMPANY_VANISHED" if failed else None,
        "run_id": f"run {number:06}",
        "fencing_token": 1,
        "log_seq": 0,
        "revision": 1,
        "hold_reason": "It is gone." if held else None,
        "hold_by": "run" if held else None,
        "hold_since": NOON if held else None,
        "look_at": NEVER if failed else None,
        "created_at": at(number),
        "updated_at": at(number),
        "state_since": at(number),
        "unsettled_since": at(number) if failed else None,
    }


def _run(number: int) -> dict[str, Any]:
    return {
        "id": f"run {number:06}",
        "tenant_id": tenant(number),
        "site": SITE,
        "run_order": "START",
        "blueprint": "noop",
        "blueprint_version": 1,
        "state": "FAILED" if number % 10 == 3 else "COMPLETED",
        "total_steps": 1,
        "due_at": at(number),
        "token": 1,
        "worker_id": "worker of now",
        "actor": "ops",
        "reason": "",
        "previous_state": "PENDING",
        "options": "{}",
        "created_at": at(number),
        "finished_at": at(number),
    }


def _step(run_id: str) -> dict[str, Any]:
    return {
        "run_id": run_id,
        "key": "step_2_company",
        "tenant_id": tenant(0),
        "position": 2,
        "required": True,
        "state": "COMPLETED",
        "adopted": False,
        "tries": 1,
        "races": 0,
        "losses": 0,
        "outputs": "{}",
        "note": "",
    }


def _binding(number: int) -> dict[str, Any]:
    return {
        "tenant_id": tenant(number),
        "site": SITE,
        "company_name": f"Shop {number}",
        "company_fold": f"shop {number}",
        "abbreviation": f"S{number}",
        "abbreviation_fold": f"s{number}",
        "created_at": at(number),
    }


def _sweep(number: int) -> dict[str, Any]:
    return {
        "id": f"sweep {number:06}",
        "started_at": at(number),
        "finished_at": at(number),
        "observed": 1,
        "acted": 1,
        "skipped_passes": 0,
    }


def _finding(number: int) -> dict[str, Any]:
    """One that ended soon, every fourth of a herd that was over long ago."""
    return {
        "id": f"finding {number:06}",
        "sweep_id": f"sweep {number:06}",
        "tenant_id": tenant(number),
        "revision": 1,
        "cause": "DRIFT" if number % 5 == 0 else "PERMANENT_ERROR",
        "severity": "MOVING",
        "message": "It stopped.",
        "evidence": "{}",
        "verdict": "DRIVE_ON",
        "outcome": "ORDERED",
        "found_at": at(number),
        "fingerprint": "old",
        "herd_id": "old" if number % 4 == 0 else None,
        "tenants": 1,
        "ended_at": at(number + 1),
        "ended_as": "HEALED",
    }


_ROWS = {
    TENANTS: _tenant,
    RUNS: _run,
    BINDINGS: _binding,
    SWEEPS: _sweep,
    FINDINGS: _finding,
}


def _open(number: int) -> dict[str, Any]:
    ended = {"ended_at": None, "ended_as": None}
    ours = {"id": f"open {number}", "fingerprint": "f", "herd_id": "herd"}
    return _finding(number) | ended | ours


_HERDS = _open(0) | {"id": "herd", "herd_id": None, "cause": "HERD"}
_HERD = {
    "fingerprint": "f",
    "finding_id": "herd",
    "tenants": OPEN,
    "opened_at": NOON,
    "tries": 0,
}
_ENGINE = {
    "site": SITE,
    "gate": GateState.UP.value,
    "gate_code": "",
    "gate_message": "",
    "gate_since": NOON,
}


def _worker(number: int) -> dict[str, Any]:
    """One that ended long ago."""
    before = NOON - timedelta(days=30)
    return {
        "id": f"worker {number}",
        "started_at": before,
        "heartbeat_at": before,
        "lease_seconds": 10.0,
        "stopped_at": before,
    }
