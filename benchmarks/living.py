"""What it costs to run: cold start, memory and processor at idle, requests for a tenant."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import processor_seconds, resident_mb, shipped_times
from benchmarks.rows import Row, alone
from benchmarks.run import folder
from tools.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

# By then all work after a start is done.
_SETTLED_SECONDS = 1.5
_IDLE_SECONDS, _QUICK_IDLE_SECONDS = 5.0, 2.0


def bench(*, quick: bool) -> Iterator[Row]:
    """Measure on SQLite one process with all interfaces, which nobody calls.

    Args:
        quick: Whether to measure the short form: fewer starts, and a shorter look.
    """
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(folder()) for _ in range(1 if quick else 3)]
        watched = _QUICK_IDLE_SECONDS if quick else _IDLE_SECONDS
        first = asyncio.run(_starts(places, watched))
        again = asyncio.run(_starts(places, watched))
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
    """One start: how long it took to serve, and what it used while nobody called."""

    seconds: float
    megabytes: float
    percent: float


async def _starts(places: Sequence[Path], watched: float) -> list[_Start]:
    """Start several, one after another, and let them idle together, which disturbs none of them."""
    settings = {"PROVISIONER_AUTH": "on", **shipped_times()}
    shops = [Installation(place, settings=settings) for place in places]
    took = []
    for shop in shops:
        began = time.perf_counter()
        await shop.start_server("--with-reconciler")
        took.append(time.perf_counter() - began)
    await asyncio.sleep(_SETTLED_SECONDS)
    pids = [shop.processes["server"].pid for shop in shops]
    busy = [processor_seconds(pid) for pid in pids]
    await asyncio.sleep(watched)
    starts = [
        _Start(
            seconds=seconds,
            megabytes=resident_mb(pid),
            percent=(processor_seconds(pid) - before) / watched * 100,
        )
        for seconds, pid, before in zip(took, pids, busy, strict=True)
    ]
    for shop in shops:
        await shop.close()
    return starts


async def _requests(place: Path) -> list[str]:
    """Provision one tenant with its till, and return the requests that its site got."""
    shop = Installation(place)
    await shop.start_site()
    await shop.start_server()
    await asyncio.sleep(1.0)  # the prober has looked at the site
    before = (await shop.site_state())["requests"]
    code, _, err = await shop.call("start", "Baraka Stores", "--till-user", "till@example.com")
    if code != 0:
        raise RuntimeError(err)
    while shop.sql("SELECT count(*) FROM tenants WHERE state = 'IN_PROGRESS'") != [(0,)]:
        await asyncio.sleep(0.05)
    state = await shop.site_state()
    await shop.close()
    return methods_sent(before, state["requests"])


def methods_sent(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]
) -> list[str]:  # Any: JSON of the stand-in
    """Return the method of each request that a stand-in site got between two looks at its state.

    Args:
        before: `requests` of `GET /standin/state`: a row for each kind, with how many there were.
        after: The same, later.
    """
    sent: Counter[str] = Counter()
    for each in after:
        sent[str(each["method"])] += int(each["count"])
    for each in before:
        sent[str(each["method"])] -= int(each["count"])
    return list(sent.elements())


def _counted(methods: list[str]) -> str:
    return ", ".join(f"{methods.count(each)} {each}" for each in sorted(set(methods)))
