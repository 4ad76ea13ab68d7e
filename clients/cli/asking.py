"""Asks a person before something that is hard to undo.

The answer is read by the event loop: a thread that waits for a line can't be cancelled, so that
Ctrl-C at the question would wait for Enter. At the end of the input (Ctrl-D, an empty pipe) nobody
has agreed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clients.cli.output import Output

NOBODY = "There is nobody to ask here. To go on without asking, give --yes."
_YES = frozenset({"y", "yes"})


async def agreed(question: str, output: Output, *, yes: bool) -> bool:
    """Tell whether to go on.

    Args:
        question: What to ask, without the choices.
        output: Where to say that there is nobody to ask.
        yes: Whether `--yes` was given: then nobody is asked.

    Returns:
        Whether somebody agreed; False with --json, in a pipe, and if the input has ended.
    """
    if yes:
        return True
    if output.as_json or not sys.stdin.isatty():
        if not output.as_json:
            output.note(NOBODY)
        return False
    return await said_yes(question, output) or False


async def said_yes(question: str, output: Output) -> bool | None:
    """Ask on stdin, also a script; any answer but "y" and "yes" is a no.

    Args:
        question: What to ask, without the choices.
        output: Where to say that no answer came.

    Returns:
        The answer; None if the input has ended.
    """
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    line = await _line()
    if not line.endswith(b"\n"):
        sys.stderr.write("\n")
    if not line:
        output.note("No answer came." if sys.stdin.isatty() else NOBODY)
        return None
    return line.decode(errors="replace").strip().lower() in _YES


async def _line() -> bytes:
    """Read to the end of a line, and no further: the rest is the next answer."""
    line = b""
    while not line.endswith(b"\n"):
        await _readable(sys.stdin.fileno())
        read = os.read(sys.stdin.fileno(), 1)
        if not read:
            break
        line += read
    return line


async def _readable(stdin: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(stdin, ready.set_result, None)
    except PermissionError:
        return  # a file: it never keeps anybody waiting
    try:
        await ready
    finally:
        loop.remove_reader(stdin)
