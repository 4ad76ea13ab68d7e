"""The real programs, as processes: started, called through the console script, killed.

Nothing here knows the inside of the product: it runs `provisioner …` and reads what it
prints, as an operator's script would.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sqlite3
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx

from tools.plain_http import plain_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PATIENCE_SECONDS = 60.0


# Below those that systems give to whoever asks for any (from 32768 on Linux, 49152 elsewhere): one
# of these is soon another's, if only for a connection.
_PORTS = range(15_000, 32_000)


def free_port() -> int:
    """Return a port that nobody listens on, and that is given to nobody who asks for any."""
    while True:
        port = random.choice(_PORTS)  # noqa: S311 - no secret
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@dataclass(slots=True)
class Installation:
    """One provisioner on SQLite with one stand-in site, in a folder of its own."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    site_port: int = field(default_factory=free_port)
    grpc_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("key", "secret"):
            file = self.folder / name
            file.write_text(f"demo-{name}")
            file.chmod(0o600)
        (self.folder / "engines.toml").write_text(
            'default = "main"\n\n[engines.main]\n'
            f'url = "http://127.0.0.1:{self.site_port}"\n'
            'api_key_file = "key"\napi_secret_file = "secret"\n'
        )

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "provisioner.db"

    @property
    def site_url(self) -> str:
        """The stand-in's address."""
        return f"http://127.0.0.1:{self.site_port}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment every program of this installation runs in."""
        mine = {key: value for key, value in os.environ.items() if "PROVISIONER" not in key}
        return {
            **mine,
            "PROVISIONER_DATABASE_URL": f"sqlite+aiosqlite:///{self.database}",
            "PROVISIONER_GRPC_ADDRESS": f"127.0.0.1:{self.grpc_port}",
            "PROVISIONER_HTTP_ADDRESS": f"127.0.0.1:{self.http_port}",
            "PROVISIONER_ENGINES_FILE": str(self.folder / "engines.toml"),
            "PROVISIONER_AUTH": "off",
            "PROVISIONER_SWEEP_SECONDS": "1",
            "PROVISIONER_LEASE_SECONDS": "2",
            "PROVISIONER_DRAIN_SECONDS": "2",
            **self.settings,
        }

    async def start_site(self, *options: str) -> None:
        """Start the stand-in ERPNext and wait until it answers."""
        await self._start("site", "standin", "--listen", f"127.0.0.1:{self.site_port}", *options)
        await self._until_answering(f"{self.site_url}/standin/state")

    async def start_server(self, *options: str) -> None:
        """Start the server and wait until it answers."""
        await self._start("server", "serve", *options)
        await self._until_answering(f"http://127.0.0.1:{self.http_port}/health")

    async def start_reconciler(self) -> None:
        """Start the reconciler as a process of its own."""
        await self._start("reconciler", "reconcile")

    async def start_unwatched(self, name: str, *arguments: str) -> None:
        """Start a program and let it come up, or not, by itself."""
        await self._start(name, *arguments)

    async def kill(self, name: str) -> None:
        """Kill a program as a power cut would."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        await process.wait()

    async def stop(self, name: str) -> int:
        """Ask a program to stop and wait for it."""
        process = self.processes.pop(name)
        process.terminate()
        return await asyncio.wait_for(process.wait(), PATIENCE_SECONDS)

    async def call(self, *arguments: str) -> tuple[int, str, str]:
        """Run the console script; return exit code, stdout, stderr."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "clients.cli",
            *arguments,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
        return process.returncode or 0, out.decode(), err.decode()

    async def call_json(self, *arguments: str) -> Any:  # Any: whatever the command answers
        """Run the console script with --json and read what it says."""
        code, out, err = await self.call(*arguments, "--json")
        if not out.strip():
            raise AssertionError(f"{arguments} exited {code} without an answer: {err}")
        return json.loads(out)

    async def site_state(self) -> dict[str, Any]:
        """Return what the stand-in holds."""
        async with plain_client() as client:
            state: dict[str, Any] = (await client.get(f"{self.site_url}/standin/state")).json()
            return state

    async def site_faults(self, body: dict[str, Any]) -> None:
        """Set the stand-in's faults."""
        async with plain_client() as client:
            answer = await client.post(f"{self.site_url}/standin/faults", json=body)
            answer.raise_for_status()

    def sql(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Do by SQL what an operator would do by hand."""
        with contextlib.closing(sqlite3.connect(self.database, timeout=30)) as connection:
            rows = connection.execute(statement, parameters).fetchall()
            connection.commit()
            return rows

    def logs(self) -> dict[str, str]:
        """Return what each program wrote."""
        return {file.name: file.read_text() for file in self.folder.glob("*.log")}

    async def _start(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"{name}.log").open("ab")
        with log:
            self.processes[name] = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "clients.cli",
                *arguments,
                env=self.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def _until_answering(self, url: str) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), plain_client() as client:
            while True:
                if any(p.returncode is not None for p in self.processes.values()):
                    raise AssertionError(f"a program ended early: {self.logs()}")
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get(url)).is_success:
                        return
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Kill what still runs."""
        for name in list(self.processes):
            if self.processes[name].returncode is None:
                await self.kill(name)


@contextlib.asynccontextmanager
async def installation(folder: Path, **settings: str) -> AsyncIterator[Installation]:
    """Give an installation whose programs are gone afterwards."""
    made = Installation(folder, settings)
    try:
        yield made
    finally:
        await made.close()
