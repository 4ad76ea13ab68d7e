"""step_6: a few items to try out a sale with, if the tenant asked for demo data.

`standard_rate` is never sent, because it would make a price in the site's own list (recording
07-item-price-after-standard-rate). Prices get the currency of the tenant's list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.company import MAIN_STORE, company_of, demand_company, waits_for_company
from server.erpnext.making import make_named
from server.erpnext.masters import ROOT_ITEM_GROUP, UNIT
from server.erpnext.requests import get, make, rows
from server.erpnext.seeing import (
    OWNERSHIP_FIELDS,
    compared,
    differing,
    document_of,
    rows_of,
    seen,
    text,
)
from server.erpnext.site import site_of
from server.erpnext.steps.in_company import in_company
from server.erpnext.steps.step_1_platform_setup import STEP_KEY as SETUP_KEY
from server.erpnext.warehouses import STEP_KEY as WAREHOUSES_KEY
from server.model.difference import Difference
from server.model.naming import fold_name
from server.model.step_context import AnswerKind, Found, Intent

if TYPE_CHECKING:
    from server.erpnext.company import Company
    from server.erpnext.requests import JsonObject
    from server.model.step_context import StepContext

_DEMO: tuple[tuple[str, int], ...] = (
    ("Maize Flour 2kg", 220),
    ("Sugar 1kg", 180),
    ("Cooking Oil 1L", 350),
    ("Bar Soap 800g", 150),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Demo:
    """One demo item with its price in the tenant's list."""

    code: str
    title: str
    rate: int
    price_key: str


class DemoItems:
    """An item group, four items and their prices."""

    key = "step_6_items"

    @in_company
    async def probe(self, context: StepContext) -> Found:
        """Look for the group, the items and the prices, with one request for each kind.

        Raises:
            EngineError: DOCUMENT_DIFFERS if an item of the name is in another group; or the engine
                could not be asked.
        """
        company = await company_of(context)
        if company is None:
            return waits_for_company("Item", "of the demo data")
        site = await site_of(context)
        demo = _demo(company)
        documents, missing = [], []

        group = company.names.item_group
        answer = await context.read(get("Item Group", group))
        if answer.kind is AnswerKind.OK:
            documents.append(seen("Item Group", document_of(answer), site.zone))
        else:
            missing.append(Difference(doctype="Item Group", name=group))

        items = await _by(
            context, "Item", "name", ("name", "in", [each.code for each in demo]), "item_group"
        )
        prices = await _prices(context, company, demo)
        for each in demo:
            item = items.get(fold_name(each.code))
            if item is None:
                missing.append(Difference(doctype="Item", name=each.code))
            else:
                _check(item, company)
                documents.append(seen("Item", item, site.zone))
            price = prices.get(fold_name(each.code))
            if price is None:
                missing.append(Difference(doctype="Item Price", name=each.price_key))
            else:
                documents.append(seen("Item Price", price, site.zone, name=each.price_key))
        return Found(done=not missing, missing=tuple(missing), documents=tuple(documents))

    @in_company
    async def apply(self, context: StepContext, found: Found) -> None:
        """Make what is missing, the group first.

        Raises:
            EngineError: COMPANY_MISSING or NAMED_OTHERWISE; or as `write`.
        """
        company = await demand_company(context)
        there = {(document.doctype, fold_name(document.name)) for document in found.documents}
        for doctype, name, body in _bodies(context, company):
            if (doctype, fold_name(name)) in there:
                continue
            intent, request = Intent(doctype=doctype, name=name), make(doctype, name, body)
            if doctype == "Item Price":  # the engine makes up its name
                await context.write(intent, request)
            else:
                await make_named(context, intent, request)


def _demo(company: Company) -> list[_Demo]:
    names = company.names
    return [
        _Demo(
            code=names.demo_item(number),
            title=title,
            rate=rate,
            # ERPNext makes up the names of prices; there is one for each item and price list.
            price_key=f"{names.demo_item(number)} / {names.price_list}",
        )
        for number, (title, rate) in enumerate(_DEMO, start=1)
    ]


def _bodies(context: StepContext, company: Company) -> list[tuple[str, str, JsonObject]]:
    group = company.names.item_group
    root = context.outputs(SETUP_KEY).get("root_item_group", ROOT_ITEM_GROUP)
    usual = company.names.with_suffix(MAIN_STORE)
    warehouse = context.outputs(WAREHOUSES_KEY).get("main_store", usual)
    bodies: list[tuple[str, str, JsonObject]] = [
        (
            "Item Group",
            group,
            {"item_group_name": group, "parent_item_group": root, "is_group": 0},
        )
    ]
    for each in _demo(company):
        item: JsonObject = {
            "item_code": each.code,
            "item_name": each.title,
            "item_group": group,
            "stock_uom": UNIT,
            "is_stock_item": 1,
            "item_defaults": [
                {
                    "company": company.name,
                    "default_warehouse": warehouse,
                }
            ],
        }
        price: JsonObject = {
            "item_code": each.code,
            "price_list": company.names.price_list,
            "price_list_rate": each.rate,
        }
        bodies += [("Item", each.code, item), ("Item Price", each.price_key, price)]
    return bodies


async def _prices(
    context: StepContext, company: Company, demo: list[_Demo]
) -> dict[str, JsonObject]:
    answer = await context.read(
        rows(
            "Item Price",
            ("item_code", "in", [each.code for each in demo]),
            ("price_list", "=", company.names.price_list),
            fields=(*OWNERSHIP_FIELDS, "item_code"),
        )
    )
    return {fold_name(text(row, "item_code")): row for row in rows_of(answer)}


async def _by(
    context: StepContext, doctype: str, key: str, wanted: tuple[str, str, list[str]], *more: str
) -> dict[str, JsonObject]:
    answer = await context.read(rows(doctype, wanted, fields=(*OWNERSHIP_FIELDS, *more)))
    return {fold_name(text(row, key)): row for row in rows_of(answer)}


def _check(item: JsonObject, company: Company) -> None:
    differences = compared(
        "Item",
        text(item, "name"),
        (("item_group", text(item, "item_group"), company.names.item_group),),
    )
    if differences:
        raise differing(
            Code.DOCUMENT_DIFFERS, differences, "Rename it or move it, or skip this step."
        )
