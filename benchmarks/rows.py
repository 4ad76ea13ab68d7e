"""The results: a row for each measure, as JSON and as a table."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import statistics
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).resolve().parent / "results"
_LIBRARIES = ("grpcio", "sqlalchemy", "aiosqlite", "asyncpg", "protobuf", "fastapi", "httpx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measure.

    Attributes:
        name: What was measured, and how it was set up.
        unit: The unit of `ours` and `theirs`.
        ours: The median of our rounds.
        theirs: The median of the other program's rounds; None if there is none.
        ratio: What the goal is set for; greater is better, unless `at_most`.
        goal: What must be reached; None if the row is for information only.
        at_most: Whether the goal is an upper bound.
        spread: The smallest and the greatest of our rounds.
        note: How to read the row.
    """

    name: str
    unit: str
    ours: float
    theirs: float | None = None
    ratio: float | None = None
    goal: float | None = None
    at_most: bool = False
    spread: tuple[float, float] | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None if there is none."""
        if self.goal is None:
            return None
        value = self.ours if self.ratio is None else self.ratio
        return value <= self.goal if self.at_most else value >= self.goal


def compared(
    name: str,
    unit: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    goal: float | None,
    note: str = "",
) -> Row:
    """Make a row from alternating rounds: the ratio of the medians.

    Args:
        name: What was measured, and how it was set up.
        unit: The unit of the values; greater is better.
        ours: Our rounds; at least one.
        theirs: The rounds of what it is compared with; at least one.
        goal: The least ratio; None if the row is for information only.
        note: How to read the row.
    """
    mine, other = statistics.median(ours), statistics.median(theirs)
    return Row(
        name=name,
        unit=unit,
        ours=round(mine, 2),
        theirs=round(other, 2),
        ratio=round(mine / other, 2) if other else None,
        goal=goal,
        spread=(round(min(ours), 2), round(max(ours), 2)),
        note=note,
    )


def alone(
    name: str,
    unit: str,
    values: Sequence[float],
    *,
    goal: float | None = None,
    note: str = "",
) -> Row:
    """Make a row for a measure without comparison, with an upper bound.

    Args:
        name: What was measured, and how it was set up.
        unit: The unit of the values; less is better.
        values: Our rounds; at least one.
        goal: The greatest median; None if the row is for information only.
        note: How to read the row.
    """
    return Row(
        name=name,
        unit=unit,
        ours=round(statistics.median(values), 3),
        goal=goal,
        at_most=True,
        spread=(round(min(values), 3), round(max(values), 3)),
        note=note,
    )


def machine() -> dict[str, str]:
    """Describe the machine and the versions, as name and value for the page."""
    model = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if "model name" in line), "")
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "cores": str(os.cpu_count()),
        "processor": model or platform.machine(),
        "load before": " ".join(f"{load:.1f}" for load in os.getloadavg()),
        "system": platform.system(),
        "python": sys.version.split()[0],
        "sqlite": sqlite3.sqlite_version,
        **{name: version(name) for name in _LIBRARIES},
    }


def write(rows: Sequence[Row], where: dict[str, str]) -> str:
    """Write the results, in place of those of the last run, and return the table.

    Args:
        rows: All rows of one whole run.
        where: The machine and the versions, as `machine` describes them.
    """
    RESULTS.mkdir(exist_ok=True)
    facts = [asdict(row) | {"met": row.met} for row in rows]
    (RESULTS / "latest.json").write_text(
        json.dumps({"machine": where, "rows": facts}, indent=1) + "\n", encoding="utf-8"
    )
    text = table(rows, where)
    (RESULTS / "latest.md").write_text(text, encoding="utf-8")
    return text


def table(rows: Sequence[Row], where: dict[str, str]) -> str:
    """Return the results as a page in Markdown.

    Args:
        rows: The rows, in the order of the page.
        where: The machine and the versions, as `machine` describes them.
    """
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`; do not edit. "
        + ", ".join(f"{name} {value}" for name, value in where.items())
        + ".",
        "",
        "| measure | unit | ours | theirs | ratio | goal | met | spread of ours |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        goal = "" if row.goal is None else f"{'≤' if row.at_most else '≥'} {row.goal:g}"
        met = {None: "", True: "yes", False: "**no**"}[row.met]
        spread = "" if row.spread is None else f"{row.spread[0]:g} to {row.spread[1]:g}"
        lines.append(
            f"| {row.name} | {row.unit} | {row.ours:g} | {_shown(row.theirs)} | "
            f"{_shown(row.ratio)} | {goal} | {met} | {spread} |"
        )
    notes = [f"- {row.name}: {row.note}" for row in rows if row.note]
    return "\n".join([*lines, "", *notes]) + "\n"


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
