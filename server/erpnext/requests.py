"""Builds requests: every path segment is percent-encoded, every list names its fields and limit.

A list without `fields` returns only names, and 20 rows unless told otherwise (recording
02-company-list), so both are always given. Values that are not text are sent as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from server.model.step_context import DEFAULT_TIMEOUT_SECONDS, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

JsonObject = Mapping[str, Any]  # Any: JSON as ERPNext sends and accepts it
Filter = tuple[str, str, Any]  # Any: text, number, or a list for "in"

PING = "/api/method/ping"
ALL_ROWS = 0  # ERPNext's way to say "no limit" (recording 03-accounts-list)


def resource_path(doctype: str, name: str = "") -> str:
    """Return the path of a doctype, or of one document.

    Anything on the way that normalises paths would drop a name of nothing but dots, so its dots are
    encoded, too.

    Args:
        doctype: The doctype, as ERPNext spells it.
        name: The document's name, in any characters; "" for the doctype's own path.
    """
    path = f"/api/resource/{quote(doctype, safe='')}"
    if not name:
        return path
    encoded = quote(name, safe="")
    return f"{path}/{encoded.replace('.', '%2E') if not name.strip('.') else encoded}"


def get(doctype: str, name: str) -> Request:
    """Return a request for one document.

    Args:
        doctype: Its doctype. A single document, such as Stock Settings, has it as its name, too.
        name: Its full name. The engine finds it in any case and with other accents, too (recordings
            02-company-get and 02-company-create-name-accents).
    """
    return Request(method="GET", path=resource_path(doctype, name), doctype=doctype, name=name)


def rows(
    doctype: str,
    *filters: Filter,
    fields: Sequence[str],
    limit: int = ALL_ROWS,
    order_by: str = "",
    parent: str = "",
) -> Request:
    """Return a request for a list.

    Args:
        doctype: The doctype of the rows.
        filters: Field, operator and value of each condition; all must hold.
        fields: The fields to return of each row.
        limit: Most rows to return; 0 for all.
        order_by: The order, as in SQL; "" leaves it to the engine.
        parent: For rows of a child table: the doctype they belong to. Without it the answer is
            403 (recording 02-company-creates-by-itself).
    """
    params: dict[str, Any] = {  # Any: JSON as ERPNext accepts it
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
    """Return a call of a whitelisted method that changes nothing.

    Args:
        method: The method's dotted path.
        params: Its arguments; those that are not text are sent as JSON. A `doctype` among them is
            what the call is about.
    """
    about = str(params.get("doctype", ""))
    return Request(method="GET", path=f"/api/method/{method}", params=params, doctype=about)


def make(
    doctype: str, name: str, body: JsonObject, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
) -> Request:
    """Return a request that makes a document.

    Args:
        doctype: Its doctype.
        name: The name it will have, computed before it is asked for. The engine only learns it if
            it is in `body`, too, or follows from a field there.
        body: Its fields.
        timeout_seconds: How long to wait for the answer; then its outcome is unknown.
    """
    return Request(
        method="POST",
        path=resource_path(doctype),
        body=body,
        doctype=doctype,
        name=name,
        timeout_seconds=timeout_seconds,
    )


def insert_row(doctype: str, name: str, row: JsonObject) -> Request:
    """Return a request that adds one row to a child table and leaves the other rows alone.

    Args:
        doctype: The doctype of the row.
        name: Our own key for it; the engine makes up the row's name and is not told this one.
        row: Its fields, with `parent`, `parenttype` and `parentfield`.

    Source: recording 08-mode-of-payment-add-row.
    """
    return Request(
        method="POST",
        path="/api/method/frappe.client.insert",
        body={"doc": {"doctype": doctype, **row}},
        doctype=doctype,
        name=name,
    )


def change(doctype: str, name: str, body: JsonObject) -> Request:
    """Return a request that changes fields of a document.

    Args:
        doctype: Its doctype.
        name: Its name at the engine.
        body: The fields to change. It may have neither `name` (404, recording 02-company-update)
            nor `modified` (417 if it is stale, recording 05-selling-settings-put-bad). A child
            table in it replaces the whole table (recording 08-mode-of-payment-put-drops-rows).
    """
    return Request(
        method="PUT", path=resource_path(doctype, name), body=body, doctype=doctype, name=name
    )


def delete(doctype: str, name: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Request:
    """Return a request that deletes a document; a 404 says that it was gone already.

    Args:
        doctype: Its doctype.
        name: Its name at the engine.
        timeout_seconds: How long to wait for the answer; then its outcome is unknown.

    Source: recording 10-delete-missing.
    """
    return Request(
        method="DELETE",
        path=resource_path(doctype, name),
        doctype=doctype,
        name=name,
        timeout_seconds=timeout_seconds,
    )


def cancel(doctype: str, name: str, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS) -> Request:
    """Return a request that cancels a submitted document; refused for drafts and cancelled ones.

    Args:
        doctype: Its doctype.
        name: Its name at the engine.
        timeout_seconds: How long to wait for the answer; then its outcome is unknown.

    Source: recordings 10-pos-opening-cancel (once and again) and 10-delete-draft.
    """
    return Request(
        method="POST",
        path="/api/method/frappe.client.cancel",
        body={"doctype": doctype, "name": name},
        doctype=doctype,
        name=name,
        timeout_seconds=timeout_seconds,
    )
