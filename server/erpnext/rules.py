"""Rules of classification: what each error type and status of ERPNext means.

Each rule is a pure function from a parsed reply to an answer or an error. `BY_EXC_TYPE` says
which rule is for which error type; `by_status` judges replies without a known one.
"""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.outages import (
    credentials,
    database,
    deadlock,
    fault,
    not_known,
    permission,
    rate_limited,
    read_only,
    server_error,
    stopped,
    unknown_outcome,
)
from server.erpnext.reply import plain
from server.erpnext.verdicts import Judgement, answer, error
from server.errors import EngineError
from server.model.naming import fold_name
from server.model.states import ErrorClass
from server.model.step_context import Answer, AnswerKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from server.erpnext.reply import Case
    from server.model.step_context import Request


def success(case: Case) -> Judgement:
    """Judge an answer with a 2xx status.

    Returns:
        An answer of the kind OK; or an error, if it is not what ERPNext answers to the request:
        with an unknown outcome for a write, which may have gone through all the same.
    """
    if case.json is None:
        # A proxy's own page, or another program's: a write may still have gone through.
        if case.is_write:
            return unknown_outcome(case)
        return error(
            case,
            ErrorClass.TRANSIENT,
            Code.ENGINE_UNEXPECTED_ANSWER,
            "answered without JSON: is there a proxy in front, or is it another program?",
            ask_prober=True,
        )
    data = case.json.get("data", case.json.get("message"))
    if _tells_of_document(case) and not _is_told(case, data):
        # Somebody else's JSON: the write may have gone through or not.
        return unknown_outcome(case)
    if case.request.method == "GET" and _is_document(case.request) and not _has_name(data):
        # Taken for the document, it would be one that is not as it should be: a Company of
        # somebody else, or a site that was set up at another time.
        return error(
            case,
            ErrorClass.TRANSIENT,
            Code.ENGINE_UNEXPECTED_ANSWER,
            "was answered without the document: is there a proxy in front that answers for the "
            "site?",
            ask_prober=True,
        )
    if case.request.method == "GET" and _is_another(case.request, data):
        return error(
            case,
            ErrorClass.PERMANENT,
            Code.ENGINE_UNEXPECTED_ANSWER,
            "was answered with another document, which is not touched: no address finds the "
            "one of this name. Give it another name.",
        )
    return Answer(kind=AnswerKind.OK, data=data, status=case.status, message=case.words)


def by_status(case: Case) -> Judgement:
    """Judge an answer that is no success and has no error type of `BY_EXC_TYPE`.

    Returns:
        The error to raise: ENGINE_REFUSED for a 417 of ERPNext, ENGINE_UNEXPECTED_ANSWER if no rule
        is for it.
    """
    if case.status in {401, 407}:
        return credentials(case)
    if case.status == 429:  # noqa: PLR2004 - Too Many Requests
        return rate_limited(case)
    if case.status >= 500:  # noqa: PLR2004 - HTTP's range of server errors
        return server_error(case)
    if case.status < 400 or (case.is_foreign and not _is_our_fault(case)):  # noqa: PLR2004 - a redirect
        return _answered_by_another(case)
    if case.exc_type and case.status == 417:  # noqa: PLR2004 - what Frappe answers to "no"
        return _refused(case)
    return error(
        case,
        ErrorClass.PERMANENT,
        Code.ENGINE_UNEXPECTED_ANSWER,
        not_known(case),
    )


# The methods that we call for a write; both return the document.
_RETURN_DOCUMENT = ("/frappe.client.insert", "/frappe.client.cancel")

# How a web server answers a request that is too large, has a method it does not know, or asks
# for something it can't do: the same request would be refused again.
_REFUSED_BY_WEB_SERVERS = frozenset({405, 409, 413, 414, 417, 422, 431})


def _answered_by_another(case: Case) -> Judgement:
    what = (
        f"was answered by a web server, not by ERPNext ({case.status}): check the engine's url "
        "and host, and what stands in front of the site."
    )
    if case.status < 400:  # noqa: PLR2004 - a redirect
        what = (
            f"was redirected ({case.status}) to {case.location or 'nowhere'}, which is not "
            "followed: our key is for the engine's url alone. Correct the url."
        )
    return error(case, ErrorClass.TRANSIENT, Code.ENGINE_WRONG_HOST, what, ask_prober=True)


def _is_our_fault(case: Case) -> bool:
    # gunicorn says it with a 400 (recording 11-url-too-long).
    too_long = case.status == 400 and "too large" in case.text.lower()  # noqa: PLR2004 - above
    return too_long or case.status in _REFUSED_BY_WEB_SERVERS


def _tells_of_document(case: Case) -> bool:
    """Tell whether this request, if it succeeds, returns a document, or "ok" (a DELETE)."""
    path = case.request.path
    resource = path.startswith("/api/resource/") or path.endswith(_RETURN_DOCUMENT)
    return case.is_write and resource and "run_method" not in case.request.params


def _is_told(case: Case, data: object) -> bool:
    """Tell whether an answer to a write is what ERPNext says.

    A gateway that says with 200 and JSON of its own that the site is away would be taken for a
    Company that was made; the next look would find it gone, and the tenant be held.
    """
    if case.request.method == "DELETE":
        return data == "ok"
    return _has_name(data)


def _has_name(data: object) -> bool:
    # Every document of ERPNext has one, a single document its own doctype.
    return isinstance(data, dict) and bool(data.get("name"))


def _is_another(request: Request, data: object) -> bool:
    # A slash at the end of a name is taken for part of the path: "Duka/" finds "Duka".
    if not (request.name and isinstance(data, dict) and _is_document(request)):
        return False
    name = data.get("name")
    return name is not None and fold_name(str(name)) != fold_name(request.name)


def _missing(case: Case) -> Judgement:
    on_document = _is_document(case.request)
    cancels = case.request.path.endswith("/frappe.client.cancel")
    if cancels or (case.request.method in {"GET", "DELETE"} and on_document):
        return answer(case, AnswerKind.MISSING)
    if case.request.method == "PUT" and on_document:
        return error(
            case,
            ErrorClass.TRANSIENT,
            Code.DOCUMENT_MISSING,
            "found nothing to change; the next look decides.",
        )
    if case.is_write:
        return error(
            case, ErrorClass.PERMANENT, Code.REFERENCE_MISSING, "names something that is not there."
        )
    return error(
        case,
        ErrorClass.PERMANENT,
        Code.ENGINE_UNEXPECTED_ANSWER,
        "is not known at the engine: is ERPNext installed there?",
    )


def _duplicate(case: Case) -> Judgement:
    doctype, name = case.duplicate_of
    request = case.request
    ours = fold_name(doctype) == fold_name(request.doctype)
    if not doctype or ours or fold_name(name) == fold_name(request.name):
        return answer(case, AnswerKind.EXISTS)
    if request.doctype == "Company":
        # An account, cost center or department of another Company with the same abbreviation:
        # our Company was rolled back completely and does not exist (recording
        # 11-race-same-abbr).
        return _abbreviation_taken(case)
    return error(
        case,
        ErrorClass.PERMANENT,
        Code.NAME_TAKEN,
        f"met a {doctype} of the name it would make.",
    )


def _name_error(case: Case) -> Judgement:
    if case.request.doctype == "Fiscal Year":
        return error(
            case,
            ErrorClass.PERMANENT,
            Code.FISCAL_YEAR_OVERLAPS,
            "overlaps another Fiscal Year, perhaps a disabled one: enable or change that one.",
        )
    return error(
        case,
        ErrorClass.PERMANENT,
        Code.NAME_REFUSED,
        "was refused because of its name: correct the name.",
    )


def _validation(case: Case) -> Judgement:
    if case.request.path.endswith("/frappe.client.cancel") and not case.raw_words:
        # To cancel what is cancelled already is refused without a message (recording
        # 10-pos-opening-cancel); a refusal by one of the doctype's rules has one.
        return answer(case, AnswerKind.EXISTS)
    for sentence, judge in _SENTENCES:
        if sentence in case.words:
            return judge(case)
    return _refused(case)


def _row_exists(case: Case) -> Judgement:
    # Only for an insert of one row does this mean that the row exists; for a PUT of the whole
    # table it means that what was sent is wrong (recording 08-mode-of-payment-put-bad).
    if case.request.method == "POST":
        return answer(case, AnswerKind.EXISTS)
    return _refused(case)


def _abbreviation_taken(case: Case) -> Judgement:
    return error(
        case,
        ErrorClass.PERMANENT,
        Code.ABBREVIATION_TAKEN,
        "was refused: another Company has the abbreviation. Choose another.",
    )


def _default_profile_taken(case: Case) -> Judgement:
    return error(
        case,
        ErrorClass.PERMANENT,
        Code.DEFAULT_PROFILE_TAKEN,
        "was refused: the user has another default POS Profile.",
    )


def _payment_row_missing(case: Case) -> Judgement:
    # The step saw the row just before, so it was lost in between: another program PUT the
    # whole table (recording 08-mode-of-payment-put-drops-rows). It is added after the next look.
    return error(
        case,
        ErrorClass.TRANSIENT,
        Code.PAYMENT_ROW_MISSING,
        "was refused: a Mode of Payment has no account for the Company.",
    )


def _link(case: Case) -> Judgement:
    # "Could not find Row #4: Default Account: Cash - XY": if we did not send that name, it is
    # an account of another Company that is just being made (recording 12-concurrent-companies).
    if any(_names(case, text) for text in _texts(case.request.body)):
        return error(
            case,
            ErrorClass.PERMANENT,
            Code.REFERENCE_MISSING,
            "names something that does not exist: make it in ERPNext, then continue. If the spec "
            "is wrong, it can't be changed: deprovision the tenant, then start another one.",
        )
    return error(
        case,
        ErrorClass.RACE,
        Code.ENGINE_LINK_RACE,
        "met a document of another tenant that is just being made; nothing was stored.",
        names_others=True,
    )


def _names(case: Case, text: str) -> bool:
    # Compare whole names: our "Cash" is not another tenant's "Cash - XY".
    wanted = re.escape(plain(html.escape(text)))
    return bool(wanted) and any(
        re.search(rf": {wanted}(?:, |$)", plain(words), re.IGNORECASE)
        for words in case.raw_words or (case.exception,)
    )


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def _changed(case: Case) -> Judgement:
    return error(
        case,
        ErrorClass.RACE,
        Code.DOCUMENT_CHANGED,
        "met another writer of the same document; nothing was stored.",
    )


def _linked(case: Case) -> Judgement:
    return error(
        case,
        ErrorClass.PERMANENT,
        Code.STILL_LINKED,
        "was refused: another document points to it. Remove that one first.",
        names_others=True,
    )


def _refused(case: Case) -> Judgement:
    # ERPNext checks a Mode of Payment with all Companies' rows, and a Company with those of Cash.
    rows_of_all = case.request.doctype == "Mode of Payment Account" or (
        case.request.doctype == "Company" and "Mode of " in case.words
    )
    return error(
        case,
        ErrorClass.PERMANENT,
        Code.ENGINE_REFUSED,
        "was refused.",
        names_others=rows_of_all,
    )


def _not_permitted(case: Case) -> Judgement:
    judged = permission(case)
    if isinstance(judged, EngineError) and judged.code == Code.ROLE_MISSING:
        # A missing role would stop every tenant, so the prober checks whether one is missing.
        judged.ask_prober = True
    return judged


def _item_price_exists(case: Case) -> Judgement:
    return answer(case, AnswerKind.EXISTS)


def _is_document(request: Request) -> bool:
    resource, _, name = request.path.removeprefix("/api/resource/").partition("/")
    return request.path.startswith("/api/resource/") and bool(resource) and bool(name)


# ERPNext's English sentences, to tell refusals apart that all have the type ValidationError.
_SENTENCES: tuple[tuple[str, Callable[[Case], Judgement]], ...] = (
    ("Abbreviation already used", _abbreviation_taken),
    ("Already set default in pos profile", _default_profile_taken),
    ("Please set default Cash or Bank account", _payment_row_missing),
    ("Same Company is entered more than once", _row_exists),
)

BY_EXC_TYPE: dict[str, Callable[[Case], Judgement]] = {
    "DoesNotExistError": _missing,
    "DuplicateEntryError": _duplicate,
    "NameError": _name_error,
    "ValidationError": _validation,
    "LinkValidationError": _link,
    "LinkExistsError": _linked,
    "ItemPriceDuplicateItem": _item_price_exists,
    "TimestampMismatchError": _changed,
    "QueryDeadlockError": deadlock,
    "QueryTimeoutError": deadlock,
    "OperationalError": database,
    "InterfaceError": database,
    "PermissionError": _not_permitted,
    "AuthenticationError": credentials,
    "InvalidAuthorizationToken": credentials,
    "InvalidAuthorizationHeader": credentials,
    "TooManyRequestsError": rate_limited,
    "SessionStopped": stopped,
    "InReadOnlyMode": read_only,
    **dict.fromkeys(
        (
            "AttributeError",
            "ImportError",
            "IndexError",
            "IntegrityError",
            "JSONDecodeError",
            "KeyError",
            "ModuleNotFoundError",
            "ProgrammingError",
            "TypeError",
            "UnicodeDecodeError",
            "ValueError",
        ),
        fault,
    ),
    # "Field not permitted in query" is a 417, "Data too long" a 500; both would come again.
    "DataError": fault,
}
