"""step_5: two settings of the site, and the tenant's selling price list.

Settings are one per site: only what no tenant can want otherwise is set, never a default
warehouse or Company, which would move the defaults of all other tenants. A price list of
another currency is a conflict: changing it rewrites the currency of its prices and leaves
the rates (recording 06-price-list-other-currency).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.company import company_of, waits_for_company
from server.erpnext.requests import change, get, make
from server.erpnext.seeing import conflict, document_of, flag, seen, text
from server.erpnext.site import site_of
from server.model.step_context import AnswerKind, Found, Intent

if TYPE_CHECKING:
    from server.erpnext.company import Company
    from server.erpnext.requests import JsonObject
    from server.model.ownership import Document
    from server.model.step_context import StepContext

_SITE_SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("Selling Settings", "cust_master_name", "Customer Name"),
    ("Stock Settings", "item_naming_by", "Item Code"),
)


def _words(doctype: str, field: str) -> str:
    return f"{doctype} {field}"


_SETTING_FIELDS = frozenset(_words(doctype, field) for doctype, field, _ in _SITE_SETTINGS)


class SettingsAndPriceList:
    """Naming by name and by item code; the price list of the tenant."""

    key = "step_5_settings"

    async def probe(self, context: StepContext) -> Found:
        """Look at both settings and the price list."""
        company = await company_of(context)
        if company is None:
            return waits_for_company("Price List")
        site = await site_of(context)
        missing = [_words(doctype, field) for doctype, field, _ in await _differing(context)]
        name = company.names.price_list
        answer = await context.read(get("Price List", name))
        documents: tuple[Document, ...] = ()
        if answer.kind is AnswerKind.MISSING:
            missing.append(f"Price List {name}")
        else:
            row = document_of(answer)
            _check(row, company)
            documents = (seen("Price List", row, site.zone),)
        return Found(
            done=not missing,
            missing=tuple(missing),
            documents=documents,
            outputs={"price_list": name},
        )

    async def apply(self, context: StepContext, found: Found) -> None:
        """Change what differs, and make the price list."""
        company = await company_of(context)
        if company is None:
            raise conflict(Code.COMPANY_MISSING, "There is no Company; do step_2_company first.")
        if any(each in _SETTING_FIELDS for each in found.missing):
            for doctype, field, wanted in await _differing(context):
                await context.write(
                    Intent(doctype=doctype, name=doctype, shared=True, update=True),
                    change(doctype, doctype, {field: wanted}),
                )
        if not found.documents:
            name = company.names.price_list
            body: JsonObject = {
                "price_list_name": name,
                "currency": company.currency,
                "enabled": 1,
                "selling": 1,
            }
            await context.write(
                Intent(doctype="Price List", name=name), make("Price List", name, body)
            )


async def _differing(context: StepContext) -> list[tuple[str, str, str]]:
    differing = []
    for doctype, field, wanted in _SITE_SETTINGS:
        answer = await context.read(get(doctype, doctype))
        if text(document_of(answer), field) != wanted:
            differing.append((doctype, field, wanted))
    return differing


def _check(row: JsonObject, company: Company) -> None:
    wrong = []
    if text(row, "currency") != company.currency:
        wrong.append(f"its currency is {text(row, 'currency')}, not {company.currency}")
    if not flag(row, "enabled"):
        wrong.append("it is disabled")
    if not flag(row, "selling"):
        wrong.append("it is not for selling")
    if wrong:
        raise conflict(
            Code.DOCUMENT_DIFFERS,
            f"Price List {text(row, 'name')!r} is there, but {' and '.join(wrong)}. "
            "Rename it or mend it.",
        )
