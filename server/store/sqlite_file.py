"""Whether SQLite's file is still the one at its path, and whether it takes writes.

An open file outlives its name: after it was moved, deleted or replaced it still takes every write,
and what was acknowledged is lost when the process ends. The same is true of the file beside it
(`-wal`), which has the newest writes ("Unlinking or renaming a database file while in use" in
https://www.sqlite.org/howtocorrupt.html). So both are compared with what is at their paths before
each commit.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import structlog

from server.errors import StoreUnavailable
from server.store.failures import OtherSchema, detail
from server.store.watch import Watch

if TYPE_CHECKING:
    from pathlib import Path

_log = structlog.get_logger(__name__)

_LOOK_SECONDS = 1.0
# SQLite's READONLY, IOERR, CORRUPT, FULL, CANTOPEN and NOTADB. A lock that another process holds
# passes by itself, and says nothing about the file.
_NO_WRITES = frozenset({8, 10, 11, 13, 14, 26})

_Identity = tuple[int, int]


class SqliteFile:
    """What is known about one database's file; used on the writer's thread and on the loop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._newest = path.with_name(f"{path.name}-wal")
        self._known: tuple[_Identity | None, _Identity | None] | None = None
        # The error of the last write; "" if it went through.
        self._refused = ""

    def demand(self) -> None:
        """Refuse reads from and writes to a file that is no longer at its path.

        Raises:
            StoreUnavailable: with what happened to the file, and what to do.
        """
        if self._known is None:
            return
        file, newest = self._known
        for path, known in ((self.path, file), (self._newest, newest)):
            found = _identity(path)
            if known is not None and found != known:
                raise StoreUnavailable(self._lost(path, gone=found is None))

    def demand_writes(self) -> None:
        """Refuse while the file is not there, or if the last write to it failed.

        Raises:
            StoreUnavailable: with the reason.
        """
        self.demand()
        if self._refused:
            raise StoreUnavailable(f"The database can't write now: {self._refused}")

    def remember(self) -> None:
        """Take the files at the paths for ours; within a transaction, when both are there."""
        if self._known is None:
            self._known = (_identity(self.path), _identity(self._newest))

    def wrote(self) -> None:
        """Note that a write went through."""
        self._refused = ""

    def refused(self, error: BaseException) -> None:
        """Note the error of a write if the file, the disk or the schema caused it.

        Args:
            error: As SQLAlchemy raised it, or `OtherSchema`; a lock, or a row that was refused,
                changes nothing.
        """
        if isinstance(error, OtherSchema):
            self._refused = error.message
            return
        code = getattr(getattr(error, "orig", None), "sqlite_errorcode", None)
        if isinstance(code, int) and code & 0xFF in _NO_WRITES:
            self._refused = detail(error)

    def _lost(self, path: Path, *, gone: bool) -> str:
        what = "is no longer there: it was moved or deleted" if gone else "was replaced"
        part = "database file" if path == self.path else "file of the database's newest writes"
        return (
            f"The {part}, {path}, {what} while this process has it open, so nothing is written. "
            "Put it back as it was, and it goes on by itself. If that can't be, see `The database "
            "file was moved, deleted or replaced` in docs/operations.md before you stop this "
            "process: it may hold the only copy."
        )


class FilePulse(Watch):
    """Looks at the file again and again, so that health reports when it is gone."""

    def __init__(self, file: SqliteFile, *, seconds: float = _LOOK_SECONDS) -> None:
        """Take the file; `start` begins.

        Args:
            file: What is known about the file.
            seconds: The pause from one look to the next.
        """
        super().__init__()
        self._file = file
        self._seconds = seconds

    def demand(self) -> None:
        """Refuse what needs the file while it is gone; reading needs no room on the disk.

        Raises:
            StoreUnavailable: with the reason.
        """
        self._file.demand()

    def demand_writes(self) -> None:
        """Refuse while nothing can be written.

        Raises:
            StoreUnavailable: with the reason.
        """
        self._file.demand_writes()

    async def look(self) -> None:
        """Look once, and tell listeners about a change."""
        try:
            self._file.demand_writes()
            why = ""
        except StoreUnavailable as error:
            why = error.message
        await self._learn(why)

    async def _run(self) -> None:
        while True:
            self._turn()
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - it must go on looking; recorded
                _log.exception("store.pulse_bug")
            await asyncio.sleep(self._seconds)


def _identity(path: Path) -> _Identity | None:
    # The file is not opened for this: closing it would release SQLite's locks on it (POSIX).
    try:
        found = os.stat(path)  # noqa: PTH116 - a third of Path.stat's time, before each commit
    except OSError:
        return None
    return found.st_dev, found.st_ino
