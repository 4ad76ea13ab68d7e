"""Runs the command line as people and scripts do: a process, with a pipe or a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import sys
import termios
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.clients import prepared

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ROOT = Path(__file__).resolve().parents[2]
GUARD_SECONDS = 30
CONTROL_CODES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
_PYTHON = (sys.executable, "-W", "error")
_COMMAND = (*_PYTHON, "-m", "clients.cli")


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:  # Any: whatever JSON the command wrote
        """The one JSON document on stdout; raises if there is anything else."""
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:  # Any: whatever JSON the command wrote
        """The JSON documents on stdout, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True)
class Answer:
    """What a person does at a question in a terminal.

    Attributes:
        at: What he waits for.
        keys: What he types then; nothing is Ctrl-C.
    """

    at: bytes
    keys: bytes = b""


def environment(**changes: str) -> dict[str, str]:
    """A small environment: nothing of the developer's terminal leaks in."""
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **changes}


@contextlib.asynccontextmanager
async def running(
    *arguments: str,
    command: tuple[str, ...] = _COMMAND,
    stdout: int = asyncio.subprocess.PIPE,
    environ: dict[str, str] | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command with pipes; killed if the test leaves it running."""
    process = await asyncio.create_subprocess_exec(
        *command,
        *arguments,
        cwd=ROOT,
        env=environ or environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def finish(process: asyncio.subprocess.Process) -> Result:
    """Wait for the end of a command."""
    out, err = await asyncio.wait_for(process.communicate(), GUARD_SECONDS)
    assert process.returncode is not None
    return Result(code=process.returncode, out=(out or b"").decode(), err=err.decode())


async def run_python(program: str) -> Result:
    """Run a small program of the test's own to its end."""
    async with running("-c", program, command=_PYTHON) as process:
        return await finish(process)


async def run_unread(*arguments: str) -> Result:
    """Run a command whose output nobody reads any more, as behind `| head`."""
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        async with running(*arguments, stdout=theirs) as process:
            return await finish(process)
    finally:
        os.close(theirs)


async def run(*arguments: str, **changes: str) -> Result:
    """Run a command with pipes to its end."""
    return await run_fed(*arguments, environ=environment(**changes))


async def run_fed(*arguments: str, environ: dict[str, str], stdin: bytes = b"") -> Result:
    """Run a command with pipes to its end, with something to read."""
    pipes = [os.pipe() for _ in range(3)]
    (reads, feed), (out, writes), (err, complains) = pipes
    try:
        report = prepared.fork(arguments, environ, (reads, writes, complains))
    finally:
        for theirs in (reads, writes, complains):
            os.close(theirs)
    with os.fdopen(report, "rb") as told:
        number = int(await asyncio.to_thread(told.readline))
        said = asyncio.gather(
            asyncio.to_thread(_feed, feed, stdin),
            asyncio.to_thread(_read_whole, out),
            asyncio.to_thread(_read_whole, err),
            asyncio.to_thread(told.readline),
        )
        try:
            _, all_out, all_err, code = await asyncio.wait_for(asyncio.shield(said), GUARD_SECONDS)
        except TimeoutError:
            os.kill(number, signal.SIGKILL)
            await said
            raise
    return Result(code=int(code), out=all_out.decode(), err=all_err.decode())


def _feed(pipe: int, stdin: bytes) -> None:
    # A command need not read what it is given.
    with contextlib.suppress(BrokenPipeError), os.fdopen(pipe, "wb") as written:
        written.write(stdin)


def _read_whole(pipe: int) -> bytes:
    with os.fdopen(pipe, "rb") as read:
        return read.read()


async def run_in_terminal(
    *arguments: str, columns: int = 120, answer: Answer | None = None, **changes: str
) -> Result:
    """Run a command in a pseudo-terminal to its end; `out` has both streams, raw."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    try:
        with _ctrl_c_heard():
            process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                *arguments,
                cwd=ROOT,
                env=environment(**{"TERM": "xterm-256color", **changes}),
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
            )
    finally:
        os.close(theirs)
    try:
        asked = await asyncio.wait_for(
            asyncio.to_thread(_read_to_end, ours, b"" if answer is None else answer.at),
            GUARD_SECONDS,
        )
        if answer is not None and answer.keys:
            os.write(ours, answer.keys)
        elif answer is not None:
            process.send_signal(signal.SIGINT)
        out = asked + await asyncio.wait_for(asyncio.to_thread(_read_to_end, ours), GUARD_SECONDS)
        code = await asyncio.wait_for(process.wait(), GUARD_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)
    return Result(code=code, out=out.decode(), err="")


@contextlib.contextmanager
def _ctrl_c_heard() -> Iterator[None]:
    """Start a process that hears Ctrl-C, as a person's shell does.

    A script that runs the tests in the background (`&`) has them ignore it, and whatever they
    start: Python leaves an ignored signal ignored, and the command waits at its question for ever.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _read_to_end(terminal: int, until: bytes = b"") -> bytes:
    read = bytearray()
    # Linux says EIO when the last process has left the terminal.
    with contextlib.suppress(OSError):
        while not (until and until in read) and (part := os.read(terminal, 65536)):
            read += part
    return bytes(read)
