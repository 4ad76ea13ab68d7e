"""Many rows as one JSON parameter, so that a statement's text never depends on how many.

SQLAlchemy and the database then cache one statement a table, whatever the batch size
(docs/decisions/0003). SQLite reads arrays by index with `json_each`; PostgreSQL gives
the columns their types with `json_to_recordset`.
"""

from __future__ import annotations

import json
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    Text,
    bindparam,
    cast,
    column,
    func,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from server.store.columns import time_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Executable, Subquery, Table
    from sqlalchemy.types import TypeEngine

PARAMETER = "rows"


def rowset(dialect: str, columns: Mapping[str, TypeEngine[Any]]) -> Subquery:
    """Return the FROM element that reads the parameter `rows`.

    Args:
        dialect: "sqlite" or "postgresql".
        columns: Name and type of each column, in the order `encode` writes them.
    """
    if dialect == "sqlite":
        values = func.json_each(bindparam(PARAMETER, type_=Text)).table_valued("value")
        picked = (
            literal_column(f"value ->> {index}", type_).label(name)
            for index, (name, type_) in enumerate(columns.items())
        )
        return select(*picked).select_from(values).where(true()).subquery("batch")
    records = (
        func.json_to_recordset(cast(bindparam(PARAMETER, type_=Text), JSON))
        .table_valued(*(column(name, type_) for name, type_ in columns.items()))
        .render_derived(name="record", with_types=True)
    )
    return select(*(records.c[name] for name in columns)).where(true()).subquery("batch")


def encode(dialect: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """Write rows as the JSON text that `rowset` reads.

    Args:
        dialect: "sqlite" or "postgresql".
        columns: Names in order.
        rows: Values by name; a name left out is NULL.
    """
    text = _text(dialect, columns, rows)
    if _NUL in text:
        # The one character that PostgreSQL's texts can't hold. Rare, so looked for in the whole.
        text = _text(dialect, columns, [_without_nul(row) for row in rows])
    # Half of a surrogate pair, as an engine's answer may hold, is no UTF-8.
    return text if text.isascii() else text.encode("utf-8", errors="replace").decode("utf-8")


def put(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows, or overwrite those of the same primary key, in one statement.

    Args:
        connection: In a transaction.
        table: Where to.
        rows: Whole rows; no two with the same key.
    """
    _run(connection, table, rows, overwrite=True)


def add(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows in one statement.

    Raises:
        sqlalchemy.exc.IntegrityError: if one of them is there already.
    """
    _run(connection, table, rows, overwrite=False)


def _run(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, overwrite: bool
) -> None:
    if not rows:
        return
    dialect = connection.dialect.name
    connection.execute(
        _insert(dialect, table, overwrite=overwrite),
        {PARAMETER: encode(dialect, table.columns.keys(), rows)},
    )


@lru_cache(maxsize=64)
def _insert(dialect: str, table: Table, *, overwrite: bool) -> Executable:
    names = table.columns.keys()
    rows = rowset(dialect, {name: table.c[name].type for name in names})
    # Without WHERE, SQLite reads ON CONFLICT as a join's ON.
    source = select(*(rows.c[name] for name in names)).where(true())
    insert = (sqlite_insert if dialect == "sqlite" else postgresql_insert)(table)
    statement = insert.from_select(names, source)
    if not overwrite:
        return statement
    keys = [key.name for key in table.primary_key.columns]
    changed = {
        name: func.coalesce(statement.excluded[name], table.c[name])
        if table.c[name].info.get("stays")
        else statement.excluded[name]
        for name in names
        if name not in keys
    }
    if not changed:
        return statement.on_conflict_do_nothing(index_elements=keys)
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def _text(dialect: str, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    if dialect == "sqlite":
        return _JSON.encode([[*map(row.get, columns)] for row in rows])
    return _JSON.encode([dict(zip(columns, map(row.get, columns), strict=True)) for row in rows])


def _without_nul(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.replace("\x00", "\ufffd") if isinstance(value, str) else value
        for name, value in row.items()
    }


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return time_text(value)
    raise TypeError(f"{type(value).__name__} can't be stored")


# Made once: `json.dumps` with options makes an encoder a call.
_JSON = json.JSONEncoder(ensure_ascii=False, default=_plain, separators=(",", ":"))
# How JSON writes the character NUL (and how it ends a backslash before these letters, which
# the slow way leaves as it is).
_NUL = "\\u0000"
