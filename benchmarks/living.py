"""What it costs to be there: cold start, memory and processor at idle, requests for a tenant."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.measuring import processor_seconds, resident_mb, shipped_times
from benchmarks.rows import Row, alone
from benchmarks.run import folder
from tools.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IDLE_SECONDS = 4.0


def bench(*, quick: bool) -> Iterator[Row]:
    """Measure on SQLite, one process with all interfaces, signed in to by nobody."""
    first: list[_Start] = []
    again: list[_Start] = []
    for _ in range(1 if quick else 3):
        with folder() as place:
            for starts in (first, again):
                starts.append(asyncio.run(_start(place)))
    for what, starts in (("empty", first), ("set up", again)):
        took = [each.seconds for each in starts]
        yield alone(f"cold start to serving, all interfaces, SQLite, {what}", "s", took, goal=1.5)
    both = (*first, *again)
    memory, idle = [each.megabytes for each in both], [each.percent for each in both]
    yield alone("memory at idle, all interfaces, SQLite", "MB", memory, goal=120.0)
    yield alone("processor at idle, all interfaces, SQLite", "% of a core", idle, goal=2.0)
    with folder() as place:
        requests = asyncio.run(_requests(place))
    yield alone(
        "requests to ERPNext for a tenant", "requests", [len(requests)], note=_counted(requests)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Start:
    """One start: how long until it served, and what it took while nobody called."""

    seconds: float
    megabytes: float
    percent: float


async def _start(place: Path) -> _Start:
    shop = Installation(place, settings={"PROVISIONER_AUTH": "on", **shipped_times()})
    began = time.perf_counter()
    await shop.start_server("--with-reconciler")
    took = time.perf_counter() - began
    await asyncio.sleep(1.5)
    pid = shop.processes["server"].pid
    busy = processor_seconds(pid)
    await asyncio.sleep(_IDLE_SECONDS)
    share = (processor_seconds(pid) - busy) / _IDLE_SECONDS * 100
    rss = resident_mb(pid)
    await shop.close()
    return _Start(seconds=took, megabytes=rss, percent=share)


async def _requests(place: Path) -> list[str]:
    """Provision one tenant with its till, and return what its site was asked."""
    shop = Installation(place)
    await shop.start_site()
    await shop.start_server()
    await asyncio.sleep(1.0)  # the prober has looked at the site
    before = len((await shop.site_state())["requests"])
    code, _, err = await shop.call("start", "Baraka Stores", "--till-user", "till@example.com")
    if code != 0:
        raise RuntimeError(err)
    while shop.sql("SELECT count(*) FROM tenants WHERE state = 'IN_PROGRESS'") != [(0,)]:
        await asyncio.sleep(0.05)
    state = await shop.site_state()
    await shop.close()
    return [str(each["method"]) for each in state["requests"][before:]]


def _counted(methods: list[str]) -> str:
    return ", ".join(f"{methods.count(each)} {each}" for each in sorted(set(methods)))
