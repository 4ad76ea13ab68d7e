"""`python -m benchmarks [--quick] [--only NAME]`: measure, print, write benchmarks/results/.

The results of a part (`--only`) or of a short run (`--quick`) are only printed: those that are
written are always of one whole run.
"""

from __future__ import annotations

import argparse
import compileall
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING

from benchmarks import core, fleet, following, living, reading, recovering, sweeping
from benchmarks.rows import Row, machine, table, write
from benchmarks.run import ROOT
from benchmarks.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# They share filled databases. Sweeps come first, because the core adds tenants of its own.
FILLED: dict[str, Callable[..., Iterator[Row]]] = {"sweeping": sweeping.bench, "core": core.bench}
OTHERS: dict[str, Callable[..., Iterator[Row]]] = {
    "reading": reading.bench,
    "following": following.bench,
    "living": living.bench,
    "recovering": recovering.bench,
    "fleet": fleet.bench,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 1 if a part broke, otherwise 0, whatever was measured.

    Args:
        arguments: What was typed behind the program's name; None for this process's own.
    """
    parser = argparse.ArgumentParser(description="Measure, side by side with what is compared.")
    parser.add_argument("--quick", action="store_true", help="shorter, printed only")
    parser.add_argument("--only", choices=sorted(FILLED | OTHERS), action="append", help="these")
    given = parser.parse_args(arguments)
    _compile()
    where, rows = machine(), list[Row]()
    if given.quick:
        where["quick"] = "yes, and not kept: fewer rounds, kills and tenants, smaller tables"
    wanted = given.only or FILLED | OTHERS
    began = time.monotonic()
    with Shelf() as shelf:
        for name in (each for each in FILLED if each in wanted):
            rows += _rows(name, FILLED[name](shelf, quick=given.quick), where)
    for name in (each for each in OTHERS if each in wanted):
        rows += _rows(name, OTHERS[name](quick=given.quick), where)
    where["took"] = f"{time.monotonic() - began:.0f} s"
    part = given.quick or given.only
    print(table(rows, where) if part else write(rows, where))
    return int(any(key.endswith("did not end") for key in where))


def _rows(name: str, bench: Iterator[Row], where: dict[str, str]) -> Iterator[Row]:
    """Yield a part's rows as they come; if it breaks, note the error in `where`."""
    began = time.monotonic()
    try:
        for row in bench:
            print(f"{row.name}: {row.ours:g} {row.unit}", file=sys.stderr, flush=True)
            yield row
    except Exception as error:  # noqa: BLE001 - what others measured took minutes; the page says it
        said = str(error).strip().rpartition("\n")[2][:200]
        where[f"{name} did not end"] = said or type(error).__name__
        traceback.print_exc()
    print(f"{name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def _compile() -> None:
    """Compile our modules to bytecode, as an installation does, so that starts need not."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for room in ("server", "clients", "reconciler", "tools", "proto"):
        compileall.compile_dir(ROOT / room, quiet=2)


if __name__ == "__main__":
    sys.exit(main())
