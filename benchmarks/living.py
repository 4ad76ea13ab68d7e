"""What it costs to be there: cold start, idle memory; and kill -9 to moving again."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from benchmarks.rows import Row, alone
from benchmarks.run import folder
from tools.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Iterator


def bench(*, quick: bool) -> Iterator[Row]:
    """Measure on SQLite, one process with all interfaces."""
    starts, memory = [], []
    for _ in range(3 if quick else 7):
        with folder() as place:
            start, rss = asyncio.run(_start(place))
        starts.append(start)
        memory.append(rss)
    yield alone("cold start to serving, all interfaces, SQLite", "s", starts, goal=1.5)
    yield alone("memory at idle, all interfaces, SQLite", "MB", memory, goal=120.0)
    with folder() as place:
        took = asyncio.run(_kills(place, 3 if quick else 20))
    yield alone("kill -9 of the only process to its run moving again, SQLite", "s", took, goal=2.0)


async def _start(place: Path) -> tuple[float, float]:
    shop = Installation(place)
    began = time.perf_counter()
    await shop.start_server("--with-reconciler")
    took = time.perf_counter() - began
    async with httpx.AsyncClient() as client:
        (await client.get(f"http://127.0.0.1:{shop.http_port}/health")).raise_for_status()
    await asyncio.sleep(2)
    pid = shop.processes["server"].pid
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")  # noqa: ASYNC240 - no disk
    rss = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    await shop.close()
    return took, int(rss.split()[1]) / 1024


async def _kills(place: Path, times: int) -> list[float]:
    """Kill the service in mid-run, start it, and wait for the first attempt of the new worker."""
    shop = Installation(place)
    await shop.start_site()
    await shop.site_faults({"latency_ms": 60})
    await shop.start_server()
    took = []
    for number in range(times):
        code, out, err = await shop.call("start", f"Branch {number} Traders", "--json")
        if code != 0:
            raise RuntimeError(out + err)
        await asyncio.sleep(0.5)
        await shop.kill("server")
        known = {row[0] for row in shop.sql("SELECT id FROM workers")}
        began = datetime.now(UTC)
        await shop.start_server()
        while True:
            new = [
                row[1]
                for row in shop.sql("SELECT worker_id, started_at FROM attempts ORDER BY id")
                if row[0] not in known
            ]
            if new:
                break
            await asyncio.sleep(0.01)
        first = datetime.fromisoformat(new[0])
        took.append((first.replace(tzinfo=first.tzinfo or UTC) - began).total_seconds())
        while shop.sql("SELECT count(*) FROM tenants WHERE state = 'IN_PROGRESS'") != [(0,)]:
            await asyncio.sleep(0.05)
    await shop.close()
    return took
