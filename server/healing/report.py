"""What got stuck in a period and what became of it: pure, from findings to a page of text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from server.model.causes import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from server.model.findings import FindingSeen

_REMEDIES = {
    "DRIVE_ON": "driven on",
    "REBUILD_RECORD": "record rebuilt from the engine",
    "CALL_OPERATOR": "a person was called",
    "WAIT_FOR_ENGINE": "waited for the engine",
    "NOTHING_YET": "watched",
}
_MOST_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One time a tenant got stuck, from when it was noticed to its end.

    Attributes:
        tenant_id: For an engine, "engine:" and its id.
        cause: The cause of its first finding, and so is the message.
        stuck_since: None if nobody can know (damage).
        remedy: What was done about it, in plain words.
        orders: How many orders the reconciler gave.
        outcome: As `FindingSeen.ended_as`; while it is not over, HANDED_OVER if a person was
            called, else OPEN.
        ended_at: None while it is not over.
    """

    tenant_id: str
    company_name: str
    cause: str
    message: str
    stuck_since: datetime | None
    noticed_at: datetime
    remedy: str
    orders: int
    outcome: str
    ended_at: datetime | None

    @property
    def seconds_to_notice(self) -> float:
        """From getting stuck to being noticed."""
        return _seconds(self.stuck_since, self.noticed_at)

    @property
    def seconds_to_heal(self) -> float:
        """From being noticed to its end; 0 while it is not over."""
        return _seconds(self.noticed_at, self.ended_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The distribution of a duration over many cases, in seconds."""

    count: int = 0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    max: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseTotal:
    """How many cases had one cause, and how they ended.

    Attributes:
        healed: How many the reconciler healed.
        handed_over: How many wait for a person now.
    """

    cause: str
    cases: int
    healed: int
    handed_over: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What got stuck in a period, and what became of it.

    Attributes:
        cases: The most recently noticed first.
        truncated: Whether there were more findings than were read.
    """

    begins_at: datetime
    ends_at: datetime
    cases: tuple[Case, ...]
    truncated: bool

    @property
    def outcomes(self) -> dict[str, int]:
        """Cases by outcome."""
        return dict(sorted(Counter(case.outcome for case in self.cases).items()))

    @property
    def causes(self) -> tuple[CauseTotal, ...]:
        """Cases by cause, most frequent first."""
        counted = Counter(case.cause for case in self.cases)
        return tuple(
            CauseTotal(
                cause=cause,
                cases=count,
                healed=self._count(cause, "HEALED"),
                handed_over=self._count(cause, "HANDED_OVER"),
            )
            for cause, count in sorted(counted.items(), key=lambda item: (-item[1], item[0]))
        )

    @property
    def time_to_notice(self) -> Spread:
        """From getting stuck to being noticed."""
        return spread(case.seconds_to_notice for case in self.cases if case.stuck_since)

    @property
    def time_to_heal(self) -> Spread:
        """From being noticed to being healed, of those the reconciler healed."""
        return spread(case.seconds_to_heal for case in self.cases if case.outcome == "HEALED")

    def _count(self, cause: str, outcome: str) -> int:
        return sum(case.cause == cause and case.outcome == outcome for case in self.cases)


def report(
    findings: Sequence[FindingSeen],
    *,
    begins_at: datetime,
    ends_at: datetime,
    truncated: bool = False,
) -> Report:
    """Group findings into cases.

    A tenant's findings with the same end are one case: if it was driven on several times, each
    time has a finding of its own.

    Args:
        findings: Those that were found or ended in the period, without those of herds, in any
            order.
        begins_at: The start of the period.
        ends_at: Its end.
        truncated: Whether there were more findings.
    """
    groups: dict[tuple[str, datetime | None], list[FindingSeen]] = {}
    for finding in findings:
        groups.setdefault((finding.tenant_id, finding.ended_at), []).append(finding)
    cases = [_case(sorted(group, key=lambda each: each.found_at)) for group in groups.values()]
    cases.sort(key=lambda case: (case.noticed_at, case.tenant_id), reverse=True)
    return Report(begins_at=begins_at, ends_at=ends_at, cases=tuple(cases), truncated=truncated)


def spread(seconds: Iterable[float]) -> Spread:
    """Return the distribution of times; each percentile is one of them (nearest rank)."""
    ordered = sorted(seconds)
    if not ordered:
        return Spread()

    def rank(share: float) -> float:
        return round(ordered[max(ceil(share * len(ordered)) - 1, 0)], 3)

    return Spread(
        count=len(ordered), p50=rank(0.5), p90=rank(0.9), p99=rank(0.99), max=round(ordered[-1], 3)
    )


def as_markdown(made: Report) -> str:
    """Write a report for people: all cases are counted, and the latest 200 are listed."""
    outcomes = made.outcomes
    lines = [
        "# Healing report",
        "",
        f"From {_clock(made.begins_at)} to {_clock(made.ends_at)}.",
        "",
        f"**{len(made.cases)}** times a tenant or an engine got stuck: "
        f"**{outcomes.get('HEALED', 0)}** healed by the reconciler, "
        f"**{outcomes.get('MENDED', 0)}** mended after a person was called, "
        f"**{outcomes.get('CLEARED', 0)}** cleared by themselves, "
        f"**{outcomes.get('ENDED', 0)}** ended by a person, "
        f"**{outcomes.get('OPEN', 0)}** under way, "
        f"**{outcomes.get('HANDED_OVER', 0)}** waiting for a person.",
        "",
    ]
    if made.truncated:
        lines += ["There were more than are counted here; ask for a shorter period.", ""]
    if not made.cases:
        return "\n".join([*lines, "Nothing got stuck.", ""])
    lines += [
        "| seconds | cases | p50 | p90 | p99 | longest |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        _spread_row("to notice", made.time_to_notice),
        _spread_row("to heal", made.time_to_heal),
        "",
        "| cause | cases | healed | waiting for a person |",
        "| --- | ---: | ---: | ---: |",
        *(
            f"| {total.cause} | {total.cases} | {total.healed} | {total.handed_over} |"
            for total in made.causes
        ),
        "",
        "| tenant | cause | since | noticed | remedy | outcome | to notice | to heal |",
        "| --- | --- | --- | --- | --- | --- | ---: | ---: |",
        *(_case_row(case) for case in made.cases[:_MOST_ROWS]),
    ]
    if len(made.cases) > _MOST_ROWS:
        lines.append(f"| and {len(made.cases) - _MOST_ROWS} more | | | | | | | |")
    return "\n".join([*lines, ""])


def _case(findings: list[FindingSeen]) -> Case:
    first, last = findings[0], findings[-1]
    acts = [each for each in findings if each.verdict in {"DRIVE_ON", "REBUILD_RECORD"}]
    orders = sum(each.outcome == "ORDERED" for each in findings)
    act = (acts or findings)[-1]
    remedy = _REMEDIES.get(act.verdict, last.verdict)
    if act.outcome == "STATE_CORRECTED":
        remedy = "its stored state was set right"
    return Case(
        tenant_id=first.tenant_id,
        company_name=first.company_name,
        cause=first.cause,
        message=first.message,
        stuck_since=min((each.stuck_since for each in findings if each.stuck_since), default=None),
        noticed_at=first.noticed_at,
        remedy=f"{remedy}, {orders} times" if orders > 1 else remedy,
        orders=orders,
        outcome=last.ended_as or _outcome_of_open(findings),
        ended_at=last.ended_at,
    )


def _outcome_of_open(findings: Sequence[FindingSeen]) -> str:
    last = findings[-1]
    called = any(
        each.severity == Severity.PERSON.value
        for each in findings
        if each.revision == last.revision
    )
    return "HANDED_OVER" if called else "OPEN"


def _spread_row(name: str, times: Spread) -> str:
    return (
        f"| {name} | {times.count} | {times.p50:.1f} | {times.p90:.1f} | {times.p99:.1f} "
        f"| {times.max:.1f} |"
    )


def _case_row(case: Case) -> str:
    healed = f"{case.seconds_to_heal:.1f} s" if case.ended_at else ""
    cells = (
        f"{case.company_name} `{case.tenant_id}`",
        case.cause,
        _clock(case.stuck_since),
        _clock(case.noticed_at),
        case.remedy,
        case.outcome,
        f"{case.seconds_to_notice:.1f} s" if case.stuck_since else "",
        healed,
    )
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _seconds(begin: datetime | None, end: datetime | None) -> float:
    if begin is None or end is None:
        return 0.0
    return round(max((end - begin).total_seconds(), 0.0), 3)


def _clock(time: datetime | None) -> str:
    return "" if time is None else time.strftime("%Y-%m-%d %H:%M:%S UTC")
