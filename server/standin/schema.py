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
    """A field that names another document."""

    doctype: str
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """A field with a list of options."""

    label: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A field whose value is rows of another doctype."""

    doctype: str
    label: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DocType:
    """One kind of document.

    `naming` is the field that the name comes from, or "" for a name that must be sent, or "#" for a
    name that ERPNext makes up; doctypes with rules of their own have them in `rules.py`.
    `columns` are all fields but the standard ones, each with its value in a new document.
    `empty_tables` are tables that take no rows here. `disabling` says that a document in use can be
    disabled instead, as the refusal to delete it mentions.
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
