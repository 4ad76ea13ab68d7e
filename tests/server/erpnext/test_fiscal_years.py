"""Which Fiscal Years are missing: cases without a site."""

from __future__ import annotations

from datetime import date

import pytest

from server.erpnext.fiscal_years import FiscalYear, plan_years, years_later

TODAY = date(2026, 11, 23)


def calendar(year: int, *, usable: bool = True) -> FiscalYear:
    return FiscalYear(name=str(year), start=date(year, 1, 1), end=date(year, 12, 31), usable=usable)


def july(year: int, *, usable: bool = True) -> FiscalYear:
    return FiscalYear(
        name=f"{year}-{year + 1}",
        start=date(year, 7, 1),
        end=date(year + 1, 6, 30),
        usable=usable,
    )


@pytest.mark.parametrize(
    ("known", "missing"),
    [
        ([], [calendar(2026), calendar(2027), calendar(2028)]),
        ([calendar(2026)], [calendar(2027), calendar(2028)]),
        ([calendar(2028), calendar(2026), calendar(2027)], []),
        ([july(2026)], [july(2027), july(2028)]),
        ([july(2020)], [july(2026), july(2027), july(2028)]),
        ([calendar(2025), calendar(2027)], [calendar(2026), calendar(2028)]),
        ([calendar(2026, usable=False), july(2019)], []),
    ],
    ids=["none", "current", "all", "from July", "long past", "gap", "blocked"],
)
def test_years_go_on_from_the_last_one(known: list[FiscalYear], missing: list[FiscalYear]) -> None:
    assert list(plan_years(known, TODAY).missing)[: len(missing)] == missing


def test_a_disabled_year_over_today_is_named_and_not_overlapped() -> None:
    plan = plan_years([calendar(2025), calendar(2026, usable=False)], TODAY)
    assert plan.blocked_today == calendar(2026, usable=False)


def test_a_year_in_the_way_later_on_is_only_noted() -> None:
    plan = plan_years([calendar(2026), calendar(2027, usable=False)], TODAY)
    assert plan.blocked_today is None
    assert plan.blocked_later == (calendar(2027, usable=False),)
    assert plan.missing == (calendar(2028),)


def test_a_name_that_a_year_of_other_dates_has_is_not_used_again() -> None:
    odd = FiscalYear(name="2027", start=date(2033, 1, 1), end=date(2033, 12, 31))
    plan = plan_years([calendar(2026), odd], TODAY)
    assert [year.name for year in plan.missing] == ["2027-2027", "2028"]


def test_a_leap_day_has_a_place_in_every_year() -> None:
    assert years_later(date(2028, 2, 29), 1) == date(2029, 2, 28)
    assert years_later(date(2028, 2, 29), 0) == date(2028, 2, 29)
    assert not plan_years(
        [calendar(year) for year in (2028, 2029, 2030)], date(2028, 2, 29)
    ).missing
