"""The key files of an engine, read again when they change: a new key needs no restart.

A file that is wrong while it is being replaced keeps the old key in use, with one warning;
the next look reads it again.
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

# How often the files are looked at, at most.
LOOK_SECONDS = 1.0

# What tells that a file was replaced or written: inode, time, size, mode.
_Mark = tuple[int, int, int, int]


class KeyFiles:
    """Key and secret of one engine, as the files have them now."""

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
            clock: Counts seconds.

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
        """Return key and secret; both new ones, or both old ones."""
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
        # Also where it was wrong: the warning is given once for each state of the files.
        self._marks = marks

    def _look(self) -> tuple[_Mark | None, ...]:
        return tuple(_mark(file) for file in self._files)


def _mark(file: Path) -> _Mark | None:
    try:
        status = file.stat()
    except OSError:
        return None
    return (status.st_ino, status.st_mtime_ns, status.st_size, status.st_mode)
