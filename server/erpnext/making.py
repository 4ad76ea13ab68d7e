"""Makes documents whose names were computed in advance, and checks that they got those names.

A site may name documents its own way (a Document Naming Rule, a naming series, a version that
ignores `name`). A repeated request would then make one more document each time, so the first
document that gets another name ends the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.requests import rows
from server.erpnext.seeing import compared, conflict, differing, rows_of, text
from server.model.naming import fold_name
from server.model.step_context import AnswerKind

if TYPE_CHECKING:
    from collections.abc import Collection

    from server.erpnext.company import Company
    from server.model.step_context import Answer, Intent, Request, StepContext


async def make_named(context: StepContext, intent: Intent, request: Request) -> Answer:
    """Make a document with the intent's name.

    Args:
        context: The step's context.
        intent: What is made; its name is the one that the document must get.
        request: The POST that makes it.

    Returns:
        As `write`: OK, or EXISTS if a document of that name was there already. Whose that is, is
        for the caller to look at.

    Raises:
        EngineError: NAMED_OTHERWISE if the engine gave it another name; else as `write`.
    """
    answer = await context.write(intent, request)
    if answer.kind is not AnswerKind.OK or not isinstance(answer.data, dict):
        return answer
    name = text(answer.data, "name")
    if name and fold_name(name) != fold_name(intent.name):
        raise conflict(
            Code.NAMED_OTHERWISE,
            f"The engine named a new {intent.doctype} {name!r} where {intent.name!r} was asked "
            "for: it names them by a rule or a series of its own. Switch that off for this "
            f"doctype, delete {name!r}, then retry.",
        )
    return answer


async def check_not_elsewhere(
    context: StepContext, company: Company, doctype: str, names: Collection[str]
) -> None:
    """Refuse names that documents of another Company already have.

    Args:
        context: The step's context.
        company: The tenant's Company.
        doctype: A doctype whose documents belong to a Company.
        names: The names that no document of the tenant's Company has.

    Raises:
        EngineError: DOCUMENT_NOT_OURS, naming both Companies; or the engine could not be asked.
    """
    if not names:
        return
    answer = await context.read(
        rows(doctype, ("name", "in", list(names)), fields=("name", "company"))
    )
    for row in rows_of(answer):
        owner = text(row, "company")
        differences = compared(
            doctype, text(row, "name"), (("company", owner, company.name),), of_others=True
        )
        if differences:
            raise differing(
                Code.DOCUMENT_NOT_OURS,
                differences,
                "Its name is unique in the site: rename it in ERPNext, then continue.",
            )
