"""Every column of a tenant's tables, and what somebody with SQL may leave there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Boolean, Float, Integer, text
from sqlalchemy.exc import DBAPIError

from server.store.columns import UtcTime
from server.store.tables import METADATA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column, Connection, Table

# Which column of a table names the tenant; those that are not here have none.
OWNER = {
    "tenants": "id",
    "tenant_words": "tenant_id",
    "bindings": "tenant_id",
    "runs": "tenant_id",
    "steps": "tenant_id",
    "attempts": "tenant_id",
    "resources": "tenant_id",
    "log_entries": "tenant_id",
    "findings": "tenant_id",
    "imports": "tenant_id",
    "memberships": "tenant_id",
}

# What SQLite takes in any column, as SQL.
_OF_NO_TYPE = {
    "bytes": "x'00ff'",
    "no UTF-8": "CAST(x'80ff' AS TEXT)",
    "a word": "'many'",
    "a number": "7",
    "a fraction": "1e300",
    "a zero in it": "'a' || char(0) || 'b'",
}
_TIMES_SQLITE = {
    "year 1": "'0001-01-01T00:00:00+23:00'",
    "9999": "'9999-12-31T23:59:59-12:00'",
    "no time": "'yesterday'",
    "a number": "12345",
    "far back": "'1970-01-01 00:00:00.000000+00:00'",
}
_TIMES_POSTGRES = {
    "-infinity": "'-infinity'",
    "infinity": "'infinity'",
    "before Christ": "'4000-01-01 00:00:00+00 BC'",
    "year 200000": "'200000-01-01 00:00:00+00'",
    "9999": "'9999-12-31 23:59:59.999999+00'",
    "far back": "'1970-01-01 00:00:00+00'",
}
_TEXTS = {
    "empty": "",
    "a word": "KAPUTT",
    "odd signs": "a'b\"<x>; --\n\t\x01\U0001f4a5",
    "long": "x" * 20_000,
    "a list": "[1]",
    "deep": "[" * 100_000,
    "half a sign": '{"abbreviation":"\\ud800","company_name":"\\ud800","currency":"\\udfff"}',
    "a zero": '{"abbreviation":"\\u0000","company_name":"\\u0000x","till_user":"\\u0000"}',
    "other types": '{"abbreviation":[1],"company_name":7,"opening_amount":NaN}',
}


@dataclass(frozen=True)
class Damage:
    """One column of one tenant's rows, and what is written there.

    Attributes:
        what: For people.
        statement: SQL with `:id` for the tenant.
        values: Further parameters.
    """

    what: str
    statement: str
    values: dict[str, Any]


def damages(*, sqlite: bool) -> Iterator[Damage]:
    """Give every damage of one column, and of whole rows, that the database may take."""
    for name, owner in OWNER.items():
        table = METADATA.tables[name]
        yield Damage(f"{name} gone", f"DELETE FROM {name} WHERE {owner} = :id", {})  # noqa: S608 - our own names
        yield from _of_table(table, owner, sqlite=sqlite)


def _of_table(table: Table, owner: str, *, sqlite: bool) -> Iterator[Damage]:
    for column in table.columns:
        if column.name == owner and table.name in {"tenants", "bindings", "imports"}:
            continue  # then it is another tenant's
        where = f"{owner} = :id" + _one_row(table, column, owner)
        for kind, said, values in _written(column, sqlite=sqlite):
            yield Damage(
                f"{table.name}.{column.name}: {kind}",
                f"UPDATE {table.name} SET {column.name} = {said} WHERE {where}",  # noqa: S608 - our own names
                values,
            )


def _one_row(table: Table, column: Column[Any], owner: str) -> str:
    """Return what leaves one row only, where several can't have the same value."""
    if not column.primary_key or table.name in {"tenants", "bindings", "imports"}:
        return ""
    last = [key.name for key in table.primary_key.columns][-1]
    return f" AND {last} = (SELECT max({last}) FROM {table.name} WHERE {owner} = :id)"  # noqa: S608 - our own names


def _written(column: Column[Any], *, sqlite: bool) -> Iterator[tuple[str, str, dict[str, Any]]]:
    if column.nullable:
        yield "null", "NULL", {}
    if isinstance(column.type, UtcTime):
        said = _TIMES_SQLITE if sqlite else _TIMES_POSTGRES
    else:
        said = _numbers(column)
    yield from ((name, each, {}) for name, each in said.items())
    if not said:
        yield from ((name, ":value", {"value": value}) for name, value in _TEXTS.items())
    if sqlite:
        yield from ((name, each, {}) for name, each in _OF_NO_TYPE.items())


def _numbers(column: Column[Any]) -> dict[str, str]:
    if isinstance(column.type, Boolean):
        return {"yes": "true", "no": "false"}
    if isinstance(column.type, Float):
        return {"huge": "1e300"}
    if not isinstance(column.type, Integer):
        return {}
    bits = 63 if isinstance(column.type, BigInteger) else 31
    return {"negative": "-1", "zero": "0", "most": f"{2**bits - 1}", "least": f"-{2**bits - 1}"}


# Tables whose rows are no tenant's, with the column that tells one row from the others.
SHARED = {
    "workers": "id",
    "requests": "request_id",
    "sweeps": "id",
    "findings": "id",
    "herds": "fingerprint",
    "quotas": "name",
    "outbox": "id",
    "users": "id",
    "memberships": "user_id",
    "api_keys": "id",
    "audit": "id",
}


def shared_damages(name: str, key: str, *, sqlite: bool) -> Iterator[Damage]:
    """Give every damage of one column of a shared row; `:id` is the row's key."""
    table = METADATA.tables[name]
    for column in table.columns:
        for kind, said, values in _written(column, sqlite=sqlite):
            yield Damage(
                f"{name}.{column.name}: {kind}",
                f"UPDATE {name} SET {column.name} = {said} WHERE {key} = :id",  # noqa: S608 - our own names
                values,
            )


def copy_row(connection: Connection, name: str, key: str, own: str) -> None:
    """Make another row as the only one that is marked `base`."""
    unique = {key, "code", "email_fold"}
    columns = [column.name for column in METADATA.tables[name].columns]
    given = ["CAST(:own AS text)" if each in unique else each for each in columns]
    connection.execute(
        text(
            f"INSERT INTO {name} ({', '.join(columns)}) "  # noqa: S608 - our own names
            f"SELECT {', '.join(given)} FROM {name} WHERE {key} = 'base'"
        ),
        {"own": own},
    )


def clone(connection: Connection, source: str, tenant_id: str) -> None:
    """Make another tenant with rows as one that is there; ids get its number behind."""
    mark = f"~{tenant_id}"
    for name, owner in OWNER.items():
        table = METADATA.tables[name]
        given = ", ".join(_cloned(table, column, owner) for column in table.columns)
        # By their names: an upgraded table has its columns in another order.
        columns = ", ".join(column.name for column in table.columns)
        connection.execute(
            text(
                f"INSERT INTO {name} ({columns}) "  # noqa: S608 - our own names
                f"SELECT {given} FROM {name} WHERE {owner} = :source"
            ),
            {"source": source, "id": tenant_id, "mark": mark},
        )


def _cloned(table: Table, column: Column[Any], owner: str) -> str:
    if column.name == owner:
        return "CAST(:id AS text)"
    unique = {
        "bindings": {"company_name", "company_fold"},
        "tenants": {"company_name", "company_fold", "run_id"},
        "runs": {"id"},
        "steps": {"run_id"},
        "attempts": {"id", "run_id"},
        "findings": {"id"},
    }
    if column.name in unique.get(table.name, set()):
        return f"{column.name} || CAST(:mark AS text)"
    if table.name == "bindings" and column.name.startswith("abbreviation"):
        return "NULL"
    return str(column.name)


def strike(connection: Connection, damage: Damage, tenant_id: str) -> bool:
    """Damage a tenant; tell whether the database took it."""
    try:
        with connection.begin_nested():
            connection.execute(text(damage.statement), damage.values | {"id": tenant_id})
    except DBAPIError:
        return False
    return True
