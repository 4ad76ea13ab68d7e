"""What must not grow with the number of tenants: one sweep, one look for work, one page of a list.

A hundred tenants are stuck at every size.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc.aio
from google.protobuf.duration_pb2 import Duration

from benchmarks.filled import STUCK, WORDS, opened
from benchmarks.rows import Row, alone
from benchmarks.run import folder
from benchmarks.serving import our_server
from benchmarks.shelf import KINDS
from provisioner.v1 import listing_pb2, tenant_pb2
from provisioner.v1 import provisioning_pb2 as pb
from provisioner.v1.provisioning_pb2_grpc import ProvisioningServiceStub
from reconciler.observe import ROUND
from reconciler.sweep import Sweeper
from server.commands import Commands, EngineEntry
from server.model.blueprint import NOOP
from server.model.identifiers import WorkerId
from server.model.states import GateState
from server.store.database import Database
from server.store.due import DueAsked
from server.store.operations import GateOperation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.run import Program
    from benchmarks.shelf import Shelf

GOAL = 1.3
_SWEEPS, _LOOKS = 7, 60
_PLACES = 64
_LIST_MS = 20.0


def bench(shelf: Shelf, *, quick: bool) -> Iterator[Row]:
    """Measure on both databases.

    Args:
        shelf: The databases of the run; they must be as `filled` wrote them.
        quick: Whether to measure the short form: smaller tables and fewer pages.
    """
    sizes = (5_000, 20_000) if quick else (10_000, 100_000, 1_000_000)
    shelf.fill(sizes)
    for kind in KINDS:
        urls = {size: shelf.filled(kind, size) for size in sizes}
        yield from asyncio.run(_swept(kind, urls))
        yield from asyncio.run(_claimed(kind, urls))
        yield from _listed(kind, urls[sizes[-1]], sizes[-1], quick=quick)


async def _swept(kind: str, urls: dict[int, str]) -> list[Row]:
    """Sweep databases of several sizes in alternating rounds."""
    async with contextlib.AsyncExitStack() as stack:
        sweepers: dict[int, Sweeper] = {}
        for size, url in urls.items():
            store = await Database.open(url)
            stack.push_async_callback(store.close)
            sweepers[size] = await _sweeper(store)
        took: dict[int, list[float]] = {size: [] for size in sweepers}
        for number, (size, sweeper) in itertools.product(range(_SWEEPS + 1), sweepers.items()):
            began = time.perf_counter()
            report = await sweeper.sweep(dry_run=True)
            # The check of all tenants, some in each sweep, begins with the stuck ones.
            if not STUCK <= report.observed <= STUCK + ROUND:
                raise RuntimeError(f"the sweep saw {report.observed} of {STUCK}")
            if number:  # the first one compiles its statements
                took[size].append((time.perf_counter() - began) * 1000)
    return _grown(f"one sweep, {STUCK} stuck", "a sweep's growth", kind, took)


async def _claimed(kind: str, urls: dict[int, str]) -> list[Row]:
    """Look for runs to claim in databases of several sizes, as a worker with free capacity does."""
    async with contextlib.AsyncExitStack() as stack:
        stores: dict[int, Database] = {}
        for size, url in urls.items():
            stores[size] = await Database.open(url)
            stack.push_async_callback(stores[size].close)
            await stack.enter_async_context(opened(stores[size]))
        took: dict[int, list[float]] = {size: [] for size in stores}
        for number, (size, store) in itertools.product(range(_LOOKS + 1), stores.items()):
            asked = DueAsked(
                now=datetime.now(UTC),
                worker_id=WorkerId("nobody"),
                alone=kind == "SQLite",
                sites={"site"},
                driving=(),
                horizon=timedelta(hours=1),
                limit=_PLACES,
            )
            began = time.perf_counter()
            found = await store.reads.due_runs(asked)
            if len(found) != _PLACES:
                raise RuntimeError(f"the look saw {len(found)} of {STUCK} open runs")
            if number:  # the first one compiles its statement
                took[size].append((time.perf_counter() - began) * 1000)
    return _grown(f"one look for runs to claim, {STUCK} open", "such a look's growth", kind, took)


def _grown(name: str, growth: str, kind: str, took: dict[int, list[float]]) -> list[Row]:
    """Make a row for each size, and one for the growth from the first to the last."""
    rows = [alone(f"{name}, {kind}, {size:,} tenants", "ms", times) for size, times in took.items()]
    first, *_, last = took
    grown = [one / other for one, other in zip(took[last], took[first], strict=True)]
    title = f"{growth}, {kind}, {first:,} to {last:,} tenants"
    return [*rows, alone(title, "times", grown, goal=GOAL)]


async def _sweeper(store: Database) -> Sweeper:
    now = datetime.now(UTC)
    await store.register_engines([GateOperation(site="site", at=now, gate=GateState.UP)])
    entries = {"noop": EngineEntry(site="site", blueprint=NOOP)}
    commands = Commands(store, engines=entries, default_engine="noop", now=lambda: now)
    return Sweeper(store, commands, engines=entries, now=lambda: now, lease_seconds=10.0)


def _listed(kind: str, url: str, size: int, *, quick: bool) -> Iterator[Row]:
    """List over gRPC, with authentication: every filter in every order, first and later pages."""
    with folder() as place, our_server(url, place, "--tenants", 0) as shop:
        took = asyncio.run(_calls(shop, 1 if quick else 2))
    times = sorted(each for _, each in took)
    slowest = max(took, key=lambda each: each[1])
    yield alone(
        f"ListTenants, any filter, any page, {kind}, {size:,} tenants: p99",
        "ms",
        [times[int(len(times) * 0.99)]],
        goal=_LIST_MS,
        note=(
            f"{len(times)} calls; p50 {times[len(times) // 2]:.1f} ms, "
            f"longest {slowest[1]:.1f} ms ({slowest[0]})"
        ),
    )


_FILTERS: dict[str, dict[str, Any]] = {
    "no filter": {},
    "a state": {"states": [tenant_pb2.TENANT_STATE_COMPLETED]},
    "an engine": {"engine_id": "second"},
    "a common word": {"text": WORDS[0]},
    "a rare text": {"text": f"{WORDS[0]} 5005"},
    "held": {"held": True},
    "held, of an engine": {"held": True, "engine_id": "second"},
    "stuck": {"stuck_longer_than": Duration(seconds=3600)},
    "nothing fits": {"text": "nobody"},
}
_ORDERS = [each for each in listing_pb2.ListOrder.values() if each]


async def _calls(shop: Program, rounds: int) -> list[tuple[str, float]]:
    """List the first three pages of every filter in every order."""
    metadata = (("authorization", f"Bearer {shop.facts['token']}"),)
    took: list[tuple[str, float]] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{shop.facts['port']}") as channel:
        stub: Any = ProvisioningServiceStub(channel)  # the stubs are typed for synchronous calls
        for number, (name, filters), order in itertools.product(
            range(rounds + 1), _FILTERS.items(), _ORDERS
        ):
            request = pb.ListTenantsRequest(**filters, order_by=order, page_size=50)
            for _ in range(3):
                began = time.perf_counter()
                page = await stub.ListTenants(request, metadata=metadata)
                if number:  # the first round compiles the statements and warms the pages
                    took.append((name, (time.perf_counter() - began) * 1000))
                if not page.next_page_token:
                    break
                request.page_token = page.next_page_token
    return took
