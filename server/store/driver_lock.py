"""Which process may drive runs on an SQLite file: the one that holds a lock beside it.

The process that gets the lock takes open runs over at once, since no other process can be
driving. A process that does not get it serves and sweeps, but drives nothing. The operating
system releases the lock when its holder dies, however it dies.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import structlog

from server.errors import StoreUnavailable

_log = structlog.get_logger(__name__)


class DriverLock:
    """`flock` on `<database>.driver`.

    The file stays when the lock is released; it holds nothing.
    """

    def __init__(self, database: Path) -> None:
        # Beside the real file: a process that opens it through a link must find the same lock.
        self._path = Path(f"{os.path.realpath(database)}.driver")
        self._descriptor: int | None = None
        self._waiting = False

    def acquire(self) -> bool:
        """Try to get the lock; return True if this process holds it now.

        Raises:
            StoreUnavailable: the lock's file can't be made.
        """
        if self._descriptor is not None:
            if self._is_there(self._descriptor):
                return True
            # It was deleted, or moved with its folder: another process may hold a new one there.
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
        """Release the lock; does no harm if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
