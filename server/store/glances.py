"""One short look at a tenant, to tell whether anything about where it stands has changed.

A look gives a mark: equal marks mean equal rows, of tenant, run, steps, worker and gate,
whoever changed them, with our code or by SQL. So an answer may be kept as long as its
mark stays, and is never older than the call it answers (docs/decisions/0040). How it is
looked: `glances_sqlite`, `glances_postgres`.
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

# After a look for several, who comes within this time is answered with the next one: on
# PostgreSQL a look takes as much from the loop as two calls, and on both gRPC is woken up
# less. Who asks alone never waits.
MOMENT_SECONDS = 0.00125
# As many marks as answers are kept (`server.queries.board`).
MOST_FRESH = 4096


class Glances(Protocol):
    """Looks at tenants."""

    async def mark(self, tenant_id: TenantId) -> Hashable | None:
        """Return the mark of a tenant's rows, not older than this call; None: no such tenant.

        Raises:
            StoreUnavailable: the database can't be read now.
        """

    async def marks(self, tenant_ids: Collection[TenantId]) -> dict[TenantId, Hashable]:
        """Return the marks of many tenants; unknown ones are left out."""

    async def live(self, tenant_id: TenantId) -> Live | None:
        """Return the rows themselves, not older than this call."""

    async def gate(self, site: str) -> Gate | None:
        """Return a site's gate, not older than the turn of the event loop that asks.

        Raises:
            StoreUnavailable: the database can't be read now.
        """

    def there(self, there: bool) -> None:  # noqa: FBT001 - what a listener hears
        """Hear that the database went away, or came back: nobody is left waiting for it."""

    async def close(self) -> None:
        """Close the connection."""


# The slot changes with every request to the site, and no status shows it.
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
    """Return the columns that `live_of` reads, but for the steps and the clock, as SQL."""
    return ", ".join(f"{part}.{column.name}" for part, of in _PARTS for column in of)


def live_of(row: Sequence[Any]) -> Live:  # Any: what the columns hold
    """Make the rows of what was asked for.

    Args:
        row: `columns`, the steps as a JSON list of lists, and the database's time if it was
            asked for.

    Raises:
        ValueError: the steps are no JSON.
    """
    rest = iter(row)
    tenant, run, worker, gate = (taken(rest, of) for _, of in _PARTS)
    steps = [taken(iter(step), STEP_COLUMNS) for step in json.loads(next(rest))]
    # By the clock that hosts share, where they do.
    worker["read_at"] = gate["read_at"] = next(rest, None)
    has_run = run["id"] is not None
    return Live(
        record=record_of(tenant, run if has_run else None, steps),
        gate=None if gate["site"] is None else gate_of(gate),
        worker=None if worker["id"] is None else values.worker(worker),
        deadline_at=run["deadline_at"] if has_run else None,
    )


def taken(rest: Iterator[Any], columns: Sequence[Column[Any]]) -> Any:
    """Take the next columns of a row; what was not asked for is None."""
    found: dict[str, Any] = {}
    for column in columns:
        value = next(rest)
        if value is not None and isinstance(column.type, UtcTime):
            value = column.type.process_result_value(value, _NO_DIALECT)
        found[column.name] = value
    # The functions that take a row take it by the names of its columns.
    return _Lenient(found)


class _Lenient(dict[str, Any]):
    def __missing__(self, _name: str) -> None:
        return None


# What is read needs no dialect; only what is written does.
_NO_DIALECT: Any = None
