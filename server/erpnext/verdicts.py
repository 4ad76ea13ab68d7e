"""How a verdict is put: as an answer or an error, with words for people and without secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.errors import EngineError
from server.model.step_context import Answer

if TYPE_CHECKING:
    from server.erpnext.codes import Code
    from server.erpnext.reply import Case
    from server.model.states import ErrorClass
    from server.model.step_context import AnswerKind, Request

Judgement = Answer | EngineError


def subject_of(request: Request) -> str:
    """Return a name for a request, for people, such as "POST Company Mama Njeri Traders"."""
    if request.doctype:
        return f"{request.method} {request.doctype} {request.name}".rstrip()
    return f"{request.method} {request.path}"


def answer(case: Case, kind: AnswerKind) -> Answer:
    """Return an answer that a step can work with; it has no data.

    Args:
        case: The request and its reply.
        kind: MISSING or EXISTS: whoever needs the document asks for it.
    """
    return Answer(kind=kind, status=case.status, exc_type=case.exc_type, message=case.words)


def error(
    case: Case,
    error_class: ErrorClass,
    code: Code,
    what: str,
    *,
    ask_prober: bool = False,
    retry_after_seconds: float | None = None,
    whole_site: bool = False,
    names_others: bool = False,
) -> EngineError:
    """Return the error for a case.

    Args:
        case: The request and its reply.
        error_class: What the executor does next.
        code: The stable code.
        what: The rest of a sentence whose subject is the request.
        ask_prober: Whether the site should be probed before anything is concluded.
        retry_after_seconds: How long to wait, in seconds; None if the engine did not say.
        whole_site: Whether the wait is for all of the site's tenants.
        names_others: Whether ERPNext's words may name documents of other tenants; then they are
            left out of what everybody who sees the tenant may read.
    """
    words = f" ERPNext: {case.words}" if case.words else ""
    plain = f"{subject_of(case.request)} {what}"
    public = f"{plain} An operator sees which." if names_others and words else ""
    evidence = {
        "method": case.request.method,
        "path": case.request.path,
        "status": str(case.status),
    }
    if case.text:
        evidence["body"] = case.text
    return EngineError(
        error_class,
        code,
        plain + words,
        public=public,
        status=case.status,
        exc_type=case.exc_type,
        engine_message=case.words,
        retry_after_seconds=retry_after_seconds,
        ask_prober=ask_prober,
        whole_site=whole_site,
        evidence=evidence,
    )
