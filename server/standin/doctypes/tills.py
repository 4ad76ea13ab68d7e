"""Doctypes of payments and tills."""

from __future__ import annotations

from server.standin.packaged import data
from server.standin.schema import DocType, Link, Select, Table

_DEFAULTS = data("defaults.json")
_COMPANY = Link(doctype="Company", label="Company")


def doctypes() -> list[DocType]:
    """List them in the order a refusal to delete looks through them."""
    payment = Link(doctype="Mode of Payment", label="Mode of Payment")
    return [
        DocType(
            name="POS Opening Entry",
            naming="#",
            columns={
                "period_start_date": None,
                "period_end_date": None,
                "status": "Draft",
                "posting_date": None,
                "set_posting_date": 0,
                "company": None,
                "pos_profile": None,
                "pos_closing_entry": None,
                "user": None,
                "amended_from": None,
            },
            required={"period_start_date": "Period Start Date"},
            links={
                "company": _COMPANY,
                "pos_profile": Link(doctype="POS Profile", label="POS Profile"),
                "user": Link(doctype="User", label="Cashier"),
            },
            tables={
                "balance_details": Table(
                    doctype="POS Opening Entry Detail",
                    label="Opening Balance Details",
                    required=True,
                )
            },
        ),
        DocType(
            name="Mode of Payment",
            naming="mode_of_payment",
            naming_label="Mode of Payment",
            columns={"mode_of_payment": None, "enabled": 1, "type": None},
            selects={"type": Select(label="Type", options=("Cash", "Bank", "General", "Phone"))},
            tables={"accounts": Table(doctype="Mode of Payment Account", label="Accounts")},
        ),
        DocType(
            name="Mode of Payment Account",
            columns={"company": None, "default_account": None},
            links={
                "company": _COMPANY,
                "default_account": Link(doctype="Account", label="Default Account"),
            },
            row=True,
        ),
        DocType(
            name="POS Profile",
            columns=_DEFAULTS["POS Profile"],
            required={
                "company": "Company",
                "warehouse": "Warehouse",
                "write_off_account": "Write Off Account",
                "write_off_cost_center": "Write Off Cost Center",
            },
            links={
                "company": _COMPANY,
                "customer": Link(doctype="Customer", label="Customer"),
                "warehouse": Link(doctype="Warehouse", label="Warehouse"),
                "selling_price_list": Link(doctype="Price List", label="Price List"),
                "currency": Link(doctype="Currency", label="Currency"),
                "write_off_account": Link(doctype="Account", label="Write Off Account"),
                "write_off_cost_center": Link(doctype="Cost Center", label="Write Off Cost Center"),
            },
            tables={
                "payments": Table(doctype="POS Payment Method", label="Payment Methods"),
                "applicable_for_users": Table(
                    doctype="POS Profile User", label="Applicable for Users"
                ),
            },
            empty_tables=("item_groups", "customer_groups"),
            disabling=True,
        ),
        DocType(
            name="POS Payment Method",
            columns={"default": 0, "allow_in_returns": 0, "mode_of_payment": None},
            links={"mode_of_payment": payment},
            row=True,
        ),
        DocType(
            name="POS Profile User",
            columns={"default": 0, "user": None},
            links={"user": Link(doctype="User", label="User")},
            row=True,
        ),
        DocType(
            name="POS Opening Entry Detail",
            columns={"mode_of_payment": None, "opening_amount": 0.0},
            links={"mode_of_payment": payment},
            row=True,
        ),
    ]
