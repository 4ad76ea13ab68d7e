"""How a program begins and ends: its exit code, what it says and where, and what stops it."""

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


# gRPC's codes, so that these commands report an error as those that call a server do.
_CODES: tuple[tuple[type[ProvisionerError], str], ...] = (
    (InvalidInput, "INVALID_ARGUMENT"),
    (SettingsError, "INVALID_ARGUMENT"),
    (NotFound, "NOT_FOUND"),
    (AlreadyExists, "ALREADY_EXISTS"),
    (NotAllowed, "PERMISSION_DENIED"),
    (StoreUnavailable, "UNAVAILABLE"),
    (EngineNotReady, "UNAVAILABLE"),
)
# The exit codes of errors; any other error ends with EXIT_WRONG_USE.
_EXITS: tuple[tuple[type[ProvisionerError], int], ...] = (
    (NotFound, EXIT_NOT_FOUND),
    (NotAllowed, EXIT_NOT_ALLOWED),
    (StoreUnavailable, EXIT_NOT_REACHABLE),
    (EngineNotReady, EXIT_NOT_REACHABLE),
)


def run(program: Callable[[], Awaitable[int]], *, as_json: bool = False) -> int:
    """Run a program and return its exit code.

    An error raised on purpose is reported as a message, or as JSON, and has an exit code of its
    own.

    Args:
        program: Returns the exit code if nothing goes wrong.
        as_json: Whether an error is reported as JSON, on stdout.

    Raises:
        KeyboardInterrupt: somebody pressed Ctrl-C, if the program does not handle that itself.
    """

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
    """Return an error as a JSON object, for scripts."""
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
    """Refuse options given to `python -m`, which would otherwise be ignored.

    For example, `python -m reconciler --dry-run` must not heal. Modules that run this way call it.

    Args:
        arguments: What followed the module's name.
        command: The command that accepts options.

    Returns:
        EXIT_DONE if there are none; else EXIT_WRONG_USE, with the reason on stderr.
    """
    if not arguments:
        return EXIT_DONE
    given = plain(shlex.join(arguments))
    complain(f"python -m takes no options here, and was given {given}.\nNext: {command} --help")
    return EXIT_WRONG_USE


def stop_signals() -> asyncio.Event:
    """Return an event that SIGTERM, SIGINT or SIGHUP sets from now on.

    So a terminal that goes away does not end a run in the middle either. Under `nohup`, SIGHUP
    stays ignored.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if name is not signal.SIGHUP or signal.getsignal(name) is not signal.SIG_IGN:
            loop.add_signal_handler(name, stopping.set)
    return stopping


def on_second_interrupt(hurry: Callable[[], None]) -> None:
    """Call `hurry` from now on if somebody who does not want to wait presses Ctrl-C again.

    Args:
        hurry: Called on the event loop, as often as Ctrl-C is pressed.
    """
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, hurry)


def report(facts: Mapping[str, Any], text: str, *, as_json: bool) -> None:
    """Write what came of it to stdout, for people or for scripts.

    Args:
        facts: What scripts get; what JSON has no word for is written as text.
        text: What people get; names in it may be anybody's.
        as_json: Which of the two.
    """
    say(json.dumps(facts, ensure_ascii=False, default=str) if as_json else plain(text))


def plain(text: str) -> str:
    """Return lines with everything escaped that a terminal would act on: names come from others."""
    return "".join(
        sign if sign.isprintable() or sign == "\n" else repr(sign)[1:-1] for sign in text
    )


def say(text: str) -> None:
    """Write a line to stdout, at once.

    Raises:
        OSError: nobody takes it, as with `| head`.
    """
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def announce(text: str) -> None:
    """Write a line to stdout, or lose it: a server must not end because nobody can take it."""
    with contextlib.suppress(OSError):
        say(text)


def complain(text: str) -> None:
    """Write a message to stderr; it may quote what an engine said.

    Raises:
        OSError: nobody takes it.
    """
    sys.stderr.write(f"provisioner: {plain(text)}\n")
