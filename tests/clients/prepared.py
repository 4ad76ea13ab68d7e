"""Forks commands from a process that has read the program: most of a command is reading it.

The command has all that a started one has: its own process, arguments, environment and streams.
What is not seen in this way is how the program is read, and signals while it is: for those, and
through a shell, tests start `python -m clients.cli` (`processes.running`).
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

ROOT = Path(__file__).resolve().parents[2]
_MESSAGE_BYTES = 128 * 1024


def fork(arguments: Sequence[str], environ: Mapping[str, str], streams: Sequence[int]) -> int:
    """Begin a command with three streams; return where its number is read, then its exit code.

    The streams stay the caller's own, who closes them.
    """
    ours, theirs = os.pipe()
    order = json.dumps({"arguments": list(arguments), "environ": dict(environ)}).encode()
    assert len(order) < _MESSAGE_BYTES
    try:
        socket.send_fds(_prepared(), [order], [*streams, theirs])
    finally:
        os.close(theirs)
    return ours


@cache
def _prepared() -> socket.socket:
    """Start the process that has read the program; it ends when nobody holds the other end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "tests.clients.prepared", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
        )

    @atexit.register
    def end() -> None:
        ours.close()
        process.wait()

    return ours


def _read_the_program() -> None:
    for room in ("clients.cli", "clients.sdk"):
        package = importlib.import_module(room)
        for module in pkgutil.iter_modules(package.__path__, f"{room}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    # What the commands on the database read when they are given.
    for late in ("server.administration", "server.upkeep"):
        importlib.import_module(late)


def _serve(orders: socket.socket) -> tuple[bytes, list[int]] | None:
    """Fork for each order; return it in the command's own process, and None at the end."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.set_wakeup_fd(wakes)
    reports: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([orders.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _report(reports)
        if orders.fileno() not in ready:
            continue
        order, files, _, _ = socket.recv_fds(orders, _MESSAGE_BYTES, 4)
        if not order:
            return None
        number = os.fork()
        if number == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            for file in (orders.detach(), woken, wakes, *reports.values(), files.pop()):
                os.close(file)
            return order, files
        reports[number] = files.pop()
        os.write(reports[number], f"{number}\n".encode())
        for file in files:
            os.close(file)


def _report(reports: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            report = reports.pop(ended[0])
            # Whoever waited may have given up.
            with contextlib.suppress(BrokenPipeError):
                os.write(report, f"{os.waitstatus_to_exitcode(ended[1])}\n".encode())
            os.close(report)


def _become(order: bytes, files: list[int]) -> None:
    """Be the command that was ordered, as Python would have started it."""
    told = json.loads(order)
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(told["environ"])
    sys.argv[1:] = told["arguments"]
    _take("stdin", open(0, closefd=False))  # noqa: SIM115 - for as long as the command lives
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = open(  # noqa: SIM115 - for as long as the command lives
            number,
            "w",
            errors="strict" if number == 1 else "backslashreplace",
            closefd=False,
            buffering=1 if number == 2 or os.isatty(number) else -1,
        )
        _take(name, stream)


def _take(name: str, stream: TextIO) -> None:
    setattr(sys, name, stream)
    setattr(sys, f"__{name}__", stream)


if __name__ == "__main__":
    from clients.cli import main

    _read_the_program()
    # What is read stays: nobody looks through it for garbage, in a hundred copies.
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        received = _serve(orders)
    if received is not None:
        _become(*received)
        main()
