"""Makes documents whose names were computed before, and sees to it that they got them.

A site may name documents by rules of its own (a Document Naming Rule, a naming series, a
version that ignores `name`). Then a repeated request would make one more each time, so the
first one that came out under another name ends the step.
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
    """Make a document of the intent's name.

    Raises:
        EngineError: NAMED_OTHERWISE where the engine gave it another name; else as `write`.
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
    """Refuse names that documents of another Company have.

    Args:
        context: Of the step.
        company: The tenant's.
        doctype: One whose documents belong to a Company.
        names: Names that are missing among those of the tenant's Company.

    Raises:
        EngineError: DOCUMENT_NOT_OURS, naming both sides.
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
