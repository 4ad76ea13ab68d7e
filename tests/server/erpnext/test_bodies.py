"""What is sent: ERPNext fills in what is left out when a document is made, and drops what it does
not know, both without a word (recordings 02-company-create-missing-field, 04-warehouse-create-bad,
09-pos-opening-missing-field, 02-company-create-unknown-field). A list that asks for a field it does
not know is refused, for every tenant (recording 02-company-list-bad-query). So what is sent is held
to fields that were recorded, not to those of the stand-in.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from server.standin.catalogue import DOCTYPES
from tests.server.erpnext.context import MemoryContext, drive, kenyan, made_and_removed
from tests.server.erpnext.recordings import exchanges
from tests.server.erpnext.sitework import TILL_USER, add_till_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.erpnext.client import ErpNextEngine
    from server.erpnext.requests import JsonObject
    from server.model.step_context import Request

# What ERPNext takes from its own defaults where it is not sent: the site's Company, country or
# currency, a second root of a tree, today.
NEVER_LEFT_OUT = {
    "Fiscal Year": {"disabled"},
    "Mode of Payment": {"type", "enabled"},
    "Company": {"abbr", "country", "default_currency", "chart_of_accounts"},
    "Account": {"company", "parent_account", "account_currency", "is_group"},
    "Warehouse": {"company", "parent_warehouse", "is_group"},
    "Price List": {"currency", "selling"},
    "Item Group": {"parent_item_group", "is_group"},
    "Item": {"item_group", "stock_uom", "item_defaults"},
    "Item Price": {"price_list"},
    "Customer": {"name", "customer_group", "territory", "customer_type"},
    "Mode of Payment Account": {"company", "parent", "parenttype", "parentfield"},
    "POS Profile": {"name", "company", "currency", "selling_price_list", "write_off_limit"},
    "POS Opening Entry": {"name", "company", "posting_date", "docstatus"},
}

# What a removal looks for before it removes: no list of it was recorded; the fields are those of
# every document of ERPNext that is posted.
NOT_RECORDED = {
    "GL Entry": {"name", "company"},
    "POS Invoice": {"name", "company", "docstatus"},
}


async def bodies(engine: ErpNextEngine) -> dict[str, list[JsonObject]]:
    """Make a tenant that has everything; return what was sent for it."""
    await add_till_user(engine)
    spec = kenyan(
        company_name="Kampala Fresh Foods",
        country_code="UG",
        currency="UGX",
        till_user=TILL_USER,
        include_demo_data=True,
    )
    context = MemoryContext(engine=engine, spec=spec)
    await drive(context)
    sent: dict[str, list[JsonObject]] = {}
    for request in context.writes:
        body = dict(request.body or {})
        if request.method == "POST":
            # A row goes to a method, with the row as one of its arguments.
            row = body.get("doc")
            sent.setdefault(request.doctype, []).append(dict(row) if row else body)
    return sent


async def test_nothing_is_left_to_the_defaults_of_the_site(engine: ErpNextEngine) -> None:
    sent = await bodies(engine)
    assert sent.keys() == NEVER_LEFT_OUT.keys()
    for doctype, made in sent.items():
        for body in made:
            given = {field for field, value in body.items() if value not in (None, "", [])}
            assert NEVER_LEFT_OUT[doctype] <= given, (doctype, body)


async def test_no_field_is_sent_that_the_engine_does_not_know(engine: ErpNextEngine) -> None:
    known = recorded_fields()
    for doctype, made in (await bodies(engine)).items():
        for body in made:
            assert list(_unknown(doctype, body, known)) == []


async def test_no_list_asks_for_a_field_that_the_engine_does_not_know(
    engine: ErpNextEngine,
) -> None:
    await add_till_user(engine)
    context = await made_and_removed(engine, till_user=TILL_USER, include_demo_data=True)
    known = recorded_fields() | NOT_RECORDED
    asked = {doctype for request in context.sent for doctype, _ in _asked_for(request)}
    assert asked >= {"Company", "Account", "Fiscal Year Company", "POS Opening Entry", "GL Entry"}
    for request in context.sent:
        for doctype, field in _asked_for(request):
            assert field in known[doctype], (doctype, field)


def _asked_for(request: Request) -> Iterator[tuple[str, str]]:
    """Give each field that a list returns or is filtered by, with its doctype."""
    for field in request.params.get("fields") or ():
        yield request.doctype, field
    for field, *_ in request.params.get("filters") or ():
        yield request.doctype, field


def recorded_fields() -> dict[str, set[str]]:
    """Give the fields of every document, and row of one, that the recorded ERPNext knew."""
    found: dict[str, set[str]] = {}
    for each in exchanges():
        if each.reply is not None and each.reply.status < 300:
            for doctype, field in _asked_for(each.request):
                found.setdefault(doctype, set()).add(field)
            try:
                body = json.loads(each.reply.body)
            except ValueError:
                continue
            for document in _documents(body):
                found.setdefault(document["doctype"], set()).update(document)
    return found


def _documents(value: object) -> Iterator[JsonObject]:
    if isinstance(value, dict) and "doctype" in value:
        yield value
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for part in parts:
        yield from _documents(part)


def _unknown(doctype: str, body: JsonObject, known: dict[str, set[str]]) -> Iterator[str]:
    tables = DOCTYPES[doctype].tables
    for field, value in body.items():
        if field not in known[doctype]:
            yield f"{doctype}.{field}"
        if field in tables and isinstance(value, list):
            for row in value:
                yield from _unknown(tables[field].doctype, row, known)
