"""When a run will probably be done, based on how long the site's own steps took recently.

The steps of a run are done one after the other. The blueprint's `serial` step (the Company) is
also done one at a time for the whole site, so a run waits for those that were ordered before it
and do not have their Company yet. Everything else needs the site only for a moment, but has to
wait for a Company that is being made. So steps that overlap with one are counted separately
from steps on a quiet site.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from statistics import mean, median
from typing import TYPE_CHECKING

from server.model.calendar import moved
from server.model.states import DONE_STEP_STATES, OPEN_RUN_STATES, RunState, StepState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from server.model.blueprint import StepType
    from server.model.records import Run, Step

# How many of the latest steps count. A site's pace changes: each Company makes the next slower.
_LATEST = 20
_LATEST_SERIAL = 5
# If a step takes longer than usual, assume that this share of the usual time is still to come.
_LEAST_LEFT = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """One completed step of one tenant, from beginning to end."""

    site: str
    run_id: str
    step_key: str
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An open run whose serial step is not done yet.

    Attributes:
        created_at: When it was ordered, which is its place in the site's line.
    """

    run_id: str
    site: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast one site was recently.

    Attributes:
        quiet: How many seconds each step takes while no other Company is being made; for a
            serial step, without the wait before it.
        busy: How many seconds it takes while others make theirs.
        last_serial_at: When the last serial step ended; None if there was none.
    """

    quiet: Mapping[str, float]
    busy: Mapping[str, float]
    last_serial_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is known at one moment: the pace of each site, and which runs are waiting there.

    Attributes:
        paces: By site; a site where nothing was done lately is not in it.
        waiting: In any order.
    """

    paces: Mapping[str, Pace]
    waiting: Sequence[Waiting]

    def eta(
        self,
        site: str,
        run: Run | None,
        steps: Iterable[Step],
        kinds: Sequence[StepType],
        now: datetime,
    ) -> datetime | None:
        """Return when a run will probably be done; None if it is closed or can't be estimated.

        Args:
            site: The site it runs on.
            run: The run, or None.
            steps: Its step rows.
            kinds: The steps of its blueprint, in order.
            now: The current time.
        """
        pace = self.paces.get(site)
        if run is None or run.state not in OPEN_RUN_STATES or pace is None:
            return None
        rows = {step.key: step for step in steps}
        left = [kind for kind in kinds if _is_left(rows.get(kind.key))]
        usual = pace.busy if self._is_busy(run, site) else pace.quiet
        if any(kind.key not in usual for kind in left):
            return None
        serial = next((at for at, kind in enumerate(left) if kind.serial), None)
        start = _begin(run, now)
        seconds = [
            _left_of(usual[kind.key], rows.get(kind.key), run, _since(kind, pace), now)
            for kind in left
        ]
        if serial is None:
            return moved(start, timedelta(seconds=sum(seconds)))
        queue = self._before(run, site) * usual[left[serial].key]
        until_served = max(sum(seconds[:serial]), queue)
        return moved(start, timedelta(seconds=until_served + sum(seconds[serial:])))

    def knows(self, run: Run | None, steps: Iterable[Step], kinds: Sequence[StepType]) -> bool:
        """Tell whether the list of waiting runs is recent enough to include this run.

        Args:
            run: The run; None counts as known.
            steps: Its step rows.
            kinds: The steps of its blueprint, in order. A run whose serial step is done need not be
                in the list.
        """
        rows = {step.key: step for step in steps}
        waits = any(kind.serial and _is_left(rows.get(kind.key)) for kind in kinds)
        return not waits or run is None or any(run.id == other.run_id for other in self.waiting)

    def _is_busy(self, run: Run, site: str) -> bool:
        return any(other.site == site and other.run_id != run.id for other in self.waiting)

    def _before(self, run: Run, site: str) -> int:
        mine = (run.created_at, run.id)
        return sum(
            other.site == site and (other.created_at, other.run_id) < mine for other in self.waiting
        )


def paces_of(times: Iterable[StepTime], serial_keys: frozenset[str]) -> dict[str, Pace]:
    """Return the pace of each site.

    Args:
        times: Completed steps, in any order.
        serial_keys: Steps that a whole site does one at a time: the time of one is counted
            from the end of the one before, if it was already waiting then.
    """
    by_site: defaultdict[str, list[StepTime]] = defaultdict(list)
    for time in times:
        by_site[time.site].append(time)
    return {site: _pace_of(of_site, serial_keys) for site, of_site in by_site.items()}


def _pace_of(times: list[StepTime], serial_keys: frozenset[str]) -> Pace:
    times.sort(key=lambda time: time.ended_at)
    serial = [time for time in times if time.step_key in serial_keys]
    quiet: defaultdict[str, list[float]] = defaultdict(list)
    busy: defaultdict[str, list[float]] = defaultdict(list)
    for time in times:
        if time.step_key not in serial_keys:
            beside = any(_overlap(time, other) for other in serial)
            (busy if beside else quiet)[time.step_key].append(_took(time.started_at, time))
    for key in serial_keys:
        # With others around, a Company also waits for what they make in between.
        served = _served(serial, key)[-_LATEST_SERIAL:]
        if served:
            quiet[key], busy[key] = [min(served)], [mean(served)]
    # If one of the two is not known yet, the other is the best guess there is.
    return Pace(
        quiet={key: min(took[-_LATEST:]) for key, took in busy.items()}
        | {key: median(took[-_LATEST:]) for key, took in quiet.items()},
        busy={key: median(took[-_LATEST:]) for key, took in (quiet | busy).items()},
        last_serial_at=serial[-1].ended_at if serial else None,
    )


def _overlap(time: StepTime, other: StepTime) -> bool:
    return (
        time.run_id != other.run_id
        and time.started_at < other.ended_at
        and other.started_at < time.ended_at
    )


def _served(serial: Sequence[StepTime], key: str) -> list[float]:
    group = [time for time in serial if time.step_key == key]
    before = [None, *(time.ended_at for time in group)]
    return [
        _took(time.started_at if end is None else max(time.started_at, end), time)
        for time, end in zip(group, before, strict=False)
    ]


def _took(since: datetime, time: StepTime) -> float:
    return max(0.0, (time.ended_at - since).total_seconds())


def _is_left(step: Step | None) -> bool:
    # A failed optional step is settled: the run continues past it.
    return step is None or step.state not in DONE_STEP_STATES | {StepState.FAILED}


def _begin(run: Run, now: datetime) -> datetime:
    if run.state is RunState.WAITING and run.waiting_for is not None and run.waiting_for.until:
        return max(now, run.waiting_for.until)
    return now


def _since(kind: StepType, pace: Pace) -> datetime | None:
    """Return the time before which the step can't really have begun; None if there is none."""
    return pace.last_serial_at if kind.serial else None


def _left_of(
    usual: float, step: Step | None, run: Run, earliest: datetime | None, now: datetime
) -> float:
    """Return how many seconds of a step are left: all of them, unless it is under way."""
    if step is None or step.state is not StepState.RUNNING or run.state is not RunState.RUNNING:
        return usual
    since = step.started_at or now
    if earliest is not None:
        since = max(since, earliest)
    return max(usual * _LEAST_LEFT, usual - (now - since).total_seconds())
