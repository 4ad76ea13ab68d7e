"""Damaged rows that keep a tenant from being moved, although everything about it can be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.model.states import OPEN_RUN_STATES

if TYPE_CHECKING:
    from server.model.records import Record

ROW_DAMAGED = "ROW_DAMAGED"


def why_unwritable(record: Record) -> str:
    """Say why nothing can be written for a tenant; "" if something can."""
    columns = [each for each in record.damage if each.startswith("tenants.")]
    if not columns:
        return ""
    return (
        f"In the row of tenant {record.tenant.id} {', '.join(columns)} can't be relied on: it was "
        "damaged from outside (SQL, a restore, an import), so no run and no order can write "
        'anything for it. Correct it by SQL: see "A damaged row" in docs/operations.md.'
    )


def why_not_taken_up(record: Record) -> str:
    """Say why no worker finds a tenant's open run; "" if one does."""
    columns = [each for each in record.damage if each.startswith("runs.")]
    if not columns or record.run is None or record.run.state not in OPEN_RUN_STATES:
        return ""
    return (
        f"The row of its open run names another {_what(columns)} than the tenant's "
        f"({', '.join(columns)}): it was damaged from outside (SQL, a restore, an import), so no "
        "worker finds it. Cancel it, then give the order again: that opens a run of a right row."
    )


def why_damaged(record: Record, *, driven: bool) -> str:
    """Say which damage to its rows keeps a tenant from being moved; "" if none does.

    Args:
        record: The record as it was read.
        driven: Whether a living worker drives its run, having found it before the damage.
    """
    return why_unwritable(record) or ("" if driven else why_not_taken_up(record))


def _what(columns: list[str]) -> str:
    return " and ".join("site" if each == "runs.site" else "tenant" for each in columns)
