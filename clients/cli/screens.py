"""Shows what a watch sees: as a bar in a terminal, as lines in a pipe; with --json not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from clients.cli import changes, render
from clients.cli.wire_text import plain

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from clients.cli.output import Output
    from provisioner.v1.provisioning_pb2 import LogEntry
    from provisioner.v1.tenant_pb2 import TenantStatus

_BAR_WIDTH = 24


class Screen(Protocol):
    """What a watch calls to show something; used as a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def status(self, status: TenantStatus) -> None:
        """Show the latest look, in place of the one before or below it."""

    def log(self, entry: LogEntry) -> None:
        """Show a log line."""

    def note(self, text: str) -> None:
        """Show something about the watch itself."""


def screen_for(output: Output, *, with_log: bool) -> Screen:
    """Choose the screen that fits where the output goes.

    Args:
        output: Where it goes.
        with_log: Whether log lines will be shown; in a terminal the changes are then left out,
            because the log tells of them.
    """
    if output.as_json:
        return SilentScreen()
    if output.interactive:
        return TerminalScreen(output.console, with_log=with_log)
    return PlainScreen(output)


class SilentScreen:
    """Shows nothing: with --json stdout holds the one document at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None

    def status(self, status: TenantStatus) -> None:
        """Show nothing."""

    def log(self, entry: LogEntry) -> None:
        """Show nothing."""

    def note(self, text: str) -> None:
        """Show nothing."""


class PlainScreen(SilentScreen):
    """Prints one line for each change, and no log lines, which would repeat it."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._last: TenantStatus | None = None

    def status(self, status: TenantStatus) -> None:
        """Print what changed since the last look."""
        self._output.lines(changes.lines(self._last, status))
        self._last = status

    def note(self, text: str) -> None:
        """Print it beside the result."""
        self._output.note(text)


class TerminalScreen:
    """Keeps a progress bar at the bottom, with log lines or changes above it."""

    def __init__(self, console: Console, *, with_log: bool) -> None:
        self._console = console
        self._with_log = with_log
        self._last: TenantStatus | None = None
        # No thread of its own refreshes it: each look redraws it, up to four times a second.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def status(self, status: TenantStatus) -> None:
        """Redraw the bar."""
        if not self._with_log and self._last is not None:
            for line in changes.lines(self._last, status):
                self._console.print(line)
        self._last = status
        self._live.update(_bar(status), refresh=True)

    def log(self, entry: LogEntry) -> None:
        """Print a log line above the bar."""
        self._console.print(render.log_line(entry))

    def note(self, text: str) -> None:
        """Print it above the bar."""
        self._console.print(Text(text, style="yellow"))


def _bar(status: TenantStatus) -> Table:
    grid = Table.grid(padding=(0, 1))
    numbers = render.progress(status)
    style = render.STATE_STYLES.get(status.state, "")
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, min_width=len(numbers))
    # What does not fit is cut: parts of a bar that wraps would stay on the screen.
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_row(
        ProgressBar(
            total=max(status.total_steps, 1),
            completed=status.steps_completed,
            width=_BAR_WIDTH,
            complete_style=style,
            finished_style=style,
        ),
        Text(numbers),
        _current(status),
    )
    return grid


def _current(status: TenantStatus) -> Text:
    step = next((step for step in status.steps if step.key == status.current_step), None)
    if step is None:
        return (
            Text(render.waiting(status), style="yellow")
            if status.HasField("waiting_for")
            else Text()
        )
    mark, word, style = render.step_look(step, status)
    tries = f", try {step.attempts}" if changes.is_another_try(step) else ""
    why = f", {render.waiting(status)}" if status.HasField("waiting_for") else ""
    return Text(f"{mark} {plain(step.title or step.key)} {word}{tries}{why}", style=style)
