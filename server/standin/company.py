"""A Company, and what is made and deleted with it.

Facts: 02-company-create, 02-company-creates-by-itself, 02-company-create-abbr-odd,
02-company-create-name-length, 03-accounts-list, 10-after-delete-company. Creating one makes 82
accounts, 5 warehouses, 2 cost centers, tax templates by country and a row in the Mode of Payment
"Cash", and enables the currency; deleting it deletes them too. The parents of the accounts are
those of the chart "Standard"; the recordings name accounts, types and groups.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.standin import errors
from server.standin.catalogue import DOCTYPES
from server.standin.naming import fold, initials, without_tags
from server.standin.packaged import data

if TYPE_CHECKING:
    from server.standin.schema import Document
    from server.standin.site import Site

CHARTS = ("Standard", "Standard with Numbers")
NATIONAL_CHARTS = {
    "germany": ("SKR04 mit Kontonummern", "SKR04 ohne Kontonummern", "SKR03 mit Kontonummern"),
}
_NAME_LIMIT = 140
_CHART = data("chart_standard.json")
_WAREHOUSES = ("All Warehouses", "Stores", "Work In Progress", "Finished Goods", "Goods In Transit")
_TEMPLATES = (
    "Sales Taxes and Charges Template",
    "Purchase Taxes and Charges Template",
    "Item Tax Template",
)
OWNED = ("Account", "Warehouse", "Cost Center", *_TEMPLATES)


def charts_for(country: str) -> list[str]:
    """List the charts that a country may choose from (03-charts-for-country).

    Args:
        country: The country's name, in any case; any text has at least the standard charts.
    """
    return [*NATIONAL_CHARTS.get(fold(country), ()), *CHARTS]


def validate(site: Site, company: Document) -> None:
    """Settle the abbreviation, and refuse one that is taken.

    Facts: 02-company-create-no-abbr, 02-company-create-abbr-odd, 02-company-create-abbr-taken.

    Raises:
        EngineError: another Company has the abbreviation.
    """
    abbr = without_tags(company["abbr"] or "")
    if not abbr and not company["abbr"]:
        abbr = initials(company["name"])
    company["abbr"] = abbr or None
    for other in site.every("Company"):
        if fold(other["name"]) != fold(company["name"]) and fold(other["abbr"]) == fold(abbr):
            raise errors.refused_by_erpnext("Abbreviation already used for another company")


def check_before_making(company: Document) -> None:
    """Refuse what real ERPNext notices only while it makes the accounts, and then rolls back.

    Facts: 02-company-create-unknown-chart, 02-company-create-name-length.

    Raises:
        EngineError: the chart does not exist, or name and abbreviation are too long together.
    """
    chart = company["chart_of_accounts"]
    if chart and chart not in charts_for(company["country"]):
        raise errors.crashed(
            "IndexError", "IndexError: list index out of range", source=errors.ERPNEXT
        )
    if len(f"{company['name']} - {company['abbr']}") > _NAME_LIMIT:
        raise errors.crashed(
            "DataError",
            "pymysql.err.DataError: (1406, \"Data too long for column 'name' at row 1\")",
            source=errors.ERPNEXT,
        )


def make_belongings(site: Site, company: Document, *, owner: str, at: str = "") -> None:
    """Make everything that comes with a new Company, and fill in its defaults.

    Args:
        site: The site, which has the Company already.
        company: The stored Company; it is changed.
        owner: The user who makes it.
        at: The time of making, as ERPNext writes it; "" for the present.
    """
    abbr, name = company["abbr"], company["name"]
    company["create_chart_of_accounts_based_on"] = (
        company["create_chart_of_accounts_based_on"] or "Standard Template"
    )
    company["chart_of_accounts"] = company["chart_of_accounts"] or "Standard"
    for column, default in DOCTYPES["Company"].columns.items():
        if isinstance(default, str) and "{abbr}" in default:
            company[column] = default.replace("{abbr}", abbr)
    for document in (*_accounts(company), *_stock_and_costs(company), *_templates(company)):
        stamped = at or site.stamp()
        site.add(site.new(document["doctype"], document, owner=owner, at=stamped))
    _enable_currency(site, company, owner)
    cash = site.find("Mode of Payment", "Cash")
    if cash is not None:
        rows = [*cash["accounts"], {"company": name, "default_account": f"Cash - {abbr}"}]
        cash["accounts"] = site.table(cash, "accounts", rows)
        if not at:
            site.touch(cash, by=owner)


def take_belongings(site: Site, company: Document) -> None:
    """Delete what goes with a Company: its documents, payment rows and item defaults."""
    name = fold(company["name"])
    for doctype in OWNED:
        for document in site.every(doctype):
            if fold(document["company"]) == name:
                site.remove(document)
    for doctype, field in (("Mode of Payment", "accounts"), ("Item", "item_defaults")):
        for document in site.every(doctype):
            document[field] = [row for row in document[field] if fold(row["company"]) != name]


def _accounts(company: Document) -> list[Document]:
    abbr = company["abbr"]
    return [
        {
            "doctype": "Account",
            "name": f"{name} - {abbr}",
            "account_name": name,
            "company": company["name"],
            "parent_account": f"{parent} - {abbr}" if parent else None,
            "is_group": is_group,
            "root_type": root_type,
            "report_type": (
                "Profit and Loss" if root_type in {"Income", "Expense"} else "Balance Sheet"
            ),
            "account_type": account_type,
            # The one account made by the tax set-up has no currency (02-company-create-other-...).
            "account_currency": None if name == "VAT" else company["default_currency"],
        }
        for name, parent, root_type, account_type, is_group in _CHART
    ]


def _stock_and_costs(company: Document) -> list[Document]:
    abbr, name = company["abbr"], company["name"]
    warehouses: list[Document] = [
        {
            "doctype": "Warehouse",
            "name": f"{warehouse} - {abbr}",
            "warehouse_name": warehouse,
            "company": name,
            "is_group": int(position == 0),
            "parent_warehouse": f"{_WAREHOUSES[0]} - {abbr}" if position else None,
            "warehouse_type": "Transit" if warehouse == "Goods In Transit" else None,
        }
        for position, warehouse in enumerate(_WAREHOUSES)
    ]
    root = f"{name} - {abbr}"
    return [
        *warehouses,
        {
            "doctype": "Cost Center",
            "name": root,
            "cost_center_name": name,
            "company": name,
            "is_group": 1,
        },
        {
            "doctype": "Cost Center",
            "name": f"Main - {abbr}",
            "cost_center_name": "Main",
            "company": name,
            "parent_cost_center": root,
        },
    ]


def _templates(company: Document) -> list[Document]:
    title = f"{company['country']} Tax"
    return [
        {
            "doctype": doctype,
            "name": f"{title} - {company['abbr']}",
            "title": title,
            "company": company["name"],
        }
        for doctype in _TEMPLATES
    ]


def _enable_currency(site: Site, company: Document, owner: str) -> None:
    currency = site.find("Currency", company["default_currency"])
    if currency is not None and not currency["enabled"]:
        currency["enabled"] = 1
        site.touch(currency, by=owner)
