"""How a program begins and ends: its exit code, what it says and where, and who stops it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shlex
import signal
import sys
from typing import TYPE_CHECKING, Any

from server.errors import (
    AlreadyExists,
    EngineNotReady,
    InvalidInput,
    NotAllowed,
    NotFound,
    ProvisionerError,
    SettingsError,
    StoreUnavailable,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

EXIT_DONE = 0
EXIT_NOT_WELL = 1
EXIT_WRONG_USE = 2
EXIT_NOT_REACHABLE = 3
EXIT_NOT_ALLOWED = 4
EXIT_NOT_FOUND = 5


# As gRPC has it: the commands that call a server say the same of the same.
_CODES: tuple[tuple[type[ProvisionerError], str], ...] = (
    (InvalidInput, "INVALID_ARGUMENT"),
    (SettingsError, "INVALID_ARGUMENT"),
    (NotFound, "NOT_FOUND"),
    (AlreadyExists, "ALREADY_EXISTS"),
    (NotAllowed, "PERMISSION_DENIED"),
    (StoreUnavailable, "UNAVAILABLE"),
    (EngineNotReady, "UNAVAILABLE"),
)
# What a script is told by number; of any other error it is told EXIT_WRONG_USE.
_EXITS: tuple[tuple[type[ProvisionerError], int], ...] = (
    (NotFound, EXIT_NOT_FOUND),
    (NotAllowed, EXIT_NOT_ALLOWED),
    (StoreUnavailable, EXIT_NOT_REACHABLE),
    (EngineNotReady, EXIT_NOT_REACHABLE),
)


def run(program: Callable[[], Awaitable[int]], *, as_json: bool = False) -> int:
    """Run a program; an error raised on purpose is a message, or JSON, and an exit code."""

    async def body() -> int:
        return await program()

    try:
        return asyncio.run(body())
    except ProvisionerError as error:
        if as_json:
            say(json.dumps(error_object(error), ensure_ascii=False))
        else:
            complain(error.message)
        return next((code for kind, code in _EXITS if isinstance(error, kind)), EXIT_WRONG_USE)


def error_object(error: ProvisionerError) -> dict[str, Any]:  # Any: JSON values
    """Return an error as scripts read it."""
    fields = error.violations if isinstance(error, InvalidInput) else ()
    return {
        "error": {
            "code": next(
                (code for kind, code in _CODES if isinstance(error, kind)), "FAILED_PRECONDITION"
            ),
            "reason": error.code,
            "message": error.message,
            "fields": [{"field": each.field, "description": each.description} for each in fields],
        }
    }


def takes_no_options(arguments: Sequence[str], command: str) -> int:
    """Refuse options of `python -m`, which would pass unread.

    `python -m reconciler --dry-run` must not heal. Asked by the modules that run so.

    Args:
        arguments: what stood behind the module's name.
        command: what takes them.

    Returns:
        EXIT_DONE if there are none, else EXIT_WRONG_USE; why is said on stderr.
    """
    if not arguments:
        return EXIT_DONE
    given = plain(shlex.join(arguments))
    complain(f"python -m takes no options here, and was given {given}.\nNext: {command} --help")
    return EXIT_WRONG_USE


def stop_signals() -> asyncio.Event:
    """Return what SIGTERM, SIGINT or SIGHUP sets from now on.

    A terminal that goes away ends no run in the middle either. Under `nohup` nothing comes of it.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if name is not signal.SIGHUP or signal.getsignal(name) is not signal.SIG_IGN:
            loop.add_signal_handler(name, stopping.set)
    return stopping


def on_second_interrupt(hurry: Callable[[], None]) -> None:
    """Let Ctrl-C, pressed once more by who does not want to wait, call this."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, hurry)


def report(facts: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Say what came of it, to people or to scripts."""
    say(json.dumps(facts, ensure_ascii=False, default=str) if as_json else plain(text))


def plain(text: str) -> str:
    """Return lines with what a terminal would act upon escaped: names come from elsewhere."""
    return "".join(
        sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text
    )


def say(text: str) -> None:
    """Write a line to stdout, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def announce(text: str) -> None:
    """Write a line to stdout, or lose it: who serves must not end for want of a reader or room."""
    with contextlib.suppress(OSError):
        say(text)


def complain(text: str) -> None:
    """Write a line to stderr."""
    sys.stderr.write(f"provisioner: {text}\n")
