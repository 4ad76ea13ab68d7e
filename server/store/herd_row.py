"""A herd's row: read whatever is in it, and changed only if that is still so."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, and_, cast, update

from server.store import values
from server.store.found import EPOCH
from server.store.tables import HERDS

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

# What must not have changed since a herd was judged.
_JUDGED = (
    "finding_id",
    "canary_tenant_id",
    "canary_revision",
    "tries",
    "alerted_at",
    "released_at",
)
MARKS = [cast(HERDS.c[name], Text).label(f"mark_{name}") for name in _JUDGED]
_MOST_TRIES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Herd:
    """Many tenants with the same error, and the one of them that was driven on first.

    Attributes:
        finding_id: The one finding that stands for all of them.
        tenants: How many were counted last.
        canary_tenant_id: The tenant that goes first; None if none may (a permanent error).
        canary_revision: The revision at which the canary was judged, so that its order can be given
            again.
        ordered_at: When that one was chosen; None if none was.
        tries: How many canaries were driven on since the herd was opened.
        alerted_at: When a person was told; None if nobody was.
        released_at: When the herd was over: the canary came through, or nobody is left.
        mark: The values of the row that must not have changed, as they are stored, damaged or not;
            None for a herd that was not read.
    """

    fingerprint: str
    finding_id: str
    tenants: int
    opened_at: datetime
    canary_tenant_id: str | None = None
    canary_revision: int | None = None
    ordered_at: datetime | None = None
    tries: int = 0
    alerted_at: datetime | None = None
    released_at: datetime | None = None
    mark: tuple[str | None, ...] | None = field(default=None, compare=False, repr=False)


def values_of(herd: Herd) -> dict[str, Any]:
    """Return the values that are written for a herd, by column."""
    return {column.name: getattr(herd, column.name) for column in HERDS.columns}


def herd_of(row: RowMapping) -> Herd:
    """Read a herd from its row; damage may make it start over, but stops no sweep."""
    canary, revision = row["canary_tenant_id"], row["canary_revision"]
    return Herd(
        fingerprint=row["fingerprint"],
        finding_id=values.words(row["finding_id"]),
        tenants=values.whole(row["tenants"]),
        opened_at=row["opened_at"] or EPOCH,
        canary_tenant_id=None if canary is None else values.words(canary),
        canary_revision=revision if isinstance(revision, int) else None,
        ordered_at=row["ordered_at"],
        # An impossibly high count, raised by one, would no longer fit into its column.
        tries=min(max(values.whole(row["tries"]), 0), _MOST_TRIES),
        alerted_at=row["alerted_at"],
        released_at=row["released_at"],
        mark=tuple(row[mark.name] for mark in MARKS),
    )


def changed(connection: Connection, herd: Herd, seen: Herd) -> bool:
    """Write a herd if its row is still as it was seen.

    Args:
        connection: In a transaction that may write; the caller commits.
        herd: The herd as it is to be.
        seen: The herd as it was read and judged.

    Returns:
        False if somebody else changed it meanwhile; then nothing was written.
    """
    if seen.mark is None:
        same = [HERDS.c[name].is_not_distinct_from(getattr(seen, name)) for name in _JUDGED]
    else:
        # As texts: a damaged time reads as None, and would equal nothing that was read.
        stored = [cast(HERDS.c[name], Text) for name in _JUDGED]
        same = [
            column.is_not_distinct_from(mark)
            for column, mark in zip(stored, seen.mark, strict=True)
        ]
    changed = connection.execute(
        update(HERDS)
        .where(HERDS.c.fingerprint == herd.fingerprint, and_(*same))
        .values(**values_of(herd))
    )
    return changed.rowcount == 1
