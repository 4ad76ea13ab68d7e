"""How a program begins and ends: its exit code, what it says and where, and who stops it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

from server.errors import ProvisionerError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

EXIT_DONE = 0
EXIT_NOT_WELL = 1
EXIT_WRONG_USE = 2
EXIT_NOT_REACHABLE = 3


def run(program: Callable[[], Awaitable[int]]) -> int:
    """Run a program; an error raised on purpose is a message and an exit code."""

    async def body() -> int:
        return await program()

    try:
        return asyncio.run(body())
    except StoreUnavailable as error:
        complain(error.message)
        return EXIT_NOT_REACHABLE
    except ProvisionerError as error:
        complain(error.message)
        return EXIT_WRONG_USE


def stop_signals() -> asyncio.Event:
    """Return what SIGTERM or SIGINT sets from now on."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stopping.set)
    return stopping


def report(facts: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Say what came of it, to people or to scripts."""
    say(json.dumps(facts, ensure_ascii=False, default=str) if as_json else text)


def say(text: str) -> None:
    """Write a line to stdout, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(f"provisioner: {text}\n")
