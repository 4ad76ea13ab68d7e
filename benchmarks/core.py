"""Throughput of the core: ten-step no-op tenants a second, beside DBOS Transact."""

from __future__ import annotations

import itertools
import statistics
from typing import TYPE_CHECKING

from sqlalchemy import make_url

from benchmarks.rows import Row, alone, compared
from benchmarks.run import ours, theirs
from benchmarks.shelf import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.shelf import Shelf

GOALS = {"SQLite": 15.0, "PostgreSQL": 12.0}
# The goal is set for 64 open runs; the others show how the rate grows.
AT_ONCE = (1, 8, 16, 64, 512)
_MEASURED = 64
# The last round measures only the row that has the goal, to save time.
_ROUNDS: list[tuple[int, ...]] = [AT_ONCE, AT_ONCE, (_MEASURED,)]
_QUICK_ROUNDS: list[tuple[int, ...]] = [(_MEASURED,)]
_DBOS_ROUNDS = 2
# The rate may fall to this share when there are more tenants, or more open runs than 64.
FLAT = 1 / 1.5


def bench(shelf: Shelf, *, quick: bool) -> Iterator[Row]:
    """Measure on both databases.

    Args:
        shelf: The databases of the run; tenants are added to the filled ones.
        quick: Whether to measure the short form: fewer rounds and smaller tables.

    Yields:
        Each row as soon as it is measured; rates are tenants, workflows or jobs a second.
    """
    for kind in KINDS:
        yield from _measured(shelf, kind, quick=quick)
        yield from _grown(shelf, kind, quick=quick)
        yield _counted(shelf, kind, quick=quick)
    yield _queue(shelf, quick=quick)


def _measured(shelf: Shelf, kind: str, *, quick: bool) -> Iterator[Row]:
    mine, dbos = _in_turn(shelf, kind, quick=quick)
    name, best = max(dbos.items(), key=lambda item: statistics.median(item[1]))
    for open_runs, rates in mine.items():
        yield compared(
            f"no-op tenants, {kind}, {open_runs} open, over gRPC",
            "tenants/s",
            rates,
            best,
            goal=GOALS[kind] if open_runs == _MEASURED else None,
            note=f"theirs is {name}, the best of DBOS" if open_runs == _MEASURED else "",
        )
    for setting, rates in dbos.items():
        if setting != name:
            yield compared(
                f"{setting}, beside {name}", "workflows/s", rates, best, goal=None, note="both DBOS"
            )
    if not quick:
        yield compared(
            f"no-op tenants, {kind}, {_MEASURED} open, ordered in process",
            "tenants/s",
            [_rate(shelf.empty(kind), _MEASURED, "--in-process", quick=quick)],
            best,
            goal=None,
            note="as DBOS's workflows are",
        )
        yield compared(
            f"no-op tenants, {kind}, {AT_ONCE[-1]} open beside {_MEASURED}",
            "tenants/s",
            mine[AT_ONCE[-1]],
            mine[_MEASURED],
            goal=FLAT,
            note="both ours",
        )


def _in_turn(
    shelf: Shelf, kind: str, *, quick: bool
) -> tuple[dict[int, list[float]], dict[str, list[float]]]:
    """Return our rates by open runs, and those of DBOS by its set-up."""
    dbos: dict[str, list[float]] = {}
    mine: dict[int, list[float]] = {}
    for number, shown in enumerate(_QUICK_ROUNDS if quick else _ROUNDS):
        if number < _DBOS_ROUNDS:
            for setting, rate in _dbos(shelf, kind, quick=quick):
                dbos.setdefault(setting, []).append(rate)
        for open_runs in shown:
            rate = _rate(shelf.empty(kind), open_runs, quick=quick)
            mine.setdefault(open_runs, []).append(rate)
    return mine, dbos


def _counted(shelf: Shelf, kind: str, *, quick: bool) -> Row:
    """Count the statements for tenants that are ordered over gRPC."""
    given = ("--tenants", 100 if quick else 200, "--open", _MEASURED, "--count")
    counted = ours("core_ours", "--url", shelf.empty(kind), *given)
    return alone(
        f"database statements a step, {kind}, {_MEASURED} open",
        "statements",
        [counted["statements"] / 10],
        note="of the whole process, for a tenant of ten steps, divided by ten; transactions too",
    )


def _grown(shelf: Shelf, kind: str, *, quick: bool) -> Iterator[Row]:
    """Measure with many tenants already there, in alternating rounds."""
    sizes = (0, 20_000) if quick else (0, 100_000, 1_000_000)
    urls = {size: shelf.filled(kind, size) if size else shelf.empty(kind) for size in sizes}
    rates: dict[int, list[float]] = {size: [] for size in sizes}
    for _, size in itertools.product(range(1 if quick else 2), sizes):
        rates[size].append(_rate(urls[size], _MEASURED, quick=quick))
    for size in sizes[1:]:
        yield compared(
            f"no-op tenants, {kind}, {size:,} tenants already there beside none",
            "tenants/s",
            rates[size],
            rates[0],
            goal=FLAT,
            note="both ours",
        )


def _queue(shelf: Shelf, *, quick: bool) -> Row:
    """Measure a plain queue, for comparison: its job is one statement, a tenant a whole record."""
    url = make_url(shelf.theirs("PostgreSQL")).set(drivername="postgresql")
    text = url.render_as_string(hide_password=False)
    got = theirs("core_procrastinate", "--url", text, "--jobs", 200 if quick else 800)
    return Row(
        name="procrastinate, a plain queue for scale, PostgreSQL: jobs that do nothing",
        unit="jobs/s",
        ours=round(float(got["rate"]), 2),
        note="deferred one by one, 64 at once; a step of ours is an attempt, a job is one row",
    )


def _rate(url: str, open_runs: int, *more: str, quick: bool) -> float:
    tenants = max(60, min(open_runs * 6, 768)) // (4 if quick else 1)
    got = ours("core_ours", "--url", url, "--tenants", tenants, "--open", open_runs, *more)
    return float(got["rate"])


def _dbos(shelf: Shelf, kind: str, *, quick: bool) -> Iterator[tuple[str, float]]:
    """Measure DBOS as shipped, and on SQLite with WAL, which it does not switch on by itself."""
    arguments = ("--tenants", 40 if quick else 120, "--open", 8)
    url = shelf.theirs(kind)
    got = theirs("core_dbos", "--url", url, *arguments)
    yield f"DBOS on {kind} as shipped", float(got["rate"])
    if kind == "SQLite":
        url = shelf.theirs(kind)
        file = make_url(url).database
        got = theirs("core_dbos", "--url", url, "--wal", file, *arguments)
        yield "DBOS on SQLite with WAL", float(got["rate"])
