"""What an operation wrote to a log, as a read would give it back: no read is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from server.store import rows, values

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from server.model.records import LogEntry
    from server.store.operations import Outcome, TenantOperation


def entries_of(operation: TenantOperation, outcome: Outcome) -> list[LogEntry]:
    """Return the log entries of an operation that was applied, with their cursors."""
    return [
        values.log_entry(cast("RowMapping", {name: _stored(cell) for name, cell in row.items()}))
        for row in rows.log_rows(operation, outcome.log_seq)
    ]


def _stored(value: Any) -> Any:  # Any: what a column holds
    """Return a cell as `rowset.encode` sends it."""
    if not isinstance(value, str) or (value.isascii() and "\x00" not in value):
        return value
    return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
