"""Adds to times from rows: one at the very end of the calendar must not break anybody's answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)


def moved(time: datetime, by: timedelta) -> datetime:
    """Return a time moved by a span; beyond the calendar, its first or last moment."""
    try:
        return time + by
    except OverflowError:
        return _LAST if by > timedelta() else _FIRST
