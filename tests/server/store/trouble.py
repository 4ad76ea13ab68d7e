"""What the tests of trouble share: another's transaction, and what a tenant's log holds."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

from server.model.states import LogLevel
from server.store import postgres as store_postgres
from server.store.operations import LogDraft, TenantOperation
from tests.server.store.scene import NOON, Scene

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from server.model.identifiers import TenantId


@asynccontextmanager
async def outside(scene: Scene) -> AsyncIterator[AsyncConnection]:
    """Somebody else's transaction on the same database, left open."""
    other = store_postgres.engine(scene.database.url, connections=1)
    try:
        async with other.connect() as connection:
            yield connection
    finally:
        await other.dispose()


async def lines(scene: Scene, tenant_id: TenantId) -> list[str]:
    page = await scene.database.reads.log_page(tenant_id, after=0, limit=1000)
    assert [entry.cursor for entry in page] == list(range(1, len(page) + 1))
    return [entry.message for entry in page]


def said(tenant_id: TenantId, message: str) -> TenantOperation:
    draft = LogDraft(level=LogLevel.INFO, event="test", message=message)
    return TenantOperation(tenant_id=tenant_id, at=NOON, log=(draft,))


def overwrite_page(file: Path, table: str, with_: bytes) -> None:
    """Damage an SQLite file on the disk, where a table begins.

    Args:
        file: The database; what is in its `-wal` is brought into it first.
        table: The table whose first page is overwritten.
        with_: The byte to fill the page with.
    """
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        (page,) = connection.execute(root, (table,)).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with file.open("r+b") as stored:
        stored.seek((page - 1) * size)
        stored.write(with_ * size)


async def committed_unheard(connection: AsyncConnection) -> None:
    """Commit, and lose the answer."""
    await connection.exec_driver_sql("COMMIT")
    raise OSError("lost")
