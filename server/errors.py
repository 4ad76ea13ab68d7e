"""Every error raised on purpose, as one small tree.

ProvisionerError
├── InvalidInput            a caller sent something wrong: field, problem, remedy
├── NotFound                no such tenant
├── AlreadyExists           the name or id is taken
├── Refused                 the order does not fit the tenant's state
├── RevisionChanged         the order was based on an older revision
├── CursorOutOfRange        a log cursor beyond the end
├── CursorTooOld            a log cursor from before what is kept of the log
├── NotAllowed              the caller is known, but may not do this
├── NotSignedIn             the caller is not known
├── Throttled               asked too often: try again after a while
├── Replaced                another worker or order owns the run now: stop quietly
├── StoreUnavailable        the database does not answer, or can't write
├── EngineNotReady          the engine can't be looked at now
├── SchemaMismatch          the database has another schema
├── SettingsError           a setting is wrong
└── EngineError             the engine refused, or did not answer

Codes are stable and listed in docs/errors.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from server.model.difference import Difference
    from server.model.states import ErrorClass

# As steps write a command: "provisioner adopt TENANT".
_PLACEHOLDER = re.compile(r"(provisioner [a-z-]+) TENANT\b")


class ProvisionerError(Exception):
    """The root of the tree: a stable code, a message for people, and facts for programs.

    Attributes:
        default_code: The class's code, for errors that have none of their own.
        message: What happened and what to do, in whole sentences.
        code: Stable, documented in docs/errors.md.
        facts: Names and values for programs; empty for most.
    """

    default_code: ClassVar[str] = "INTERNAL"

    def __init__(
        self, message: str, *, code: str = "", facts: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.facts = dict(facts or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One invalid field.

    Attributes:
        field: Its path in the request, such as "spec.currency".
        description: What is wrong with it, and how to fix that.
    """

    field: str
    description: str


class InvalidInput(ProvisionerError):
    """A caller sent something wrong; nothing was written.

    Attributes:
        violations: Every wrong field, at least one.
    """

    default_code = "INVALID_INPUT"

    def __init__(self, violations: tuple[Violation, ...], *, code: str = "") -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations), code=code)
        self.violations = violations


class NotFound(ProvisionerError):
    """There is no such thing, or the caller may not see it."""

    default_code = "TENANT_NOT_FOUND"


class AlreadyExists(ProvisionerError):
    """The id or the name is taken."""

    default_code = "TENANT_EXISTS"


class Refused(ProvisionerError):
    """The order does not fit the tenant's state."""

    default_code = "TENANT_IN_MOTION"


class RevisionChanged(ProvisionerError):
    """The tenant has changed since the caller looked; look again."""

    default_code = "REVISION_CHANGED"


class CursorOutOfRange(ProvisionerError):
    """A log cursor beyond the end of the log."""

    default_code = "CURSOR_OUT_OF_RANGE"


class CursorTooOld(ProvisionerError):
    """A log cursor from before what is kept of the log."""

    default_code = "CURSOR_TOO_OLD"


class NotAllowed(ProvisionerError):
    """The caller is known, but may not do this."""

    default_code = "NOT_ALLOWED"


class NotSignedIn(ProvisionerError):
    """The caller is not known."""

    default_code = "NOT_SIGNED_IN"


class Throttled(ProvisionerError):
    """Asked too often; nothing was done.

    Attributes:
        retry_after_seconds: How long to wait before asking again.
    """

    default_code = "TOO_MANY_TRIES"

    def __init__(self, message: str, *, retry_after_seconds: float, code: str = "") -> None:
        super().__init__(message, code=code)
        self.retry_after_seconds = retry_after_seconds


class Replaced(ProvisionerError):
    """The fencing token has moved on: this worker's writes no longer count."""

    default_code = "REPLACED"


class StoreUnavailable(ProvisionerError):
    """The database does not answer, or can't write.

    Nothing was written, unless the message says that it may have been: the answer to a COMMIT was
    lost, of a change that does not go through the writer.
    """

    default_code = "STORE_UNAVAILABLE"


class EngineNotReady(ProvisionerError):
    """The engine can't be looked at now: its gate is shut, or it gives no usable answer.

    Attributes:
        retry_after_seconds: How long it asked to be left alone, or None.
    """

    default_code = "ENGINE_DOWN"

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        facts: Mapping[str, str] | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, code=code, facts=facts)
        self.retry_after_seconds = retry_after_seconds


class SchemaMismatch(ProvisionerError):
    """The database has a schema that this version does not know."""

    default_code = "SCHEMA_MISMATCH"


class SettingsError(ProvisionerError):
    """A setting is missing or wrong."""

    default_code = "SETTING_INVALID"


class EngineError(ProvisionerError):
    """The engine refused, or did not answer.

    Attributes:
        error_class: Decides what follows (`server.model.budget`).
        code: Stable code, documented in docs/errors.md.
        message: What happened and what to do, without secrets.
        status: HTTP status; 0 if there was no answer.
        exc_type: ERPNext's error type, or "".
        engine_message: ERPNext's own words, plain text, shortened.
        retry_after_seconds: The shortest pause before the next try, or None.
        ask_prober: Whether the answer may mean that the whole engine is down.
        hold: Whether only a person may move the tenant from here.
        whole_site: Whether the pause asked for concerns the whole site, not just this request.
        evidence: Further facts for the attempt's record.
        differences: What exists but is not as wanted, field by field.
        public: The message without the names of other tenants, if `message` has any.
    """

    def __init__(
        self,
        error_class: ErrorClass,
        code: str,
        message: str,
        *,
        public: str = "",
        status: int = 0,
        exc_type: str = "",
        engine_message: str = "",
        retry_after_seconds: float | None = None,
        ask_prober: bool = False,
        hold: bool = False,
        whole_site: bool = False,
        evidence: Mapping[str, str] | None = None,
        differences: Sequence[Difference] = (),
    ) -> None:
        super().__init__(message, code=code)
        self.error_class = error_class
        self.status = status
        self.exc_type = exc_type
        self.engine_message = engine_message
        self.retry_after_seconds = retry_after_seconds
        self.ask_prober = ask_prober
        self.hold = hold
        self.whole_site = whole_site
        self.evidence = dict(evidence or {})
        self.differences = tuple(differences)
        self.public = public

    @property
    def told(self) -> str:
        """What anybody who sees the tenant may read; `message` is for those who see all tenants."""
        return self.public or self.message

    def for_tenant(self, tenant_id: str) -> Self:
        """Put the tenant's id into the commands that a step's error names; return the same error.

        A step does not know it, and writes "provisioner adopt TENANT".
        """
        self.message = _PLACEHOLDER.sub(rf"\1 {tenant_id}", self.message)
        self.public = _PLACEHOLDER.sub(rf"\1 {tenant_id}", self.public)
        return self
