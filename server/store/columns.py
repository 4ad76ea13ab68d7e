"""Column types that mean the same on SQLite and PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import DateTime, String
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from sqlalchemy import Dialect
    from sqlalchemy.types import TypeEngine


@lru_cache(maxsize=4096)
def time_text(value: datetime) -> str:
    """Return a time as the text that SQLite stores and JSON carries.

    All texts have the same width, so that they compare like the times they stand for; SQLite's own
    date functions read them too. It uses `isoformat` because `strftime` takes four times as long,
    and caches because the rows of one operation share most of their times.

    Args:
        value: An aware time.
    """
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.isoformat(" ", "microseconds")


def time_read(stored: object) -> datetime | None:
    """Return what is in a time's column of SQLite as a time in UTC.

    Args:
        stored: Any value; a text without a time zone is taken for UTC.

    Returns:
        None if it is no time, or its equivalent in UTC is before the year 1 or after 9999.
    """
    try:
        read = datetime.fromisoformat(str(stored))
        return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC: TIMESTAMPTZ on PostgreSQL, sortable text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the column's type for the database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(32))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Convert a time to what the database takes.

        Args:
            value: An aware time, or None.
            dialect: Only SQLite gets a text (`time_text`).
        """
        if value is None or dialect.name != "sqlite":
            return value
        return time_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's contract
        """Convert what the database gives to an aware time in UTC.

        Args:
            value: A time of PostgreSQL's driver, or whatever is in a column of SQLite, which takes
                any value; a text without a time zone is taken for UTC.
            dialect: Not used; SQLAlchemy passes it.

        Returns:
            None for NULL, and for anything that is no time, or none that Python knows.
        """
        if value is None:
            return None
        return value.astimezone(UTC) if isinstance(value, datetime) else time_read(value)


# PostgreSQL's own format of a time: microseconds since this one.
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST = (datetime.min.replace(tzinfo=UTC) - _POSTGRES_EPOCH) // _MICROSECOND
_LATEST = (datetime.max.replace(tzinfo=UTC) - _POSTGRES_EPOCH) // _MICROSECOND


async def read_damaged_times(driver: Any) -> None:  # Any: asyncpg has no types
    """Make a connection to PostgreSQL read times that Python can't represent as None.

    PostgreSQL has `infinity`, and years before 1 and after 9999. The driver returns the first
    without a time zone and raises an error at the others, so that one damaged row hid all those
    read with it.

    Args:
        driver: asyncpg's connection.
    """
    await driver.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        encoder=_as_postgres,
        decoder=_from_postgres,
        format="tuple",
    )


def _as_postgres(value: datetime) -> tuple[int]:
    since = value.astimezone(UTC) - _POSTGRES_EPOCH
    return ((since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds,)


def _from_postgres(stored: tuple[int]) -> datetime | None:
    number = stored[0]
    if _EARLIEST <= number <= _LATEST:
        return _POSTGRES_EPOCH + timedelta(0, 0, number)
    return None
