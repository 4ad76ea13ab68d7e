"""docs/proof.md: a row for each slow proof, renewed by whichever run ran it.

A run of some proofs leaves the rows of all others as they were. A proof that has begun has no
good row until it has ended well: one that fails, hangs or is killed can't leave an older
"passed" behind. A run whose tests are shared among processes (xdist) writes nothing.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import subprocess
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "proof.md"

PASSED, FAILED, BEGUN, NOT_RUN = "passed", "**FAILED**", "**did not end**", "**not run yet**"

HEAD = """# Proof

Tests that are too slow for `make test`, and how they went. The tests write this page themselves;
do not edit it. `make prove` renews every row, `make prove ARGS="-k storm"` or `ARGS=tests/crash`
the rows of the tests it ran. What a test does is described at its top. A + after a commit means
that the working tree had uncommitted changes.
"""
COLUMNS = "| proof | result | counted | date | commit | seconds | machine |"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What the last run of one proof came to.

    Attributes:
        test: The test, as pytest names it: file, and name with its case.
    """

    test: str
    result: str
    counted: str = ""
    date: str = ""
    commit: str = ""
    seconds: str = ""
    machine: str = ""


@dataclass(slots=True)
class _Running:
    row: Row
    since: float
    passes: bool = True


_running: list[_Running] = []


def knows(tests: Iterable[str]) -> None:
    """Give every proof there is a row, and take the rows of those that are gone away.

    Args:
        tests: All proofs, whether they run now or not.
    """
    rows = read()
    _write({test: rows.get(test, Row(test=test, result=NOT_RUN)) for test in tests})


def begins(test: str) -> None:
    """Say that a proof has begun, and has not ended."""
    row = Row(
        test=test,
        result=BEGUN,
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        commit=_commit(),
        machine=f"{os.cpu_count()} cores {platform.machine()}, Python {platform.python_version()}",
    )
    _running[:] = [_Running(row, time.monotonic())]
    _keep(row)


def note(**counts: object) -> None:
    """Say what the proof that runs has counted, and its seeds.

    Args:
        counts: How many of what.
    """
    for running in _running:
        told = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in counts.items())
        running.row = replace(running.row, counted=told)


def hears(*, failed: bool, ended: bool) -> None:
    """Take in how a part of the proof that runs (its set-up, itself, its end) went."""
    for running in _running:
        running.passes &= not failed
        if ended:
            _keep(
                replace(
                    running.row,
                    result=PASSED if running.passes else FAILED,
                    seconds=f"{time.monotonic() - running.since:.0f}",
                )
            )
    if ended:
        _running.clear()


def read() -> dict[str, Row]:
    """Return the rows of the page, by test."""
    rows = {}
    file = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else ():
        if line.startswith("## "):
            file = line.removeprefix("## ")
        elif line.startswith("| `"):
            name, *cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            test = f"{file}::{name.strip('`')}".replace("\\|", "|")
            rows[test] = Row(
                **dict(zip(Row.__slots__, [test, *cells], strict=True))  # in their order
            )
    return rows


def page(rows: Iterable[Row]) -> str:
    """Return the page that shows the rows, by file."""
    ordered = sorted(rows, key=lambda row: row.test)
    good = sum(row.result == PASSED for row in ordered)
    lines = [HEAD, f"{len(ordered)} proofs, {good} passed.", ""]
    for file, group in groupby(ordered, key=lambda row: row.test.partition("::")[0]):
        lines += [f"## {file}", "", COLUMNS, re.sub(r"[^|]+", " --- ", COLUMNS)]
        for row in group:
            name = f"`{row.test.partition('::')[2]}`".replace("|", "\\|")
            cells = [name, *(getattr(row, column) for column in Row.__slots__[1:])]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def _keep(row: Row) -> None:
    _write(read() | {row.test: row})


def _write(rows: dict[str, Row]) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ:
        PAGE.write_text(page(rows.values()), encoding="utf-8")


@functools.cache
def _commit() -> str:
    """Name the commit, with a + where files other than the page differ from it."""
    changed = _git("status", "--porcelain", "--", ".", ":!docs/proof.md")
    return _git("rev-parse", "--short=10", "HEAD") + ("+" if changed else "")


def _git(*arguments: str) -> str:
    answer = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()
