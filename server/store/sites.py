"""Writes one site's row in `engines`."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, or_, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from server.model.states import GateState
from server.store.site_operations import (
    IdentitySeen,
    ProbeReturn,
    ProbeTake,
    SiteAccepted,
    SiteOperation,
    SitePause,
    WaveChange,
)
from server.store.tables import ENGINES, REQUESTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection, Insert, Table, Update

    from server.store.operations import GateOperation


def change_site(connection: Connection, op: SiteOperation) -> bool:
    """Write one change of a site.

    Args:
        connection: In a transaction that may write; the caller commits.
        op: The change.

    Returns:
        False if somebody else was first, or the site has no row.
    """
    if isinstance(op, SiteAccepted) and not _is_new(connection, op):
        return False
    return connection.execute(_statement(op)).rowcount == 1


def _is_new(connection: Connection, op: SiteAccepted) -> bool:
    """Remember an order; return False if it was given before."""
    request = op.request
    if request is None:
        return True
    row = {
        "caller": request.caller,
        "method": request.method,
        "request_id": request.request_id,
        "body_hash": request.body_hash,
        # The order is about a site, and not about any one tenant.
        "tenant_id": "",
        "created_at": op.at,
    }
    remembered = connection.execute(_insert(connection, REQUESTS, row))
    return remembered.rowcount == 1


def _insert(connection: Connection, table: Table, row: Mapping[str, object]) -> Insert:
    """Return the statement that inserts a row if there is none with its key."""
    if connection.dialect.name == "sqlite":
        return sqlite_insert(table).values(row).on_conflict_do_nothing()
    return postgresql_insert(table).values(row).on_conflict_do_nothing()


def _statement(op: SiteOperation) -> Update:
    of_site = update(ENGINES).where(ENGINES.c.site == op.site)
    shut = ENGINES.c.gate != GateState.UP.value
    match op:
        case ProbeTake():
            due = or_(
                ENGINES.c.next_probe_at.is_(None),
                ENGINES.c.next_probe_at <= op.at,
                ENGINES.c.next_probe_at > op.at + timedelta(seconds=op.longest),
            )
            return of_site.where(and_(shut, due)).values(next_probe_at=op.until)
        case ProbeReturn():
            return of_site.where(shut).values(next_probe_at=op.at)
        case WaveChange():
            return of_site.where(ENGINES.c.wave == op.seen).values(wave=op.wave)
        case SitePause():
            earlier = or_(
                ENGINES.c.paused_until.is_(None),
                ENGINES.c.paused_until < op.until,
                ENGINES.c.paused_until > op.at + timedelta(seconds=op.longest),
            )
            return of_site.where(earlier).values(paused_until=op.until, wave=1)
        case IdentitySeen():
            same = or_(ENGINES.c.identity.is_(None), ENGINES.c.identity == op.identity)
            return of_site.where(same).values(identity=op.identity)
        case SiteAccepted():
            # Due at once, whatever the clock of the host that took the order says.
            return of_site.values(identity=None, accepted_at=op.at, next_probe_at=None)


def put_gate(connection: Connection, op: GateOperation) -> None:
    """Write a site's gate, and leave its slot and identity as they are.

    Args:
        connection: In a transaction that may write; the caller commits.
        op: The gate; since when it is so changes only if its state does. A site without a row gets
            one.
    """
    values = {
        "gate": op.gate,
        "gate_code": op.code,
        "gate_message": op.message,
        "next_probe_at": op.next_probe_at,
        "wave": op.wave,
    }
    changed = connection.execute(
        update(ENGINES)
        .where(ENGINES.c.site == op.site)
        .values(
            **values,
            gate_since=case((ENGINES.c.gate == op.gate, ENGINES.c.gate_since), else_=op.at),
        )
    )
    if changed.rowcount == 0:
        connection.execute(ENGINES.insert().values(site=op.site, gate_since=op.at, **values))


def ensure_engine(connection: Connection, op: GateOperation) -> None:
    """Make a site's row if it has none; an existing row stays as it is."""
    row = {
        "site": op.site,
        "gate": op.gate,
        "gate_code": op.code,
        "gate_message": op.message,
        "gate_since": op.at,
        "next_probe_at": op.next_probe_at,
    }
    # Several servers may start on one empty database at the same moment.
    connection.execute(_insert(connection, ENGINES, row))
