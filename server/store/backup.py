"""Copies an SQLite database while it is in use, and prepares a restored one for service.

A restored database is behind the world: workers may hold tokens, callers may have judged
revisions, and users may have signed in at an epoch, that are higher than its own. All are raised
by a leap, so that none of the old ones match.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from sqlalchemy import func, literal_column, select, update

from server.errors import SettingsError, StoreUnavailable
from server.store import schema
from server.store.columns import time_text
from server.store.conditions import OPEN
from server.store.rowset import put
from server.store.snapshot import snapshot
from server.store.tables import QUOTAS, RUNS, TENANTS, USERS, WORKERS

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

# More than any tenant's token or revision, or user's epoch, can grow between backup and restore.
LEAP = 1_000_000
# How the rows begin that say to which moments the database was restored.
_RESTORED_TO = "restored to"
_MOMENTS = select(QUOTAS.c.since).where(QUOTAS.c.name.startswith(_RESTORED_TO))


def copy_sqlite(source: Path, target: Path) -> int:
    """Copy a whole database as it is at one moment, even while it is being written.

    It goes by SQLite's own backup (https://www.sqlite.org/backup.html), and takes the longer the
    larger the file is.

    Args:
        source: The database's file, which is only read.
        target: The file to make, readable by its owner alone; it gets its name once it is complete.

    Returns:
        The size of the copy in bytes.

    Raises:
        SettingsError: the target exists already, or its folder does not.
        StoreUnavailable: the source can't be read, or was moved to PostgreSQL, or the target can't
            be written.
    """
    if not target.name:
        raise SettingsError("No file to write was named. Name one, such as backup.db.")
    unfinished = target.with_name(f".{target.name}.unfinished")
    if target.exists():
        raise SettingsError(f"{target} is there already. Name another file, or remove it first.")
    if not target.parent.is_dir():
        raise SettingsError(f"There is no folder {target.parent}. Make it, or name another file.")
    # A file name may contain characters that mean something in a URI and name another file.
    address = source.absolute().as_uri()
    try:
        # Readable by its owner only: the file holds everything. So it is never one that was there:
        # in a folder that others may write, it may be theirs, or lead to one of theirs.
        unfinished.unlink(missing_ok=True)
        os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with (
            contextlib.closing(sqlite3.connect(f"{address}?mode=ro", uri=True)) as reading,
            contextlib.closing(sqlite3.connect(unfinished)) as writing,
        ):
            _demand_in_use(reading, source)
            reading.backup(writing)
            (found,) = writing.execute("PRAGMA integrity_check").fetchone()
        if found != "ok":
            raise StoreUnavailable(f"The copy is damaged ({found}): is the database?")
        # It gets its name only once it is complete.
        unfinished.replace(target)
    except (OSError, sqlite3.Error) as error:
        raise StoreUnavailable(f"The backup could not be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return target.stat().st_size


def _demand_in_use(connection: sqlite3.Connection, file: Path) -> None:
    """Refuse a file that was moved: a nightly backup of it would go on unnoticed, and save nothing.

    Raises:
        StoreUnavailable: it was moved.
    """
    query = "SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"
    if connection.execute(query).fetchone() is None:
        return
    if (schema.MOVED,) in connection.execute("SELECT version_num FROM alembic_version"):
        raise StoreUnavailable(
            f"Nothing was copied from {file}. {schema.remedy(schema.MOVED)} PostgreSQL is backed "
            "up with its own tools (docs/operations.md, Backup)."
        )


def is_driven(connection: Connection) -> bool:
    """Tell whether a worker gave a sign of life within its lease, by the database's clock.

    This is for a database that hosts share; for an SQLite file, its lock tells.

    Args:
        connection: To PostgreSQL.
    """
    now = func.clock_timestamp()
    lease = func.make_interval(0, 0, 0, 0, 0, 0, WORKERS.c.lease_seconds)
    # A heartbeat further ahead than a lease is from a clock that was set back.
    lives = WORKERS.c.heartbeat_at.between(now - lease, now + lease)
    query = select(func.count()).where(WORKERS.c.stopped_at.is_(None), lives)
    return connection.execute(query).scalar_one() > 0


def leap(connection: Connection) -> int:
    """Raise tenants' tokens and revisions, and users' epochs, beyond any known before the restore.

    Earlier workers are ended, and so is every sign-in: a user may have been locked out since the
    backup, or have got another password, and what was signed before must not count again.

    Args:
        connection: In a transaction that may write; the caller commits.

    Returns:
        How many tenants there are.
    """
    _keep_moment(connection)
    connection.execute(
        update(TENANTS).values(
            fencing_token=TENANTS.c.fencing_token + LEAP, revision=TENANTS.c.revision + LEAP
        )
    )
    connection.execute(update(USERS).values(token_epoch=USERS.c.token_epoch + LEAP))
    connection.execute(
        update(WORKERS)
        .where(WORKERS.c.stopped_at.is_(None))
        .values(stopped_at=WORKERS.c.heartbeat_at)
    )
    return connection.execute(select(func.count()).select_from(TENANTS)).scalar_one()


def _keep_moment(connection: Connection) -> None:
    """Keep when the last thing was written before the backup: what came later, nobody knows here.

    Repeated before a server has run, it adds nothing: what the first time wrote is no trace of the
    time before the backup. Whether it was repeated later, or another backup was restored, can't be
    told, so each moment is kept.
    """
    beat = connection.execute(select(func.max(WORKERS.c.heartbeat_at))).scalar_one()
    moved = connection.execute(select(func.max(TENANTS.c.updated_at))).scalar_one()
    kept = _moments(connection)
    if moved is None or (kept and (beat is None or beat <= kept[-1])):
        return
    moment = moved if beat is None else max(moved, beat)
    name = f"{_RESTORED_TO} {time_text(moment)}"
    put(connection, QUOTAS, [{"name": name, "since": moment, "used": 0}])


def _moments(connection: Connection) -> tuple[datetime, ...]:
    found = connection.execute(_MOMENTS).scalars()
    # A damaged one reads as None.
    return tuple(sorted(moment for moment in found if moment is not None))


async def read_restored_to(engine: AsyncEngine) -> tuple[datetime, ...]:
    """Return the moments that the database was restored to, the earliest first.

    Raises:
        StoreUnavailable: the database can't be read.
    """
    async with snapshot(engine) as connection:
        return await connection.run_sync(_moments)


def with_open_runs(connection: Connection) -> list[str]:
    """Return the ids of the tenants that have an open run, in their order."""
    query = select(RUNS.c.tenant_id).where(literal_column(OPEN))
    return sorted(set(connection.execute(query).scalars()))
