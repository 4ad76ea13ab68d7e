"""Writes about one site's row in `engines`, each a conditional update."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, or_, update

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
from server.store.tables import ENGINES

if TYPE_CHECKING:
    from sqlalchemy import Connection, Update


def change_site(connection: Connection, op: SiteOperation) -> bool:
    """Write about a site; False where the row says that somebody else was first."""
    return connection.execute(_statement(op)).rowcount == 1


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
            )
            return of_site.where(earlier).values(paused_until=op.until, wave=1)
        case IdentitySeen():
            same = or_(ENGINES.c.identity.is_(None), ENGINES.c.identity == op.identity)
            return of_site.where(same).values(identity=op.identity)
        case SiteAccepted():
            return of_site.values(identity=None, accepted_at=op.at, next_probe_at=op.at)
