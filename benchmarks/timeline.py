"""Draws who held which slot when, as an SVG with one lane for each site."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LEFT, _WIDTH, _RIGHT = 90, 1100, 20
_TOP, _LANE, _GAP = 60, 34, 14
_COLOURS = {
    "Company": "#3b6ea5",
    "Account": "#d9822b",
    "Warehouse": "#4c9f70",
    "Customer": "#a05195",
    "Mode of Payment Account": "#c0392b",
    "POS Opening Entry": "#7f7f7f",
}
_OTHER = "#222222"
# The approximate number of marks on the axis.
_MARKS = 12
_STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)


@dataclass(frozen=True, slots=True)
class Held:
    """A time in which a site's slot was held for a document of a kind.

    Attributes:
        site: The site's url and host.
        kind: The document's doctype.
        since: From when, in seconds after the beginning of the measure.
        until: Until when, likewise.
    """

    site: str
    kind: str
    since: float
    until: float


def picture(held: Sequence[Held], *, seconds: float, bound: float, title: str) -> str:
    """Return the SVG.

    Args:
        held: The times in which slots were held.
        seconds: The time at which all was done, in seconds after the beginning.
        bound: The earliest time at which it could have been done; marked. More than zero.
        title: The title above the picture.
    """
    sites = sorted({each.site for each in held})
    end = max(seconds, bound) * 1.01
    floor = _TOP + len(sites) * (_LANE + _GAP)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + _RIGHT}" '
        f'height="{floor + 60}" font-family="sans-serif" font-size="12">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="15">{escape(title)}; done after {seconds:.1f} s, '
        f"{seconds / bound:.2f} times the bound</text>",
        *_legend(sorted({each.kind for each in held}, key=_rank)),
        *_axis(end, floor),
    ]
    for lane, site in enumerate(sites):
        y = _TOP + lane * (_LANE + _GAP)
        lines.append(
            f'<text x="{_LEFT - 8}" y="{y + _LANE / 2 + 4}" text-anchor="end">site {lane}</text>'
        )
        lines.append(
            f'<rect x="{_LEFT}" y="{y}" width="{_WIDTH}" height="{_LANE}" fill="#f3f3f3"/>'
        )
        lines += [_bar(each, y, end) for each in held if each.site == site]
    x = _at(bound, end)
    lines.append(
        f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{floor}" stroke="black" '
        f'stroke-dasharray="4 3"/><text x="{x:.1f}" y="{floor + 36}" text-anchor="middle">'
        f"bound: {bound:.1f} s</text>"
    )
    return "\n".join([*lines, "</svg>", ""])


def _bar(held: Held, y: int, end: float) -> str:
    x, width = _at(held.since, end), max(0.4, _at(held.until, end) - _at(held.since, end))
    colour = _COLOURS.get(held.kind, _OTHER)
    return (
        f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{_LANE}" fill="{colour}">'
        f"<title>{escape(held.kind)} {held.since:.2f} to {held.until:.2f} s</title></rect>"
    )


def _legend(kinds: Sequence[str]) -> Iterator[str]:
    x = _LEFT
    for kind in kinds:
        yield f'<rect x="{x}" y="30" width="12" height="12" fill="{_COLOURS.get(kind, _OTHER)}"/>'
        yield f'<text x="{x + 16}" y="40">{escape(kind)}</text>'
        x += 40 + 7 * len(kind)
    yield f'<text x="{x}" y="40" fill="#777">grey: nobody held it</text>'


def _axis(end: float, floor: int) -> Iterator[str]:
    step = next((step for step in _STEPS if end / step <= _MARKS), _STEPS[-1])
    for mark in range(0, int(end) + 1, step):
        x = _at(mark, end)
        yield (
            f'<line x1="{x:.1f}" y1="{floor}" x2="{x:.1f}" y2="{floor + 5}" stroke="#777"/>'
            f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{mark} s</text>'
        )


def _at(seconds: float, end: float) -> float:
    return _LEFT + _WIDTH * seconds / end


def _rank(kind: str) -> tuple[int, str]:
    return (list(_COLOURS).index(kind) if kind in _COLOURS else len(_COLOURS), kind)
