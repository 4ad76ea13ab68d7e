"""Which Fiscal Years are missing: a pure decision based on those that exist.

A new year continues the last one, ends the day before its anniversary, and is for all Companies:
one that names a Company would block that Company's DELETE (recording
10-delete-company-with-fiscal-year). An overlap is answered with a 409 and nothing is made, so a
year that would overlap a disabled one is never asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Today and the same day of the next two years.
YEARS_AHEAD = 2
_ONE_DAY = timedelta(days=1)
_LEAP_DAY = (2, 29)


@dataclass(frozen=True, slots=True, kw_only=True)
class FiscalYear:
    """A Fiscal Year.

    Attributes:
        name: Its name, unique on the site.
        start: Its first day.
        end: Its last day, which belongs to it.
        usable: Whether it is enabled and applies to the tenant's Company.
    """

    name: str
    start: date
    end: date
    usable: bool = True

    def covers(self, day: date) -> bool:
        """Whether the day falls in this year."""
        return self.start <= day <= self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class YearPlan:
    """What to make, and which years stand in the way.

    Attributes:
        missing: The years to make, in order.
        blocked_today: The year in the way of one that covers today, or None.
        blocked_later: Years in the way of later ones; they are only worth a note.
    """

    missing: tuple[FiscalYear, ...]
    blocked_today: FiscalYear | None
    blocked_later: tuple[FiscalYear, ...]


def plan_years(known: Sequence[FiscalYear], today: date) -> YearPlan:
    """Decide which years must be made, so that today and the next `YEARS_AHEAD` years are covered.

    Args:
        known: All Fiscal Years of the site, in any order.
        today: The site's date.

    Returns:
        The plan. It has no year that would overlap one of the site's, also a disabled one: that is
        refused (recording 05-fiscal-year-disabled).
    """
    years = sorted(known, key=lambda year: year.start)
    missing: list[FiscalYear] = []
    blocked: list[FiscalYear] = []
    blocked_today: FiscalYear | None = None
    for ahead in range(YEARS_AHEAD + 1):
        day = years_later(today, ahead)
        while not any(year.usable and year.covers(day) for year in (*years, *missing)):
            wanted = _next_towards(day, (*years, *missing))
            in_the_way = next((year for year in years if _overlap(year, wanted)), None)
            if in_the_way is not None:
                blocked.append(in_the_way)
                blocked_today = blocked_today or (in_the_way if ahead == 0 else None)
                break
            missing.append(wanted)
    later = tuple(year for year in dict.fromkeys(blocked) if year != blocked_today)
    return YearPlan(missing=tuple(missing), blocked_today=blocked_today, blocked_later=later)


def years_later(day: date, years: int) -> date:
    """Return the same day some years later; the 29th of February becomes the 28th."""
    if years and (day.month, day.day) == _LEAP_DAY:
        return date(day.year + years, 2, 28)
    return day.replace(year=day.year + years)


def _next_towards(day: date, years: Sequence[FiscalYear]) -> FiscalYear:
    ended = [year.end for year in years if year.end < day]
    # If there is no earlier year, there is nothing to continue: start with the calendar year.
    start = max(ended) + _ONE_DAY if ended else date(day.year, 1, 1)
    while years_later(start, 1) <= day:  # a gap of past years is not filled
        start = years_later(start, 1)
    end = years_later(start, 1) - _ONE_DAY
    names = [str(start.year)] if start.year == end.year else []
    names += [f"{start.year}-{end.year}", f"{start} to {end}"]
    # A year with other dates can have the name already (recording 05-fiscal-year-colliding).
    taken = {year.name for year in years}
    return FiscalYear(name=next(name for name in names if name not in taken), start=start, end=end)


def _overlap(one: FiscalYear, other: FiscalYear) -> bool:
    return one.start <= other.end and other.start <= one.end
