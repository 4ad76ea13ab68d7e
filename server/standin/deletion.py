"""Deleting documents, and what stands in the way.

Facts: 10-delete-*. A refusal names one document that points to the one to be deleted. With a
Company goes what belongs to it, with an Item its prices; a Mode of Payment may not be deleted by
this user.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from server.standin import company, errors, ledger
from server.standin.catalogue import DOCTYPES
from server.standin.naming import fold
from server.standin.site import API_USER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.standin.schema import DocType, Document
    from server.standin.site import Site

_MANUAL = "https://docs.erpnext.com//docs/user/manual/en/setting-up/articles"
_SUBMITTED = 1
# What goes with a Company or an Item does not prevent its deletion.
_GOES_ALONG = {
    "Company": {*company.OWNED, "Mode of Payment", "Item", ledger.RECORD},
    "Item": {"Item Price"},
    "Account": {"Account"},
}


def delete(site: Site, kind: DocType, name: str) -> None:
    """Delete a document and what goes with it, or refuse.

    Args:
        site: The site.
        kind: The document's doctype.
        name: Its name, in any case.

    Raises:
        EngineError: it is not there, was submitted, is in use, or another document points to it;
            nothing is deleted.
    """
    document = site.find(kind.name, name)
    if document is None or "\n" in name:
        raise errors.gone()
    _check_may_go(kind, document)
    _check_in_use(site, kind, document)
    holder = _holder(site, kind, document)
    if holder is not None:
        raise _held_back(kind, document, holder)
    if kind.name == "Company":
        company.take_belongings(site, document)
    if kind.name == "Item":
        for price in site.every("Item Price"):
            if fold(price["item_code"]) == fold(document["name"]):
                site.remove(price)
    site.remove(document)


def _check_may_go(kind: DocType, document: Document) -> None:
    name = document["name"]
    if kind.name == "Mode of Payment":
        text = f"User not allowed to delete {kind.name}: {name}"
        refusal = errors.refused(text, "PermissionError", status=403).answer
        first = errors.Message(
            text=(
                f"User <strong>{API_USER}</strong> does not have access to this document: "
                f"{kind.name} - {name}"
            ),
            indicator=None,
            raised=False,
        )
        raise errors.EngineError(replace(refusal, messages=(first, *refusal.messages)))
    if document["docstatus"] == _SUBMITTED:
        raise errors.refused(
            f"{kind.name} {name}: Submitted Record cannot be deleted. You must "
            f"<a href='{_MANUAL}/delete-submitted-document' target='_blank'> Cancel </a> it first."
        )


def _check_in_use(site: Site, kind: DocType, document: Document) -> None:
    if kind.name == "Warehouse" and _children(site, document):
        raise errors.refused_by_erpnext(
            "Child warehouse exists for this warehouse. You can not delete this warehouse."
        )
    if kind.name == "Account" and ledger.is_booked(site, document):
        raise errors.refused_by_erpnext("Account with existing transaction can not be deleted")


def _children(site: Site, warehouse: Document) -> bool:
    name = fold(warehouse["name"])
    return any(fold(d["parent_warehouse"] or "") == name for d in site.every("Warehouse"))


def _holder(site: Site, kind: DocType, document: Document) -> Document | None:
    if kind.name == "Company" and ledger.has_entries(site, document):
        # A Company with entries can't take its belongings along; ERPNext meets this first
        # (10-delete-company-with-ledger).
        name = fold(document["name"])
        centers = [c for c in site.every("Cost Center") if fold(c["company"]) == name]
        if centers:
            return centers[-1]
    if kind.name == "Sales Invoice":
        for entry in site.every("GL Entry"):
            if entry["voucher_no"] == document["name"]:
                return entry
    return next(_pointing(site, kind, document), None)


def _pointing(site: Site, kind: DocType, document: Document) -> Iterator[Document]:
    """Yield the documents that name this one, in the order of the catalogue."""
    along = _GOES_ALONG.get(kind.name, set())
    for other_kind in DOCTYPES.values():
        if other_kind.row or other_kind.name in along:
            continue
        # The refusal names the newest (04-warehouse-type, 10-delete-wrong-order).
        for other in reversed(site.every(other_kind.name)):
            if other is not document and _names(other_kind, other, kind.name, document["name"]):
                yield other


def _names(kind: DocType, document: Document, doctype: str, name: str) -> bool:
    wanted = fold(name)
    for field, link in kind.links.items():
        if link.doctype == doctype and fold(document.get(field) or "") == wanted:
            return True
    for field, table in kind.tables.items():
        for row_field, link in DOCTYPES[table.doctype].links.items():
            if link.doctype == doctype and any(
                fold(row[row_field] or "") == wanted for row in document[field]
            ):
                return True
    return False


def _held_back(kind: DocType, document: Document, holder: Document) -> errors.EngineError:
    text = (
        f"Cannot delete or cancel because {_anchor(kind.name, document['name'])} is linked with "
        f"{_anchor(holder['doctype'], holder['name'])} "
    )
    refusal = errors.refused(text, "LinkExistsError").answer
    if not kind.disabling:
        return errors.EngineError(refusal)
    advice = errors.refused(
        f"You can disable this {kind.name} instead of deleting it.", "LinkExistsError"
    ).answer
    return errors.EngineError(replace(advice, messages=(*refusal.messages, *advice.messages)))


def _anchor(doctype: str, name: str) -> str:
    return f'{doctype} <a href="/app/Form/{doctype}/{name}">{name}</a>'
