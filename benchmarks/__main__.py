"""`python -m benchmarks [--quick] [--only NAME]`: measure, print, write benchmarks/results/."""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks import core, fleet, following, living, reading, sweeping
from benchmarks.rows import Row, machine, write

BENCHES = {
    "core": core.bench,
    "reading": reading.bench,
    "following": following.bench,
    "sweeping": sweeping.bench,
    "living": living.bench,
    "fleet": fleet.bench,
}


def main() -> int:
    """Run the command line; 0 whatever was measured: a number is no failure."""
    parser = argparse.ArgumentParser(description="Measure, side by side with what is compared.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller tables")
    parser.add_argument("--only", choices=sorted(BENCHES), action="append", help="just these")
    given = parser.parse_args()
    where, rows = machine(), list[Row]()
    for name in given.only or BENCHES:
        began = time.monotonic()
        for row in BENCHES[name](quick=given.quick):
            rows.append(row)
            print(f"{row.name}: {row.ours:g} {row.unit}", file=sys.stderr, flush=True)
        print(f"{name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(write(rows, where))
    return 0


if __name__ == "__main__":
    sys.exit(main())
