"""Throughput of the core: ten-step no-op tenants a second, beside DBOS Transact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.rows import Row, compared
from benchmarks.run import database, folder, ours, theirs
from tests.support import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL

GOALS = {"SQLite": 15.0, "PostgreSQL": 12.0}
# The measure is about 64 open runs; the others show how it grows.
AT_ONCE = (1, 8, 16, 64, 512)
_MEASURED = 64


def bench(*, quick: bool) -> Iterator[Row]:
    """Measure on both databases."""
    yield from _on_sqlite(quick=quick)
    yield from _on_postgres(quick=quick)


def _on_sqlite(*, quick: bool) -> Iterator[Row]:
    rounds = 2 if quick else 3
    shipped, wal = [], []
    mine: dict[int, list[float]] = {}
    in_process: list[float] = []
    for _ in range(rounds):
        with folder() as place:
            shipped.append(_dbos(f"sqlite:///{place / 'dbos.db'}", quick=quick))
            file = place / "wal.db"
            wal.append(_dbos(f"sqlite:///{file}", "--wal", file, quick=quick))
        for open_runs in _steps(quick=quick):
            with folder() as place:
                url = f"sqlite+aiosqlite:///{place / 'p.db'}"
                mine.setdefault(open_runs, []).append(_rate(url, open_runs, "--grpc", quick=quick))
        with folder() as place:
            url = f"sqlite+aiosqlite:///{place / 'p.db'}"
            in_process.append(_rate(url, _MEASURED, quick=quick))
    best = max((shipped, wal), key=sum)
    yield from _rows("SQLite", mine, best)
    yield compared(
        "no-op tenants, SQLite, 64 open, in process", "tenants/s", in_process, best, goal=None
    )
    yield compared(
        "DBOS on SQLite with WAL, beside itself as shipped", "workflows/s", wal, shipped, goal=None
    )


def _on_postgres(*, quick: bool) -> Iterator[Row]:
    rounds = 1 if quick else 3
    other: list[float] = []
    mine: dict[int, list[float]] = {}
    with postgres.cluster() as cluster:
        for _ in range(rounds):
            with database(cluster) as url:
                other.append(_dbos(_for_psycopg(url), quick=quick))
            for open_runs in _steps(quick=quick):
                with database(cluster) as url:
                    text = url.render_as_string(hide_password=False)
                    rate = _rate(text, open_runs, "--grpc", quick=quick)
                    mine.setdefault(open_runs, []).append(rate)
    yield from _rows("PostgreSQL", mine, other)


def _rows(kind: str, mine: dict[int, list[float]], other: list[float]) -> Iterator[Row]:
    for open_runs, rates in mine.items():
        yield compared(
            f"no-op tenants, {kind}, {open_runs} open, over gRPC",
            "tenants/s",
            rates,
            other,
            goal=GOALS[kind] if open_runs == _MEASURED else None,
            note="theirs is DBOS at its best setting" if open_runs == _MEASURED else "",
        )


def _steps(*, quick: bool) -> tuple[int, ...]:
    return (1, _MEASURED) if quick else AT_ONCE


def _rate(url: str, open_runs: int, *more: str, quick: bool) -> float:
    tenants = max(60, min(open_runs * 8, 1500)) // (2 if quick else 1)
    got = ours("core_ours", "--url", url, "--tenants", tenants, "--open", open_runs, *more)
    return float(got["rate"])


def _dbos(url: str, *more: object, quick: bool) -> float:
    count = 60 if quick else 150
    got = theirs("core_dbos", "--url", url, "--tenants", count, "--open", 8, *more)
    return float(got["rate"])


def _for_psycopg(url: URL) -> str:
    return url.set(drivername="postgresql+psycopg").render_as_string(hide_password=False)
