"""Makes, changes, submits and cancels documents, with ERPNext's checks in ERPNext's order.

The order decides which of two faults is named: permission, references, name, the doctype's own
rules, required fields, options, the database. Nothing is stored until all checks have passed, so
a refusal leaves nothing behind (02-company-create-500-leaves-nothing).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from server.standin import company, errors, ledger, rules, till_rules
from server.standin.catalogue import DOCTYPES
from server.standin.site import API_USER, DEFAULT_COUNTRY, DEFAULT_CURRENCY, DEFAULT_UOM

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.standin.schema import DocType, Document
    from server.standin.site import Site

    Rule = Callable[[Site, Document], None]

_NAME_LIMIT = 140
_DRAFT, _SUBMITTED, _CANCELLED = 0, 1, 2

NAMES: dict[str, Callable[[Site, Document], str]] = {
    "Account": rules.name_account,
    "Cost Center": rules.name_cost_center,
    "Customer": rules.name_customer,
    "Item Price": rules.name_row,
    "POS Opening Entry": till_rules.name_opening,
    "Sales Invoice": ledger.name_invoice,
    "Transaction Deletion Record": ledger.name_record,
    "User": rules.name_user,
    "Warehouse": rules.name_warehouse,
}
# Doctypes whose names are the next number of a series.
_SERIES = frozenset({"POS Opening Entry", "Sales Invoice", "Transaction Deletion Record"})
BEFORE_LINKS: dict[str, Rule] = {"POS Profile": till_rules.check_profile_warehouse}
VALIDATIONS: dict[str, Rule] = {
    "Account": rules.validate_account,
    "Company": company.validate,
    "Customer Group": rules.validate_node,
    "Fiscal Year": rules.validate_fiscal_year,
    "Item": rules.validate_item,
    "Item Group": rules.validate_node,
    "Item Price": rules.validate_item_price,
    "Mode of Payment": till_rules.validate_mode_of_payment,
    "POS Opening Entry": till_rules.validate_opening,
    "POS Profile": till_rules.validate_profile,
    "Price List": rules.validate_price_list,
    "Sales Invoice": ledger.validate_invoice,
    "Territory": rules.validate_node,
    "Transaction Deletion Record": ledger.check_queue,
    "User": rules.validate_user,
}
AT_THE_DATABASE: dict[str, Rule] = {
    "Company": lambda _site, document: company.check_before_making(document),
    "POS Opening Entry": till_rules.check_opening_dates,
}
AFTER: dict[str, Rule] = {"Company": rules.after_company, "Item": rules.after_item}
SUBMITTED: dict[str, Rule] = {
    "Sales Invoice": ledger.post_invoice,
    "Transaction Deletion Record": ledger.queue_record,
}
CANCELLED: dict[str, Rule] = {"Sales Invoice": ledger.reverse_invoice}
# Fields that ERPNext fills from the site's defaults when they are not sent (README, surprise 5).
_SITE_DEFAULTS = {
    "Price List": {"currency": DEFAULT_CURRENCY},
    "POS Profile": {"currency": DEFAULT_CURRENCY},
    "Company": {"country": DEFAULT_COUNTRY},
    "Item": {"stock_uom": DEFAULT_UOM},
}
_DEFAULT_COMPANY = {
    "Account",
    "Warehouse",
    "Cost Center",
    "POS Profile",
    "POS Opening Entry",
    "Transaction Deletion Record",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A document that has passed all checks and is not stored yet.

    Attributes:
        document: The document.
        note: What the answer tells besides; None for nothing.
        numbered: Whether its name is the next number of a series, as of what is stored now.
    """

    document: Document
    note: errors.Message | None = None
    numbered: bool = False


def draft(site: Site, kind: DocType, body: Document) -> Draft:
    """Build a new document from what was sent, or refuse.

    Args:
        site: The site; nothing of it is changed.
        kind: The doctype.
        body: What was sent; fields that the doctype does not have are ignored
            (02-company-create-unknown-field).

    Raises:
        EngineError: a check refuses it.
    """
    values = _typed(kind, body)
    for field, default in _SITE_DEFAULTS.get(kind.name, {}).items():
        values[field] = values.get(field) or default
    if kind.name in _DEFAULT_COMPANY:
        values["company"] = values.get("company") or site.default_company
    document = site.new(kind.name, {**values, "docstatus": int(body.get("docstatus") or 0)})
    sent = body.get("name")
    document["name"] = str(sent).strip() if sent not in (None, "") else None
    numbered = kind.name in _SERIES and not document["name"]
    _check(site, kind, document, new=True)
    note = None
    title = document.get("customer_name")
    if kind.name == "Customer" and not sent and document["name"] != title:
        text = f"Changed customer name to '{document['name']}' as '{title}' already exists."
        note = errors.Message(text=text, title="Note", indicator="yellow", raised=False)
    _at_the_database(site, kind, document)
    return Draft(document=document, note=note, numbered=numbered)


def insert(site: Site, made: Draft) -> Document:
    """Store a draft, unless what changed since it was drafted rules it out.

    Returns:
        The stored document, not a copy.

    Raises:
        EngineError: it is refused now; nothing is stored.
    """
    document = made.document
    kind = DOCTYPES[document["doctype"]]
    if made.numbered:
        # Each request gets a number of its own (12-concurrent-other-calls).
        document["name"] = NAMES[kind.name](site, document)
    _check_links(site, kind, document)
    if kind.name in VALIDATIONS:
        VALIDATIONS[kind.name](site, document)
    _at_the_database(site, kind, document)
    if kind.name == "Company" and (cash := site.find("Mode of Payment", "Cash")) is not None:
        # Its row is added to those of all others, which are checked with it
        # (12-concurrent-companies).
        _check_links(site, DOCTYPES["Mode of Payment"], cash)
    site.add(document)
    if kind.name in AFTER:
        AFTER[kind.name](site, document)
    if document["docstatus"] == _SUBMITTED and kind.name in SUBMITTED:
        SUBMITTED[kind.name](site, document)
    if kind.name == "Company":
        # Made first, filled in last (02-company-create).
        document["modified"] = site.stamp()
    return document


def update(site: Site, kind: DocType, name: str, body: Document) -> Document:
    """Change a stored document, or refuse and change nothing.

    Args:
        site: The site.
        kind: The document's doctype.
        name: Its name; one in the body takes precedence (02-company-update).
        body: The fields to change; a table replaces the whole table
            (08-mode-of-payment-put-drops-rows).

    Returns:
        The stored document, not a copy.

    Raises:
        EngineError: it is not there, or the change is refused.
    """
    # A name in the body takes precedence over the address (02-company-update).
    stored = site.require(kind.name, str(body.get("name") or name))
    if stored["docstatus"] == _CANCELLED:
        raise errors.plain(417, "ValidationError", "Cannot edit cancelled document")
    if body.get("modified") not in (None, stored["modified"]):
        raise errors.stale(stored["modified"], site.stamp())
    target = int(body.get("docstatus") or 0) if "docstatus" in body else int(stored["docstatus"])
    if (stored["docstatus"], target) == (_DRAFT, _CANCELLED):
        raise errors.plain(
            417,
            "DocstatusTransitionError",
            "Cannot change docstatus from 0 (Draft) to 2 (Cancelled)",
        )
    changed = _changed(site, kind, stored, body)
    changed["docstatus"] = target
    if target == _CANCELLED:
        changed["status"] = "Cancelled"
    else:
        _check(site, kind, changed, new=False)
    before = stored["docstatus"]
    stored.clear()
    stored.update(changed)
    site.touch(stored)
    if before != target:
        follow = {_SUBMITTED: SUBMITTED, _CANCELLED: CANCELLED}.get(target, {}).get(kind.name)
        if follow is not None:
            follow(site, stored)
            site.touch(stored)
    return stored


def cancel(site: Site, doctype: str, name: str) -> Document:
    """Cancel a submitted document (10-pos-opening-cancel).

    Args:
        site: The site.
        doctype: The document's doctype, which must be in the catalogue.
        name: Its name, in any case.

    Raises:
        EngineError: it is not there, is a draft, or was cancelled already.
    """
    return update(site, DOCTYPES[doctype], name, {"docstatus": _CANCELLED})


def submit(site: Site, doctype: str, name: str) -> Document:
    """Submit a draft (09-pos-opening-second-submit).

    Args:
        site: The site.
        doctype: The document's doctype, which must be in the catalogue.
        name: Its name, in any case. One that is submitted already stays so.

    Raises:
        EngineError: it is not there or was cancelled, or a check refuses it.
    """
    return update(site, DOCTYPES[doctype], name, {"docstatus": _SUBMITTED})


def add_row(site: Site, row: Document) -> Document:
    """Add one row to a document's table, and return the whole document (08-…-add-row).

    Args:
        site: The site.
        row: The row, with `parent`, `parenttype` and `parentfield`.

    Raises:
        EngineError: there is no such document or table, or the document with the row is refused.
    """
    parent_kind = DOCTYPES.get(str(row.get("parenttype")))
    field = str(row.get("parentfield"))
    if parent_kind is None or field not in parent_kind.tables:
        raise errors.refused("Invalid parent document")
    parent = site.require(parent_kind.name, str(row.get("parent")))
    return update(site, parent_kind, parent["name"], {field: [*parent[field], row]})


def add_row_alone(site: Site, kind: DocType, row: Document) -> Document:
    """Store one row without its parent, whose other rows are not looked at.

    Not recorded: by Frappe's own code, which checks a row that is posted as a document by itself.

    Args:
        site: The site.
        kind: The row's doctype.
        row: The row, with `parent`, `parenttype` and `parentfield`.

    Raises:
        EngineError: the parent has no such table, or the row points to what does not exist.
    """
    parent_kind = DOCTYPES.get(str(row.get("parenttype")))
    field = str(row.get("parentfield"))
    tables = {} if parent_kind is None else parent_kind.tables
    if parent_kind is None or field not in tables or tables[field].doctype != kind.name:
        raise errors.not_allowed_to_write(API_USER, kind.name)
    parent = site.require(parent_kind.name, str(row.get("parent")))
    (made,) = site.table(parent, field, [{**_typed(kind, row), "name": None}])
    made.update(idx=0, owner=API_USER, creation=site.stamp())
    made.update(modified=made["creation"], modified_by=API_USER)
    lost = _lost_of_row(site, kind, made)
    if lost:
        raise errors.link_missing(lost)
    parent[field].append(made)
    return made


def name_of(site: Site, kind: DocType, body: Document) -> str | None:
    """Guess the name that a new document would get, for faults that name one.

    Returns:
        The name; None if it does not come from a rule, or can't be told.
    """
    try:
        values = _typed(kind, body)
        document = site.new(kind.name, values)
        return NAMES[kind.name](site, document) if kind.name in NAMES else None
    except errors.EngineError:
        return None


def _typed(kind: DocType, body: Document) -> Document:
    """Keep the known fields, each converted to the type of its column."""
    values = {field: _value(kind, field, body[field]) for field in kind.columns if field in body}
    for field, table in kind.tables.items():
        if field in body:
            row_kind = DOCTYPES[table.doctype]
            rows = body[field] if isinstance(body[field], list) else []
            values[field] = [
                {**_typed(row_kind, row), "name": row.get("name")}
                for row in rows
                if isinstance(row, dict)
            ]
    return values


def _value(kind: DocType, field: str, value: Any) -> Any:  # Any: JSON
    if isinstance(value, list):
        label = kind.naming_label if kind.naming == field else field.replace("_", " ").title()
        raise errors.refused(f"Value for {label} cannot be a list")
    if isinstance(value, dict):
        column = next(iter(value), "")
        raise errors.crashed(
            "OperationalError",
            f"pymysql.err.OperationalError: (1054, \"Unknown column '{column}' in 'WHERE'\")",
        )
    default = kind.columns[field]
    if value is None:
        return None
    if isinstance(default, int | float):
        return _number(value, type(default))
    return str(value).strip()


def _number(value: Any, wanted: type[int] | type[float]) -> float:  # Any: JSON
    try:
        return wanted(float(value))
    except ValueError:
        return wanted(0)


def _changed(site: Site, kind: DocType, stored: Document, body: Document) -> Document:
    changed = dict(stored)
    values = _typed(kind, body)
    tables = {field: values.pop(field) for field in kind.tables if field in values}
    if kind.name == "Company":
        _check_company_constants(stored, values)
    values.pop(kind.naming, None)
    changed.update(values)
    for field, rows in tables.items():
        changed[field] = site.table(stored, field, rows)
    return changed


def _check_company_constants(stored: Document, values: Document) -> None:
    if values.get("abbr") not in (None, stored["abbr"]):
        raise errors.refused(
            "Value cannot be changed for <strong>Abbr</strong>", "CannotChangeConstantError"
        )
    if values.get("default_currency") not in (None, stored["default_currency"]):
        raise errors.refused_by_erpnext(
            "<strong>Default Cash Account</strong> currency must be same as company's default "
            "currency. Please select another account."
        )


def _check(site: Site, kind: DocType, document: Document, *, new: bool) -> None:
    if kind.name in BEFORE_LINKS:
        BEFORE_LINKS[kind.name](site, document)
    _check_links(site, kind, document)
    if new:
        document["name"] = _name(site, kind, document)
        for field in kind.tables:
            for row in document[field]:
                row["parent"] = document["name"]
    if kind.name in VALIDATIONS:
        VALIDATIONS[kind.name](site, document)
    _check_values(kind, document)


def _check_links(site: Site, kind: DocType, document: Document) -> None:
    lost = []
    for field, link in kind.links.items():
        value = document.get(field)
        # A Company's defaults are made along with it, later than this check.
        if value in (None, "") or "{abbr}" in value:
            continue
        found = site.find(link.doctype, value)
        if found is None:
            lost.append(f"{link.label}: {value}")
        else:
            # ERPNext stores the name as the document spells it, whatever case was sent.
            document[field] = found["name"]
    for field, table in kind.tables.items():
        row_kind = DOCTYPES[table.doctype]
        for row in document[field]:
            lost.extend(_lost_of_row(site, row_kind, row))
    if lost:
        raise errors.link_missing(lost)


def _lost_of_row(site: Site, row_kind: DocType, row: Document) -> list[str]:
    return [
        f"Row #{row['idx']}: {link.label}: {row[field]}"
        for field, link in row_kind.links.items()
        if row[field] not in (None, "") and site.find(link.doctype, row[field]) is None
    ]


def _name(site: Site, kind: DocType, document: Document) -> str:
    name = document["name"] or ""
    if not name and kind.name in NAMES:
        name = NAMES[kind.name](site, document)
    elif kind.naming and kind.naming != "#":
        name = document[kind.naming] or ""
        if not name:
            raise errors.refused(f"{kind.naming_label} is required")
    if kind.name in {"Account", "Warehouse", "User"}:
        # The controllers of these doctypes make the name themselves, whatever was sent.
        name = NAMES[kind.name](site, document)
    if not name:
        raise errors.refused("Please set the document name")
    if "<" in name or ">" in name:
        raise errors.refused(
            "Name cannot contain special characters like '<', '>'", "NameError", status=409
        )
    return str(name).strip()


def _check_values(kind: DocType, document: Document) -> None:
    for field, label in kind.required.items():
        if document[field] in (None, ""):
            raise errors.mandatory(kind.name, document["name"], field, label)
    for field, table in kind.tables.items():
        if table.required and not document[field]:
            raise errors.mandatory_table(kind.name, document["name"], field, table.label)
    for field, select in kind.selects.items():
        value = document[field]
        if value not in (None, "", *select.options):
            options = '", "'.join(select.options)
            raise errors.refused(
                f' {select.label} cannot be "{value}". It should be one of "{options}"'
            )
    name = document["name"]
    if len(name) > _NAME_LIMIT:
        raise errors.refused(
            f"{kind.name} {name}: '<strong>{kind.naming_label}</strong>' ({name}) will get "
            f"truncated, as max characters allowed is {_NAME_LIMIT}",
            "CharacterLengthExceededError",
            title="Value too big",
        )


def _at_the_database(site: Site, kind: DocType, document: Document) -> None:
    if site.find(kind.name, document["name"]) is not None:
        raise errors.duplicate(kind.name, document["name"])
    if kind.name in AT_THE_DATABASE:
        AT_THE_DATABASE[kind.name](site, document)
