"""What makes up a doctype: its columns, references, required fields and tables.

Values only; `catalogue.py` holds the doctypes themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

# Any: a document is whatever JSON a caller sent, column by column.
Document = dict[str, Any]

STANDARD_FIELDS = (
    "name",
    "owner",
    "creation",
    "modified",
    "modified_by",
    "docstatus",
    "idx",
    "doctype",
)
ROW_FIELDS = ("parent", "parentfield", "parenttype")
TREE_FIELDS = ("lft", "rgt", "old_parent")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A field that names another document.

    Attributes:
        doctype: That document's doctype.
        label: What messages call the field.
    """

    doctype: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """A field with a list of options.

    Attributes:
        label: What messages call the field.
        options: What it may hold besides nothing.
    """

    label: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A field whose value is rows of another doctype.

    Attributes:
        doctype: The rows' doctype.
        label: What messages call the table.
        required: Whether it must have a row.
    """

    doctype: str
    label: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DocType:
    """One kind of document; doctypes with rules of their own have them in `rules.py`.

    Attributes:
        name: The doctype's name.
        naming: The field that the name comes from, or "" for a name that must be sent, or "#" for a
            name that ERPNext makes up.
        naming_label: What messages call that field.
        columns: All fields but the standard ones, each with its value in a new document.
        required: The fields that may not be empty, each with what messages call it.
        links: The fields that name other documents.
        selects: The fields with options.
        tables: The fields that hold rows.
        empty_tables: Tables that take no rows here.
        tree_parent: The field that names the document above; None if they form no tree.
        single: Whether there is only one document, which has the doctype's name.
        row: Whether it is the doctype of a table's rows.
        disabling: Whether a document in use can be disabled instead, as the refusal to delete it
            mentions.
        by_creation: Whether a list without `order_by` comes in the order of making, not of names.
    """

    name: str
    naming: str = ""
    naming_label: str = ""
    # Any: default values are of whatever type the column is.
    columns: dict[str, Any] = field(default_factory=dict)
    required: dict[str, str] = field(default_factory=dict)
    links: dict[str, Link] = field(default_factory=dict)
    selects: dict[str, Select] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)
    empty_tables: tuple[str, ...] = ()
    tree_parent: str | None = None
    single: bool = False
    row: bool = False
    disabling: bool = False
    by_creation: bool = False

    def known_fields(self) -> frozenset[str]:
        """Return every column that a query may ask for."""
        names = {*self.columns, *STANDARD_FIELDS[:-1]}
        if self.row:
            names.update(ROW_FIELDS)
        if self.tree_parent is not None:
            names.update(TREE_FIELDS)
        return frozenset(names)
