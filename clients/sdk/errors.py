"""Every error the client raises on purpose, as one small tree.

ProvisionerError              anything else the service answered (INTERNAL, UNIMPLEMENTED, ...)
├── InvalidArgument           a field is wrong: INVALID_ARGUMENT
│   └── CursorOutOfRange      a cursor beyond the end of the log: OUT_OF_RANGE
├── CursorTooOld              a cursor from before what is kept of the log: DATA_LOSS
├── Conflict                  the order does not fit the present state
│   ├── AlreadyExists         the id or the company name is taken: ALREADY_EXISTS
│   ├── FailedPrecondition    the tenant's state does not allow it: FAILED_PRECONDITION
│   └── RevisionChanged       the tenant has changed since you looked: ABORTED
├── NotFound                  no such tenant: NOT_FOUND
├── NotAllowed
│   ├── Unauthenticated       the caller is not known: UNAUTHENTICATED
│   └── PermissionDenied      the caller is known, but may not do this: PERMISSION_DENIED
└── Unreachable               no answer, or not now: UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED

After `Unreachable`, do not assume that an order was not carried out: give it again with the
same `request_id`, which makes it the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError
from google.rpc import (
    error_details_pb2,
    status_pb2,
)

from clients.sdk.unreachable import Cause, cause_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import grpc.aio

# Where gRPC puts the google.rpc.Status of an error.
_STATUS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One invalid field.

    Attributes:
        field: Its path in the request, such as "spec.company_name".
        description: What is wrong with it and how to fix that, for people.
    """

    field: str
    description: str


class ProvisionerError(Exception):
    """The root of the tree: the service refused, or did not answer.

    Attributes:
        code: Name of the gRPC status code, such as "NOT_FOUND".
        reason: The service's stable reason, such as "TENANT_NOT_FOUND"; "" if it gave none.
        message: What happened and what to do, for people.
        field_violations: The invalid fields, if any.
        retry_delay_seconds: How long to wait before trying again; None if the service did not
            say.
        metadata: Further facts about this error, from the service.
    """

    def __init__(
        self,
        code: str,
        reason: str = "",
        message: str = "",
        *,
        field_violations: tuple[FieldViolation, ...] = (),
        retry_delay_seconds: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message or reason or code)
        self.code = code
        self.reason = reason
        self.message = message
        self.field_violations = field_violations
        self.retry_delay_seconds = retry_delay_seconds
        self.metadata = dict(metadata or {})


class InvalidArgument(ProvisionerError):
    """A field of the request is wrong; nothing was done."""


class CursorOutOfRange(InvalidArgument):
    """The cursor is beyond the end of the log."""


class CursorTooOld(ProvisionerError):
    """The log no longer reaches back to that cursor.

    `metadata["oldest_cursor"]` is the cursor of the first entry that is kept.
    """


class Conflict(ProvisionerError):
    """The order does not fit the present state; nothing was done."""


class AlreadyExists(Conflict):
    """The tenant id or the company name is taken."""


class FailedPrecondition(Conflict):
    """The tenant's state does not allow the order."""


class RevisionChanged(Conflict):
    """The tenant has changed since the caller looked; look again."""


class NotFound(ProvisionerError):
    """There is no such tenant, or the caller may not see it."""


class NotAllowed(ProvisionerError):
    """The caller may not do this."""


class Unauthenticated(NotAllowed):
    """The caller is not known."""


class PermissionDenied(NotAllowed):
    """The caller is known, but may not do this."""


class Unreachable(ProvisionerError):
    """There was no answer in time, or the service can't answer now.

    Attributes:
        cause: Why, as far as gRPC's own words tell; the message ends with those words.
    """

    cause: Cause = Cause.UNKNOWN


_CLASS_BY_CODE: dict[str, type[ProvisionerError]] = {
    "INVALID_ARGUMENT": InvalidArgument,
    "OUT_OF_RANGE": CursorOutOfRange,
    "DATA_LOSS": CursorTooOld,
    "ALREADY_EXISTS": AlreadyExists,
    "FAILED_PRECONDITION": FailedPrecondition,
    "ABORTED": RevisionChanged,
    "NOT_FOUND": NotFound,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "UNAVAILABLE": Unreachable,
    "DEADLINE_EXCEEDED": Unreachable,
    # A call that its caller cancels raises asyncio's own error, not this one.
    "CANCELLED": Unreachable,
}
_STOPPED = "The service was stopped before it answered."


def from_rpc_error(error: grpc.aio.AioRpcError, *, tls: bool) -> ProvisionerError:
    """Turn an error of gRPC's, with the details the service attached to it, into one of ours.

    Args:
        error: The error that gRPC raised.
        tls: Whether the client spoke TLS.

    Returns:
        An error of the subclass that belongs to its status code.
    """
    code = error.code().name
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    retry_info = error_details_pb2.RetryInfo()
    for detail in _rich_status(error).details:
        for known in (info, bad_request, retry_info):
            if detail.Is(known.DESCRIPTOR):
                detail.Unpack(known)
    message, cause = error.details() or "", Cause.UNKNOWN
    if code == "UNAVAILABLE" and not info.reason:
        # This is not from the service but from gRPC itself, in words that only experts know.
        cause = cause_of(message, tls=tls)
        message = f"{cause.value} ({message})" if cause.value else message
    if code == "CANCELLED" and not info.reason:
        message = _STOPPED
    made = _CLASS_BY_CODE.get(code, ProvisionerError)(
        code,
        info.reason,
        message,
        field_violations=tuple(
            FieldViolation(field=violation.field, description=violation.description)
            for violation in bad_request.field_violations
        ),
        retry_delay_seconds=(
            retry_info.retry_delay.ToTimedelta().total_seconds()
            if retry_info.HasField("retry_delay")
            else None
        ),
        metadata=info.metadata,
    )
    if isinstance(made, Unreachable):
        made.cause = cause
    return made


def _rich_status(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    """Return the error's google.rpc.Status; an empty one if it carries no valid one."""
    # Not grpc_status.rpc_status.from_call: it raises if the code or text of the two differ
    # (because a proxy shortened one), which would hide the error that is to be reported.
    for key, value in error.trailing_metadata() or ():
        if key == _STATUS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    return status_pb2.Status()
