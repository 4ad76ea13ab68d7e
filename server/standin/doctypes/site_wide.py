"""Doctypes that the whole site shares: countries, units, years, groups, settings."""

from __future__ import annotations

from server.standin.packaged import data
from server.standin.schema import DocType, Link, Select, Table

_DEFAULTS = data("defaults.json")
_COMPANY = Link(doctype="Company", label="Company")


def doctypes() -> list[DocType]:
    """List them in the order a refusal to delete looks through them."""
    return [
        DocType(
            name="Country",
            naming="country_name",
            columns={"country_name": None, "code": None, "time_zones": None, "date_format": None},
        ),
        DocType(
            name="Currency",
            naming="currency_name",
            columns={
                "currency_name": None,
                "enabled": 0,
                "fraction": None,
                "fraction_units": 0,
                "smallest_currency_fraction_value": 0.0,
                "symbol": None,
                "symbol_on_right": 0,
                "number_format": "#,###.##",
            },
        ),
        DocType(
            name="User",
            columns=_DEFAULTS["User"],
            required={"email": "Email", "first_name": "First Name"},
            tables={"roles": Table(doctype="Has Role", label="Roles")},
            disabling=True,
        ),
        DocType(name="Has Role", columns={"role": None}, row=True),
        DocType(name="Tax Category", naming="title", columns={"title": None, "disabled": 0}),
        DocType(name="Warehouse Type", columns={"description": None}),
        DocType(
            name="UOM",
            naming="uom_name",
            naming_label="UOM Name",
            columns={"enabled": 1, "uom_name": None, "must_be_whole_number": 0},
            by_creation=True,
        ),
        DocType(
            name="Fiscal Year",
            naming="year",
            naming_label="Year Name",
            columns={
                "year": None,
                "disabled": 0,
                "is_short_year": 0,
                "year_start_date": None,
                "year_end_date": None,
                "auto_created": 0,
            },
            required={"year_start_date": "Year Start Date", "year_end_date": "Year End Date"},
            tables={"companies": Table(doctype="Fiscal Year Company", label="Companies")},
        ),
        DocType(
            name="Fiscal Year Company",
            columns={"company": None},
            links={"company": _COMPANY},
            row=True,
        ),
        *_settings(),
        *_groups(),
    ]


def _settings() -> list[DocType]:
    return [
        DocType(
            name="Selling Settings",
            columns=_DEFAULTS["Selling Settings"],
            links={
                "selling_price_list": Link(doctype="Price List", label="Default Price List"),
                "customer_group": Link(doctype="Customer Group", label="Default Customer Group"),
                "territory": Link(doctype="Territory", label="Default Territory"),
            },
            selects={
                "cust_master_name": Select(
                    label="Customer Naming By",
                    options=("Customer Name", "Naming Series", "Auto Name"),
                )
            },
            single=True,
        ),
        DocType(
            name="Stock Settings",
            columns=_DEFAULTS["Stock Settings"],
            links={
                "default_warehouse": Link(doctype="Warehouse", label="Default Warehouse"),
                "stock_uom": Link(doctype="UOM", label="Default Stock UOM"),
            },
            selects={
                "item_naming_by": Select(
                    label="Item Naming By", options=("Item Code", "Naming Series")
                )
            },
            single=True,
        ),
    ]


def _groups() -> list[DocType]:
    return [
        DocType(
            name=name,
            naming=f"{name.lower().replace(' ', '_')}_name",
            naming_label=f"{name} Name",
            columns={
                f"{name.lower().replace(' ', '_')}_name": None,
                (parent := f"parent_{name.lower().replace(' ', '_')}"): None,
                "is_group": 0,
            },
            links={parent: Link(doctype=name, label=f"Parent {name}")},
            tree_parent=parent,
            empty_tables=empty,
        )
        for name, empty in (
            ("Item Group", ("taxes", "item_group_defaults")),
            ("Customer Group", ("credit_limits", "accounts")),
            ("Territory", ("targets",)),
        )
    ]
