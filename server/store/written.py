"""What an operation wrote to a log, as a read would give it back: no read is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from server.store import rows, values
from server.store.tables import LOG_ENTRIES

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from server.model.records import LogEntry
    from server.store.operations import Outcome, TenantOperation

_COLUMNS = LOG_ENTRIES.columns.keys()


def entries_of(operation: TenantOperation, outcome: Outcome) -> list[LogEntry]:
    """Return the log entries of an operation that was applied, with their cursors."""
    found = []
    for cells in rows.log_cells(operation, outcome.log_seq):
        row = dict(zip(_COLUMNS, cells, strict=True)) | {"time": operation.at}
        found.append(values.log_entry(cast("RowMapping", row)))
    return found
