"""Answers in the form that the old clients cut up: compact JSON, and errors as `{"detail": …}`."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import structlog
from starlette.responses import Response

from server.errors import (
    AlreadyExists,
    InvalidInput,
    NotAllowed,
    NotFound,
    NotSignedIn,
    ProvisionerError,
    Refused,
    RevisionChanged,
    StoreUnavailable,
    Throttled,
)
from server.rest.words import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from server.errors import Violation

_log = structlog.get_logger(__name__)

UNAUTHORIZED = "Could not validate credentials"
TENANT_UNKNOWN = "Tenant not found"
NOT_A_MEMBER = "Not a member of this tenant"
RECORD_UNKNOWN = "Provisioning record not found"

_BROKEN = (
    "The server ran into an error of its own; its log says which. The request can be repeated."
)


class CompactJson(Response):
    """JSON without blanks, because scripts look for texts such as `"status":"` with grep."""

    media_type = "application/json"

    def __init__(
        self, content: Any, status_code: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:  # Any: whatever JSON can hold
        super().__init__(compact(content), status_code, headers)


class Refusal(Exception):  # noqa: N818 - it is an answer; it never leaves the room
    """Ends a request with an answer that is not a success.

    Attributes:
        detail: A text, an object with `type` and `message`, or a list of wrong fields.
    """

    def __init__(
        self,
        status: int,
        detail: str | Mapping[str, Any] | Sequence[Mapping[str, Any]],
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status)
        self.status = status
        self.detail = detail
        self.headers = headers

    def answer(self) -> CompactJson:
        """Return the answer."""
        return CompactJson({"detail": self.detail}, self.status, self.headers)


def compact(content: Any) -> bytes:  # Any: whatever JSON can hold
    """Return JSON in UTF-8, without blanks and without escapes for what is not ASCII."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # A damaged row may have a lone surrogate, which UTF-8 can't encode.
    return text.encode("utf-8", "replace")


def typed(kind: str, message: str, **more: str) -> dict[str, str]:
    """Return a detail that programs recognise by its type."""
    return {"type": kind, "message": plain(message), **more}


def refusal_of(
    error: Exception,
    *,
    kind: str,
    unknown: str = TENANT_UNKNOWN,
    fields: Mapping[str, str] | None = None,
) -> Refusal:
    """Return the answer to an error; one that nobody raised on purpose is only logged.

    Args:
        error: What was raised.
        kind: The answer's `type` if the error is the server's own.
        unknown: The answer for a tenant that does not exist.
        fields: The clients' names of fields, by our names.
    """
    if isinstance(error, Refusal):
        return error
    if not isinstance(error, ProvisionerError):
        return broken(error, kind)
    return _known(error, unknown, fields or {}) or broken(error, kind)


def _known(error: ProvisionerError, unknown: str, fields: Mapping[str, str]) -> Refusal | None:
    """Return the answer to an error raised on purpose; None for one that no caller should see."""
    said: Refusal | None = None
    match error:
        case InvalidInput():
            said = _wrong_fields(error, fields)
        case NotSignedIn():
            said = unauthorized()
        case NotAllowed() | NotFound():
            forbidden = isinstance(error, NotAllowed)
            said = Refusal(403, plain(error.message)) if forbidden else Refusal(404, unknown)
        case AlreadyExists():
            said = Refusal(409, _already_exists(error))
        case Refused() | RevisionChanged():
            in_motion = error.code == "TENANT_IN_MOTION"
            kind = "already_provisioning" if in_motion else error.code.lower()
            said = Refusal(409, typed(kind, error.message))
        case StoreUnavailable():
            said = _come_again(503, typed(error.code.lower(), error.message), 1)
        case Throttled():
            said = _come_again(429, plain(error.message), error.retry_after_seconds)
    return said


def _come_again(status: int, detail: str | dict[str, str], seconds: float) -> Refusal:
    return Refusal(status, detail, {"Retry-After": str(max(1, math.ceil(seconds)))})


def unauthorized() -> Refusal:
    """Return the refusal for somebody who is not known."""
    return Refusal(401, UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})


def broken(error: Exception, kind: str) -> Refusal:
    """Return an answer that says that the server failed, and log what happened."""
    code = error.code if isinstance(error, ProvisionerError) else ""
    _log.error("rest.failed", kind=kind, code=code, exc_info=error)
    return Refusal(500, typed(kind, _BROKEN))


def wrong(violations: Sequence[Violation], fields: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return wrong fields in the form in which the old pages list them."""
    return [
        {
            "loc": ["body", fields.get(name := violation.field.removeprefix("spec."), name)],
            "msg": plain(violation.description),
            "type": "value_error",
        }
        for violation in violations
    ]


def _wrong_fields(error: InvalidInput, fields: Mapping[str, str]) -> Refusal:
    bad_id = next((each for each in error.violations if each.field == "tenant_id"), None)
    if bad_id is not None:
        return Refusal(400, f"Invalid tenant ID format: {plain(bad_id.description)}")
    return Refusal(422, wrong(error.violations, fields))


def _already_exists(error: AlreadyExists) -> str | dict[str, str]:
    if error.code == "SPEC_DIFFERS":
        return typed(
            "already_provisioning",
            "This tenant was begun with other options. Start it without options, or use "
            "Continue, to drive it on as it is.",
        )
    # Without saying whose it is: the caller may not be allowed to know.
    return "A tenant of this company name exists already. Choose another name."
