"""The key files of an engine, read again when they change: a new key needs no restart.

While a file is wrong, as it may be while it is being replaced, the old key stays in use; there is
one warning, and the files are read again when they next change.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from server.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import SecretStr

_log = structlog.get_logger(__name__)

# The files are checked for changes at most this often.
LOOK_SECONDS = 1.0

# What shows that a file was replaced or written: inode, time, size, mode.
_Mark = tuple[int, int, int, int]


class KeyFiles:
    """The key and the secret of one engine, as they are in the files now."""

    def __init__(
        self,
        read_key: Callable[[], SecretStr],
        read_secret: Callable[[], SecretStr],
        *,
        files: tuple[Path, ...],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read both.

        Args:
            read_key: Reads the key's file.
            read_secret: Reads the secret's file.
            files: Both files.
            clock: Returns seconds; only differences count.

        Raises:
            SettingsError: if one of them is wrong.
        """
        self._readers = (read_key, read_secret)
        self._files = files
        self._clock = clock
        self._looked_at = clock()
        self._marks = self._look()
        self._pair = (read_key(), read_secret())

    def __repr__(self) -> str:
        return f"KeyFiles({', '.join(str(file) for file in self._files)})"

    def current(self) -> tuple[SecretStr, SecretStr]:
        """Return the key and the secret: both new, or both old.

        Called for each request: the files are looked at once a second at most, on the caller's
        thread. Raises nothing: while a file is wrong, the old pair stays in use.
        """
        now = self._clock()
        if now - self._looked_at < LOOK_SECONDS:
            return self._pair
        self._looked_at = now
        marks = self._look()
        if marks != self._marks:
            self._take(marks)
        return self._pair

    def _take(self, marks: tuple[_Mark | None, ...]) -> None:
        try:
            pair = (self._readers[0](), self._readers[1]())
        except SettingsError as error:
            _log.warning("credentials.not_read", why=error.message)
        else:
            self._pair = pair
            _log.info("credentials.changed", files=[str(file) for file in self._files])
        # Even if the files were wrong: there is one warning for each state that they are in.
        self._marks = marks

    def _look(self) -> tuple[_Mark | None, ...]:
        return tuple(_mark(file) for file in self._files)


def _mark(file: Path) -> _Mark | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode)
