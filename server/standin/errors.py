"""What ERPNext answers when it does not do what it was asked to do.

An `EngineError` is one recorded refusal: status, `exc_type`, and the JSON body around it
(`_server_messages` is JSON in JSON in JSON). A `PageError` is an HTML page of the web server, with
nothing of ERPNext in it. Facts: the README of the recordings ("Shapes of an answer"), and the case
named at each function.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace

ERPNEXT = "erpnext (app)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One entry of `_server_messages`.

    Attributes:
        text: What it says, in HTML.
        title: Its title.
        indicator: Its colour; None to leave that out.
        raised: Whether it came with the error that ended the request.
    """

    text: str
    title: str = "Message"
    indicator: str | None = "red"
    raised: bool = True

    def render(self) -> str:
        """Return the entry as the JSON text that it is in the list."""
        entry: dict[str, object] = {"message": self.text, "title": self.title}
        if self.indicator is not None:
            entry["indicator"] = self.indicator
        if self.raised:
            entry["raise_exception"] = 1
            digest = hashlib.sha224(self.text.encode()).hexdigest()
            entry["__frappe_exc_id"] = digest
        return json.dumps(entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The body of a refusal and its status.

    Attributes:
        status: The HTTP status.
        exc_type: The type of error, which is always there.
        exception: The traceback's last line; None for refusals that come without.
        messages: The entries of `_server_messages`; none leaves it out.
        source: The app whose code refused; None to leave that out.
        error_message: The text of `_error_message`; None to leave that out.
        headers: Headers that come with it.
    """

    status: int
    exc_type: str
    exception: str | None = None
    messages: tuple[Message, ...] = ()
    source: str | None = None
    error_message: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def body(self) -> dict[str, object]:
        """Return the JSON body as recorded, with all that a site without tracebacks leaves out."""
        body: dict[str, object] = {}
        if self.exception is not None:
            body["exception"] = self.exception
        body["exc_type"] = self.exc_type
        if self.source is not None:
            body["_exc_source"] = self.source
        if self.exception is not None:
            trace = f"Traceback (most recent call last):\n  ...\n{self.exception}\n"
            body["exc"] = json.dumps([trace])
        if self.messages:
            body["_server_messages"] = listed(list(self.messages))
        if self.error_message is not None:
            body["_error_message"] = self.error_message
        return body


class EngineError(Exception):
    """A refusal by the application, answered as JSON.

    Attributes:
        answer: What is answered.
    """

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.exc_type}: {answer.exception}")
        self.answer = answer


class PageError(Exception):
    """A refusal answered with an HTML page.

    Attributes:
        status: The HTTP status.
        page: The page.
        headers: Headers that come with it.
    """

    def __init__(self, status: int, page: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} page")
        self.status = status
        self.page = page
        self.headers = headers or {}


def refused(
    text: str, exc_type: str = "ValidationError", *, status: int = 417, title: str = "Message"
) -> EngineError:
    """A rule of the framework was broken: a message, raised.

    Args:
        text: What the message says, in HTML.
        exc_type: The type of error.
        status: The HTTP status.
        title: The message's title.
    """
    return EngineError(
        Answer(
            status=status,
            exc_type=exc_type,
            exception=f"frappe.exceptions.{exc_type}: {text}",
            messages=(Message(text=text, title=title),),
        )
    )


def refused_by_erpnext(
    text: str,
    exc_type: str = "ValidationError",
    *,
    status: int = 417,
    title: str = "Message",
    path: str = "frappe.exceptions",
) -> EngineError:
    """A rule of ERPNext itself was broken: as `refused`, and the body says so.

    Args:
        text: What the message says, in HTML.
        exc_type: The type of error.
        status: The HTTP status.
        title: The message's title.
        path: The module of the type of error, which the traceback names.
    """
    answer = refused(text, exc_type, status=status, title=title).answer
    return EngineError(replace(answer, exception=f"{path}.{exc_type}: {text}", source=ERPNEXT))


def missing(doctype: str, name: str) -> EngineError:
    """The document does not exist (02-company-get-missing)."""
    text = f"{doctype} {name} not found"
    return EngineError(
        Answer(status=404, exc_type="DoesNotExistError", messages=(Message(text=text),))
    )


def gone() -> EngineError:
    """A 404 that says nothing but its type (10-delete-missing, a wrong address)."""
    return EngineError(Answer(status=404, exc_type="DoesNotExistError"))


def duplicate(doctype: str, name: str) -> EngineError:
    """The name is taken (02-company-create-again)."""
    shown = "".join(c if ord(c) <= 0xFFFF else "?" for c in name)  # noqa: PLR2004 - end of the BMP
    inner = f"IntegrityError(1062, \"Duplicate entry '{shown}' for key 'PRIMARY'\")"
    return EngineError(
        Answer(
            status=409,
            exc_type="DuplicateEntryError",
            exception=(f"frappe.exceptions.DuplicateEntryError: ({doctype!r}, {name!r}, {inner})"),
            messages=(
                Message(
                    text=f"{doctype} <strong>{name}</strong> already exists",
                    title="Duplicate Name",
                    raised=False,
                ),
            ),
        )
    )


def link_missing(missing_links: list[str]) -> EngineError:
    """References that lead nowhere; each as `Label: value` (02-company-create-bad-country)."""
    return refused(f"Could not find {', '.join(missing_links)}", "LinkValidationError")


def mandatory(doctype: str, name: str, field_name: str, label: str) -> EngineError:
    """A required field is empty (02-company-create-missing-field).

    Args:
        doctype: The document's doctype.
        name: The document's name.
        field_name: The field, as the body has it.
        label: The field, as messages have it.
    """
    return _mandatory(doctype, name, field_name, f"Value missing for {doctype}: {label}")


def mandatory_table(doctype: str, name: str, field_name: str, label: str) -> EngineError:
    """A required table has no rows (09-pos-opening-two-balances).

    Args:
        doctype: The document's doctype.
        name: The document's name.
        field_name: The table, as the body has it.
        label: The table, as messages have it.
    """
    return _mandatory(doctype, name, field_name, f"Data missing in table: {label}")


def _mandatory(doctype: str, name: str, field_name: str, text: str) -> EngineError:
    return EngineError(
        Answer(
            status=417,
            exc_type="MandatoryError",
            exception=f"frappe.exceptions.MandatoryError: [{doctype}, {name}]: {field_name}",
            messages=(Message(text=f"Error: {text}", indicator=None, raised=False),),
        )
    )


def crashed(exc_type: str, exception: str, *, source: str | None = None) -> EngineError:
    """A fault that ERPNext did not expect: 500 with the bare Python error (11-bad-json).

    Args:
        exc_type: The type of error, without its module.
        exception: The traceback's last line.
        source: The app whose code failed; None to leave that out.
    """
    return EngineError(Answer(status=500, exc_type=exc_type, exception=exception, source=source))


def deadlock() -> EngineError:
    """The database chose this transaction as the victim (12-concurrent-companies)."""
    text = "(1213, 'Deadlock found when trying to get lock; try restarting transaction')"
    return crashed(
        "QueryDeadlockError", f"frappe.exceptions.QueryDeadlockError: {text}", source=ERPNEXT
    )


def stale(theirs: str, ours: str) -> EngineError:
    """Somebody else has written the document meanwhile (05-selling-settings-put-bad).

    Args:
        theirs: When the stored document was written, as ERPNext writes times.
        ours: When the one that was sent was written, likewise.
    """
    return refused(
        f"Error: Document has been modified after you have opened it ({theirs}, {ours}). "
        "Please refresh to get the latest document.",
        "TimestampMismatchError",
    )


def plain(status: int, exc_type: str, text: str = "", **headers: str) -> EngineError:
    """A refusal without messages (01-ping-bad-token, 11-maintenance-mode, 11-rate-limit).

    Args:
        status: The HTTP status.
        exc_type: The type of error.
        text: What stands behind the type in the traceback's last line; "" for nothing.
        headers: Headers that come with it.
    """
    exception = f"frappe.exceptions.{exc_type}" + (f": {text}" if text else "")
    return EngineError(
        Answer(status=status, exc_type=exc_type, exception=exception, headers=headers)
    )


def not_allowed_to_write(user: str, doctype: str) -> EngineError:
    """The role to write this doctype is missing (01-permissions-system-manager-only)."""
    return EngineError(
        Answer(
            status=403,
            exc_type="PermissionError",
            messages=(_no_access(user, doctype),),
            error_message=f"No permission for {doctype}",
        )
    )


def not_allowed_to_read(user: str, doctype: str, *, document: bool = False) -> EngineError:
    """The role to read this doctype is missing (02-company-list-no-token).

    Args:
        user: Who asked.
        doctype: What was asked for.
        document: Whether it was a single document: then the message has two sentences
            (05-settings-no-permission).
    """
    answer = replace(
        not_allowed_to_write(user, doctype).answer, exception="frappe.exceptions.PermissionError"
    )
    if not document:
        return EngineError(answer)
    (said,) = answer.messages
    text = f"{said.text}<br>User <strong>{user}</strong> does not have access to this document"
    return EngineError(replace(answer, messages=(replace(said, text=text),), error_message=None))


def not_whitelisted(method: str) -> EngineError:
    """A guest called a method, or nobody may (01-logged-user-no-token)."""
    return refused(
        "<details><summary>You are not permitted to access this resource. Login to access"
        f"</summary>Function <strong>{method}</strong> is not whitelisted.</details>",
        "PermissionError",
        status=403,
        title="Method Not Allowed",
    )


def _no_access(user: str, doctype: str) -> Message:
    return Message(
        text=(
            f"User <strong>{user}</strong> does not have doctype access via role permission "
            f"for document <strong>{doctype}</strong>"
        ),
        indicator=None,
        raised=False,
    )


def server_error_page() -> PageError:
    """The web server's page when the application has crashed (11-mariadb-down)."""
    return PageError(
        500,
        "<html>\n  <head>\n    <title>Internal Server Error</title>\n  </head>\n  <body>\n"
        "    <h1><p>Internal Server Error</p></h1>\n    \n  </body>\n</html>\n",
        {"connection": "close"},
    )


def page(status: int, title: str, text: str, **headers: str) -> PageError:
    """A page in the web framework's own form (01-unknown-site, 11-method-not-allowed).

    Args:
        status: The HTTP status.
        title: The page's heading.
        text: Its one paragraph, in HTML.
        headers: Headers that come with it.
    """
    return PageError(
        status,
        f"<!doctype html>\n<html lang=en>\n<title>{status} {title}</title>\n"
        f"<h1>{title}</h1>\n<p>{text}</p>\n",
        headers,
    )


def by_erpnext(error: EngineError) -> EngineError:
    """Mark a refusal as coming from ERPNext's own code."""
    return EngineError(replace(error.answer, source=ERPNEXT))


def with_headers(error: EngineError, headers: dict[str, str]) -> EngineError:
    """Add headers to a refusal."""
    return EngineError(replace(error.answer, headers={**error.answer.headers, **headers}))


def listed(messages: list[Message]) -> str:
    """Return messages as the `_server_messages` of a success."""
    return json.dumps([message.render() for message in messages])


def after(first: str, error: EngineError) -> EngineError:
    """Put another message before those of a refusal."""
    messages = (Message(text=first), *error.answer.messages)
    return EngineError(replace(error.answer, messages=messages))
