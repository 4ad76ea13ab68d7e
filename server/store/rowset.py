"""Many rows as the parameters of few statements, whose texts are few, however many the rows.

Rows are written as *cells*: tuples of text, numbers and None in the order of a table's
columns. PostgreSQL takes a batch as one JSON parameter, which `json_to_recordset` gives
types. SQLite takes it as VALUES of 1, 2, 4, … 64 rows: to read the cells of a JSON text
one by one takes it three times as long (docs/decisions/0003, 0044). Either way database
and driver know the statements already, and each is one step in which the interpreter is
left to others.
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
# With the most columns of a table below what SQLite takes as parameters of one statement.
_MOST_ROWS = 64
# Stands for the rows until their number is known; a name that no statement of ours has.
_VALUES = "values_of_the_batch"


def put(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or overwrite those of the same primary key.

    Args:
        connection: In a transaction.
        table: Where to.
        rows: Whole rows by column, a column left out is NULL; no two with the same key.
    """
    _insert(connection, table, cells_of(table, rows), overwrite=True)


def add(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows.

    Raises:
        sqlalchemy.exc.IntegrityError: if one of them is there already.
    """
    _insert(connection, table, cells_of(table, rows), overwrite=False)


def cells_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> list[Cells]:
    """Bring whole rows by column into cells; a column left out is NULL."""
    names = table.columns.keys()
    return [tuple(plain(row.get(name)) for name in names) for row in rows]


def plain(value: Any) -> str | int | float | None:  # Any: what a column may hold
    """Bring a value into what both databases take as it is."""
    if value is None or value.__class__ is int:
        return value
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, int | float):
        return +value  # a bool is a number
    raise TypeError(f"{type(value).__name__} can't be stored")


def storable(value: str) -> str:
    """Return a text without what can't be stored.

    Half of a surrogate pair, as an engine's answer may hold, is no UTF-8; the character NUL
    is the one that PostgreSQL's texts can't hold.
    """
    if value.isascii() and "\x00" not in value:
        return str(value)
    return value.replace("\x00", "\ufffd").encode("utf-8", errors="replace").decode()


class Write(NamedTuple):
    """Rows of one table; `overwrite` those of the same primary key, of which no two are given."""

    table: Table
    rows: Sequence[Cells]
    overwrite: bool = True


def write_together(
    connection: Connection, writes: Sequence[Write], *, look: Batched, asked: Sequence[Cells]
) -> list[Sequence[Any]]:
    """Write rows of several tables, and ask what was there before.

    PostgreSQL is sent one statement: a round trip each makes up most of what a single run's
    step takes there. Its parts see the tables as they were before it, and go on in the same
    order in every process.

    Args:
        connection: In a transaction.
        writes: The rows, each table at most once.
        look: A query of what was there before.
        asked: Its batch.

    Returns:
        What the query found.

    Raises:
        sqlalchemy.exc.IntegrityError: if a row that may not overwrite one is there already.
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
        """Take what it is made of.

        Args:
            columns: Name and type of each column of the batch.
            make: Makes the statement from the batch as a FROM element.
        """
        self._columns = dict(columns)
        self._make = make
        # Not functools: a cache on a method keeps its object for ever.
        self._texts: dict[int, str] = {}
        self._postgres = ""

    def run(self, connection: Connection, rows: Sequence[Cells]) -> Iterator[Sequence[Any]]:
        """Run it, and give what it returns, row by row."""
        if connection.dialect.name == "sqlite":
            for part in _parts(rows):
                yield from _executed(connection, self._text(len(part)), part)
        elif rows:
            if not self._postgres:
                self._postgres = self.postgres_text(1)
            yield from connection.exec_driver_sql(self._postgres, (self.parameter(rows),))

    def parameter(self, rows: Sequence[Cells]) -> str:
        """Return the batch as PostgreSQL takes it."""
        return _json(list(self._columns), rows)

    def postgres_text(self, number: int) -> str:
        """Return the statement for PostgreSQL, with the batch as its parameter of that number."""
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

    Thirty of them make a batch; to hand one through SQLAlchemy takes as long as to run it.
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
    """Cut rows into parts whose sizes are powers of two, greatest first: few different texts."""
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
    """Compile a statement for good: to look it up takes as long as to send it."""
    return str(statement.compile(dialect=_POSTGRES, compile_kwargs=_LITERAL))


def _json(columns: Sequence[str], rows: Sequence[Cells]) -> str:
    """Write rows as objects by column, twice as fast as `json` does."""
    return to_json([dict(zip(columns, row, strict=True)) for row in rows]).decode()


@lru_cache(maxsize=64)
def _names(table: Table) -> tuple[str, ...]:
    """Return a table's columns by name, as mere texts: SQLAlchemy's own kind is slow to write."""
    return tuple(str.__str__(column.key) for column in table.columns)


_SQLITE = sqlite_dialect()
_POSTGRES = postgresql_dialect(paramstyle="numeric_dollar")  # type: ignore[no-untyped-call]  # SQLAlchemy's own
_LITERAL = {"literal_binds": True}
