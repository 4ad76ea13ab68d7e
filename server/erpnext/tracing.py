"""Finds the Companies that evidence leads to, where none has the name that was looked for.

ERPNext renames a Company and leaves its abbreviation, and the names that end with it, as they
were. So a document that an old run left still says whose it is. Reads only.
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


async def trace_companies(send: Send, evidence: CompanyEvidence) -> tuple[CompanyTraced, ...]:
    """Return the Companies that evidence leads to, by name.

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
