"""Many rows as the parameters of a few statements, with few texts, however many rows there are.

Rows are written as *cells*: tuples of text, numbers and None in the order of a table's columns.
PostgreSQL takes a batch as one JSON parameter, to which `json_to_recordset` gives types. SQLite
takes it as VALUES of 1, 2, 4, … 64 rows, because reading the cells of a JSON text one by one
takes it three times as long (docs/decisions/0003, 0044). Either way, database and driver already
know the statements, and each of them is one step during which other threads can run.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import to_json
from sqlalchemy import (
    JSON,
    bindparam,
    column,
    func,
    literal_column,
    select,
    text,
    true,
)
from sqlalchemy.dialects.postgresql import dialect as postgresql_dialect
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import DBAPIError

from server.store.columns import time_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import ClauseElement, Connection, Subquery, Table
    from sqlalchemy.types import TypeEngine

# What both databases take as it is: a row in the order of its columns.
Cells = tuple[str | int | float | None, ...]

# A parameter of a statement, sent as text.
_PARAMETER = "CAST(CAST(${number} AS text) AS json)"
# Times the most columns of any table, this is below SQLite's limit of parameters per statement.
_MOST_ROWS = 64
# Stands for the rows until their number is known; no statement of ours contains this name.
_VALUES = "values_of_the_batch"


def put(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or overwrite those with the same primary key.

    Args:
        connection: In a transaction.
        table: The table.
        rows: Whole rows by column, no two with the same key; a column left out is NULL.
    """
    _insert(connection, table, cells_of(table, rows), overwrite=True)


def add(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows.

    Args:
        connection: In a transaction.
        table: The table.
        rows: Whole rows by column; a column left out is NULL.

    Raises:
        sqlalchemy.exc.IntegrityError: one of them exists already.
    """
    _insert(connection, table, cells_of(table, rows), overwrite=False)


def cells_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> list[Cells]:
    """Turn whole rows by column into cells; a column left out is NULL."""
    names = table.columns.keys()
    return [tuple(plain(row.get(name)) for name in names) for row in rows]


def plain(value: Any) -> str | int | float | None:  # Any: what a column may hold
    """Turn a value into one that both databases take as it is.

    Returns:
        A text that can be stored (`storable`), a time as `time_text` writes it, a bool as a number.

    Raises:
        TypeError: it is nothing that a column may hold.
    """
    if value is None or value.__class__ is int:
        return value
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, int | float):
        return +value  # turns a bool into a number
    raise TypeError(f"{type(value).__name__} can't be stored")


def storable(value: str) -> str:
    """Return a text without the characters that can't be stored.

    A lone surrogate, which an engine's answer may contain, can't be encoded as UTF-8; NUL is the
    one character that PostgreSQL's texts can't hold.
    """
    if value.isascii() and "\x00" not in value:
        return str(value)
    return value.replace("\x00", "\ufffd").encode("utf-8", errors="replace").decode()


class Write(NamedTuple):
    """Rows for one table.

    Attributes:
        rows: No two with the same key.
        overwrite: Whether they replace rows that exist; otherwise those are an error.
    """

    table: Table
    rows: Sequence[Cells]
    overwrite: bool = True


def write_together(
    connection: Connection, writes: Sequence[Write], *, look: Batched, asked: Sequence[Cells]
) -> list[Sequence[Any]]:
    """Write rows of several tables, and ask what was there before.

    PostgreSQL gets all of it as one statement, because round trips are most of what a single run's
    step takes there. The statement's parts see the tables as they were before it, and run in the
    same order in every process.

    Args:
        connection: In a transaction.
        writes: The rows, with each table at most once.
        look: The query for what was there before.
        asked: The query's batch.

    Returns:
        What the query found.

    Raises:
        sqlalchemy.exc.IntegrityError: a row that must not overwrite another exists already.
    """
    writes = [write for write in writes if write.rows]
    if connection.dialect.name == "sqlite":
        found = list(look.run(connection, asked))
        for write in writes:
            _insert(connection, write.table, write.rows, overwrite=write.overwrite)
        return found
    if not writes:
        return list(look.run(connection, asked))
    text = _together(tuple((write.table, write.overwrite) for write in writes), look)
    parameters = [_json(_names(write.table), write.rows) for write in writes]
    return list(connection.exec_driver_sql(text, (*parameters, look.parameter(asked))))


class Batched:
    """A statement that reads a batch of rows as if they were a table."""

    def __init__(
        self,
        columns: Mapping[str, TypeEngine[Any]],
        make: Callable[[Subquery], ClauseElement],
    ) -> None:
        """Take the parts.

        Args:
            columns: The type of each column of the batch, by name.
            make: Builds the statement from the batch as a FROM element.
        """
        self._columns = dict(columns)
        self._make = make
        # Not functools, whose cache on a method would keep the object alive for ever.
        self._texts: dict[int, str] = {}
        self._postgres = ""

    def run(self, connection: Connection, rows: Sequence[Cells]) -> Iterator[Sequence[Any]]:
        """Run it with a batch.

        Nothing is sent before the first row is asked for: whoever needs no rows must ask all the
        same.

        Args:
            connection: In a transaction.
            rows: The batch; an empty one is nothing to run.

        Returns:
            The resulting rows one by one, in no order.
        """
        if connection.dialect.name == "sqlite":
            for part in _parts(rows):
                yield from _executed(connection, self._text(len(part)), part)
        elif rows:
            if not self._postgres:
                self._postgres = self.postgres_text(1)
            yield from connection.exec_driver_sql(self._postgres, (self.parameter(rows),))

    def parameter(self, rows: Sequence[Cells]) -> str:
        """Return a batch as the parameter that PostgreSQL takes."""
        return _json(list(self._columns), rows)

    def postgres_text(self, number: int) -> str:
        """Return the statement for PostgreSQL, with the batch as the parameter of that number.

        Args:
            number: Counted from 1, as PostgreSQL writes it: `$1`.
        """
        return _postgres_text(self._make(_recordset(self._columns, number)))

    def _text(self, count: int) -> str:
        if count not in self._texts:
            names = enumerate(self._columns.items(), start=1)
            picked = (literal_column(f"column{i}", type_).label(name) for i, (name, type_) in names)
            batch = select(*picked).select_from(text(_VALUES)).where(true()).subquery("batch")
            once = str(self._make(batch).compile(dialect=_SQLITE, compile_kwargs=_LITERAL))
            rows = _marks(len(self._columns), count)
            self._texts[count] = once.replace(_VALUES, f"(VALUES {rows})")
        return self._texts[count]


def _insert(
    connection: Connection, table: Table, rows: Sequence[Cells], *, overwrite: bool
) -> None:
    if connection.dialect.name == "sqlite":
        for part in _parts(rows):
            _executed(connection, _values_insert(table, len(part), overwrite), part)
    elif rows:
        connection.exec_driver_sql(
            _recordset_insert(table, overwrite), (_json(_names(table), rows),)
        )


def _executed(connection: Connection, statement: str, rows: Sequence[Cells]) -> Sequence[Any]:
    """Run a statement on the driver's own connection, with SQLAlchemy's errors.

    A batch has about thirty, and passing one through SQLAlchemy takes as long as running it.
    """
    driver: Any = connection.connection.driver_connection
    try:
        found: list[Any] = driver.execute(statement, (*chain.from_iterable(rows),)).fetchall()
    except sqlite3.Error as error:
        raise DBAPIError.instance(
            statement, None, error, sqlite3.Error, dialect=connection.dialect
        ) from error
    return found


def _parts(rows: Sequence[Cells]) -> Iterator[Sequence[Cells]]:
    """Split rows into parts whose sizes are powers of two, largest first: few different texts."""
    at, left = 0, len(rows)
    while left:
        size = min(_MOST_ROWS, 1 << (left.bit_length() - 1))
        yield rows[at : at + size]
        at += size
        left -= size


@lru_cache(maxsize=512)
def _values_insert(table: Table, count: int, overwrite: bool) -> str:  # noqa: FBT001 - a cache's key
    names = table.columns.keys()
    insert = sqlite_insert(table).values({name: bindparam(name) for name in names})
    once = str(_overwriting(insert, table, overwrite).compile(dialect=_SQLITE))
    head, _, rest = once.partition(" VALUES ")
    return f"{head} VALUES {_marks(len(names), count)}{rest[rest.index(')') + 1 :]}"


@lru_cache(maxsize=64)
def _recordset_insert(table: Table, overwrite: bool) -> str:  # noqa: FBT001 - a cache's key
    return _recordset_insert_of(table, 1, overwrite=overwrite)


@lru_cache(maxsize=64)
def _together(inserts: tuple[tuple[Table, bool], ...], look: Batched) -> str:
    parts = [
        f"part_{number} AS ({_recordset_insert_of(table, number, overwrite=overwrite)})"
        for number, (table, overwrite) in enumerate(inserts, start=1)
    ]
    return f"WITH {', '.join(parts)} {look.postgres_text(len(parts) + 1)}"


def _recordset_insert_of(table: Table, number: int, *, overwrite: bool) -> str:
    names = table.columns.keys()
    rows = _recordset({name: table.c[name].type for name in names}, number)
    insert = postgresql_insert(table).from_select(names, select(*(rows.c[name] for name in names)))
    return _postgres_text(_overwriting(insert, table, overwrite))


def _overwriting(insert: Any, table: Table, overwrite: bool) -> Any:  # noqa: FBT001 # Any: of either dialect
    if not overwrite:
        return insert
    names, keys = table.columns.keys(), table.primary_key.columns.keys()
    changed = {
        name: func.coalesce(insert.excluded[name], table.c[name])
        if table.c[name].info.get("stays")
        else insert.excluded[name]
        for name in names
        if name not in keys and not table.c[name].info.get("fixed")
    }
    if not changed:
        return insert.on_conflict_do_nothing(index_elements=keys)
    return insert.on_conflict_do_update(index_elements=keys, set_=changed)


def _marks(columns: int, count: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return ", ".join([row] * count)


def _recordset(columns: Mapping[str, TypeEngine[Any]], number: int) -> Subquery:
    records = (
        func.json_to_recordset(literal_column(_PARAMETER.format(number=number), JSON))
        .table_valued(*(column(name, type_) for name, type_ in columns.items()))
        .render_derived(name="record", with_types=True)
    )
    return select(*(records.c[name] for name in columns)).where(true()).subquery("batch")


def _postgres_text(statement: ClauseElement) -> str:
    """Compile a statement for good: looking it up each time takes as long as sending it."""
    return str(statement.compile(dialect=_POSTGRES, compile_kwargs=_LITERAL))


def _json(columns: Sequence[str], rows: Sequence[Cells]) -> str:
    """Return rows as JSON objects by column, twice as fast as `json` would."""
    return to_json([dict(zip(columns, row, strict=True)) for row in rows]).decode()


@lru_cache(maxsize=64)
def _names(table: Table) -> tuple[str, ...]:
    """Return a table's column names as plain texts; SQLAlchemy's own type is slow to write."""
    return tuple(str.__str__(column.key) for column in table.columns)


_SQLITE = sqlite_dialect()
_POSTGRES = postgresql_dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # SQLAlchemy's own
_LITERAL = {"literal_binds": True}
