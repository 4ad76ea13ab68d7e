"""What a command is given to read and to write to, where that is closed or full.

A scheduler may start it with some of the three closed: the first file that is opened, a
database's perhaps, would take the place. Where the output can't be written (a full disk) the
command ends as where nobody reads it: its own numbers tell of tenants.
"""

from __future__ import annotations

import errno
import os
import sys

_NAMES = ("stdin", "stdout", "stderr")
_NOT_WRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


def fill() -> None:
    """Give each of the three that is closed a place that holds and takes nothing."""
    for number, name in enumerate(_NAMES):
        if getattr(sys, name) is None and _is_closed(number):
            # In this order the lowest free number is the one that is missing.
            os.open(os.devnull, os.O_RDWR)
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - a descriptor, for good


def lost(error: OSError | SystemExit) -> bool:
    """Tell whether stdout could not be written: nobody reads it, or, which is said, it is full."""
    # The library ends with 1 where nobody reads, which would mean that a tenant is not well.
    cause = error.__context__ if isinstance(error, SystemExit) else error
    if isinstance(cause, BrokenPipeError):
        drop_stdout()
        return True
    # An error at a file has its name.
    if isinstance(cause, OSError) and cause.errno in _NOT_WRITTEN and cause.filename is None:
        drop_stdout()
        sys.stderr.write(f"Error: The output can't be written: {cause.strerror}.\n")
        return True
    return False


def drop_stdout() -> None:
    """Send what is still buffered for a closed stdout nowhere, so that exiting stays silent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False
