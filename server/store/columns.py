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
    """Return the text a time is stored as on SQLite and sent as in JSON.

    One width, so that texts compare as the times they stand for; SQLite's own date functions
    read it too. `isoformat`, as `strftime` takes four times as long; remembered, as the rows of
    one operation share most of theirs.

    Args:
        value: An aware time.
    """
    if value.tzinfo is not UTC:
        value = value.astimezone(UTC)
    return value.isoformat(" ", "microseconds")


class UtcTime(TypeDecorator[datetime]):
    """An aware time in UTC: TIMESTAMPTZ on PostgreSQL, sortable text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the type by database."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(String(32))
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Bring a time into what the database takes."""
        if value is None or dialect.name != "sqlite":
            return value
        return time_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's contract
        """Bring what the database gives into an aware time; damage reads as None."""
        if value is None:
            return None
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        try:
            read = datetime.fromisoformat(str(value))
            return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
        except (ValueError, OverflowError):
            # No time, or one whose hour in UTC lies before the year 1 or after 9999.
            return None


# PostgreSQL's own form of a time: microseconds since then.
_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST = (datetime.min.replace(tzinfo=UTC) - _POSTGRES_EPOCH) // _MICROSECOND
_LATEST = (datetime.max.replace(tzinfo=UTC) - _POSTGRES_EPOCH) // _MICROSECOND


async def read_damaged_times(driver: Any) -> None:  # Any: asyncpg has no types
    """Let a connection to PostgreSQL read a time that is none of Python's as None.

    PostgreSQL knows `infinity`, years before 1 and after 9999. The driver gives the first without
    a time zone and raises at the others, so that one damaged row hid all that were read with it.

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
