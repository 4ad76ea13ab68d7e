"""The exit codes of every command.

Scripts depend on them, so a number never changes its meaning. `standing` maps a tenant's state to
one, `for_error` an error of the service.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Why a command ended."""

    # What was asked for is done; for an order without --watch, it was acknowledged.
    DONE = 0
    # The tenant failed, is PARTIAL, held or STALLED, or did not get where --watch waited
    # for; or the service had an internal error. A person has to look.
    TENANT_NOT_WELL = 1
    # The command or its values are wrong, or don't fit the tenant's state; repeating the same
    # command will not help.
    WRONG_USE = 2
    # No answer, or not now; the same command may work later.
    NOT_REACHABLE = 3
    # The caller is not known, or may not do this.
    NOT_ALLOWED = 4
    # There is no such tenant.
    NOT_FOUND = 5
    # Ctrl-C, as shells count it: 128 + SIGINT. The tenant goes on.
    INTERRUPTED = 130
    # The reader of the output is gone (`| head`), as shells count it: 128 + SIGPIPE; or its disk
    # is full.
    OUTPUT_CLOSED = 141


_BY_GRPC_CODE = {
    "INVALID_ARGUMENT": ExitCode.WRONG_USE,
    "OUT_OF_RANGE": ExitCode.WRONG_USE,
    "FAILED_PRECONDITION": ExitCode.WRONG_USE,
    "ALREADY_EXISTS": ExitCode.WRONG_USE,
    "ABORTED": ExitCode.WRONG_USE,
    # The log before that cursor is gone for good: another --after is needed.
    "DATA_LOSS": ExitCode.WRONG_USE,
    # The service is older than this command.
    "UNIMPLEMENTED": ExitCode.WRONG_USE,
    "UNAVAILABLE": ExitCode.NOT_REACHABLE,
    "DEADLINE_EXCEEDED": ExitCode.NOT_REACHABLE,
    # The service was stopped meanwhile; Ctrl-C is another matter (INTERRUPTED).
    "CANCELLED": ExitCode.NOT_REACHABLE,
    "RESOURCE_EXHAUSTED": ExitCode.NOT_REACHABLE,
    "UNAUTHENTICATED": ExitCode.NOT_ALLOWED,
    "PERMISSION_DENIED": ExitCode.NOT_ALLOWED,
    "NOT_FOUND": ExitCode.NOT_FOUND,
}


def for_error(grpc_code: str) -> ExitCode:
    """Return the exit code for an error of the service.

    Args:
        grpc_code: The name of its status code, such as "NOT_FOUND"; one that is not known here
            stands for an error of the service's own.
    """
    return _BY_GRPC_CODE.get(grpc_code, ExitCode.TENANT_NOT_WELL)
