"""The judge: a table of cases."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.judge import Verdict, judge
from reconciler.observation import NEVER, FailedStep, LastRun
from server.model.budget import HEALING_PAUSES_SECONDS
from server.model.causes import Cause, Severity
from server.model.states import ErrorClass, GateState, RunState, TenantState, WaitingCode
from tools.observations import ENDED, LONG_AGO, NOW, RUN, STUCK, standing

AHEAD = NOW + timedelta(days=30)


def failed(error_class: ErrorClass | None, code: str = "X", **more: Any) -> FailedStep:
    return FailedStep(key="step_4_warehouses", error_class=error_class, code=code, **more)


def in_state(state: TenantState, **more: Any) -> dict[str, Any]:
    return {"stored": state, "standing": standing(state), **more}


def in_motion(run: LastRun, **more: Any) -> dict[str, Any]:
    return in_state(TenantState.IN_PROGRESS, run=run, failed=(), **more)


LOST = {"standing": standing(TenantState.PARTIAL, lost=True, done=0), "steps_found": 0}
QUEUED = replace(RUN, state=RunState.QUEUED)
RUNNING = replace(RUN, state=RunState.RUNNING)
WAITING = replace(RUN, state=RunState.WAITING, waiting_code=WaitingCode.RETRY)


@dataclass(frozen=True)
class Case:
    says: str
    verdict: Verdict
    causes: tuple[Cause, ...] = ()
    seen: dict[str, Any] = field(default_factory=dict)


NOTHING, WAIT = Verdict.NOTHING_YET, Verdict.WAIT_FOR_ENGINE
DRIVE, REBUILD, CALL = Verdict.DRIVE_ON, Verdict.REBUILD_RECORD, Verdict.CALL_OPERATOR
LOST_CAUSE, PASSING = Cause.STEP_RECORD_LOST, Cause.PASSING_ERROR

CASES = [
    Case(
        "the seed: PARTIAL, 0 of 10", REBUILD, (LOST_CAUSE,), {"stored": TenantState.PARTIAL} | LOST
    ),
    Case("an incomplete record", REBUILD, (LOST_CAUSE,), LOST | {"steps_found": 9}),
    Case("the run is gone too", REBUILD, (LOST_CAUSE,), LOST | {"run": None, "run_lost": True}),
    Case("an unknown word, record lost", REBUILD, (LOST_CAUSE,), LOST | {"stored": None}),
    Case(
        "IN_PROGRESS without a run",
        REBUILD,
        (LOST_CAUSE,),
        {
            "stored": TenantState.IN_PROGRESS,
            "standing": standing(TenantState.FAILED, lost=True),
            "run": None,
        },
    ),
    Case(
        "a live shop's record lost",
        REBUILD,
        (LOST_CAUSE,),
        LOST | {"stored": TenantState.COMPLETED, "first_completed_at": LONG_AGO},
    ),
    Case("lost, a person called before", REBUILD, (LOST_CAUSE,), LOST | {"look_at": NEVER}),
    Case(
        "PENDING, but its run is gone",
        REBUILD,
        (LOST_CAUSE,),
        in_state(TenantState.PENDING, run=None, run_lost=True, failed=()),
    ),
    Case("PENDING: never ordered", NOTHING, (), in_state(TenantState.PENDING, run=None, failed=())),
    Case("lost and held", NOTHING, (Cause.HELD,), LOST | {"held": True}),
    Case("lost, gate down", WAIT, (Cause.ENGINE_NOT_UP,), LOST | {"gate": GateState.DOWN}),
    Case(
        "lost, budget spent",
        CALL,
        (Cause.HEALING_BUDGET_SPENT, LOST_CAUSE),
        LOST | {"heal_count": 5},
    ),
    Case("a passing error", DRIVE, (PASSING,)),
    *(
        Case(f"a passing error: {kind}", DRIVE, (PASSING,), {"failed": (failed(kind),)})
        for kind in ErrorClass
        if kind is not ErrorClass.PERMANENT
    ),
    Case("an error class nobody knows", DRIVE, (PASSING,), {"failed": (failed(None),)}),
    Case(
        "a worker lost for good",
        DRIVE,
        (PASSING,),
        {"failed": (failed(ErrorClass.PERMANENT, "WORKER_LOST"),)},
    ),
    Case(
        "a permanent error",
        CALL,
        (Cause.PERMANENT_ERROR,),
        {"failed": (failed(ErrorClass.PERMANENT),)},
    ),
    Case(
        "one passing, one permanent",
        CALL,
        (Cause.PERMANENT_ERROR,),
        {"failed": (failed(ErrorClass.TRANSIENT), failed(ErrorClass.PERMANENT))},
    ),
    Case(
        "somebody else's Company",
        CALL,
        (Cause.PERMANENT_ERROR,),
        {"failed": (failed(None, "COMPANY_NOT_OURS"),)},
    ),
    Case(
        "a last look that fails because another step did",
        DRIVE,
        (PASSING,),
        {"failed": (failed(ErrorClass.RACE), failed(ErrorClass.PERMANENT, last=True))},
    ),
    Case(
        "a last look that fails by itself",
        CALL,
        (Cause.PERMANENT_ERROR,),
        {"failed": (failed(ErrorClass.PERMANENT, last=True),)},
    ),
    Case(
        "a permanent error, a person called",
        NOTHING,
        (),
        {"failed": (failed(ErrorClass.PERMANENT),), "look_at": NEVER},
    ),
    Case("closed without a reason", DRIVE, (Cause.STEP_NOT_DONE,), {"failed": ()}),
    Case("a wrong word", DRIVE, (PASSING, Cause.STATE_DIFFERS), {"stored": TenantState.COMPLETED}),
    Case("an unknown word", DRIVE, (PASSING, Cause.STATE_DIFFERS), {"stored": None}),
    Case("a passing error, put off", NOTHING, (PASSING,), {"look_at": NOW + timedelta(hours=1)}),
    Case("gate down", WAIT, (Cause.ENGINE_NOT_UP,), {"gate": GateState.DOWN}),
    Case("gate misconfigured", WAIT, (Cause.ENGINE_NOT_UP,), {"gate": GateState.MISCONFIGURED}),
    Case("no such engine", WAIT, (Cause.ENGINE_NOT_CONFIGURED,), {"engine_configured": False}),
    Case("budget spent", CALL, (Cause.HEALING_BUDGET_SPENT, PASSING), {"heal_count": 5}),
    Case("budget spent, person called", NOTHING, (), {"heal_count": 5, "look_at": NEVER}),
    Case("budget below zero by SQL", DRIVE, (PASSING,), {"heal_count": -3, "healed_at": NOW}),
    Case("driven just now", NOTHING, (PASSING,), {"heal_count": 1, "healed_at": NOW}),
    Case(
        "the clock was set back",
        DRIVE,
        (PASSING,),
        {"heal_count": 4, "healed_at": NOW + timedelta(days=1)},
    ),
    Case("held", NOTHING, (Cause.HELD,), {"held": True}),
    *(Case(f"{state} stored", NOTHING, (), {"stored": state}) for state in sorted(ENDED)),
    *(Case(f"{state}", NOTHING, (), in_state(state)) for state in sorted(ENDED)),
    Case("COMPLETED", NOTHING, (), in_state(TenantState.COMPLETED, failed=())),
    Case(
        "finished, but not by its word",
        REBUILD,
        (Cause.STATE_DIFFERS,),
        {"standing": standing(TenantState.COMPLETED), "failed": (), "heal_count": 5},
    ),
    Case("queued just now", NOTHING, (), in_motion(QUEUED, stuck_since=NOW)),
    Case("queued, nobody there", NOTHING, (Cause.NO_WORKER,), in_motion(QUEUED)),
    Case(
        "running, nobody could give a sign of life until now",
        NOTHING,
        (),
        in_motion(RUNNING, database_back=NOW),
    ),
    Case(
        "running, worker dead, long after the database was away",
        NOTHING,
        (Cause.NO_WORKER,),
        in_motion(RUNNING, database_back=LONG_AGO),
    ),
    Case("queued behind others", NOTHING, (), in_motion(QUEUED, workers_alive=True)),
    Case("running, worker dead", NOTHING, (Cause.NO_WORKER,), in_motion(RUNNING)),
    Case(
        "running, worker dead, the clock set back",
        NOTHING,
        (Cause.NO_WORKER,),
        in_motion(RUNNING, stuck_since=AHEAD),
    ),
    Case(
        "queued, nobody there, the gate opened before the clock was set back",
        NOTHING,
        (Cause.NO_WORKER,),
        in_motion(QUEUED, gate_since=AHEAD),
    ),
    Case("put off for longer than any pause", DRIVE, (PASSING,), {"look_at": AHEAD}),
    Case("a call marked that nobody made", DRIVE, (PASSING,), {"look_at": NEVER}),
    Case(
        "running, worker dead, others alive",
        NOTHING,
        (Cause.NO_WORKER,),
        in_motion(RUNNING, workers_alive=True),
    ),
    Case("running, worker alive", NOTHING, (), in_motion(replace(RUNNING, worker_alive=True))),
    Case(
        "running past its deadline",
        NOTHING,
        (Cause.STALLED,),
        in_motion(replace(RUNNING, worker_alive=True, deadline_at=NOW - timedelta(minutes=1))),
    ),
    Case(
        "running before its deadline",
        NOTHING,
        (),
        in_motion(replace(RUNNING, worker_alive=True, deadline_at=NOW)),
    ),
    Case(
        "waiting for its pause",
        NOTHING,
        (),
        in_motion(replace(WAITING, waiting_until=NOW + timedelta(minutes=1))),
    ),
    Case("waiting beyond its pause", NOTHING, (Cause.NO_WORKER,), in_motion(WAITING)),
    Case(
        "waiting for a closed gate",
        NOTHING,
        (),
        in_motion(replace(WAITING, waiting_code=WaitingCode.ENGINE_DOWN), gate=GateState.DOWN),
    ),
    Case(
        "queued at a closed gate, a server there",
        NOTHING,
        (),
        in_motion(QUEUED, gate=GateState.DOWN, servers_alive=True),
    ),
    Case(
        "running at a closed gate, its worker dead, another server there",
        NOTHING,
        (),
        in_motion(RUNNING, gate=GateState.DOWN, servers_alive=True),
    ),
    Case(
        "queued at a closed gate, nobody there who would see it open",
        NOTHING,
        (Cause.NO_WORKER,),
        in_motion(QUEUED, gate=GateState.DOWN),
    ),
    Case(
        "waiting for a gate that just opened",
        NOTHING,
        (),
        in_motion(replace(WAITING, waiting_code=WaitingCode.ENGINE_DOWN), gate_since=NOW),
    ),
    Case(
        "in motion, but not by its word",
        NOTHING,
        (Cause.STATE_DIFFERS,),
        in_motion(replace(RUNNING, worker_alive=True)) | {"stored": TenantState.PARTIAL},
    ),
    Case(
        "in motion without steps, driven",
        NOTHING,
        (),
        in_motion(replace(RUNNING, worker_alive=True))
        | {"standing": standing(TenantState.IN_PROGRESS, lost=True)},
    ),
    Case(
        "open without steps, driven by nobody",
        REBUILD,
        (LOST_CAUSE,),
        in_motion(QUEUED, workers_alive=True)
        | {"standing": standing(TenantState.IN_PROGRESS, lost=True)},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_each_case_has_its_verdict(case: Case) -> None:
    judgement = judge(replace(STUCK, **case.seen))
    assert judgement.verdict is case.verdict
    assert tuple(finding.cause for finding in judgement.findings) == case.causes


@pytest.mark.parametrize("drives", range(len(HEALING_PAUSES_SECONDS)))
def test_each_drive_waits_for_its_pause_and_no_longer(drives: int) -> None:
    pause = timedelta(seconds=HEALING_PAUSES_SECONDS[drives])
    seen = replace(STUCK, heal_count=drives, healed_at=NOW - pause)
    assert judge(seen).verdict is Verdict.DRIVE_ON
    if drives:
        early = replace(seen, observed_at=NOW - timedelta(seconds=1))
        judgement = judge(early)
        assert judgement.verdict is Verdict.NOTHING_YET
        assert judgement.not_before == NOW
        assert judgement.findings[0].severity is Severity.MAY_CLEAR


def test_a_pause_begins_when_the_run_ended_not_when_it_was_ordered() -> None:
    run = replace(RUN, finished_at=NOW - timedelta(seconds=30))
    judgement = judge(replace(STUCK, run=run, heal_count=1, healed_at=LONG_AGO))
    assert judgement.not_before == NOW + timedelta(seconds=30)


def test_the_evidence_holds_what_the_cause_was_concluded_from() -> None:
    finding = judge(STUCK).findings[0]
    assert dict(finding.evidence) == {
        "stored_state": "FAILED",
        "derived_state": "FAILED",
        "steps": "10 of 10",
        "steps_done": "4",
        "heal_count": "0",
        "gate": "UP",
        "run": "r1",
        "run_state": "FAILED",
        "ordered": "START by local",
        "failed": "step_4_warehouses: TRANSIENT ENGINE_NO_ANSWER",
    }
