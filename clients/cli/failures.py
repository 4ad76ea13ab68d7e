"""Says why a command did not do what was asked for, and which command comes next."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clients.cli import exit_codes, unreachable
from clients.cli.connection import TOKEN
from clients.cli.exit_codes import ExitCode
from clients.cli.kept_log import oldest_kept
from clients.cli.pasting import pasted
from clients.cli.requests import (
    AcceptSite,
    Continue,
    Login,
    Order,
    Request,
    Retry,
    Start,
    Status,
)
from clients.cli.wire_text import plain
from clients.sdk.errors import (
    AlreadyExists,
    CursorOutOfRange,
    CursorTooOld,
    FailedPrecondition,
    NotFound,
    ProvisionerError,
    RevisionChanged,
    Unauthenticated,
    Unreachable,
)

if TYPE_CHECKING:
    from clients.sdk.errors import FieldViolation

# The option behind each field, so that a person need not know the contract.
_OPTION_BY_FIELD = {
    "tenant_id": "--tenant-id",
    "request_id": "--request-id",
    "expected_revision": "--expected-revision",
    "reason": "--reason",
    "step_key": "--step",
    "after_cursor": "--after",
    "text": "TEXT",
    "states": "--state",
    "engine_id": "--engine",
    "stuck_longer_than": "--stuck",
    "order_by": "--order",
    "page_size": "--limit",
    "page_token": "--page-token",
    "spec.company_name": "NAME",
    "spec.country_code": "--country",
    "spec.currency": "--currency",
    "spec.chart_template": "--chart",
    "spec.include_demo_data": "--demo-data",
    "spec.pos_store_enabled": "--pos-store",
    "spec.till_user": "--till-user",
    "spec.engine_id": "--engine",
    "spec.payment_methods": "--payment",
    "spec.opening_amount": "--opening-amount",
}


_NO_DATABASE = "STORE_UNAVAILABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a command did not do what was asked for.

    Attributes:
        code: Name of the gRPC status code.
        reason: Stable reason; "" if there is none.
        message: What happened, and what to do.
        fields: Wrong fields, each with the name that a person typed it under.
        field_lines: In which line of a file each of them is; () where there is no file.
        next_command: The command to give next, or "".
        exit_code: What the command ends with.
    """

    code: str
    reason: str
    message: str
    fields: tuple[tuple[str, FieldViolation], ...] = ()
    field_lines: tuple[int, ...] = ()
    next_command: str = ""
    exit_code: ExitCode

    def as_object(self) -> dict[str, object]:
        """Return it for scripts."""
        fields: list[dict[str, object]] = [
            {"field": violation.field, "description": violation.description}
            for _, violation in self.fields
        ]
        for field, line in zip(fields, self.field_lines, strict=False):
            field["line"] = line
        error: dict[str, object] = {
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
            "fields": fields,
        }
        if self.next_command:
            error["next_command"] = self.next_command
        return {"error": error}

    def lines(self) -> list[str]:
        """Return it for people: what happened first, the next command last."""
        reason = f" ({self.reason})" if self.reason else ""
        # The service's message may be its fields in one line; they follow, a line each.
        told_below = self.fields and all(
            violation.description in self.message for _, violation in self.fields
        )
        message = "Not accepted." if told_below else self.message
        lines = [f"Error: {plain(message)}{plain(reason)}"]
        lines += [
            f"  {plain(name)}: {plain(violation.description)}" for name, violation in self.fields
        ]
        if self.next_command:
            # On a line of its own, even if the message names it: people paste whole lines.
            lines.append(f"Next: {plain(self.next_command)}")
        return lines


def of_service(error: ProvisionerError, request: Request) -> Failure:
    """Say what an error of the service, or no answer, means for this command.

    Args:
        error: What the call raised.
        request: What was asked for; its options are named in the place of the contract's fields.
    """
    message = error.message or f"The service answered {error.code} without a message."
    if isinstance(error, Unreachable) and not error.reason:
        message = _not_reachable(error, request)
    elif error.code == "UNIMPLEMENTED" and not error.reason:
        # gRPC's own words, "Method not found!", name neither a cause nor a remedy.
        message = (
            f"The service at {request.address} does not know this command: it is older than the "
            "command, or another program. Upgrade the service, or use the command of its version."
        )
    elif isinstance(error, Unauthenticated) and _sign_in(request).startswith("unset"):
        # This happens before the sign-in, so signing in again would change nothing.
        message = _with(
            message, f"The token is the one in {TOKEN}: put a valid one there, or unset it."
        )
    elif error.retry_delay_seconds:
        message = _with(message, f"Try again in {error.retry_delay_seconds:g} s.")
    return Failure(
        code=error.code,
        reason=error.reason,
        message=message,
        fields=tuple(
            (_typed_as(violation.field, request), violation) for violation in error.field_violations
        ),
        next_command=pasted(_next_command(error, request)),
        exit_code=exit_codes.for_error(error.code),
    )


def _with(message: str, more: str) -> str:
    # No full stop after a command: it would be pasted with it.
    return f"{message} {more}" if message.endswith(".") else f"{message} ({more})"


def interrupted(request: Request) -> Failure:
    """Say that a person ended the command before its result was there.

    Args:
        request: What was asked for; of an order it is said how to give it again.
    """
    message, tenant = "Interrupted. An order that was given goes on.", ""
    if isinstance(request, Start):
        tenant = request.tenant_id or ""
        message += f" Given again with --request-id {request.request_id} it is the same order."
    elif isinstance(request, Status | Continue | Retry | Order):
        tenant = request.tenant
    return Failure(
        code="CANCELLED",
        reason="INTERRUPTED",
        message=message,
        next_command=f"provisioner status {shlex.quote(tenant)} --watch" if tenant else "",
        exit_code=ExitCode.INTERRUPTED,
    )


def _typed_as(field: str, request: Request) -> str:
    option = _OPTION_BY_FIELD.get(field.partition("[")[0])
    if option is None:
        return field
    if field == "tenant_id" and not isinstance(request, Start):
        option = "TENANT"
    return f"{option} ({field})"


def _not_reachable(error: Unreachable, request: Request) -> str:
    if error.code in {"DEADLINE_EXCEEDED", "CANCELLED"}:
        message = f"No answer from {request.address} within {request.timeout_seconds:g} s."
        if error.code == "CANCELLED":
            message = f"The service at {request.address} was stopped before it answered."
        if isinstance(request, Start | Continue | Retry | Order):
            message += (
                " The order may have been taken all the same; given again with --request-id"
                f" {request.request_id} it is the same order."
            )
        return message
    message, _ = unreachable.why(request.address, error.cause)
    return message


def _next_command(error: ProvisionerError, request: Request) -> str:
    """Return the command that helps with an error; the service's own suggestion comes first."""
    told = error.metadata.get("next_command", "")
    if told:
        return told
    if isinstance(error, Unreachable) and not error.reason and error.code == "UNAVAILABLE":
        return _without_a_server(error, request)
    if isinstance(error, Unauthenticated):
        return _sign_in(request)
    if isinstance(error, AlreadyExists):
        return _look_at_the_other(error, request)
    told = _next_for_tenant(error, request) if getattr(request, "tenant", "") else ""
    # It runs on the server's machine; an order is first repeated with its id.
    return told or ("provisioner db check" if error.reason == _NO_DATABASE else "")


def _without_a_server(error: Unreachable, request: Request) -> str:
    _, command = unreachable.why(request.address, error.cause)
    if command == unreachable.SERVE and isinstance(request, AcceptSite):
        return f"provisioner accept-site {shlex.quote(request.engine)} --local"
    return command


def _sign_in(request: Request) -> str:
    if isinstance(request, Login):
        return f"provisioner login {shlex.quote(request.email)}"
    return f"unset {TOKEN}" if _token_of_the_environment() else "provisioner login EMAIL"


def _token_of_the_environment() -> bool:
    return bool(os.environ.get(TOKEN, "").strip())


def _look_at_the_other(error: ProvisionerError, request: Request) -> str:
    mine = request.tenant_id if isinstance(request, Start) else None
    other = error.metadata.get("tenant_id") or mine
    return f"provisioner status {shlex.quote(other)}" if other else ""


def _next_for_tenant(error: ProvisionerError, request: Request) -> str:
    tenant = shlex.quote(str(getattr(request, "tenant", "")))
    match error:
        case NotFound():
            return "provisioner list"
        case FailedPrecondition(reason="TENANT_IN_MOTION"):
            return f"provisioner status {tenant} --watch"
        case FailedPrecondition() | RevisionChanged():
            return f"provisioner status {tenant}"
        case CursorTooOld() | CursorOutOfRange():
            oldest = oldest_kept(error)
            return f"provisioner logs {tenant}" + (f" --after {oldest - 1}" if oldest else "")
        case Unreachable() if isinstance(request, Continue | Retry):
            return _the_same_order(request)
        case _:
            return ""


def _the_same_order(request: Continue | Retry) -> str:
    order = "continue" if isinstance(request, Continue) else "retry"
    step = (
        f" --step {shlex.quote(request.step)}"
        if isinstance(request, Retry) and request.step
        else ""
    )
    return (
        f"provisioner {order} {shlex.quote(request.tenant)}{step} "
        f"--request-id {shlex.quote(request.request_id)}"
    )
