"""When a run will probably be done: from how long the site's own steps took of late.

Steps of one run go one after the other. One of them, the blueprint's `serial` step (the
Company), goes one after the other for the whole site too, so a run also waits for those
that were ordered before it and have not got theirs yet.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from statistics import mean, median
from typing import TYPE_CHECKING

from server.model.states import DONE_STEP_STATES, OPEN_RUN_STATES, RunState, StepState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from server.model.blueprint import StepType
    from server.model.records import Run, Step

# Sites change their pace: a Company takes longer with each one that is there.
_LATEST = 20
_LATEST_SERIAL = 5
# Of a step that takes longer than usual this share of the usual is still to come.
_LEAST_LEFT = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """One step of one tenant that was done, from begin to end."""

    site: str
    step_key: str
    started_at: datetime
    ended_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An open run whose serial step is still to be done."""

    run_id: str
    site: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast one site was of late.

    Attributes:
        seconds: What each step takes; of a serial one without the wait before it.
        last_serial_at: When the last serial step ended; None if there was none.
    """

    seconds: Mapping[str, float]
    last_serial_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What is known at one moment: the pace of each site, and who waits there."""

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
        """Return when a run will probably be done; None if it is closed or nobody knows.

        Args:
            site: Where it runs.
            run: The run, or None.
            steps: Its rows.
            kinds: Its steps in order.
            now: The time.
        """
        pace = self.paces.get(site)
        if run is None or run.state not in OPEN_RUN_STATES or pace is None:
            return None
        rows = {step.key: step for step in steps}
        left = [kind for kind in kinds if _is_left(rows.get(kind.key))]
        if any(kind.key not in pace.seconds for kind in left):
            return None
        serial = next((at for at, kind in enumerate(left) if kind.serial), None)
        start = _begin(run, now)
        seconds = [_left_of(pace, kind, rows.get(kind.key), run, now) for kind in left]
        if serial is None:
            return start + timedelta(seconds=sum(seconds))
        queue = self._before(run, site) * pace.seconds[left[serial].key]
        until_served = max(sum(seconds[:serial]), queue)
        return start + timedelta(seconds=until_served + sum(seconds[serial:]))

    def _before(self, run: Run, site: str) -> int:
        mine = (run.created_at, run.id)
        return sum(
            other.site == site and (other.created_at, other.run_id) < mine for other in self.waiting
        )


def paces_of(times: Iterable[StepTime], serial_keys: frozenset[str]) -> dict[str, Pace]:
    """Return the pace of each site.

    Args:
        times: Steps that were done, in any order.
        serial_keys: Steps that go one after the other for a whole site: what one takes is
            counted from the end of the one before, if it was waiting then.
    """
    by_step: defaultdict[tuple[str, str], list[StepTime]] = defaultdict(list)
    for time in times:
        by_step[time.site, time.step_key].append(time)
    seconds: defaultdict[str, dict[str, float]] = defaultdict(dict)
    ends: dict[str, datetime] = {}
    for (site, key), group in by_step.items():
        group.sort(key=lambda time: time.ended_at)
        if key in serial_keys:
            seconds[site][key] = mean(_served(group)[-_LATEST_SERIAL:])
            ends[site] = group[-1].ended_at
        else:
            seconds[site][key] = median(_took(time.started_at, time) for time in group[-_LATEST:])
    return {
        site: Pace(seconds=of_site, last_serial_at=ends.get(site))
        for site, of_site in seconds.items()
    }


def _served(group: Sequence[StepTime]) -> list[float]:
    before = [None, *(time.ended_at for time in group)]
    return [
        _took(time.started_at if end is None else max(time.started_at, end), time)
        for time, end in zip(group, before, strict=False)
    ]


def _took(since: datetime, time: StepTime) -> float:
    return max(0.0, (time.ended_at - since).total_seconds())


def _is_left(step: Step | None) -> bool:
    # A failed optional step is settled: the run goes on past it.
    return step is None or step.state not in DONE_STEP_STATES | {StepState.FAILED}


def _begin(run: Run, now: datetime) -> datetime:
    if run.state is RunState.WAITING and run.waiting_for is not None and run.waiting_for.until:
        return max(now, run.waiting_for.until)
    return now


def _left_of(pace: Pace, kind: StepType, step: Step | None, run: Run, now: datetime) -> float:
    """Return what is left of a step, in seconds: all of it, unless it is under way."""
    usual = pace.seconds[kind.key]
    if step is None or step.state is not StepState.RUNNING or run.state is not RunState.RUNNING:
        return usual
    since = step.started_at or now
    if kind.serial and pace.last_serial_at is not None:
        since = max(since, pace.last_serial_at)
    return max(usual * _LEAST_LEFT, usual - (now - since).total_seconds())
