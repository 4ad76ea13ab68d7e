"""List queries: which documents, which fields, in which order.

Facts: 02-company-list, 02-company-list-bad-query, 03-accounts-list, 05-fiscal-year-by-date,
05-fiscal-year-colliding. Text is compared as names are. Without `fields` a row has only its
name; without a limit there are 20 rows. Without `order_by` rows are sorted by name, or come in the
order they were made where that was recorded.
"""

from __future__ import annotations

import json
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from server.standin import errors
from server.standin.catalogue import DOCTYPES
from server.standin.naming import fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from server.standin.schema import DocType, Document

_PAGE = 20
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {  # Any: values of any column
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_PLAIN, _QUALIFIED = 3, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One comparison of a filter.

    Attributes:
        doctype: The doctype that has the field: the list's own, or that of one of its tables.
        field: The field.
        operator: Such as "=", "in" or "like", in lower case.
        value: What it is compared with: text, a number, or a list.
    """

    doctype: str
    field: str
    operator: str
    value: Any  # Any: JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What a list request asks for.

    Attributes:
        fields: The fields of each row.
        conditions: All of these must hold.
        order: Fields to sort by, each with whether it descends; none leaves it to the doctype.
        start: How many rows to leave out at the beginning.
        limit: The most rows; 0 for all.
    """

    fields: tuple[str, ...]
    conditions: tuple[Condition, ...]
    order: tuple[tuple[str, bool], ...]
    start: int
    limit: int


def parse(kind: DocType, arguments: Mapping[str, Any]) -> Query:  # Any: query or body values
    """Read a query, refusing unknown fields and broken JSON as ERPNext does.

    Args:
        kind: The doctype of the list.
        arguments: The parameters, as text that holds JSON, or decoded.

    Raises:
        EngineError: the query is refused (02-company-list-bad-query).
    """
    fields = _json(arguments.get("fields")) or ["name"]
    if fields == ["*"]:
        fields = sorted(kind.known_fields())
    conditions = tuple(_conditions(kind, _json(arguments.get("filters")) or []))
    order = tuple(_order(arguments.get("order_by")))
    asked = [*fields, *(c.field for c in conditions if c.doctype == kind.name)]
    for field in (*asked, *(name for name, _ in order)):
        if field not in kind.known_fields():
            raise errors.refused(f"Field not permitted in query: {field}", "DataError")
    limit = arguments.get("limit_page_length", arguments.get("limit", _PAGE))
    start = arguments.get("limit_start", arguments.get("start", 0))
    return Query(
        fields=tuple(fields),
        conditions=conditions,
        order=order,
        start=int(start or 0),
        limit=int(_PAGE if limit is None else limit),
    )


def select(kind: DocType, query: Query, documents: Iterable[Document]) -> list[Document]:
    """Return the rows that answer a query, with the fields it asks for.

    Args:
        kind: The doctype of the list.
        query: What is asked for.
        documents: All documents of that doctype, in the order they were made.

    Raises:
        EngineError: a condition is about a table that the doctype does not have.
    """
    found = list(documents)
    for condition in query.conditions:
        found = _those(condition, kind, found)
    if not query.order and not kind.by_creation:
        found.sort(key=lambda d: _sortable(d["parent"] if kind.row else d["name"]))
    for field, descending in reversed(query.order):
        found.sort(key=lambda d: _sortable(d.get(field)), reverse=descending)
    end = query.start + query.limit if query.limit else None
    return [{field: d.get(field) for field in query.fields} for d in found[query.start : end]]


def _json(value: Any) -> Any:  # Any: JSON
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value) if value else None
    except json.JSONDecodeError as error:
        raise errors.crashed("JSONDecodeError", f"json.decoder.JSONDecodeError: {error}") from error


def _conditions(kind: DocType, filters: Any) -> Iterable[Condition]:  # Any: JSON
    if isinstance(filters, dict):
        for field, value in filters.items():
            pair = value if isinstance(value, list) else ["=", value]
            yield _condition(kind.name, field, pair[0], pair[1])
        return
    for entry in filters:
        if isinstance(entry, list) and len(entry) == _PLAIN:
            yield _condition(kind.name, *entry)
        elif isinstance(entry, list) and len(entry) >= _QUALIFIED:
            yield _condition(*entry[:_QUALIFIED])
        else:
            raise errors.refused("Invalid filter", "ValidationError")


def _condition(doctype: str, field: str, sign: str, value: Any) -> Condition:  # Any: JSON
    sign = sign.strip().lower()
    if sign not in {"=", "!=", "in", "not in", "like", "not like", "is", *_COMPARISONS}:
        raise errors.refused(f"Operator must be one of =, !=, in, like, not {sign}")
    return Condition(doctype=doctype, field=field, operator=sign, value=value)


def _order(text: str | None) -> Iterable[tuple[str, bool]]:
    for part in (text or "").split(","):
        words = part.replace("`", "").split()
        if words:
            yield words[0].rpartition(".")[2], words[-1].lower() == "desc"


def _those(condition: Condition, kind: DocType, documents: list[Document]) -> list[Document]:
    """Keep the documents for which a condition holds."""
    wanted, field = condition.value, condition.field
    if condition.operator != "=" or condition.doctype != kind.name or not isinstance(wanted, str):
        return [d for d in documents if _holds(condition, kind, d)]
    # A shortcut for the most frequent query, one text among thousands of accounts.
    folded = fold(wanted)
    return [
        d
        for d in documents
        if (fold(held) == folded if isinstance(held := d.get(field), str) else _equal(held, wanted))
    ]


def _holds(condition: Condition, kind: DocType, document: Document) -> bool:
    if condition.doctype in {kind.name, document["doctype"]}:
        return _matches(condition, document.get(condition.field))
    tables = [f for f, t in kind.tables.items() if t.doctype == condition.doctype]
    if not tables or condition.field not in DOCTYPES[condition.doctype].known_fields():
        raise errors.refused(f"Field not permitted in query: {condition.field}", "DataError")
    rows = (row for field in tables for row in document[field])
    return any(_matches(condition, row.get(condition.field)) for row in rows)


def _matches(condition: Condition, held: Any) -> bool:  # Any: a column's value
    wanted = condition.value
    match condition.operator:
        case "=":
            return _equal(held, wanted)
        case "!=":
            return not _equal("" if held is None else held, wanted)
        case "in" | "not in":
            options = wanted.split(",") if isinstance(wanted, str) else wanted
            return any(_equal(held, o) for o in options) is (condition.operator == "in")
        case "like" | "not like":
            return _like(held, wanted) is (condition.operator == "like")
        case "is":
            return (held in (None, "")) is (wanted != "set")
        case _:
            left, right = _comparable(held, wanted)
            return held is not None and _COMPARISONS[condition.operator](left, right)


def _equal(held: Any, wanted: Any) -> bool:  # Any: a column's value, a value sent
    if held is None:
        return wanted is None
    left, right = _comparable(held, wanted)
    return bool(left == right)


def _comparable(held: Any, wanted: Any) -> tuple[Any, Any]:  # Any: as above
    if isinstance(held, int | float):
        try:
            return float(held), float(wanted)
        except (TypeError, ValueError):
            return float(held), 0.0
    return fold(held or ""), fold("" if wanted is None else wanted)


def _like(held: Any, pattern: str) -> bool:  # Any: a column's value
    parts = re.split(r"([%_])", fold(pattern))
    wild = {"%": ".*", "_": "."}
    expression = "".join(wild.get(part) or re.escape(part) for part in parts)
    return re.fullmatch(expression, fold(held or ""), re.DOTALL) is not None


def _sortable(value: Any) -> tuple[bool, float, str]:  # Any: a column's value
    if isinstance(value, int | float):
        return True, float(value), ""
    return value is not None, 0.0, fold(value or "")
