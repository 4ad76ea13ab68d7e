"""Fills a database with tenants by SQL, so that a million take seconds and not an hour.

They look as our code leaves them: finished, of one engine or another; a few cancelled or held; one
in ten failed and to be looked at later; each with a run that has ended. A hundred are PARTIAL
without a run or a step, as those of the old system were.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import Connection

    from server.store.database import Database

STUCK = 100
WORDS = ("baraka", "kijani", "simba", "zebra", "mwangi")
_PAGE = 100_000

_COLUMNS = (
    "id, company_name, company_fold, words, spec, engine_id, site, state, current_step,"
    " steps_completed, total_steps, fencing_token, log_seq, revision, hold_reason, hold_by,"
    " hold_since, look_at, verify_at, state_since, created_at, updated_at"
)
_TENANTS = """
INSERT INTO tenants ({columns})
{numbers}
SELECT {id}, {name}, {name}, {name},
    '{{"company_name": "' || {name} || '", "country_code": "KE", "currency": "KES",'
    || ' "engine_id": "noop", "chart_template": "Standard", "include_demo_data": false,'
    || ' "pos_store_enabled": true, "till_user": null, "payment_methods": ["Cash"],'
    || ' "opening_amount": 0.0}}',
    CASE WHEN i % 3 = 0 THEN 'second' ELSE 'noop' END, 'site',
    CASE WHEN i < {stuck} THEN 'PARTIAL' WHEN i % 200 = 0 THEN 'CANCELLED'
    WHEN i % 10 = 3 THEN 'FAILED' ELSE 'COMPLETED' END,
    '', 10, 10, 1, 0, 1,
    CASE WHEN i % 100 = 1 AND i BETWEEN {stuck} AND 9999 THEN 'Somebody must look.' END,
    CASE WHEN i % 100 = 1 AND i BETWEEN {stuck} AND 9999 THEN 'ops@example.com' END,
    CASE WHEN i % 100 = 1 AND i BETWEEN {stuck} AND 9999 THEN {at} END,
    CASE WHEN i % 10 = 3 AND i >= {stuck} THEN {ahead} END, {ahead}, {at}, {at}, {at}
FROM n
"""
_NAMES = """
INSERT INTO tenant_words (words, tenant_id)
{numbers}
SELECT {name}, {id} FROM n UNION ALL SELECT CAST(i AS text), {id} FROM n
UNION ALL SELECT replace({id}, '-', ' '), {id} FROM n
"""
_RUNS = """
INSERT INTO runs (
    id, tenant_id, site, run_order, blueprint, blueprint_version, state, total_steps, due_at,
    token, actor, reason, previous_state, options, created_at, started_at, finished_at)
{numbers}
SELECT {id}, {id}, 'site', 'START', 'noop', 1,
    CASE WHEN i % 200 = 0 THEN 'CANCELLED' WHEN i % 10 = 3 THEN 'FAILED' ELSE 'COMPLETED' END,
    10, {at}, 1, 'ops@example.com', '', 'PENDING', '{{}}', {at}, {at}, {at}
FROM n WHERE i >= {stuck}
"""
_SQLITE = {
    "numbers": (
        "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :last)"
    ),
    "id": "printf('01900000-0000-7000-8000-%012d', i)",
    "at": "strftime('%Y-%m-%d %H:%M:%S', :began + i, 'unixepoch') || '.000000+00:00'",
    "ahead": "strftime('%Y-%m-%d %H:%M:%S', :began + 100000000, 'unixepoch') || '.000000+00:00'",
}
_POSTGRES = {
    "numbers": "WITH n(i) AS (SELECT generate_series(CAST(:first AS bigint), :last - 1))",
    "id": "'01900000-0000-7000-8000-' || lpad(CAST(i AS text), 12, '0')",
    "at": "to_timestamp(CAST(:began AS float) + i)",
    "ahead": "to_timestamp(CAST(:began AS float) + 100000000)",
}


# The runs of the stuck tenants, as if all of them had just been continued.
_OPENED = """
INSERT INTO runs (
    id, tenant_id, site, run_order, blueprint, blueprint_version, state, total_steps, due_at,
    token, actor, reason, previous_state, options, created_at)
SELECT 'open ' || id, id, 'site', 'CONTINUE', 'noop', 1, 'QUEUED', 10, created_at,
    1, 'ops@example.com', '', 'PARTIAL', '{}', created_at
FROM tenants WHERE state = 'PARTIAL'
"""
_CLOSED = "DELETE FROM runs WHERE id LIKE 'open %'"


@asynccontextmanager
async def opened(store: Database) -> AsyncIterator[None]:
    """Give the stuck tenants open runs that nobody drives, while the context is open.

    Args:
        store: A database that `fill` filled; no worker may have its engine.
    """
    await store.in_transaction(lambda connection: connection.execute(_text(_OPENED)))
    try:
        yield
    finally:
        await store.in_transaction(lambda connection: connection.execute(_text(_CLOSED)))


async def fill(store: Database, first: int, last: int) -> None:
    """Write the tenants with these numbers; the very first ones are stuck.

    Args:
        store: A database with the schema of this version.
        first: The first number.
        last: The number after the last.
    """
    began = time.time() - 2_000_000
    for begin in range(first, last, _PAGE):
        numbers = {"first": begin, "last": min(begin + _PAGE, last), "began": int(began)}

        def write(connection: Connection, numbers: dict[str, Any] = numbers) -> None:
            parts = _SQLITE if connection.dialect.name == "sqlite" else _POSTGRES
            names = ", ".join(f"'{word}'" for word in WORDS)
            chosen = (
                f"(ARRAY[{names}])[i % {len(WORDS)} + 1]"
                if connection.dialect.name != "sqlite"
                else f"(json_array({names}) ->> (i % {len(WORDS)}))"
            )
            parts |= {"name": f"({chosen} || ' ' || i)"}
            tenants = _TENANTS.format(columns=_COLUMNS, stuck=STUCK, **parts)
            connection.execute(_text(tenants), numbers)
            connection.execute(_text(_RUNS.format(stuck=STUCK, **parts)), numbers)
            connection.execute(
                _text(_NAMES.format(**parts)), {key: numbers[key] for key in ("first", "last")}
            )

        await store.in_transaction(write)
    await store.in_transaction(_analyze)


def _analyze(connection: Connection) -> None:
    """Run ANALYZE on PostgreSQL, as autovacuum does; on SQLite nobody does in production either."""
    if connection.dialect.name != "sqlite":
        connection.execute(text("ANALYZE"))


def _text(statement: str) -> Any:  # Any: SQLAlchemy's own
    # A colon in a format or in JSON does not begin a parameter.
    escaped = statement.replace('": ', '"\\: ').replace("%H:%M:%S", "%H\\:%M\\:%S")
    return text(escaped)
