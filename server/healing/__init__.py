"""What sweeps found and what became of it: lists, the report, and the way to order a sweep.

The reconciler itself lives in `reconciler/`; whoever assembles a process passes its `Healer` in.
"""

from __future__ import annotations

from server.healing.history import Findings, History, Sweeps
from server.healing.report import Case, Report, Spread
from server.healing.values import Healer, SweepDone, Watch
from server.model.findings import FindingSeen, SweepSeen

__all__ = [
    "Case",
    "FindingSeen",
    "Findings",
    "Healer",
    "History",
    "Report",
    "Spread",
    "SweepDone",
    "SweepSeen",
    "Sweeps",
    "Watch",
]
