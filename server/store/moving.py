"""Moves everything from an SQLite file to PostgreSQL, all at once or not at all.

The file is locked against writes while it is read, so that no order gets lost in between, and is
marked once PostgreSQL has committed, so that no server works on it any more. Two services
that drive the same tenants are the one thing that fencing can't prevent (docs/decisions/0069).
"""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Boolean, Float, Integer, Text, func, select
from sqlalchemy.exc import DBAPIError

from server.errors import Refused, SchemaMismatch, SettingsError, StoreUnavailable
from server.model.damaged import ROW_DAMAGED
from server.store import schema
from server.store.columns import UtcTime, time_read
from server.store.failures import detail
from server.store.rowset import add
from server.store.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Column, Connection, Table
    from sqlalchemy.types import TypeEngine

_ROWS_AT_ONCE = 1000
# How long another process may go on writing before the file is taken, in seconds.
_PATIENCE_SECONDS = 5.0
# How many damaged rows are named, so that they can be corrected in one go.
_MOST_NAMED = 5
# How much of a damaged value is quoted: enough to find it, whatever its length.
_MOST_QUOTED = 60


class SqliteSource:
    """An SQLite file that nobody else can write to while it is moved."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def taken(cls, file: Path) -> Iterator[SqliteSource]:
        """Take a file for oneself; without `mark`, it is left as it was.

        Args:
            file: The database, of this version's schema.

        Raises:
            StoreUnavailable: another process goes on writing, the file can't be read or written, or
                another process has moved or upgraded it since it was looked at.
        """
        try:
            with closing(
                sqlite3.connect(file, isolation_level=None, timeout=_PATIENCE_SECONDS)
            ) as connection:
                connection.text_factory = _text
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("BEGIN IMMEDIATE")
                # From here on nobody else changes it: a look before this may be outdated.
                _demand_this_schema(connection)
                yield cls(connection)
        except sqlite3.Error as error:
            why = detail(DBAPIError(None, None, error))
            raise StoreUnavailable(f"The database {file} can't be moved: {why}") from error

    def mark(self) -> None:
        """Mark the file as moved, for ever, and give it back.

        Raises:
            StoreUnavailable: it can't be written.
        """
        try:
            self._connection.execute("UPDATE alembic_version SET version_num = ?", (schema.MOVED,))
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreUnavailable(
                f"Everything was moved, but the old file could not be marked: {error}. Put the "
                "file away before anything is started, so that no server works on it any more."
            ) from error

    def rows(self, table: Table) -> Iterator[list[tuple[Any, ...]]]:
        """Return the rows of a table as they are stored, a thousand at a time."""
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        found = self._connection.execute(f'SELECT {names} FROM "{table.name}"')  # noqa: S608 - our own names
        while page := found.fetchmany(_ROWS_AT_ONCE):
            yield page


def move(source: SqliteSource, target: Connection, told: Callable[[str, int], None]) -> None:
    """Copy every row into an empty PostgreSQL, and set its schema up first.

    Args:
        source: The file.
        target: In a transaction; the caller commits.
        told: Called with the name of each table and how many rows it has, once they are copied.

    Raises:
        SettingsError: the target holds rows already, or tables that are not this version's.
        Refused: some rows of the file hold what no column of PostgreSQL takes.
        StoreUnavailable: the target can't be set up, or has not got every row.
    """
    _set_up(target)
    _demand_empty(target)
    damaged: list[str] = []
    for table in METADATA.sorted_tables:
        moved = 0
        for page in source.rows(table):
            rows = [_read(table, row, damaged) for row in page]
            moved += len(rows)
            if not damaged:
                add(target, table, rows)
        if not damaged:
            _demand_arrived(target, table, moved)
            told(table.name, moved)
    if damaged:
        raise Refused(_told(damaged), code=ROW_DAMAGED)


def _demand_this_schema(connection: sqlite3.Connection) -> None:
    found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    if found != [(schema.head(),)]:
        raise StoreUnavailable(schema.told(", ".join(str(each) for (each,) in found) or None))


def _set_up(target: Connection) -> None:
    try:
        schema.prepare(target)
    except SchemaMismatch as error:
        # Its own remedy, to upgrade the database in the settings, would not be about this one.
        found = schema.current(target) or "none"
        raise SettingsError(
            f"--to: that database has tables already, of schema {found}, and this version needs "
            f"{schema.head()}. Name an empty one; `createdb NAME` makes one."
        ) from error


def _demand_empty(target: Connection) -> None:
    for table in METADATA.sorted_tables:
        if target.execute(select(table).limit(1)).first() is not None:
            raise SettingsError(
                f"--to: that database is in use: its table {table.name} has rows. Name an empty "
                "one; `createdb NAME` makes one."
            )


def _demand_arrived(target: Connection, table: Table, moved: int) -> None:
    arrived = target.execute(select(func.count()).select_from(table)).scalar_one()
    if arrived != moved:
        raise StoreUnavailable(
            f"{moved} rows of {table.name} were sent, and {arrived} arrived. Nothing was moved: "
            "repeat this, and report it if it happens again."
        )


def _told(damaged: list[str]) -> str:
    more = len(damaged) - _MOST_NAMED
    return (
        f"Nothing was moved: these rows were damaged from outside, and PostgreSQL takes no such "
        f"values. Correct them, then repeat this: {'; '.join(damaged[:_MOST_NAMED])}"
        + (f"; and {more} more." if more > 0 else ".")
    )


def _read(table: Table, row: tuple[Any, ...], damaged: list[str]) -> dict[str, Any]:
    """Return a row by column; add to `damaged` what can't be stored elsewhere."""
    read: dict[str, Any] = {}
    for column, value in zip(table.columns, row, strict=True):
        try:
            read[column.name] = _value(column, value)
        except ValueError as error:
            key = ", ".join(
                f"{each.name} = {_quoted(part)}"
                for each, part in zip(table.columns, row, strict=True)
                if each.primary_key
            )
            # What is wrong with a password's hash is told without showing it.
            why = "it is damaged" if column.name.endswith("_hash") else error
            damaged.append(f"{table.name} ({key}), column {column.name}: {why}")
    return read


def _value(column: Column[Any], value: Any) -> Any:  # Any: SQLite's columns hold any value
    """Return a value as its column's type has it.

    Raises:
        ValueError: it is of another type; the message says so.
    """
    if value is None:
        if column.nullable:
            return None
        raise ValueError("it is NULL")
    return next(read(value) for kind, read in _READERS if isinstance(column.type, kind))


def _time(value: Any) -> datetime:
    if (read := time_read(value)) is not None:
        return read
    raise ValueError(f"{_quoted(value)} is no time")


def _flag(value: Any) -> bool:
    if isinstance(value, int) and value in {0, 1}:
        return bool(value)
    raise ValueError(f"{_quoted(value)} is neither 0 nor 1")


def _number(value: Any) -> float:
    # Infinities have no place in JSON, in which rows are sent; no number of ours is one.
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    raise ValueError(f"{_quoted(value)} is no number")


def _whole(value: Any, bits: int) -> int:
    limit = 1 << (bits - 1)
    if isinstance(value, int) and -limit <= value < limit:
        return value
    raise ValueError(f"{_quoted(value)} is no whole number of {bits} bits")


def _plain_text(value: Any) -> str:
    if isinstance(value, str) and "\x00" not in value:
        return value
    raise ValueError(f"{_quoted(value)} is no text")


def _quoted(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_QUOTED else f"{text[:_MOST_QUOTED]}..."


# The first kind that fits counts: a BigInteger is an Integer, too.
_READERS: tuple[tuple[type[TypeEngine[Any]], Callable[[Any], Any]], ...] = (
    (UtcTime, _time),
    (Boolean, _flag),
    (Float, _number),
    (BigInteger, partial(_whole, bits=64)),
    (Integer, partial(_whole, bits=32)),
    (Text, _plain_text),
)


def _text(stored: bytes) -> str | bytes:
    """Read a text; bytes that are no UTF-8 stay bytes, so that they are noticed."""
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return stored
