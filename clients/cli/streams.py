"""Standard streams that are closed or can't be written.

A scheduler may start a command with some of the three closed; the first file it opens, perhaps a
database, would then get that number. If the output can't be written (a full disk), the command
ends as if nobody read it, since its other exit codes are about tenants.
"""

from __future__ import annotations

import errno
import os
import sys

_NAMES = ("stdin", "stdout", "stderr")
_NOT_WRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG})


def fill() -> None:
    """Replace each stream that is closed by one that is empty and discards everything."""
    for number, name in enumerate(_NAMES):
        if getattr(sys, name) is None and _is_closed(number):
            # In this order the lowest free number is that of the missing stream.
            os.open(os.devnull, os.O_RDWR)
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - a descriptor, for good


def lost(error: OSError | SystemExit) -> bool:
    """Tell whether stdout could not be written; if that is because it is full, say so.

    Args:
        error: What ended the command. If it is about stdout, what is still buffered is dropped.
    """
    # The library exits with 1 if nobody reads, which would mean that a tenant is not well.
    cause = error.__context__ if isinstance(error, SystemExit) else error
    if isinstance(cause, BrokenPipeError):
        drop_stdout()
        return True
    # An error about a file names that file.
    if isinstance(cause, OSError) and cause.errno in _NOT_WRITTEN and cause.filename is None:
        drop_stdout()
        sys.stderr.write(f"Error: The output can't be written: {cause.strerror}.\n")
        return True
    return False


def drop_stdout() -> None:
    """Discard what is still buffered for a closed stdout, so that exiting stays silent."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False
