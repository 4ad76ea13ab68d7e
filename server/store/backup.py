"""Copies an SQLite database while it is used, and takes a restored one for what it is: old.

A restored database knows less than the world: workers may hold tokens, and callers may have
judged revisions, higher than the ones it has. Both leap, so that nothing of before fits.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from sqlalchemy import func, literal_column, select, update

from server.errors import SettingsError, StoreUnavailable
from server.store.conditions import OPEN
from server.store.tables import RUNS, TENANTS, WORKERS

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

# More than any tenant's token or revision grows between a backup and its restore.
LEAP = 1_000_000


def copy_sqlite(source: Path, target: Path) -> int:
    """Copy a database whole, at one moment, also while it is written; return its bytes.

    Raises:
        SettingsError: the target is there already, or its folder is not.
        StoreUnavailable: the source can't be read, or the target not be written.
    """
    if not target.name:
        raise SettingsError("No file to write was named. Name one, such as backup.db.")
    unfinished = target.with_name(f".{target.name}.unfinished")
    if target.exists():
        raise SettingsError(f"{target} is there already. Name another file, or remove it first.")
    if not target.parent.is_dir():
        raise SettingsError(f"There is no folder {target.parent}. Make it, or name another file.")
    # A name may hold what means something in a uri: another file would be copied.
    address = source.absolute().as_uri()
    try:
        # Only its owner may read it: the file holds everything.
        os.close(os.open(unfinished, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600))
        with (
            contextlib.closing(sqlite3.connect(f"{address}?mode=ro", uri=True)) as reading,
            contextlib.closing(sqlite3.connect(unfinished)) as writing,
        ):
            reading.backup(writing)
            (found,) = writing.execute("PRAGMA integrity_check").fetchone()
        if found != "ok":
            raise StoreUnavailable(f"The copy is damaged ({found}): is the database?")
        # Under its name only once it is whole.
        unfinished.replace(target)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"The backup could not be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return target.stat().st_size


def is_driven(connection: Connection) -> bool:
    """Tell whether a worker gave a sign of life within its lease, by the database's clock.

    Where hosts share the database; the file of SQLite has a lock that says it.
    """
    now = func.clock_timestamp()
    lease = func.make_interval(0, 0, 0, 0, 0, 0, WORKERS.c.lease_seconds)
    # One further ahead than a lease is of a clock that was set back.
    lives = WORKERS.c.heartbeat_at.between(now - lease, now + lease)
    query = select(func.count()).where(WORKERS.c.stopped_at.is_(None), lives)
    return connection.execute(query).scalar_one() > 0


def leap(connection: Connection) -> int:
    """Raise every tenant's token and revision beyond what was known before the restore.

    Workers of before are ended. Returns the number of tenants.
    """
    connection.execute(
        update(TENANTS).values(
            fencing_token=TENANTS.c.fencing_token + LEAP, revision=TENANTS.c.revision + LEAP
        )
    )
    connection.execute(
        update(WORKERS)
        .where(WORKERS.c.stopped_at.is_(None))
        .values(stopped_at=WORKERS.c.heartbeat_at)
    )
    return connection.execute(select(func.count()).select_from(TENANTS)).scalar_one()


def with_open_runs(connection: Connection) -> list[str]:
    """Return the tenants that have an open run."""
    query = select(RUNS.c.tenant_id).where(literal_column(OPEN))
    return sorted(set(connection.execute(query).scalars()))
