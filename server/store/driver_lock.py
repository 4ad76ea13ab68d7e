"""Which process may drive runs on an SQLite file: the one that holds a lock beside it.

Who gets it takes open runs over at once, since no other process can be driving. Who
does not serves and sweeps but drives nothing. The operating system gives the lock back
when its holder dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import structlog

from server.errors import StoreUnavailable

_log = structlog.get_logger(__name__)


class DriverLock:
    """`flock` on `<database>.driver`."""

    def __init__(self, database: Path) -> None:
        # Beside the file itself: who reaches it through a link must meet the same lock.
        self._path = Path(f"{os.path.realpath(database)}.driver")
        self._descriptor: int | None = None
        self._waiting = False

    def acquire(self) -> bool:
        """Try to get the lock; True if this process holds it now.

        Raises:
            StoreUnavailable: if its file can't be made.
        """
        if self._descriptor is not None:
            if self._is_there(self._descriptor):
                return True
            # Deleted, or moved with its folder: another process may hold the one that is there.
            self.release()
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnavailable(
                f"The driver lock {self._path} can't be opened: {error.strerror}. "
                "Let the user this runs as write the file and its folder."
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            if not self._waiting:
                self._waiting = True
                _log.info("driver.waiting", tenant="", file=str(self._path))
            return False
        if self._waiting:
            self._waiting = False
            _log.info("driver.taken_over", tenant="", file=str(self._path))
        self._descriptor = descriptor
        return True

    def _is_there(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))  # noqa: PTH116 - its like
        except OSError:
            return False

    def release(self) -> None:
        """Give the lock back; harmless if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
