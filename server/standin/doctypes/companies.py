"""Doctypes whose documents each belong to one Company."""

from __future__ import annotations

from server.standin.packaged import data
from server.standin.schema import DocType, Link, Select

ACCOUNT_TYPES = (
    "",
    "Accumulated Depreciation",
    "Asset Received But Not Billed",
    "Bank",
    "Cash",
    "Chargeable",
    "Capital Work in Progress",
    "Cost of Goods Sold",
    "Current Asset",
    "Current Liability",
    "Depreciation",
    "Direct Expense",
    "Direct Income",
    "Equity",
    "Expense Account",
    "Expenses Included In Asset Valuation",
    "Expenses Included In Valuation",
    "Fixed Asset",
    "Income Account",
    "Indirect Expense",
    "Indirect Income",
    "Liability",
    "Payable",
    "Receivable",
    "Round Off",
    "Round Off for Opening",
    "Stock",
    "Stock Adjustment",
    "Stock Received But Not Billed",
    "Service Received But Not Billed",
    "Tax",
    "Temporary",
)
_DEFAULTS = data("defaults.json")
_COMPANY = Link(doctype="Company", label="Company")


def doctypes() -> list[DocType]:
    """List them in the order a refusal to delete looks through them."""
    company_accounts = {
        column: Link(doctype="Cost Center" if "cost_center" in column else "Account", label=column)
        for column, value in _DEFAULTS["Company"].items()
        if isinstance(value, str) and value.endswith(" - {abbr}")
    }
    return [
        DocType(
            name="Company",
            naming="company_name",
            naming_label="Company",
            columns=_DEFAULTS["Company"],
            required={"abbr": "Abbr", "default_currency": "Default Currency"},
            links={
                "default_currency": Link(doctype="Currency", label="Default Currency"),
                "country": Link(doctype="Country", label="Country"),
                **company_accounts,
            },
            tree_parent="parent_company",
            by_creation=True,
        ),
        DocType(
            name="Account",
            naming="#",
            columns={
                "disabled": 0,
                "account_name": None,
                "account_number": None,
                "is_group": 0,
                "company": None,
                "root_type": None,
                "report_type": None,
                "account_currency": None,
                "parent_account": None,
                "account_type": None,
                "tax_rate": 0.0,
                "freeze_account": "No",
                "balance_must_be": "",
                "include_in_gross": 0,
            },
            links={
                "parent_account": Link(doctype="Account", label="Parent Account"),
                "company": _COMPANY,
                "account_currency": Link(doctype="Currency", label="Currency"),
            },
            selects={"account_type": Select(label="Account Type", options=ACCOUNT_TYPES)},
            tree_parent="parent_account",
            disabling=True,
        ),
        DocType(
            name="Cost Center",
            naming="#",
            columns={
                "cost_center_name": None,
                "parent_cost_center": None,
                "company": None,
                "is_group": 0,
                "disabled": 0,
            },
            links={
                "parent_cost_center": Link(doctype="Cost Center", label="Parent Cost Center"),
                "company": _COMPANY,
            },
            tree_parent="parent_cost_center",
            disabling=True,
        ),
        DocType(
            name="Warehouse",
            naming="#",
            columns={
                "disabled": 0,
                "warehouse_name": None,
                "is_group": 0,
                "parent_warehouse": None,
                "is_rejected_warehouse": 0,
                "account": None,
                "company": None,
                "warehouse_type": None,
            },
            links={
                "parent_warehouse": Link(doctype="Warehouse", label="Parent Warehouse"),
                "company": _COMPANY,
                "account": Link(doctype="Account", label="Account"),
                "warehouse_type": Link(doctype="Warehouse Type", label="Warehouse Type"),
            },
            tree_parent="parent_warehouse",
            disabling=True,
        ),
        *(
            DocType(
                name=name,
                columns={"title": None, "company": None, "is_default": 0, "disabled": 0},
                links={"company": _COMPANY},
            )
            for name in (
                "Sales Taxes and Charges Template",
                "Purchase Taxes and Charges Template",
                "Item Tax Template",
            )
        ),
    ]
