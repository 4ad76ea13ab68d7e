"""Translates errors to gRPC's status codes and details: the one place that knows both.

Each failure has an ErrorInfo with a stable reason, a BadRequest if a field is wrong, and a
RetryInfo if waiting helps. An error that nobody raised on purpose tells the caller nothing about
itself; it is logged here, once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

import grpc
import structlog
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import (
    error_details_pb2,
    status_pb2,
)

from server.errors import (
    AlreadyExists,
    CursorOutOfRange,
    CursorTooOld,
    EngineNotReady,
    InvalidInput,
    NotAllowed,
    NotFound,
    NotSignedIn,
    ProvisionerError,
    Refused,
    RevisionChanged,
    StoreUnavailable,
    Throttled,
    Violation,
)
from server.queries import CursorCut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.message import Message

    from server.rpc.identity import Context

_log = structlog.get_logger(__name__)

DOMAIN = "provisioner"
_DETAILS_KEY = "grpc-status-details-bin"
# gRPC's own signal (gRFC A6): a client that repeats calls automatically may not repeat this one.
_NOT_AGAIN = ("grpc-retry-pushback-ms", "-1")

# gRPC refuses more than 8 KiB of headers, and percent-encodes the message, in which a byte that is
# not ASCII takes three. With these limits the message (3 x) and the status, which has the message
# and the violations (base64, 4/3 x each), stay below that.
_MAX_MESSAGE_BYTES = 1000
_MAX_VIOLATIONS_BYTES = 2000

_CODES: tuple[tuple[type[ProvisionerError], grpc.StatusCode], ...] = (
    (InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (Refused, grpc.StatusCode.FAILED_PRECONDITION),
    (RevisionChanged, grpc.StatusCode.ABORTED),
    (CursorOutOfRange, grpc.StatusCode.OUT_OF_RANGE),
    (CursorTooOld, grpc.StatusCode.DATA_LOSS),
    (NotAllowed, grpc.StatusCode.PERMISSION_DENIED),
    (NotSignedIn, grpc.StatusCode.UNAUTHENTICATED),
    (Throttled, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (StoreUnavailable, grpc.StatusCode.UNAVAILABLE),
    (EngineNotReady, grpc.StatusCode.UNAVAILABLE),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a call ends that fails.

    Attributes:
        code: The gRPC status code.
        reason: The stable code, for programs.
        message: What happened and what to do, for people.
        violations: The fields that are wrong, if any; as many as fit are told.
        retry_seconds: After how many seconds the same call may succeed; None if waiting alone does
            not help.
        metadata: Further facts, for programs.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    violations: tuple[Violation, ...] = ()
    retry_seconds: float | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


INTERNAL = Failure(
    code=grpc.StatusCode.INTERNAL,
    reason="INTERNAL",
    message=(
        "The server ran into an error of its own; its log says which. An order given with a "
        "request_id can be repeated safely."
    ),
)
DEADLINE_PASSED = Failure(
    code=grpc.StatusCode.DEADLINE_EXCEEDED,
    reason="DEADLINE_PASSED",
    message="The call's deadline had passed before the server began it; nothing was done.",
)


def failure_of(error: Exception, *, method: str) -> Failure:
    """Return the failure for an error; an error that nobody raised on purpose is logged.

    Args:
        error: What was raised.
        method: The name of the rpc, for the log.

    Returns:
        The failure; INTERNAL, which tells nothing of the error, for one that is logged.
    """
    code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    if code is None or not isinstance(error, ProvisionerError):
        _log.error("rpc.failed", method=method, exc_info=error)
        return INTERNAL
    return Failure(
        code=code,
        reason=error.code,
        message=error.message,
        violations=error.violations if isinstance(error, InvalidInput) else (),
        retry_seconds=_retry_seconds(error),
        metadata=_facts(error),
    )


def _retry_seconds(error: ProvisionerError) -> float | None:
    if isinstance(error, Throttled):
        return error.retry_after_seconds
    if isinstance(error, StoreUnavailable):
        return 1.0
    if isinstance(error, EngineNotReady):
        # The prober asks a site that is down at least this often, in seconds.
        return 15.0 if error.retry_after_seconds is None else error.retry_after_seconds
    return None


def _facts(error: ProvisionerError) -> dict[str, str]:
    if isinstance(error, CursorCut):
        return {**error.facts, "oldest_cursor": str(error.oldest_cursor)}
    return error.facts


async def abort(context: Context, failure: Failure, *, again: bool = True) -> NoReturn:
    """End a call with a failure and its details.

    Args:
        context: The call's context.
        failure: What to tell the caller.
        again: Whether the caller's gRPC may repeat the call automatically, as it does after
            UNAVAILABLE.

    Raises:
        grpc.aio.AbortError: always; it must reach gRPC. Over `/v1` it is the `CallFailed` of
            `server.rest`.
    """
    status = _status(failure)
    # Only synchronous servers have abort_with_status.
    details = (_DETAILS_KEY, status.SerializeToString())
    told = (details,) if again else (details, _NOT_AGAIN)
    await context.abort(failure.code, status.message, trailing_metadata=told)


def _status(failure: Failure) -> status_pb2.Status:
    code, _ = failure.code.value
    status = status_pb2.Status(code=code, message=_cut(failure.message, _MAX_MESSAGE_BYTES))
    _add(
        status,
        error_details_pb2.ErrorInfo(
            reason=failure.reason, domain=DOMAIN, metadata=failure.metadata
        ),
    )
    if failure.violations:
        _add(status, _bad_request(failure.violations))
    if failure.retry_seconds is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(round(failure.retry_seconds * 1000))
        _add(status, retry)
    return status


def _bad_request(violations: tuple[Violation, ...]) -> Message:
    bad = error_details_pb2.BadRequest()
    left = _MAX_VIOLATIONS_BYTES
    for violation in violations:
        path, description = _cut(violation.field, 200), _cut(violation.description, 500)
        left -= len(path.encode()) + len(description.encode())
        if left < 0:
            break
        bad.field_violations.add(field=path, description=description)
    message: Message = bad
    return message


def _add(status: status_pb2.Status, detail: Message) -> None:
    packed = AnyMessage()
    packed.Pack(detail)
    status.details.append(packed)


def _cut(text: str, most_bytes: int) -> str:
    """Return text cut to a number of bytes, with everything replaced that UTF-8 can't encode."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= most_bytes:
        return encoded.decode()
    return encoded[: most_bytes - 3].decode("utf-8", "ignore") + "…"
