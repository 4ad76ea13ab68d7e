"""`python -m benchmarks [--quick] [--only NAME]`: measure, print, write benchmarks/results/.

A part (`--only`) is printed and not written: the results are of one run of all.
"""

from __future__ import annotations

import argparse
import compileall
import os
import sys
import time

from benchmarks import core, fleet, following, living, reading, recovering, sweeping
from benchmarks.rows import Row, machine, table, write
from benchmarks.run import ROOT

BENCHES = {
    "core": core.bench,
    "reading": reading.bench,
    "following": following.bench,
    "sweeping": sweeping.bench,
    "living": living.bench,
    "recovering": recovering.bench,
    "fleet": fleet.bench,
}


def main() -> int:
    """Run the command line; 0 whatever was measured, as no number is a failure; 1: a part broke."""
    parser = argparse.ArgumentParser(description="Measure, side by side with what is compared.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller tables")
    parser.add_argument("--only", choices=sorted(BENCHES), action="append", help="just these")
    given = parser.parse_args()
    _compile()
    where, rows = machine(), list[Row]()
    if given.quick:
        where["quick"] = "yes: fewer rounds, smaller tables"
    for name in given.only or BENCHES:
        began = time.monotonic()
        try:
            for row in BENCHES[name](quick=given.quick):
                rows.append(row)
                print(f"{row.name}: {row.ours:g} {row.unit}", file=sys.stderr, flush=True)
        except (RuntimeError, OSError) as error:
            # What was measured so far took minutes; the page says what is missing.
            where[f"{name} did not end"] = str(error).strip().rpartition("\n")[2][:200]
            print(error, file=sys.stderr, flush=True)
        print(f"{name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(table(rows, where) if given.only else write(rows, where))
    return int(any(key.endswith("did not end") for key in where))


def _compile() -> None:
    """Write the bytecode of our modules, as an installation does: starts must not pay for it."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    for room in ("server", "clients", "reconciler", "tools", "proto"):
        compileall.compile_dir(ROOT / room, quiet=2)


if __name__ == "__main__":
    sys.exit(main())
