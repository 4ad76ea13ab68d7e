"""A short look at a tenant, which tells whether anything about its status has changed.

A look returns a mark. Equal marks mean equal rows of tenant, run, steps, worker and gate, whoever
changed them, through our code or by SQL. So an answer can be kept as long as its mark stays the
same, and is never older than the call that it answers (docs/decisions/0040). `glances_sqlite` and
`glances_postgres` do the looking.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from server.store import values
from server.store.claims import record_of
from server.store.columns import UtcTime
from server.store.found import Live, gate_of
from server.store.tables import ENGINES, RUNS, STEPS, TENANTS, WORKERS

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterator, Sequence

    from sqlalchemy import Column

    from server.model.identifiers import TenantId
    from server.store.found import Gate

# After a look for several callers, those that come within this time share the next one: on
# PostgreSQL a look costs the event loop as much as two calls, and on both databases gRPC is woken
# up less often. A caller that asks alone never waits.
MOMENT_SECONDS = 0.00125
# As many marks are kept as answers (`server.queries.board`).
MOST_FRESH = 4096


class Glances(Protocol):
    """Looks at tenants and gates; on the event loop."""

    async def mark(self, tenant_id: TenantId) -> Hashable | None:
        """Return the mark of a tenant's rows, no older than this call; None if there is no tenant.

        Marks may only be compared for equality, and only with those of the same process.

        Raises:
            StoreUnavailable: the database can't be read.
        """

    async def marks(self, tenant_ids: Collection[TenantId]) -> dict[TenantId, Hashable]:
        """Return the marks of many tenants, no older than this call; unknown ones are left out.

        Raises:
            StoreUnavailable: the database can't be read.
        """

    async def live(self, tenant_id: TenantId) -> Live | None:
        """Return the rows themselves, no older than this call; None if there is no such tenant.

        Raises:
            StoreUnavailable: the database can't be read.
        """

    async def gate(self, site: str) -> Gate | None:
        """Return a site's gate, no older than this iteration of the event loop, or None.

        Raises:
            StoreUnavailable: the database can't be read.
        """

    def there(self, there: bool) -> None:  # noqa: FBT001 - what a listener hears
        """Hear that the database went down or came back, so that nobody is left waiting for it."""

    async def close(self) -> None:
        """Close the connection."""


# Without the slot: it changes with every request to the site, and no status shows it.
GATE_COLUMNS = [column for column in ENGINES.columns if not column.name.startswith("slot_")]
_PARTS: tuple[tuple[str, Sequence[Column[Any]]], ...] = (
    ("t", list(TENANTS.columns)),
    ("r", list(RUNS.columns)),
    ("w", list(WORKERS.columns)),
    ("e", GATE_COLUMNS),
)
JOINS = (
    "tenants t LEFT JOIN runs r ON r.id = t.run_id LEFT JOIN workers w ON w.id = r.worker_id "
    "LEFT JOIN engines e ON e.site = t.site"
)
STEP_COLUMNS = list(STEPS.columns)


def columns() -> str:
    """Return, as SQL, the columns that `live_of` reads, except for the steps and the clock."""
    return ", ".join(f"{part}.{column.name}" for part, of in _PARTS for column in of)


def live_of(row: Sequence[Any]) -> Live:  # Any: what the columns hold
    """Build the model values from one row.

    Args:
        row: `columns`, then the steps as a JSON list of lists, then the database's time if it
            was asked for.

    Raises:
        ValueError: the steps are not valid JSON.
    """
    rest = iter(row)
    tenant, run, worker, gate = (taken(rest, of) for _, of in _PARTS)
    steps = [taken(iter(step), STEP_COLUMNS) for step in json.loads(next(rest))]
    # By the clock that hosts share, if they do.
    worker["read_at"] = gate["read_at"] = next(rest, None)
    has_run = run["id"] is not None
    return Live(
        record=record_of(tenant, run if has_run else None, steps),
        gate=None if gate["site"] is None else gate_of(gate),
        worker=None if worker["id"] is None else values.worker(worker),
        deadline_at=run["deadline_at"] if has_run else None,
    )


def taken(rest: Iterator[Any], columns: Sequence[Column[Any]]) -> Any:
    """Take the next columns of a row, by name.

    Args:
        rest: The rest of the row, which is moved on.
        columns: The columns that come next, in this order; times are read as `UtcTime` does.

    Returns:
        A mapping in which columns that were not asked for read as None.
    """
    found: dict[str, Any] = {}
    for column in columns:
        value = next(rest)
        if value is not None and isinstance(column.type, UtcTime):
            value = column.type.process_result_value(value, _NO_DIALECT)
        found[column.name] = value
    # Functions that take a row look its values up by column name.
    return _Lenient(found)


class _Lenient(dict[str, Any]):
    def __missing__(self, _name: str) -> None:
        return None


# Reading needs no dialect; only writing does.
_NO_DIALECT: Any = None
