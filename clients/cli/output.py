"""Writes for people and scripts: to stdout what was asked for, to stderr the rest.

With --json stdout holds JSON only. In a pipe there is neither colour nor a control code,
and no line is broken; in a terminal there is both, unless NO_COLOR or TERM=dumb say no.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.text import Text

from clients.cli.json_view import document
from clients.cli.streams import drop_stdout

if TYPE_CHECKING:
    from collections.abc import Iterable

    from clients.cli.failures import Failure


_UNKNOWN_WIDTH = 80


class OutputClosed(Exception):  # noqa: N818 - not a fault: who read our output has seen enough
    """Nobody reads stdout any more."""


class Output:
    """Where a command writes to.

    Attributes:
        as_json: Whether stdout holds JSON only.
        interactive: Whether stdout is a terminal that takes control codes.
        console: Stdout, for people.
    """

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.interactive = _takes_control_codes(sys.stdout)
        self.console = _console(sys.stdout)
        self._errors = _console(sys.stderr)

    def lines(self, lines: Iterable[Text]) -> None:
        """Print lines for people; nothing with --json.

        Raises:
            OutputClosed: nobody reads them any more.
        """
        if not self.as_json:
            for line in lines:
                self.console.print(line, soft_wrap=True)

    def json(self, value: object) -> None:
        """Print one JSON document as one line.

        Raises:
            OutputClosed: nobody reads it any more.
            ValueError: a number in it is not finite.
        """
        try:
            sys.stdout.write(document(value) + "\n")
            sys.stdout.flush()
        except BrokenPipeError as error:
            drop_stdout()
            raise OutputClosed from error

    def note(self, text: str) -> None:
        """Tell people something that is not the result, on stderr, also with --json."""
        self._errors.print(Text(text, style="yellow"), soft_wrap=True)

    def failure(self, failure: Failure) -> None:
        """Tell why the command did not do what was asked for: on stderr, or as JSON on stdout.

        Raises:
            OutputClosed: nobody reads stdout any more.
        """
        if self.as_json:
            self.json(failure.as_object())
            return
        for number, line in enumerate(failure.lines()):
            self._errors.print(Text(line, style="" if number else "bold red"), soft_wrap=True)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Say so instead of exiting with 1, which means that the tenant is not well."""
        drop_stdout()
        raise OutputClosed


def _console(file: TextIO) -> Console:
    # force_terminal: without it FORCE_COLOR would bring control codes into a pipe.
    console = _Console(
        file=file,
        force_terminal=_takes_control_codes(file),
        markup=False,
        emoji=False,
        highlight=False,
    )
    if console.width < 1:
        # Shells without a terminal set COLUMNS=0, with which nothing at all would be printed.
        console.width = _UNKNOWN_WIDTH
    return console


def _takes_control_codes(file: TextIO) -> bool:
    return file.isatty() and os.environ.get("TERM") not in {"dumb", "unknown"}
