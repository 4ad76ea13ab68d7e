"""Kill -9 of who drives, to its run moving again: the only process, and one of two."""

from __future__ import annotations

import asyncio
import statistics
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import asyncpg

from benchmarks.measuring import shipped_times
from benchmarks.rows import Row
from benchmarks.run import database, folder
from tests.support import postgres
from tools.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import URL

_LEASE_SECONDS = 10
_PATIENCE_SECONDS = 120


def bench(*, quick: bool) -> Iterator[Row]:
    """Kill 20 times and more; side by side on PostgreSQL, where each waits for its lease."""
    with folder() as place:
        took = asyncio.run(_restarts(place, 3 if quick else 20))
    yield _row("kill -9 of the only process to its run moving again, SQLite", took, 2.0)
    lanes, rounds = (2, 1) if quick else (7, 3)
    with postgres.cluster() as cluster, database(cluster) as url, folder() as place:
        took = asyncio.run(_takeovers(url, place, lanes, rounds))
    yield _row(
        f"kill -9 of a worker to its run moving at another, PostgreSQL, lease {_LEASE_SECONDS} s",
        took,
        _LEASE_SECONDS + 1.0,
    )


def _row(name: str, took: list[float], goal: float) -> Row:
    took = sorted(took)
    return Row(
        name=name,
        unit="s",
        ours=round(took[-1], 2),
        goal=goal,
        at_most=True,
        spread=(round(took[0], 2), round(took[-1], 2)),
        note=(
            f"{len(took)} times, the longest counts; median {statistics.median(took):.2f}; "
            + " ".join(f"{each:.2f}" for each in took)
        ),
    )


async def _restarts(place: Path, times: int) -> list[float]:
    """Kill the service in mid-run, start it, and wait for the first attempt of the new worker."""
    shop = Installation(place, settings=shipped_times())
    await shop.start_site()
    await shop.site_faults({"latency_ms": 60})
    await shop.start_server()
    took = []
    for number in range(times):
        await _order(shop, f"Branch {number} Traders")
        await asyncio.sleep(0.5)
        await shop.kill("server")
        known = {row[0] for row in shop.sql("SELECT id FROM workers")}
        began = datetime.now(UTC)
        await shop.start_server()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            while not (
                new := [
                    row[1]
                    for row in shop.sql("SELECT worker_id, started_at FROM attempts ORDER BY id")
                    if row[0] not in known
                ]
            ):
                await asyncio.sleep(0.01)
        first = datetime.fromisoformat(new[0])
        took.append((first.replace(tzinfo=first.tzinfo or UTC) - began).total_seconds())
    await shop.close()
    return took


async def _order(shop: Installation, name: str) -> None:
    code, out, err = await shop.call("start", name, "--json")
    if code != 0:
        raise RuntimeError(out + err)


async def _takeovers(url: URL, place: Path, lanes: int, rounds: int) -> list[float]:
    """Let pairs of servers on one database be killed at once, round by round."""
    site = Installation(_made(place / "site"))
    await site.start_site()
    # So slow that no run ends meanwhile.
    await site.site_faults({"latency_ms": 1500})
    settings = {
        "PROVISIONER_DATABASE_URL": url.render_as_string(hide_password=False),
        "PROVISIONER_LEASE_SECONDS": str(_LEASE_SECONDS),
    }
    driver = await asyncpg.connect(
        host=str(url.query["host"]), user=url.username, database=url.database
    )
    took: list[float] = []
    try:
        for number in range(rounds):
            victims = [
                Installation(
                    _made(place / f"{number}-{lane}"), settings=settings, site_port=site.site_port
                )
                for lane in range(lanes)
            ]
            heir = Installation(
                _made(place / f"{number}-heir"), settings=settings, site_port=site.site_port
            )
            took += await _taken_over(driver, victims, heir, number)
            await heir.close()
    finally:
        await driver.close()
        await site.close()
    return took


async def _taken_over(
    driver: asyncpg.Connection, victims: list[Installation], heir: Installation, number: int
) -> list[float]:
    await asyncio.gather(*(each.start_server() for each in victims))
    for lane, victim in enumerate(victims):
        await _order(victim, f"Branch {number}x{lane} Traders")
    await _until(driver, _DRIVEN, number, len(victims))
    await heir.start_server()
    mine = {row["worker_id"] for row in await driver.fetch(_WORKERS, f"Branch {number}x%")}
    # All at once: none of them may take over from another. Their hearts beat as they started.
    killed = time.time()
    await asyncio.gather(*(each.kill("server") for each in victims))
    rows = await _until(driver, _MOVING, number, len(victims), list(mine))
    return [row["at"].timestamp() - killed for row in rows]


_DRIVEN = """
SELECT t.id FROM tenants t JOIN attempts a ON a.tenant_id = t.id WHERE t.company_name LIKE $1
GROUP BY t.id
"""
_WORKERS = """
SELECT DISTINCT a.worker_id FROM attempts a JOIN tenants t ON t.id = a.tenant_id
WHERE t.company_name LIKE $1
"""
_MOVING = """
SELECT min(a.started_at) AS at
FROM tenants t JOIN attempts a ON a.tenant_id = t.id
WHERE t.company_name LIKE $1 AND a.worker_id <> ALL($2) GROUP BY t.company_name
"""


async def _until(
    driver: asyncpg.Connection, query: str, number: int, rows: int, *more: object
) -> list[asyncpg.Record]:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while len(found := await driver.fetch(query, f"Branch {number}x%", *more)) < rows:
            await asyncio.sleep(0.05)
    return list(found)


def _made(place: Path) -> Path:
    place.mkdir()
    return place
