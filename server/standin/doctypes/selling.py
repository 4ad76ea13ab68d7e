"""Doctypes of what is sold and to whom; their documents belong to no Company."""

from __future__ import annotations

from server.standin.packaged import data
from server.standin.schema import DocType, Link, Table

_DEFAULTS = data("defaults.json")
_COMPANY = Link(doctype="Company", label="Company")


def doctypes() -> list[DocType]:
    """List them in the order a refusal to delete looks through them."""
    return [
        DocType(
            name="Price List",
            naming="price_list_name",
            naming_label="Price List Name",
            columns={
                "enabled": 1,
                "price_list_name": None,
                "currency": None,
                "buying": 0,
                "selling": 0,
                "price_not_uom_dependent": 0,
            },
            required={"currency": "Currency"},
            links={"currency": Link(doctype="Currency", label="Currency")},
            empty_tables=("countries",),
            disabling=True,
        ),
        DocType(
            name="Customer",
            naming="#",
            columns=_DEFAULTS["Customer"],
            required={"customer_name": "Customer Name", "customer_type": "Customer Type"},
            links={
                "customer_group": Link(doctype="Customer Group", label="Customer Group"),
                "territory": Link(doctype="Territory", label="Territory"),
            },
            empty_tables=("credit_limits", "accounts", "portal_users", "sales_team", "companies"),
            disabling=True,
        ),
        DocType(
            name="Item",
            naming="item_code",
            naming_label="Item Code",
            columns=_DEFAULTS["Item"],
            required={"item_group": "Item Group", "stock_uom": "Default Unit of Measure"},
            links={
                "item_group": Link(doctype="Item Group", label="Item Group"),
                "stock_uom": Link(doctype="UOM", label="Default Unit of Measure"),
            },
            tables={
                "item_defaults": Table(doctype="Item Default", label="Item Defaults"),
                "uoms": Table(doctype="UOM Conversion Detail", label="UOMs"),
            },
            empty_tables=(
                "taxes",
                "barcodes",
                "customer_items",
                "attributes",
                "supplier_items",
                "reorder_levels",
            ),
            disabling=True,
        ),
        DocType(
            name="Item Default",
            columns={"company": None, "default_warehouse": None},
            links={
                "company": _COMPANY,
                "default_warehouse": Link(doctype="Warehouse", label="Default Warehouse"),
            },
            row=True,
        ),
        DocType(
            name="UOM Conversion Detail",
            columns={"uom": None, "conversion_factor": 1.0},
            links={"uom": Link(doctype="UOM", label="UOM")},
            row=True,
        ),
        DocType(
            name="Item Price",
            naming="#",
            columns={
                "item_code": None,
                "uom": None,
                "packing_unit": 0,
                "item_name": None,
                "item_description": None,
                "price_list": None,
                "customer": None,
                "buying": 0,
                "selling": 0,
                "currency": None,
                "price_list_rate": 0.0,
                "valid_from": None,
                "valid_upto": None,
                "lead_time_days": 0,
            },
            required={
                "item_code": "Item Code",
                "price_list": "Price List",
                "price_list_rate": "Rate",
            },
            links={
                "item_code": Link(doctype="Item", label="Item Code"),
                "price_list": Link(doctype="Price List", label="Price List"),
                "uom": Link(doctype="UOM", label="UOM"),
                "customer": Link(doctype="Customer", label="Customer"),
            },
        ),
    ]
