"""How the process logs: an event name and fields, for people or as JSON, never a secret.

Values come from callers and engines. A line stays one line whatever they contain: what is not
printable is shown as an escape, so that nobody can forge a line or control a terminal.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

# A traceback naturally has several lines; each is marked as part of one.
_MARK = "  | "


def configure_logging(log_format: str, *, quiet: bool) -> None:
    """Set structlog and the standard library's logging up for the process; both write to stderr.

    Args:
        log_format: "console" for people, "json" for programs.
        quiet: Whether to show only warnings and errors (on a terminal that shows progress).
    """
    renderers: list[Any] = [structlog.processors.JSONRenderer()]  # Any: structlog's own types
    if log_format == "console":
        renderers = [_show_escapes, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _with_tenant,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.WARNING if quiet else logging.INFO
        ),
        # It is a text stream, although not of the typing module's kind.
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Unread(sys.stderr))),
    )
    # Libraries log with the standard library; httpx would log each request at INFO.
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


class _Unread(io.TextIOBase):
    """Writes to a stream that may be gone: a log that nobody reads must not stop the program."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, or lose it."""
        # `serve 2>&1 | head`: the pipe is closed (OSError), or the file is (ValueError).
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush, if there is still somebody to flush to."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


def one_line(text: str) -> str:
    r"""Return a text as one line, with what is not printable shown as `\n`, `\x1b`, `\u202e`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


class _OneLine(logging.Formatter):
    """Formats a library's record so that its values can't make lines of their own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return the record's text without its traceback."""
        return one_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - likewise; Any: the library's type
        """Return a traceback with each line marked."""
        return _marked(super().formatException(ei))


def _with_tenant(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Give every line a `tenant`, so that a filter finds a tenant's lines, and those of none."""
    event.setdefault("tenant", "")
    return event


def _show_escapes(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _marked(value) if key == "exception" else one_line(value)
    return event


def _marked(text: str) -> str:
    # Split at line breaks only: `splitlines` also splits at characters that terminals do not.
    return "\n".join(_MARK + one_line(line) for line in text.split("\n"))


def _escape(char: str) -> str:
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
