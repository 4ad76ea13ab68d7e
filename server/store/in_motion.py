"""Reads what decides how the open runs of many tenants go on, in the snapshot of its caller."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, text

from server.model.states import OPEN_RUN_STATES
from server.store.glances import JOINS, columns, live_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from server.store.found import Live

_OPEN = ", ".join(sorted(f"'{state.value}'" for state in OPEN_RUN_STATES))
_NO_STEPS = "'[]'"


def read_in_motion(connection: Connection, tenant_ids: Sequence[str]) -> dict[str, Live]:
    """Return those tenants that have an open run, by id, without their steps: in one statement.

    Args:
        connection: A connection in a snapshot.
        tenant_ids: The tenants, at most a page of a list.
    """
    if not tenant_ids:
        return {}
    query = _QUERIES[connection.dialect.name]
    lives = map(live_of, connection.execute(query, {"ids": tenant_ids}))
    return {live.record.tenant.id: live for live in lives}


def _query(clock: str) -> str:
    return (
        f"SELECT {columns()}, {_NO_STEPS}{clock} FROM {JOINS} "  # noqa: S608 - our own names
        f"WHERE t.id IN :ids AND r.state IN ({_OPEN})"
    )


_QUERIES = {
    dialect: text(_query(clock)).bindparams(bindparam("ids", expanding=True))
    for dialect, clock in (("sqlite", ""), ("postgresql", ", clock_timestamp()"))
}
