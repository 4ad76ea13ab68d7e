"""SQLite stores of their own for many tests: set up once, copied for each."""

from __future__ import annotations

import atexit
import shutil
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from server.store.database import Database

if TYPE_CHECKING:
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


async def prepared(url: URL | str) -> URL | str:
    """Return a url whose store is set up, the quick way where it is an SQLite file."""
    text = url if isinstance(url, str) else url.render_as_string(hide_password=False)
    if text.startswith("sqlite"):
        return await copied_store(Path(text.partition(":///")[2]))
    return url
