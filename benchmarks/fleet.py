"""Many tenants on few sites, compared with the bound set by one Company at a time per site.

The sites are stand-ins with the times recorded from a real ERPNext, shortened so that a run
fits into two minutes. Everything but Companies counts against us: the small documents that need
the slot too, the reads, our own work. Shortened times make the goal harder to reach, as our own
work is not shortened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import timeline
from benchmarks.rows import RESULTS, Row
from benchmarks.run import beside, folder, ours
from server.standin import latency

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

GOAL = 1.15
_SITES = 4


def bench(*, quick: bool) -> Iterator[Row]:
    """Measure once: a run takes two minutes (some seconds in the short form).

    Args:
        quick: Whether to measure the short form, which has no goal and draws no picture.
    """
    tenants, pace = (20, 0.5) if quick else (200, 0.35)
    bound = company_bound(tenants // _SITES, pace)
    with (
        folder() as place,
        beside("fleet_sites", "--sites", _SITES, "--pace", pace) as sites,
    ):
        got = ours(
            "fleet_ours",
            *("--url", f"sqlite+aiosqlite:///{place / 'p.db'}"),
            *("--tenants", tenants, "--patience", 4 * bound),
            *sites.facts,
        )
    slots = [timeline.Held(*each) for each in got["slots"]]
    what = f"{tenants} tenants on {_SITES} sites"
    if not quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "fleet.svg").write_text(
            timeline.picture(
                slots, seconds=got["seconds"], bound=bound, title=f"{what}: who held the slot"
            ),
            encoding="utf-8",
        )
    yield Row(
        name=f"{what}, SQLite, to the last one COMPLETED",
        unit="s",
        ours=round(got["seconds"], 1),
        theirs=round(bound, 1),
        ratio=round(got["seconds"] / bound, 3),
        goal=None if quick else GOAL,
        at_most=True,
        note=(
            "theirs is the bound: the recorded times of the Companies of one site, one after "
            f"the other. Recorded times are multiplied by {pace:g}."
            + (
                " A short fleet (a whole run: of 200) is mostly its beginning and its end: no goal."
                if quick
                else " The picture: fleet.svg"
            )
        ),
    )
    yield from _idle(slots, got)


def company_bound(tenants: int, pace: float) -> float:
    """Return the seconds that the Companies of one site take, one after another.

    Args:
        tenants: How many Companies are made on the site, which has one already.
        pace: What each recorded time is multiplied by.

    Source: recording 12-company-create-time-grows, as the stand-in has it.
    """
    return pace * sum(
        latency.write_seconds("POST", "Company", 1 + number) for number in range(tenants)
    )


def _idle(slots: Sequence[timeline.Held], got: dict[str, Any]) -> Iterator[Row]:
    """Say where the rest of the time went: to idle slots, and to our own work."""
    idle = []
    for site in sorted({each.site for each in slots}):
        of_site = [each for each in slots if each.site == site]
        first = min(each.since for each in of_site)
        last = max(each.until for each in of_site)
        idle.append(last - first - sum(each.until - each.since for each in of_site))
    yield Row(
        name="of that, a site's slot idle between its first and its last document",
        unit="s",
        ours=round(sum(idle) / len(idle), 2),
        spread=(round(min(idle), 2), round(max(idle), 2)),
        note="mean of the sites",
    )
    yield Row(
        name="processor time of the server, a tenant of that fleet",
        unit="ms",
        ours=round(1000 * got["cpu"] / sum(each.kind == "Company" for each in slots), 1),
    )
