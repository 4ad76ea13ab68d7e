"""Faults that a test or the demo asks for, as frozen values read from JSON.

The body of a `POST /standin/faults` replaces everything set before; `{}` clears it. A body with
anything unknown in it is refused as a whole, with a `BadFaultsError` that names the field.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from server.standin import errors
from server.standin.naming import fold

if TYPE_CHECKING:
    from collections.abc import Iterable

BEFORE, AFTER, MIDDLE = "before", "after", "middle"
CUT = "cut"
_STATUSES = range(400, 600)
# The status that a type of error has if a fault names only the type.
_STATUS_OF = {
    "DuplicateEntryError": 409,
    "NameError": 409,
    "DoesNotExistError": 404,
    "PermissionError": 403,
    "AuthenticationError": 401,
    "TooManyRequestsError": 429,
    "SessionStopped": 503,
    "InReadOnlyMode": 503,
    "ValidationError": 417,
    "LinkValidationError": 417,
    "LinkExistsError": 417,
    "MandatoryError": 417,
    "TimestampMismatchError": 417,
}
_TYPE_OF = {
    401: "AuthenticationError",
    403: "PermissionError",
    404: "DoesNotExistError",
    409: "DuplicateEntryError",
    417: "ValidationError",
    429: "TooManyRequestsError",
    503: "SessionStopped",
}


_MESSAGE = "Asked for by a fault"
# Types of error that come without a message (11-rate-limit).
_WITHOUT_WORDS = frozenset({"TooManyRequestsError"})
_READ_ONLY = (
    "Site is running in read only mode for maintenance or site update, this action can not be "
    "performed right now. Please try again later."
)


class BadFaultsError(Exception):
    """The faults asked for make no sense; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, for requests with a given method, doctype and name.

    Without a status, a type or a cut it only waits: a wait before the work is part of the
    transaction, a wait after it only delays the answer.

    Attributes:
        method: The HTTP method; None for any.
        doctype: The doctype, or the path of a method; None for any.
        name: The document's name; None for any.
        when: "before" or "after" the work.
        times: How many requests it is for; None means until cleared.
        status: The HTTP status to answer with; 0 closes the connection.
        exc_type: ERPNext's type of error to answer with.
        message: What the refusal says.
        action: "cut", the older spelling of `cut`, with `when`.
        html: Whether the answer is a page of the web server.
        cut: Closes the connection: "before" the work (it is not done), "after" it (done, no
            answer), or in the "middle" of the answer (done, half of the answer comes).
        hang_seconds: How long it waits, in seconds.
        hang_ms: The same in milliseconds; the two are added.
        retry_after: The seconds of a Retry-After header; None for none.
    """

    method: str | None = None
    doctype: str | None = None
    name: str | None = None
    when: str = BEFORE
    times: int | None = 1
    status: int | None = None
    exc_type: str | None = None
    message: str = _MESSAGE
    action: str | None = None
    html: bool = False
    cut: str | None = None
    hang_seconds: float = 0.0
    hang_ms: float = 0.0
    retry_after: int | None = None

    @property
    def cuts(self) -> bool:
        """Whether the connection is closed without a whole answer."""
        return self.action == CUT or self.cut is not None or self.status == 0

    @property
    def cuts_in_the_middle(self) -> bool:
        """Whether half of the answer comes before the connection is closed."""
        return self.cut == MIDDLE

    @property
    def comes_before(self) -> bool:
        """Whether it happens before the work."""
        return (self.cut or self.when) == BEFORE

    @property
    def seconds(self) -> float:
        """How long it waits, in seconds."""
        return self.hang_seconds + self.hang_ms / 1000

    @property
    def refuses(self) -> bool:
        """Whether the answer is an error."""
        return not self.cuts and bool(self.status or self.exc_type or self.html)

    def matches(self, method: str, doctype: str, names: Iterable[str]) -> bool:
        """Tell whether this fault is meant for a request.

        Args:
            method: The request's HTTP method.
            doctype: Its doctype, or the path of its method.
            names: All names by which its document may be meant; compared as ERPNext compares names.
        """
        if self.method is not None and self.method != method:
            return False
        if self.doctype is not None and fold(self.doctype) != fold(doctype):
            return False
        return self.name is None or fold(self.name) in {fold(name) for name in names}

    def error(self) -> errors.EngineError | errors.PageError:
        """Return the refusal to answer with; for a fault that refuses."""
        if self.html and self.status in {None, 500}:
            return errors.server_error_page()
        status = self.status or _STATUS_OF.get(self.exc_type or "", 500)
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        if self.html:
            return errors.page(status, "Error", self.message, **headers)
        exc_type = self.exc_type or _TYPE_OF.get(status, "ValidationError")
        if self.message == _MESSAGE and exc_type in _WITHOUT_WORDS:
            return errors.with_headers(errors.plain(status, exc_type), headers)
        if self.message == _MESSAGE and exc_type == "InReadOnlyMode":
            words = errors.refused(_READ_ONLY, exc_type, status=status, title="In Read Only Mode")
            return errors.with_headers(words, headers)
        return errors.with_headers(errors.refused(self.message, exc_type, status=status), headers)


@dataclass(slots=True, kw_only=True)
class Faults:
    """All faults that are set; counts down those that are used.

    Attributes:
        latency_ms: Milliseconds that every request takes longer.
        down: Whether the site's database is away.
        maintenance: Whether the site is in maintenance mode.
        token: The only "key:secret" that is accepted; None for any.
        roles: The caller's roles; None for all of them.
        user: Whom our key is taken for; None for the API user.
        tracebacks: Whether errors come with tracebacks (11-errors-without-traceback).
        faults: What goes wrong for single requests; the first that matches is used.
        left: For each of these, how often it may still be used; None for ever.
    """

    latency_ms: float = 0.0
    down: bool = False
    maintenance: bool = False
    token: str | None = None
    roles: frozenset[str] | None = None
    user: str | None = None
    tracebacks: bool = True
    faults: tuple[Fault, ...] = ()
    left: list[int | None] = field(default_factory=list)

    def take(self, method: str, doctype: str, names: Iterable[str]) -> Fault | None:
        """Use up one fault for a request, if there is one for it.

        Args:
            method: The request's HTTP method.
            doctype: Its doctype, or the path of its method.
            names: All names by which its document may be meant.

        Returns:
            The fault; None if the request is to go on undisturbed.
        """
        names = list(names)
        for position, fault in enumerate(self.faults):
            left = self.left[position]
            if left != 0 and fault.matches(method, doctype, names):
                self.left[position] = None if left is None else left - 1
                return fault
        return None


def parse(body: Any) -> Faults:  # Any: JSON
    """Read a body, or say what is wrong with it.

    Raises:
        BadFaultsError: anything in it is unknown or of another kind; nothing of it is taken.
    """
    if not isinstance(body, dict):
        raise BadFaultsError("The body must be a JSON object.")
    known = {"latency_ms", "down", "maintenance", "token", "roles", "user", "tracebacks", "faults"}
    _refuse_unknown("body", body, known)
    faults = tuple(itertools.starmap(_fault, enumerate(_list(body.get("faults", []), "faults"))))
    roles = body.get("roles")
    token = body.get("token")
    if token is not None and (not isinstance(token, str) or ":" not in token):
        raise BadFaultsError("token: must be a text like 'key:secret'.")
    return Faults(
        latency_ms=_number(body.get("latency_ms", 0), "latency_ms"),
        down=_flag(body.get("down", False), "down"),
        maintenance=_flag(body.get("maintenance", False), "maintenance"),
        token=token,
        user=_user(body.get("user")),
        tracebacks=_flag(body.get("tracebacks", True), "tracebacks"),
        roles=None if roles is None else frozenset(map(str, _list(roles, "roles"))),
        faults=faults,
        left=[fault.times for fault in faults],
    )


def _fault(position: int, entry: Any) -> Fault:  # Any: JSON
    where = f"faults[{position}]"
    if not isinstance(entry, dict):
        raise BadFaultsError(f"{where}: must be an object.")
    _refuse_unknown(where, entry, {f.name for f in fields(Fault)})
    _check_types(where, entry)
    method = entry.get("method")
    hang = {
        name: _number(entry.get(name, 0), f"{where}.{name}") for name in ("hang_seconds", "hang_ms")
    }
    fault = Fault(**{**entry, "method": method and method.upper(), **hang})
    if not (fault.cuts or fault.refuses or fault.seconds):
        raise BadFaultsError(
            f"{where}: does nothing; set status, exc_type, html, cut, action, hang_seconds "
            "or hang_ms."
        )
    return fault


def _check_types(where: str, entry: dict[str, Any]) -> None:  # Any: JSON
    for name in ("method", "doctype", "name", "exc_type", "message"):
        if not isinstance(entry.get(name, ""), str):
            raise BadFaultsError(f"{where}.{name}: must be a text.")
    options = {
        "when": (BEFORE, AFTER),
        "action": (CUT,),
        "cut": (BEFORE, AFTER, MIDDLE),
        "html": (True, False),
    }
    for name, allowed in options.items():
        if name in entry and entry[name] not in allowed:
            raise BadFaultsError(f"{where}.{name}: must be one of {allowed}.")
    status = entry.get("status")
    if status not in {None, 0, *_STATUSES}:
        raise BadFaultsError(f"{where}.status: must be 0 or between 400 and 599.")
    times = entry.get("times", 1)
    if times is not None and (not isinstance(times, int) or times < 1):
        raise BadFaultsError(f"{where}.times: must be a number from 1, or null for always.")


def _refuse_unknown(where: str, entry: dict[str, Any], known: set[str]) -> None:  # Any: JSON
    unknown = sorted(set(entry) - known)
    if unknown:
        raise BadFaultsError(
            f"{where}: unknown {', '.join(unknown)}; known are {', '.join(sorted(known))}."
        )


def _number(value: Any, where: str) -> float:  # Any: JSON
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise BadFaultsError(f"{where}: must be a number from 0.")
    return float(value)


def _user(value: Any) -> str | None:  # Any: JSON
    if value is not None and not isinstance(value, str):
        raise BadFaultsError("user: must be a text.")
    return value


def _flag(value: Any, where: str) -> bool:  # Any: JSON
    if not isinstance(value, bool):
        raise BadFaultsError(f"{where}: must be true or false.")
    return value


def _list(value: Any, where: str) -> list[Any]:  # Any: JSON
    if not isinstance(value, list):
        raise BadFaultsError(f"{where}: must be a list.")
    return value
