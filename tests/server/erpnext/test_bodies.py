"""What is sent when a document is made: ERPNext fills in what is left out, and drops what it
does not know, both without a word (recordings 02-company-create-missing-field,
04-warehouse-create-bad, 09-pos-opening-missing-field, 02-company-create-unknown-field).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.standin.catalogue import DOCTYPES
from tests.server.erpnext.context import MemoryContext, drive, kenyan
from tests.server.erpnext.sitework import TILL_USER, add_till_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.erpnext.client import ErpNextEngine
    from server.erpnext.requests import JsonObject

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
# What every document has besides its own fields.
OF_ALL = {"name", "docstatus", "doctype", "parent", "parenttype", "parentfield"}


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
    for doctype, made in (await bodies(engine)).items():
        for body in made:
            assert list(_unknown(doctype, body)) == []


def _unknown(doctype: str, body: JsonObject) -> Iterator[str]:
    kind = DOCTYPES[doctype]
    for field, value in body.items():
        if field in kind.tables and isinstance(value, list):
            for row in value:
                yield from _unknown(kind.tables[field].doctype, row)
        elif field not in OF_ALL and field not in kind.columns:
            yield f"{doctype}.{field}"
