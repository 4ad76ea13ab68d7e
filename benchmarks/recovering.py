"""Time from kill -9 of a driving process to its run moving again: the only process, or one of two.

Each run that counts is alone at its site: another run could move in its place, or be ahead of it in
the line for the site's slot.
"""

from __future__ import annotations

import asyncio
import statistics
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import asyncpg

from benchmarks.measuring import shipped_times
from benchmarks.rows import Row
from benchmarks.run import beside, database, folder
from clients.sdk import ProvisionerClient
from provisioner.v1.tenant_pb2 import TenantSpec
from server.settings import Settings
from tests.support import postgres
from tools.installation import Installation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from sqlalchemy import URL

_PATIENCE_SECONDS = 120
_LOOK_SECONDS = 0.02
# For each answer of the site: a run takes two seconds and is killed in the first of them.
_SLOW_MS = 60
_KILLED_AFTER_SECONDS = 0.3
# Recorded times are multiplied by it, so that each victim is waiting for its Company's answer.
_PACE = 15.0
# The time between two heartbeats, as a share of the lease.
_BEAT = 1 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt as recorded in the database.

    Attributes:
        id: Its id; they grow with time.
        worker_id: The worker that it was begun by, or last driven by.
        started_at: When it began, in UTC.
    """

    id: str
    worker_id: str
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """The kill of the worker that drove a run.

    Attributes:
        at: When the signal was sent, in UTC.
        worker_id: Who was killed.
        known: The ids of the run's attempts that had begun by then.
    """

    at: datetime
    worker_id: str
    known: frozenset[str]


def killed(at: datetime, attempts: Sequence[Attempt]) -> Kill:
    """Describe a kill, from the run's attempts at that moment, in order.

    Args:
        at: When the signal was sent, in UTC.
        attempts: The run's attempts, the latest last; at least one.
    """
    known = frozenset(each.id for each in attempts)
    return Kill(at=at, worker_id=attempts[-1].worker_id, known=known)


def seconds_to_move(kill: Kill, attempts: Sequence[Attempt]) -> float | None:
    """Return the seconds until another worker began an attempt of the run; None: not yet.

    It is not enough that an attempt is another worker's: one that waits in line for its site's slot
    began before the kill, and goes on under whoever takes over.

    Args:
        kill: The kill.
        attempts: The run's attempts now, in any order.
    """
    new = [
        each.started_at
        for each in attempts
        if each.id not in kill.known and each.worker_id != kill.worker_id
    ]
    return (min(new) - kill.at).total_seconds() if new else None


def bench(*, quick: bool) -> Iterator[Row]:
    """Kill 20 times on each database; on PostgreSQL, where each lease must end, several at once.

    Args:
        quick: Whether to measure the short form: fewer kills, and a shorter lease.
    """
    short = " (a whole run: of 20)" if quick else ""
    with folder() as place:
        took = asyncio.run(_restarts(place, 3 if quick else 20))
    yield _row("kill -9 of the only process to its run moving again, SQLite", took, 2.0, short)
    lease = 3.0 if quick else float(Settings.model_fields["lease_seconds"].default)
    lanes, rounds = (2, 1) if quick else (10, 2)
    took = []
    with postgres.cluster() as cluster:
        for _ in range(rounds):
            with (
                database(cluster) as url,
                folder() as place,
                beside("fleet_sites", "--sites", lanes, "--pace", _PACE) as sites,
            ):
                took += asyncio.run(_takeovers(url, place, sites.facts, lease))
    yield _row(
        f"kill -9 of a worker to its run moving at another, PostgreSQL, lease {lease:g} s",
        took,
        lease + 1.0,
        short,
    )


def _row(name: str, took: list[float], goal: float, short: str) -> Row:
    took = sorted(took)
    return Row(
        name=name,
        unit="s",
        ours=round(took[-1], 2),
        goal=goal,
        at_most=True,
        spread=(round(took[0], 2), round(took[-1], 2)),
        note=(
            f"{len(took)} times, the longest counts{short}; median {statistics.median(took):.2f}; "
            + " ".join(f"{each:.2f}" for each in took)
        ),
    )


async def _restarts(place: Path, times: int) -> list[float]:
    """Kill the service in mid-run and start it again, with one open run at a time."""
    shop = Installation(place, settings=shipped_times())
    took = []
    try:
        await shop.start_site()
        await shop.start_server()
        for number in range(times):
            await shop.site_faults({"latency_ms": _SLOW_MS})
            read = partial(_on_sqlite, shop, await _order(shop, f"Branch {number} Traders"))
            await _begun(read)
            await asyncio.sleep(_KILLED_AFTER_SECONDS)
            at = datetime.now(UTC)
            await shop.kill("server")
            kill = killed(at, await read())
            await shop.start_server()
            took.append(await _moved(kill, read))
            # So that the next run soon has the site to itself.
            await shop.site_faults({"latency_ms": 0})
            await _at_rest(shop)
    finally:
        await shop.close()
    return took


async def _takeovers(url: URL, place: Path, sites: list[str], lease: float) -> list[float]:
    """Kill one server for each site, beside one server that drives for all of them."""
    settings = {
        "PROVISIONER_DATABASE_URL": url.render_as_string(hide_password=False),
        "PROVISIONER_LEASE_SECONDS": str(lease),
    }
    engines = {f"site-{number}": address for number, address in enumerate(sites)}
    victims = [_server(place / name, {name: engines[name]}, settings) for name in engines]
    heir = _server(place / "heir", engines, settings)
    driver = await asyncpg.connect(
        host=str(url.query["host"]), user=url.username, database=url.database
    )
    try:
        await asyncio.gather(*(each.start_server() for each in victims))
        reads = [
            partial(_on_postgres, driver, await _order(victim, f"Branch {number} Traders"))
            for number, victim in enumerate(victims)
        ]
        for read in reads:
            await _begun(read)
        await heir.start_server()
        kills = []
        for victim, read in zip(victims, reads, strict=True):
            at = datetime.now(UTC)
            await victim.kill("server")
            kills.append(killed(at, await read()))
            # Spread over the time between two heartbeats; the first lease ends later than that.
            await asyncio.sleep(lease * _BEAT / len(victims))
        return [await _moved(kill, read) for kill, read in zip(kills, reads, strict=True)]
    finally:
        await driver.close()
        for each in (*victims, heir):
            await each.close()


def _server(place: Path, engines: dict[str, str], settings: dict[str, str]) -> Installation:
    """Prepare a server that drives runs at these sites only."""
    place.mkdir()
    made = Installation(place, settings)
    keys = 'api_key_file = "key"\napi_secret_file = "secret"\n'
    tables = [f'[engines.{name}]\nurl = "{url}"\n{keys}' for name, url in engines.items()]
    (place / "engines.toml").write_text("\n".join([f'default = "{min(engines)}"', *tables]))
    return made


async def _order(shop: Installation, name: str) -> str:
    async with ProvisionerClient(f"127.0.0.1:{shop.grpc_port}") as client:
        status = await client.start_provisioning(TenantSpec(company_name=name))
    return status.tenant_id


_ATTEMPTS = "SELECT id, worker_id, started_at FROM attempts WHERE tenant_id = {} ORDER BY id"


async def _on_sqlite(shop: Installation, tenant_id: str) -> list[Attempt]:
    return [
        Attempt(
            id=row[0],
            worker_id=row[1],
            started_at=datetime.fromisoformat(row[2]).replace(tzinfo=UTC),
        )
        for row in shop.sql(_ATTEMPTS.format("?"), tenant_id)
    ]


async def _on_postgres(driver: asyncpg.Connection, tenant_id: str) -> list[Attempt]:
    return [Attempt(**row) for row in await driver.fetch(_ATTEMPTS.format("$1"), tenant_id)]


async def _begun(read: Callable[[], Awaitable[Sequence[Attempt]]]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not await read():
            await asyncio.sleep(_LOOK_SECONDS)


async def _moved(kill: Kill, read: Callable[[], Awaitable[Sequence[Attempt]]]) -> float:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while (took := seconds_to_move(kill, await read())) is None:
            await asyncio.sleep(_LOOK_SECONDS)
    return took


async def _at_rest(shop: Installation) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while shop.sql("SELECT id FROM tenants WHERE state = 'IN_PROGRESS'"):
            await asyncio.sleep(_LOOK_SECONDS)
