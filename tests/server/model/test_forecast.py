"""When a run will be done: within a factor of two once five tenants of a site are done."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from server.model.blueprint import ERPNEXT
from server.model.forecast import Outlook, StepTime, Waiting, paces_of
from server.model.identifiers import RunId, TenantId
from server.model.records import Run, Step, WaitingFor
from server.model.spec import TenantSpec
from server.model.states import Order, RunState, StepState, WaitingCode
from server.standin import latency

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SITE = "http://site"
SPEC = TenantSpec(company_name="Any", country_code="KE", currency="KES", engine_id="main")
KINDS = ERPNEXT.steps_for(SPEC)
COMPANY = "step_2_company"
SERIAL = frozenset({COMPANY})


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def run_of(number: int, state: RunState = RunState.RUNNING, *, created: float = 0.0) -> Run:
    return Run(
        id=RunId(f"run-{number:03d}"),
        tenant_id=TenantId(f"tenant-{number:03d}"),
        order=Order.START,
        blueprint=ERPNEXT.name,
        blueprint_version=ERPNEXT.version,
        state=state,
        total_steps=len(KINDS),
        due_at=NOON,
        worker_id=None,
        token=1,
        actor="local",
        reason="",
        previous_state="PENDING",
        waiting_for=None,
        created_at=at(created),
        started_at=None,
        finished_at=None,
    )


class Site:
    """A site that makes one Company at a time, as fast as the recorded one; virtual time."""

    def __init__(self) -> None:
        self.companies = 0
        self.free_at = 0.0
        self.times: list[StepTime] = []

    def provision(self, runs: list[Run]) -> dict[str, list[tuple[float, float]]]:
        """Carry runs out, the oldest first; begin and end of each step by run."""
        spans: dict[str, list[tuple[float, float]]] = {}
        for run in sorted(runs, key=lambda run: run.created_at):
            clock = (run.created_at - NOON).total_seconds()
            spans[run.id] = []
            for kind in KINDS:
                begin = clock
                if kind.serial:
                    self.companies += 1
                    clock = max(clock, self.free_at)
                    clock += latency.write_seconds("POST", "Company", self.companies)
                    self.free_at = clock
                else:
                    clock += 0.25
                spans[run.id].append((begin, clock))
                self.times.append(
                    StepTime(
                        site=SITE,
                        run_id=run.id,
                        step_key=kind.key,
                        started_at=at(begin),
                        ended_at=at(clock),
                    )
                )
        return spans


def rows(run: Run, spans: list[tuple[float, float]], now: float) -> list[Step]:
    """The rows of a run at a time."""
    return [
        Step(
            run_id=run.id,
            key=kind.key,
            position=position,
            required=kind.required,
            state=(
                StepState.COMPLETED
                if end <= now
                else StepState.RUNNING
                if begin <= now
                else StepState.PENDING
            ),
            started_at=at(begin) if begin <= now else None,
        )
        for position, (kind, (begin, end)) in enumerate(zip(KINDS, spans, strict=True))
    ]


@pytest.mark.parametrize("more", [1, 3, 12])
def test_after_five_tenants_every_estimate_is_within_a_factor_of_two(more: int) -> None:
    site = Site()
    site.provision([run_of(number, created=number * 0.1) for number in range(5)])
    begin = site.free_at + 5
    runs = [run_of(10 + number, created=begin + number * 0.05) for number in range(more)]
    spans = site.provision(runs)
    looks = 0
    for look in range(1, 200):
        now = begin + look * 0.5
        past = [time for time in site.times if time.ended_at <= at(now)]
        waiting = [
            Waiting(run_id=run.id, site=SITE, created_at=run.created_at)
            for run in runs
            if spans[run.id][2][1] > now
        ]
        outlook = Outlook(paces=paces_of(past, SERIAL), waiting=waiting)
        for run in runs:
            end = spans[run.id][-1][1]
            if end <= now + 0.5:
                continue
            eta = outlook.eta(SITE, run, rows(run, spans[run.id], now), KINDS, at(now))
            assert eta is not None
            assert 0.5 <= (eta - at(now)).total_seconds() / (end - now) <= 2
            looks += 1
    assert looks >= more * 5


def outlook_of(*waiting: Waiting) -> Outlook:
    site = Site()
    site.provision([run_of(number, created=number * 60.0) for number in range(5)])
    return Outlook(paces=paces_of(site.times, SERIAL), waiting=waiting)


def pending(run: Run) -> list[Step]:
    return rows(run, [(10_000.0, 20_000.0)] * len(KINDS), 0.0)


def left(outlook: Outlook, run: Run) -> float:
    eta = outlook.eta(SITE, run, pending(run), KINDS, at(500))
    assert eta is not None
    return (eta - at(500)).total_seconds()


def test_each_older_run_before_the_company_adds_one_company() -> None:
    mine = run_of(50, created=500)
    alone = left(outlook_of(), mine)
    older = [
        Waiting(run_id=f"older-{number}", site=SITE, created_at=at(400)) for number in range(3)
    ]
    behind = left(outlook_of(*older), mine)
    pace = outlook_of().paces[SITE]
    # It gets ready while it waits.
    company, ready = pace.busy[COMPANY], 2 * 0.25
    assert behind == pytest.approx(alone - ready - pace.quiet[COMPANY] + 4 * company)
    younger = Waiting(run_id="younger", site=SITE, created_at=at(600))
    elsewhere = Waiting(run_id="elsewhere", site="http://other", created_at=at(1))
    beside = left(outlook_of(younger, elsewhere), mine)
    assert beside == pytest.approx(alone - pace.quiet[COMPANY] + company)


def test_a_pause_before_the_next_try_is_waited_for() -> None:
    until = WaitingFor(code=WaitingCode.RETRY, message="", until=at(560))
    paused = replace(run_of(50), state=RunState.WAITING, waiting_for=until)
    assert left(outlook_of(), paused) == pytest.approx(left(outlook_of(), run_of(50)) + 60)


def test_a_step_that_takes_longer_than_usual_is_never_overdue() -> None:
    run = run_of(50)
    steps = [replace(step, state=StepState.COMPLETED) for step in pending(run)]
    steps[-1] = replace(steps[-1], state=StepState.RUNNING, started_at=at(0))
    eta = outlook_of().eta(SITE, run, steps, KINDS, at(500))
    assert eta is not None
    assert eta > at(500)


@pytest.mark.parametrize("state", [RunState.COMPLETED, RunState.FAILED, None])
def test_a_run_that_is_closed_has_no_estimate(state: RunState | None) -> None:
    run = replace(run_of(50), state=state)
    assert outlook_of().eta(SITE, run, pending(run), KINDS, NOON) is None
    assert outlook_of().eta(SITE, None, [], KINDS, NOON) is None


def test_without_a_measure_of_each_step_there_is_no_estimate() -> None:
    site = Site()
    site.provision([run_of(1)])
    run = run_of(2)
    for count in range(len(KINDS)):
        outlook = Outlook(paces=paces_of(site.times[:count], SERIAL), waiting=())
        assert outlook.eta(SITE, run, pending(run), KINDS, NOON) is None
    assert outlook_of().eta("http://other", run, pending(run), KINDS, NOON) is None


def test_a_company_is_counted_from_where_the_one_before_it_ended() -> None:
    times = [
        StepTime(
            site=SITE, run_id=str(n), step_key=COMPANY, started_at=NOON, ended_at=at(3 * (n + 1))
        )
        for n in range(5)
    ]
    assert paces_of(times, SERIAL)[SITE].quiet[COMPANY] == pytest.approx(3.0)


def test_steps_beside_a_company_are_counted_apart() -> None:
    def time(run: str, key: str, begin: float, end: float) -> StepTime:
        return StepTime(site=SITE, run_id=run, step_key=key, started_at=at(begin), ended_at=at(end))

    times = [
        time("a", COMPANY, 0, 10),
        time("a", "x", 1, 2),
        time("b", "x", 5, 9),
        time("c", "x", 20, 21),
    ]
    pace = paces_of(times, SERIAL)[SITE]
    assert pace.quiet["x"] == pytest.approx(1.0)
    assert pace.busy["x"] == pytest.approx(4.0)


def test_a_step_under_way_has_less_of_its_time_left() -> None:
    run, last = run_of(50), KINDS[-1].key
    usual = outlook_of().paces[SITE].quiet[last]
    steps = [replace(step, state=StepState.COMPLETED) for step in pending(run)]

    def of_last(state: StepState, run: Run, since: float = 0.0) -> float:
        steps[-1] = replace(steps[-1], state=state, started_at=at(500 - since))
        eta = outlook_of().eta(SITE, run, steps, KINDS, at(500))
        assert eta is not None
        return (eta - at(500)).total_seconds()

    assert of_last(StepState.PENDING, run, since=0.1) == pytest.approx(usual)
    assert of_last(StepState.RUNNING, run, since=0.1) == pytest.approx(usual - 0.1)
    # It waits for another try, which begins from the start.
    waiting = replace(run, state=RunState.WAITING)
    assert of_last(StepState.RUNNING, waiting, since=0.1) == pytest.approx(usual)


def test_a_run_that_waits_for_its_company_must_be_among_those_that_are_known() -> None:
    run = run_of(50)
    known = outlook_of(Waiting(run_id=run.id, site=SITE, created_at=run.created_at))
    others = outlook_of(Waiting(run_id="other", site=SITE, created_at=run.created_at))
    steps = pending(run)
    assert known.knows(run, steps, KINDS)
    assert not others.knows(run, steps, KINDS)
    assert others.knows(None, steps, KINDS)
    passed = [
        replace(step, state=StepState.COMPLETED) if step.key == COMPANY else step for step in steps
    ]
    assert others.knows(run, passed, KINDS)
    lost = [step for step in steps if step.key != COMPANY]
    assert not others.knows(run, lost, KINDS)
