"""Writes docs/judge.md: what the reconciler's judge says about each situation, by asking it.

`python -m tools.judge_table` writes the page; with `--check` it writes nothing and exits 1
if the page is stale.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from reconciler.judge import Judgement, Verdict, judge
from reconciler.observation import NEVER, FailedStep, Observation
from reconciler.remedies import opens_run
from server.model.budget import HEALING_PAUSES_SECONDS
from server.model.states import ErrorClass, GateState, RunState, TenantState, WaitingCode
from tools.observations import LONG_AGO, NOW, RUN, STUCK, standing

PAGE = Path(__file__).resolve().parent.parent / "docs" / "judge.md"

_HEAD = """# What the reconciler's judge says

Generated from the judge itself by `tools/judge_table.py`; a test compares. The judge is a pure
function of what the database says about one tenant. It never opens a run for a tenant that is in
motion, that a person has cancelled or that is held, that has used up its healing budget, or whose
engine takes no work.

A tenant is driven on at most {times} times: at once, then after {pauses} minutes. A person's order
or reaching COMPLETED restores the budget. If many tenants stop at the same error, see
`docs/decisions/0031-herds-and-canaries.md`.

| situation | verdict | opens a run | cause | severity |
| --- | --- | --- | --- | --- |
"""


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the database says, in words and as an observation."""

    says: str
    seen: Observation


def situations() -> list[Situation]:
    """Return the situations the page shows, in the order in which the judge checks for them."""
    stopped = STUCK
    lost = replace(
        stopped, standing=standing(TenantState.PARTIAL, lost=True, done=0), steps_found=0
    )
    made: list[tuple[str, Observation]] = [
        (f"{state}, as stored or as derived from the rows", _in(state))
        for state in (
            TenantState.CANCELLED,
            TenantState.DEPROVISIONING,
            TenantState.DEPROVISIONED,
        )
    ]
    made += [
        (
            "held, whatever else is wrong",
            replace(lost, held=True, hold_by="run", hold_reason="The Company is gone."),
        ),
        ("run queued, not its turn yet", _moving(RunState.QUEUED, workers_alive=True)),
        ("run queued, no worker alive", _moving(RunState.QUEUED)),
        (
            "run queued for a long time, its engine not configured here",
            replace(_moving(RunState.QUEUED, workers_alive=True), engine_configured=False),
        ),
        (
            "run queued for a long time, its engine here another site than its row names",
            replace(
                _moving(RunState.QUEUED, workers_alive=True),
                engine_configured=False,
                other_site="Said.",
            ),
        ),
        (
            "run queued, its row damaged so that no worker finds it",
            replace(_moving(RunState.QUEUED, workers_alive=True), damage="Said."),
        ),
        ("run under way, its worker alive", _moving(RunState.RUNNING, worker_alive=True)),
        ("run under way, its worker dead for more than three leases", _moving(RunState.RUNNING)),
        (
            "run under way, its worker alive, the attempt past its deadline",
            _moving(RunState.RUNNING, worker_alive=True, deadline_at=NOW - timedelta(minutes=1)),
        ),
        (
            "run waiting for a shut gate",
            replace(
                _moving(RunState.WAITING, waiting_code=WaitingCode.ENGINE_DOWN),
                gate=GateState.DOWN,
            ),
        ),
        (
            "run open, the gate shut, no worker drives it, but a server lives",
            replace(_moving(RunState.RUNNING), gate=GateState.DOWN, servers_alive=True),
        ),
        (
            "run open, its step rows gone, nobody drives it",
            replace(
                _moving(RunState.QUEUED, workers_alive=True),
                standing=standing(TenantState.IN_PROGRESS, lost=True, done=0),
            ),
        ),
        ("PARTIAL or FAILED, its step rows gone (PARTIAL, 0 of 10)", lost),
        ("the run that the tenant names is gone", replace(lost, run=None, run_lost=True)),
        (
            "COMPLETED before, its record gone",
            replace(lost, stored=TenantState.COMPLETED, first_completed_at=LONG_AGO),
        ),
        ("record gone, its engine's gate shut", replace(lost, gate=GateState.DOWN)),
        ("record gone, the budget spent", replace(lost, heal_count=5)),
        ("PENDING: no run was ever opened", replace(_in(TenantState.PENDING), run=None)),
        ("COMPLETED", _in(TenantState.COMPLETED)),
        (
            "every step done, but another state stored",
            replace(_in(TenantState.COMPLETED), stored=TenantState.FAILED),
        ),
    ]
    made += [
        (f"stopped at an error of class {kind}", _failed(kind))
        for kind in ErrorClass
        if kind is not ErrorClass.PERMANENT
    ]
    made += [
        ("stopped at an error of class PERMANENT", _failed(ErrorClass.PERMANENT)),
        (
            "the same, but a person's order has since brought another tenant past the same error",
            replace(_failed(ErrorClass.PERMANENT), mended_at=NOW),
        ),
        (
            "the same, a person was called already",
            replace(_failed(ErrorClass.PERMANENT), look_at=NEVER),
        ),
        (
            "stopped at COMPANY_NOT_OURS or COMPANY_VANISHED, of any class",
            _failed(ErrorClass.TRANSIENT, "COMPANY_NOT_OURS"),
        ),
        (
            "stopped at WORKER_LOST, of any class",
            _failed(ErrorClass.PERMANENT, "WORKER_LOST"),
        ),
        ("closed without an error", replace(stopped, failed=())),
        (
            "stopped at a passing error, and another state stored",
            replace(stopped, stored=TenantState.COMPLETED),
        ),
        (
            "stopped at a passing error, driven on a moment ago",
            replace(stopped, heal_count=1, healed_at=NOW),
        ),
        ("stopped at a passing error, the gate shut", replace(stopped, gate=GateState.DOWN)),
        (
            "stopped at a passing error, its engine not configured here",
            replace(stopped, engine_configured=False),
        ),
        ("stopped at a passing error, the budget spent", replace(stopped, heal_count=5)),
        (
            "the same, a person was called already",
            replace(stopped, heal_count=5, look_at=NEVER),
        ),
    ]
    return [Situation(says=says, seen=seen) for says, seen in made]


def page() -> str:
    """Return the whole page."""
    pauses = [f"{seconds / 60:g}" for seconds in HEALING_PAUSES_SECONDS if seconds]
    head = _HEAD.format(
        times=len(HEALING_PAUSES_SECONDS), pauses=f"{', '.join(pauses[:-1])} and {pauses[-1]}"
    )
    rows = [_row(situation, judge(situation.seen)) for situation in situations()]
    return head + "\n".join(rows) + "\n"


def _row(situation: Situation, judgement: Judgement) -> str:
    opens = "yes" if opens_run(situation.seen, judgement) else "no"
    if judgement.verdict is Verdict.NOTHING_YET and judgement.not_before is not None:
        opens = "later"
    causes = ", ".join(f"`{finding.cause.value}`" for finding in judgement.findings) or "none"
    severity = ", ".join(f"`{finding.severity.value}`" for finding in judgement.findings) or "none"
    return f"| {situation.says} | `{judgement.verdict.value}` | {opens} | {causes} | {severity} |"


def _in(state: TenantState) -> Observation:
    return replace(STUCK, stored=state, standing=standing(state), failed=())


def _moving(
    state: RunState, *, workers_alive: bool = False, **run: Any
) -> Observation:  # Any: of LastRun
    seen = _in(TenantState.IN_PROGRESS)
    last = replace(RUN, state=state, **run)
    return replace(seen, run=last, workers_alive=workers_alive)


def _failed(kind: ErrorClass, code: str = "CODE") -> Observation:
    step = FailedStep(key="step_4_warehouses", error_class=kind, code=code)
    return replace(STUCK, failed=(step,))


def main() -> int:
    """Write the page, or say whether it is stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    if not parser.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write("docs/judge.md is stale. Run: make generate\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
