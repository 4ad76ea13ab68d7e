"""Finds what a run of the old system left: its Company under another name, drafts of its till.

When ERPNext renames a Company, it leaves the abbreviation, and the names that end with it, as
they were. So a document that an old run left still says whose it is. It only reads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.requests import rows
from server.erpnext.seeing import rows_of, text
from server.model.legacy import CompanyTraced

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.erpnext.requests import Filter
    from server.model.legacy import CompanyEvidence
    from server.model.step_context import Answer, Request

    Send = Callable[[Request], Awaitable[Answer]]

_FIELDS = ("name", "abbr")
_TILL, _DRAFT = "POS Opening Entry", "0"
# Every old run left one; this is enough to tell whether a till was ever opened, and to name some.
_ENOUGH_TILLS = 20


async def trace_companies(send: Send, evidence: CompanyEvidence) -> tuple[CompanyTraced, ...]:
    """Return the Companies that the evidence leads to, sorted by name.

    Args:
        send: Sends one request and classifies the answer.
        evidence: Names of documents, and the Company's name and abbreviation, as the old system's
            record has them; "" for what it does not have.

    Returns:
        Each Company that has the name or the abbreviation, or that a document belongs to, with what
        leads to it. One that only the abbreviation leads to has no proofs.

    Raises:
        EngineError: the site can't be asked now.
    """
    proofs: dict[str, list[str]] = {}
    for doctype in dict.fromkeys(doctype for doctype, _ in evidence.documents):
        names = [name for of, name in evidence.documents if of == doctype]
        found = await send(rows(doctype, ("name", "in", names), fields=("name", "company")))
        for row in rows_of(found):
            proofs.setdefault(text(row, "company"), []).append(f"{doctype} {text(row, 'name')}")
    abbreviations: dict[str, str] = {}
    asked: list[Filter] = [("name", "in", sorted(proofs))] if proofs else []
    if evidence.name:
        asked.append(("name", "=", evidence.name))
    if evidence.abbreviation:
        asked.append(("abbr", "=", evidence.abbreviation))
    for condition in asked:
        for row in rows_of(await send(rows("Company", condition, fields=_FIELDS))):
            abbreviations[text(row, "name")] = text(row, "abbr")
            if condition == ("name", "=", evidence.name):
                proofs.setdefault(text(row, "name"), []).insert(0, "its recorded name")
    return tuple(
        CompanyTraced(name=name, abbreviation=abbreviation, proofs=tuple(proofs.get(name, ())))
        for name, abbreviation in sorted(abbreviations.items())
    )


async def find_draft_tills(send: Send, company: str) -> tuple[str, ...]:
    """Return the drafts of a Company's till, oldest first; none if one was ever opened.

    Args:
        send: Sends one request and classifies the answer.
        company: The Company's name.

    Returns:
        Their names; of very many only the first `_ENOUGH_TILLS`.

    Raises:
        EngineError: the site can't be asked now.
    """
    answer = await send(
        rows(
            _TILL,
            ("company", "=", company),
            fields=("name", "docstatus"),
            order_by="docstatus desc, creation asc",
            limit=_ENOUGH_TILLS,
        )
    )
    found = rows_of(answer)
    if any(text(row, "docstatus") != _DRAFT for row in found):
        return ()
    return tuple(text(row, "name") for row in found)
