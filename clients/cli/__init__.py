"""The command line `provisioner`: people and scripts, through the public API only."""

from __future__ import annotations

import gc
import sys

from clients.cli.exit_codes import ExitCode

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit."""
    # What is imported stays: to look through all of it for garbage, 268 times, was a tenth of the
    # time that a server takes to start.
    gc.set_threshold(50_000, 20, 50)
    try:
        # Imported here, so that a Ctrl-C during the import also ends without a traceback.
        from clients.cli.program import main as program  # noqa: PLC0415 - see above

        program()
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
