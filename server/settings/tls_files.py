"""The server's TLS files, checked again and again: a renewed certificate needs no restart.

While the files are wrong (half-written, not a pair, expired, unreadable), the server keeps what
it already serves, and says so. It says so only at the second look: whoever replaces two files
one after the other has, for a moment, files that are not a pair.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from server.errors import SettingsError
from server.settings.tls import Tls, read_tls

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime
    from pathlib import Path

_log = structlog.get_logger(__name__)

# A look costs three stats, and whoever renews by hand waits for the log line.
LOOK_SECONDS = 5.0

# What shows that a file was replaced or written: inode, times, size, mode.
_Mark = tuple[int, int, int, int, int]


class TlsFiles:
    """What the server presents now, and the files that may hold something newer.

    Attributes:
        served: What is presented to whoever connects now.
        refused: Why the content of the files is not served; "" if it is.
    """

    def __init__(
        self,
        served: Tls,
        *,
        now: Callable[[], datetime],
        try_out: Callable[[Tls], Awaitable[None]],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """Take what was read at start-up.

        Args:
            served: What is presented from the start.
            now: The time, in UTC.
            try_out: Raises SettingsError for what a server could not present.
            look_seconds: Seconds from one look to the next.
        """
        self.served = served
        self.refused = ""
        self._now = now
        self._try_out = try_out
        self._look_seconds = look_seconds
        self._listeners: list[Callable[[Tls], None]] = []
        # None, so that the first look finds what was written since start-up.
        self._marks: tuple[_Mark | None, ...] | None = None
        self._wrong = False
        self._over = ""
        self._task: asyncio.Task[None] | None = None

    def on_change(self, listener: Callable[[Tls], None]) -> None:
        """Call `listener` with what is to be presented, whenever that changes.

        Args:
            listener: Called on the event loop; whoever connects next must be shown it.
        """
        self._listeners.append(listener)

    def start(self) -> None:
        """Log what is served, and begin to look; needs a running event loop."""
        self._say()
        self._say_if_over()
        self._task = asyncio.create_task(self._run(), name="tls-files")

    async def stop(self) -> None:
        """Stop looking."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def look(self) -> None:
        """Take over the content of the files if it is new and right.

        If it is wrong, what is served stays, and `refused` says why from the second look on.
        """
        self._say_if_over()
        # In a thread, here and below: a file system that hangs must not hold up a call.
        marks = await asyncio.to_thread(self._look)
        lasting = marks == self._marks
        if lasting and not self._wrong:
            return
        # Wrong until proved right: however this look ends, the next one reads them again.
        self._marks, self._wrong = marks, True
        try:
            found = await self._read()
        except SettingsError as error:
            if lasting and error.message != self.refused:
                self.refused = error.message
                _log.error("tls.refused", why=error.message, served_until=_until(self.served))
        else:
            self._wrong = False
            self._take(found)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._look_seconds)
            try:
                await self.look()
            except Exception:  # noqa: BLE001 - it must go on looking; recorded
                _log.exception("tls.bug")

    def _look(self) -> tuple[_Mark | None, ...]:
        served = self.served
        files = (served.certificate_file, served.key_file, served.client_ca_file)
        return tuple(None if file is None else _mark(file) for file in files)

    async def _read(self) -> Tls:
        served = self.served
        found = await asyncio.to_thread(
            read_tls, served.certificate_file, served.key_file, served.client_ca_file
        )
        if lapse := found.lapse(self._now()):
            raise SettingsError(lapse)
        await self._try_out(found)
        return found

    def _take(self, found: Tls) -> None:
        was_refused, self.refused = bool(self.refused), ""
        if found != self.served:
            self.served = found
            for listener in self._listeners:
                listener(found)
        elif not was_refused:
            return
        self._say()

    def _say(self) -> None:
        served = self.served
        _log.info(
            "tls.served",
            names=list(served.names),
            until=_until(served),
            file=str(served.certificate_file),
        )

    def _say_if_over(self) -> None:
        over = self.served.lapse(self._now())
        if over and over != self._over:
            _log.error("tls.over", why=over)
        self._over = over


def _until(tls: Tls) -> str:
    return tls.ends.isoformat()


def _mark(file: Path) -> _Mark | None:
    try:
        # Links are followed: Kubernetes replaces the folder that they lead through.
        status = file.stat()
    except OSError:
        return None
    return (
        status.st_ino,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
        status.st_mode,
    )
