"""What an operation wrote, as a read would return it, to save that read."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from server.model.made_often import replace
from server.model.records import Record, Tenant
from server.model.states import RunState
from server.store import rows, values
from server.store.tables import LOG_ENTRIES

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

    from server.model.records import LogEntry
    from server.store.operations import Outcome, TenantOperation

_COLUMNS = LOG_ENTRIES.columns.keys()


def entries_of(operation: TenantOperation, outcome: Outcome) -> list[LogEntry]:
    """Return the log entries of an operation that was applied, with their cursors.

    Args:
        operation: The operation.
        outcome: What `submit` returned for it.
    """
    found = []
    for cells in rows.log_cells(operation, outcome.log_seq):
        row = dict(zip(_COLUMNS, cells, strict=True)) | {"time": operation.at}
        found.append(values.log_entry(cast("RowMapping", row)))
    return found


def record_of_new(operation: TenantOperation, outcome: Outcome) -> Record | None:
    """Return the record of the tenant that an operation made.

    Args:
        operation: The operation, which was applied.
        outcome: What `submit` returned for it.

    Returns:
        None if it made no tenant with one queued run, or wrote more than that: read it then.
    """
    new, standing = operation.create, operation.standing
    if new is None or standing is None or len(operation.runs) != 1 or operation.resources:
        return None
    run = operation.runs[0].run
    if run.state is not RunState.QUEUED or run.id != operation.run_id or operation.hold:
        return None
    tenant = Tenant(
        id=operation.tenant_id,
        spec=new.spec,
        site=new.site,
        state=standing.state,
        run_id=run.id,
        fencing_token=outcome.token,
        log_seq=outcome.log_seq,
        revision=outcome.revision,
        hold=None,
        look_at=operation.look_at,
        heal_count=0,
        healed_at=None,
        first_completed_at=operation.completed_at,
        created_at=operation.at,
        updated_at=operation.at,
    )
    return Record(tenant=tenant, run=replace(run, token=outcome.token), steps=operation.steps)
