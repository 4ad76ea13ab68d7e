"""One ERPNext site in memory: its documents, its clock, its defaults.

Everything here is immediate, so a change during which nothing is awaited is a transaction.
Documents are found by folded name. Stamps are naive text in the site's time zone with
microseconds, as ERPNext writes them, and each is later than the one before.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from server.standin import errors
from server.standin.catalogue import DOCTYPES
from server.standin.naming import fold, row_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from server.standin.schema import Document

TIME_ZONE = "Africa/Nairobi"
# Nairobi has no summer time; a fixed offset needs no time zone database on the machine.
_OFFSET = timezone(timedelta(hours=3))
API_USER = "provisioner@example.com"
DEFAULT_COUNTRY = "Kenya"
DEFAULT_CURRENCY = "KES"
DEFAULT_UOM = "Nos"


def stamp_text(moment: datetime) -> str:
    """Write an aware moment as ERPNext writes it."""
    return moment.astimezone(_OFFSET).strftime("%Y-%m-%d %H:%M:%S.%f")


class Site:
    """The documents of one site.

    Attributes:
        name: The site's name.
        documents: Everything stored, by doctype and folded name.
        default_company: The Company that ERPNext takes if none is sent.
        row_number: How many names were made up.
    """

    def __init__(self, name: str, *, now: Callable[[], datetime] | None = None) -> None:
        self.name = name
        self.documents: dict[str, dict[str, Document]] = {}
        self.default_company = "Base Company"
        self._now = now or (lambda: datetime.now(UTC))
        self._last = datetime.fromtimestamp(0, UTC)
        self.row_number = 0
        self._node = 0

    def stamp(self) -> str:
        """Return the present moment as text, later than any returned before."""
        self._last = max(self._now(), self._last + timedelta(microseconds=1))
        return stamp_text(self._last)

    def today(self) -> str:
        """Return the site's date, as YYYY-MM-DD."""
        return self._now().astimezone(_OFFSET).date().isoformat()

    def row_name(self) -> str:
        """Return a name for a row or an unnamed document."""
        self.row_number += 1
        return row_name(self.name, self.row_number)

    def find(self, doctype: str, name: object) -> Document | None:
        """Return a stored document, not a copy; None if there is none of that name."""
        return self.documents.get(doctype, {}).get(fold(name))

    def require(self, doctype: str, name: str) -> Document:
        """Return a stored document, not a copy, or refuse.

        Raises:
            EngineError: 404, because there is none of that name.
        """
        found = self.find(doctype, name)
        # A name with a line break can't be reached by any address (02-company-create-name-quotes).
        if found is None or "\n" in name:
            raise errors.gone() if "\n" in name else errors.missing(doctype, name)
        return found

    def every(self, doctype: str) -> list[Document]:
        """Return all stored documents of a doctype, in the order they were made."""
        return list(self.documents.get(doctype, {}).values())

    def rows(self, doctype: str) -> Iterator[Document]:
        """Yield the rows of a child doctype, parent by parent."""
        for parent in DOCTYPES.values():
            for field, table in parent.tables.items():
                if table.doctype == doctype:
                    for document in self.every(parent.name):
                        yield from document[field]

    def add(self, document: Document) -> None:
        """Store a document under its name, in place of one that has it."""
        self.documents.setdefault(document["doctype"], {})[fold(document["name"])] = document

    def remove(self, document: Document) -> None:
        """Forget a document."""
        del self.documents[document["doctype"]][fold(document["name"])]

    # Any: values as a caller sent them.
    def new(
        self, doctype: str, values: Mapping[str, Any], *, owner: str = API_USER, at: str = ""
    ) -> Document:
        """Build a document from columns, defaults and rows, without storing it.

        Args:
            doctype: Its doctype.
            values: Column values and rows; what is missing or None gets its default.
            owner: The user who makes it.
            at: The time of making, as ERPNext writes it; "" for the present.
        """
        kind = DOCTYPES[doctype]
        at = at or self.stamp()
        document: Document = {
            "name": values.get("name"),
            "owner": owner,
            "creation": at,
            "modified": at,
            "modified_by": owner,
            "docstatus": values.get("docstatus", 0),
            "idx": 0,
        }
        for column, default in kind.columns.items():
            value = values.get(column)
            document[column] = default if value is None else value
        if kind.tree_parent is not None:
            self._node += 2
            document.update(lft=self._node - 1, rgt=self._node)
            document["old_parent"] = document.get(kind.tree_parent) or ""
        document["doctype"] = doctype
        for field in kind.tables:
            document[field] = self.table(document, field, values.get(field) or [])
        for field in kind.empty_tables:
            document[field] = []
        return document

    def table(self, parent: Document, field: str, rows: list[Mapping[str, Any]]) -> list[Document]:
        """Build the rows of one table; rows that come with a known name keep it.

        Args:
            parent: The document that the rows are of.
            field: Its table.
            rows: The values of each row, in order; all others of the table are left out.
        """
        kind = DOCTYPES[DOCTYPES[parent["doctype"]].tables[field].doctype]
        known = {row["name"] for row in parent.get(field, [])}
        return [
            {
                "name": row["name"] if row.get("name") in known else self.row_name(),
                "owner": parent["owner"],
                "creation": parent["creation"],
                "modified": parent["modified"],
                "modified_by": parent["modified_by"],
                "docstatus": parent["docstatus"],
                "idx": position,
                **{
                    column: default if row.get(column) is None else row[column]
                    for column, default in kind.columns.items()
                },
                "parent": parent["name"],
                "parentfield": field,
                "parenttype": parent["doctype"],
                "doctype": kind.name,
            }
            for position, row in enumerate(rows, start=1)
        ]

    def touch(self, document: Document, *, by: str = API_USER) -> None:
        """Record that a document, and so its rows, was changed.

        Args:
            document: The stored document.
            by: The user who changed it.
        """
        document["modified"] = self.stamp()
        document["modified_by"] = by
        for field in DOCTYPES[document["doctype"]].tables:
            for row in document[field]:
                row.update(
                    parent=document["name"],
                    modified=document["modified"],
                    modified_by=by,
                    docstatus=document["docstatus"],
                )


def shown(document: Document) -> Document:
    """Return a document as an answer shows it: without its empty fields."""
    return {
        key: [shown(row) for row in value] if isinstance(value, list) else value
        for key, value in document.items()
        if value is not None
    }
