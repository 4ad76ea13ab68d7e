"""Building requests: every path segment percent-encoded, every list asked for its fields.

A list without `fields` gives names only, and 20 rows unless told otherwise (recording
02-company-list), so both are always said. Values that are not text go out as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from server.model.step_context import DEFAULT_TIMEOUT_SECONDS, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

JsonObject = Mapping[str, Any]  # Any: JSON as ERPNext sends and takes it
Filter = tuple[str, str, Any]  # Any: text, number, or a list for "in"

PING = "/api/method/ping"
ALL_ROWS = 0  # what ERPNext takes for "no limit" (recording 03-accounts-list)


def resource_path(doctype: str, name: str = "") -> str:
    """Return the address of a doctype, or of one document.

    A name of dots only would be cut by whatever normalises addresses on the way, so its
    dots are encoded too.
    """
    path = f"/api/resource/{quote(doctype, safe='')}"
    if not name:
        return path
    encoded = quote(name, safe="")
    return f"{path}/{encoded.replace('.', '%2E') if not name.strip('.') else encoded}"


def get(doctype: str, name: str) -> Request:
    """Ask for one document."""
    return Request(method="GET", path=resource_path(doctype, name), doctype=doctype, name=name)


def rows(
    doctype: str,
    *filters: Filter,
    fields: Sequence[str],
    limit: int = ALL_ROWS,
    order_by: str = "",
    parent: str = "",
) -> Request:
    """Ask for a list.

    Args:
        doctype: Of the rows.
        filters: Field, operator, value; all must hold.
        fields: What to return of each.
        limit: Most rows; 0 for all.
        order_by: As SQL has it; "" leaves it to the engine.
        parent: For rows of a child table: the doctype they hang on. Without it the answer is
            403 (recording 02-company-creates-by-itself).

    Returns:
        The request.
    """
    params: dict[str, Any] = {  # Any: JSON as ERPNext takes it
        "filters": [list(each) for each in filters],
        "fields": list(fields),
        "limit_page_length": limit,
    }
    if order_by:
        params["order_by"] = order_by
    if parent:
        params["parent"] = parent
    return Request(method="GET", path=resource_path(doctype), params=params, doctype=doctype)


def call(method: str, **params: object) -> Request:
    """Ask a whitelisted method that changes nothing."""
    about = str(params.get("doctype", ""))
    return Request(method="GET", path=f"/api/method/{method}", params=params, doctype=about)


def make(
    doctype: str, name: str, body: JsonObject, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> Request:
    """Make a document; `name` is the one it will have."""
    return Request(
        method="POST",
        path=resource_path(doctype),
        body=body,
        doctype=doctype,
        name=name,
        timeout_seconds=timeout_seconds,
    )


def insert_row(doctype: str, name: str, row: JsonObject) -> Request:
    """Add one row to a child table and leave the others (recording 08-mode-of-payment-add-row)."""
    return Request(
        method="POST",
        path="/api/method/frappe.client.insert",
        body={"doc": {"doctype": doctype, **row}},
        doctype=doctype,
        name=name,
    )


def change(doctype: str, name: str, body: JsonObject) -> Request:
    """Change fields of a document.

    Never send `name` (404, recording 02-company-update) or `modified` (stale: 417).
    """
    return Request(
        method="PUT", path=resource_path(doctype, name), body=body, doctype=doctype, name=name
    )


def delete(doctype: str, name: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Request:
    """Delete a document; 404 says that it is gone already (recording 10-delete-missing)."""
    return Request(
        method="DELETE",
        path=resource_path(doctype, name),
        doctype=doctype,
        name=name,
        timeout_seconds=timeout_seconds,
    )


def cancel(doctype: str, name: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Request:
    """Cancel a submitted document; of a draft or a cancelled one it is refused."""
    return Request(
        method="POST",
        path="/api/method/frappe.client.cancel",
        body={"doctype": doctype, "name": name},
        doctype=doctype,
        name=name,
        timeout_seconds=timeout_seconds,
    )
