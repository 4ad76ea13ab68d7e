"""A real pgbouncer in transaction mode, where Debian's package is installed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL

from tests.support.postgres import as_user
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# Debian puts it where only root's PATH looks.
BINARY = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

_PORT = 6432
# Fewer than any store has: sessions change under its hands all the time.
_SERVER_CONNECTIONS = 2


class Pooler:
    """A pooler before a database; it can be restarted.

    Attributes:
        url: How the database is reached through it.
    """

    def __init__(self, target: URL, folder: Path) -> None:
        self.url = URL.create(
            "postgresql+asyncpg",
            username="postgres",
            database=target.database,
            query={"host": str(folder), "port": str(_PORT), "pooler": "transaction"},
        )
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None
        self._file = folder / "pgbouncer.ini"
        self._file.write_text(
            "[databases]\n"
            f"* = host={target.query['host']} user=postgres\n"
            "[pgbouncer]\n"
            "listen_addr =\n"
            f"listen_port = {_PORT}\n"
            f"unix_socket_dir = {folder}\n"
            "auth_type = any\n"
            "pool_mode = transaction\n"
            f"default_pool_size = {_SERVER_CONNECTIONS}\n"
            "server_login_retry = 0\n"
        )

    async def start(self) -> None:
        assert BINARY is not None
        # It refuses to run as root; the server's own user exists then.
        user = "pgserver" if os.geteuid() == 0 else None
        with (self._folder / "log").open("ab") as log:
            command = as_user(user, BINARY, str(self._file))
            self._process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        process, door = self._process, self._folder / f".s.PGSQL.{_PORT}"
        await until(lambda: _accepts(door) or process.returncode is not None)
        assert process.returncode is None, (self._folder / "log").read_text()

    async def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()
        (self._folder / f".s.PGSQL.{_PORT}").unlink(missing_ok=True)


def _accepts(door: Path) -> bool:
    """Tell whether somebody listens: the socket's file is there a moment before that."""
    with socket.socket(socket.AF_UNIX) as caller:
        return caller.connect_ex(str(door)) == 0


@contextlib.asynccontextmanager
async def pooled(target: URL) -> AsyncIterator[Pooler]:
    """Put a pooler before a database that is reached by a socket in a folder."""
    with tempfile.TemporaryDirectory(prefix="pgb-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o777)
        pooler = Pooler(target, folder)
        await pooler.start()
        try:
            yield pooler
        finally:
            await pooler.kill()
