"""step_5: two settings of the site, and the tenant's selling price list.

Settings exist once per site, so only what no tenant can want differently is set: never a default
warehouse or Company, which would change the defaults of all other tenants. A price list in another
currency is a conflict: to change it rewrites the currency of its prices, but not their rates
(recording 06-price-list-other-currency).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.erpnext.codes import Code
from server.erpnext.company import company_of, demand_company, waits_for_company
from server.erpnext.making import make_named
from server.erpnext.requests import change, get, make
from server.erpnext.roles import role_for
from server.erpnext.seeing import compared, conflict, differing, document_of, flag, seen, text
from server.erpnext.site import STEP_KEY as CHECK_KEY
from server.erpnext.site import site_of
from server.erpnext.steps.in_company import in_company
from server.model.difference import Difference
from server.model.step_context import AnswerKind, Found, Intent

if TYPE_CHECKING:
    from server.erpnext.company import Company
    from server.erpnext.requests import JsonObject
    from server.model.ownership import Document
    from server.model.step_context import StepContext

SITE_SETTINGS: tuple[tuple[str, str, str], ...] = (
    ("Selling Settings", "cust_master_name", "Customer Name"),
    ("Stock Settings", "item_naming_by", "Item Code"),
)


class SettingsAndPriceList:
    """Customers named by name, items by code; and the tenant's price list."""

    key = "step_5_settings"

    @in_company
    async def probe(self, context: StepContext) -> Found:
        """Look at both settings and the price list.

        Returns:
            As outputs, the name of the `price_list`.

        Raises:
            EngineError: DOCUMENT_DIFFERS, about the price list; or the engine could not be asked.
        """
        company = await company_of(context)
        if company is None:
            return waits_for_company("Price List", "Retail")
        site = await site_of(context)
        missing = await _differing_settings(context)
        name = company.names.price_list
        answer = await context.read(get("Price List", name))
        documents: tuple[Document, ...] = ()
        if answer.kind is AnswerKind.MISSING:
            missing.append(Difference(doctype="Price List", name=name))
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

    @in_company
    async def apply(self, context: StepContext, found: Found) -> None:
        """Change what differs, and make the price list.

        Raises:
            EngineError: COMPANY_MISSING or NAMED_OTHERWISE; ROLE_MISSING if the engine took a
                change and did not store it; or as `write`.
        """
        company = await demand_company(context)
        for each in found.missing:
            if each.field:
                await _change(context, each)
        if not found.documents:
            name = company.names.price_list
            body: JsonObject = {
                "price_list_name": name,
                "currency": company.currency,
                "enabled": 1,
                "selling": 1,
            }
            await make_named(
                context, Intent(doctype="Price List", name=name), make("Price List", name, body)
            )


async def _differing_settings(context: StepContext) -> list[Difference]:
    differences: list[Difference] = []
    for doctype, field, wanted in SITE_SETTINGS:
        # step_0 of this run has read Stock Settings anyway, so a value that was right is not
        # asked for again; a wrong one is.
        if context.outputs(CHECK_KEY).get(field) == wanted:
            continue
        answer = await context.read(get(doctype, doctype))
        value = text(document_of(answer), field)
        differences += compared(doctype, doctype, ((field, value, wanted),))
    return differences


async def _change(context: StepContext, each: Difference) -> None:
    answer = await context.write(
        Intent(doctype=each.doctype, name=each.name, shared=True, update=True),
        change(each.doctype, each.name, {each.field: each.want}),
    )
    # If the user may not see a field, the answer is 200, but nothing is stored (recording
    # 01-permissions-system-manager-only).
    stored = text(answer.data, each.field) if isinstance(answer.data, dict) else each.want
    if compared(each.doctype, each.name, ((each.field, stored, each.want),)):
        raise conflict(
            Code.ROLE_MISSING,
            f"The engine took a change of {each.field} in {each.doctype} and did not store it: "
            f"the API user may not change that field. Give it the role {role_for('Price List')}, "
            f"or set {each.field} to {each.want!r} in ERPNext, then continue.",
        )


def _check(row: JsonObject, company: Company) -> None:
    differences = compared(
        "Price List",
        text(row, "name"),
        (
            ("currency", text(row, "currency"), company.currency),
            ("enabled", str(int(flag(row, "enabled"))), "1"),
            ("selling", str(int(flag(row, "selling"))), "1"),
        ),
    )
    if differences:
        raise differing(
            Code.DOCUMENT_DIFFERS,
            differences,
            "Rename or correct it in ERPNext. Do not change its currency while it has prices: "
            "they would keep their rates.",
        )
