"""Reads the tenants' logs: a page of one, its first and last cursor, and where many end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import ARRAY, Text, bindparam, func, select, text

from server.model.states import OPEN_RUN_STATES, RunState, TenantState
from server.store import values
from server.store.found import LogTail
from server.store.tables import LOG_ENTRIES, TENANTS

if TYPE_CHECKING:
    from sqlalchemy import RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection

    from server.model.records import LogEntry

# One parameter, however many tenants are followed: the statement is built and planned once.
_ENDS = text(
    "SELECT t.id, t.log_seq, t.state, r.state AS run FROM json_each(:ids) AS j"
    " JOIN tenants t ON t.id = j.value LEFT JOIN runs r ON r.id = t.run_id"
)
_ENDS_POSTGRES = text(
    "SELECT t.id, t.log_seq, t.state, r.state AS run FROM tenants t"
    " LEFT JOIN runs r ON r.id = t.run_id WHERE t.id = ANY(:ids)"
).bindparams(bindparam("ids", type_=ARRAY(Text)))


async def read_log_page(
    connection: AsyncConnection, tenant_id: str, *, after: int, limit: int
) -> list[LogEntry]:
    """Read a page of a tenant's log, in order; see `Reads.log_page`."""
    query = (
        select(LOG_ENTRIES)
        .where(LOG_ENTRIES.c.tenant_id == tenant_id, LOG_ENTRIES.c.cursor > after)
        .order_by(LOG_ENTRIES.c.cursor)
        .limit(limit)
    )
    rows = (await connection.execute(query)).mappings().all()
    entries = [values.log_entry(row) for row in rows]
    # SQLite sorts a cursor that is no number after all numbers, and it reads as 0: a reader
    # that went on from there would begin again, without end.
    return [entry for entry in entries if entry.cursor > 0]


async def read_log_tail(connection: AsyncConnection, tenant_id: str) -> LogTail | None:
    """Read the first and last cursor of a tenant's log; None for an unknown tenant."""
    first = select(func.min(LOG_ENTRIES.c.cursor)).where(LOG_ENTRIES.c.tenant_id == tenant_id)
    last = select(TENANTS.c.log_seq).where(TENANTS.c.id == tenant_id)
    end = (await connection.execute(last)).scalar()
    if end is None:
        return None
    begin = (await connection.execute(first)).scalar()
    last_cursor = values.whole(end)
    return LogTail(
        first=last_cursor + 1 if begin is None else values.whole(begin), last=last_cursor
    )


async def read_log_ends(
    connection: AsyncConnection, tenant_ids: list[str]
) -> dict[str, tuple[int, bool]]:
    """Read where many tenants' logs end, and who is in motion; see `Reads.log_ends`."""
    if connection.dialect.name == "sqlite":
        query = _ENDS.bindparams(ids=json.dumps(tenant_ids))
    else:
        query = _ENDS_POSTGRES.bindparams(ids=tenant_ids)
    rows = (await connection.execute(query)).mappings().all()
    # One look serves all followers: a damaged row must not end it for the others.
    return {row["id"]: (values.whole(row["log_seq"]), _in_motion(row)) for row in rows}


def _in_motion(row: RowMapping) -> bool:
    if row["state"] == TenantState.DEPROVISIONING.value:
        # A removal that stopped half-way leaves the tenant DEPROVISIONING.
        return RunState.parse(row["run"]) in OPEN_RUN_STATES
    return bool(row["state"] == TenantState.IN_PROGRESS.value)
