"""Doctypes of the ledger: what a shop leaves once it has sold, and what clears that away."""

from __future__ import annotations

from server.standin.schema import DocType, Link, Table

_COMPANY = Link(doctype="Company", label="Company")
_RECORD = "Transaction Deletion Record"


def doctypes() -> list[DocType]:
    """List them in the order a refusal to delete looks through them."""
    return [
        DocType(
            name="Sales Invoice",
            naming="#",
            columns={
                "title": None,
                "customer": None,
                "customer_name": None,
                "company": None,
                "posting_date": None,
                "due_date": None,
                "is_pos": 0,
                "pos_profile": None,
                "currency": None,
                "conversion_rate": 1.0,
                "selling_price_list": None,
                "total": 0.0,
                "grand_total": 0.0,
                "territory": None,
                "debit_to": None,
                "customer_group": None,
                "status": "Draft",
            },
            required={"customer": "Customer", "company": "Company", "debit_to": "Debit To"},
            links={
                "customer": Link(doctype="Customer", label="Customer"),
                "company": _COMPANY,
                "pos_profile": Link(doctype="POS Profile", label="POS Profile"),
                "currency": Link(doctype="Currency", label="Currency"),
                "selling_price_list": Link(doctype="Price List", label="Price List"),
                "territory": Link(doctype="Territory", label="Territory"),
                "debit_to": Link(doctype="Account", label="Debit To"),
                "customer_group": Link(doctype="Customer Group", label="Customer Group"),
            },
            tables={"items": Table(doctype="Sales Invoice Item", label="Items", required=True)},
        ),
        DocType(
            name="Sales Invoice Item",
            columns={
                "item_code": None,
                "item_name": None,
                "item_group": None,
                "qty": 0.0,
                "rate": 0.0,
                "amount": 0.0,
                "warehouse": None,
                "income_account": None,
                "cost_center": None,
            },
            links={
                "item_code": Link(doctype="Item", label="Item"),
                "item_group": Link(doctype="Item Group", label="Item Group"),
                "warehouse": Link(doctype="Warehouse", label="Warehouse"),
                "income_account": Link(doctype="Account", label="Income Account"),
                "cost_center": Link(doctype="Cost Center", label="Cost Center"),
            },
            row=True,
        ),
        # Not recorded: a sale at a till that is still open, booked when that till is closed.
        DocType(
            name="POS Invoice",
            columns={
                "customer": None,
                "company": None,
                "posting_date": None,
                "pos_profile": None,
                "grand_total": 0.0,
                "status": "Draft",
            },
            required={"customer": "Customer", "company": "Company"},
            links={
                "customer": Link(doctype="Customer", label="Customer"),
                "company": _COMPANY,
                "pos_profile": Link(doctype="POS Profile", label="POS Profile"),
            },
        ),
        DocType(
            name="GL Entry",
            naming="#",
            columns={
                "posting_date": None,
                "account": None,
                "company": None,
                "cost_center": None,
                "debit": 0.0,
                "credit": 0.0,
                "voucher_type": None,
                "voucher_no": None,
                "is_cancelled": 0,
            },
            links={
                "company": _COMPANY,
                "account": Link(doctype="Account", label="Account"),
                "cost_center": Link(doctype="Cost Center", label="Cost Center"),
            },
        ),
        DocType(
            name="Payment Ledger Entry",
            naming="#",
            columns={
                "posting_date": None,
                "account": None,
                "company": None,
                "amount": 0.0,
                "voucher_type": None,
                "voucher_no": None,
                "delinked": 0,
            },
            links={"company": _COMPANY, "account": Link(doctype="Account", label="Account")},
        ),
        DocType(
            name=_RECORD,
            naming="#",
            columns={
                "company": None,
                "status": "",
                "error_log": None,
                "delete_bin_data": 0,
                "delete_leads_and_addresses": 0,
                "reset_company_default_values": 0,
                "clear_notifications": 0,
                "initialize_doctypes_table": 0,
                "delete_transactions": 0,
                "amended_from": None,
                "process_in_single_transaction": 0,
            },
            required={"company": "Company"},
            links={"company": _COMPANY},
            tables={
                "doctypes_to_be_ignored": Table(
                    doctype=f"{_RECORD} Item", label="DocTypes to be ignored"
                ),
                "doctypes": Table(doctype=f"{_RECORD} Details", label="DocTypes"),
            },
        ),
        DocType(name=f"{_RECORD} Item", columns={"doctype_name": None}, row=True),
        DocType(
            name=f"{_RECORD} Details",
            columns={"doctype_name": None, "docfield_name": None, "no_of_docs": 0, "done": 0},
            row=True,
        ),
    ]
