"""A shop with sales: its invoices post to the ledger, which prevents deleting its Company.

Facts: 10-sales-invoice-create-submitted, 10-delete-account-with-ledger,
10-delete-company-with-ledger, 10-delete-company-after-cancelled-invoice,
10-transaction-deletion-record. An invoice that is cancelled leaves its entries behind, and adds
their reversal. Only a Transaction Deletion Record removes them: submitting it starts
nothing, `start_deletion_tasks` does, and a background worker takes its time over it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.standin import errors
from server.standin.catalogue import DOCTYPES
from server.standin.naming import fold
from server.standin.site import API_USER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from server.standin.schema import DocType, Document
    from server.standin.site import Site

RECORD = "Transaction Deletion Record"
QUEUED, RUNNING, COMPLETED = "Queued", "Running", "Completed"
_SUBMITTED = 1
# What a deletion record leaves alone, in ERPNext's own order.
_LEFT = (
    "Account",
    "Cost Center",
    "Warehouse",
    "Budget",
    "Party Account",
    "Employee",
    "Sales Taxes and Charges Template",
    "Purchase Taxes and Charges Template",
    "POS Profile",
    "BOM",
    "Company",
    "Bank Account",
    "Item Tax Template",
    "Mode of Payment",
    "Mode of Payment Account",
    "Item Default",
    "Customer",
    "Supplier",
)
_TASKS = (
    "delete_bin_data",
    "delete_leads_and_addresses",
    "reset_company_default_values",
    "clear_notifications",
    "initialize_doctypes_table",
    "delete_transactions",
)


def name_invoice(site: Site, _invoice: Document) -> str:
    """Return the next number of the year (10-sales-invoice-create-submitted)."""
    return _numbered(site, "Sales Invoice", f"ACC-SINV-{site.today()[:4]}-", 5)


def name_record(site: Site, _record: Document) -> str:
    """Return the next number (10-transaction-deletion-record)."""
    return _numbered(site, RECORD, "TDL", 4)


def validate_invoice(site: Site, invoice: Document) -> None:
    """Fill in what follows from the customer and the items."""
    customer = site.find("Customer", invoice["customer"] or "") or {}
    invoice["title"] = invoice["customer_name"] = customer.get("customer_name")
    for field in ("customer_group", "territory"):
        invoice[field] = invoice[field] or customer.get(field)
    invoice["posting_date"] = invoice["posting_date"] or site.today()
    for row in invoice["items"]:
        item = site.find("Item", row["item_code"] or "") or {}
        row["item_name"], row["item_group"] = item.get("item_name"), item.get("item_group")
        row["amount"] = row["qty"] * row["rate"]
    invoice["total"] = invoice["grand_total"] = sum(row["amount"] for row in invoice["items"])


def post_invoice(site: Site, invoice: Document) -> None:
    """Book a submitted invoice: what the customer owes, against the income of each row."""
    total = invoice["grand_total"]
    _book(site, invoice, invoice["debit_to"], debit=total)
    for row in invoice["items"]:
        _book(site, invoice, row["income_account"], credit=row["amount"], center=row["cost_center"])
    _add(
        site,
        "Payment Ledger Entry",
        account=invoice["debit_to"],
        amount=total,
        **_voucher(invoice),
    )


def reverse_invoice(site: Site, invoice: Document) -> None:
    """Book a cancelled invoice back; the entries stay, marked."""
    for entry in [e for e in site.every("GL Entry") if e["voucher_no"] == invoice["name"]]:
        entry["is_cancelled"] = 1
        _book(
            site,
            invoice,
            entry["account"],
            debit=entry["credit"],
            credit=entry["debit"],
            center=entry["cost_center"],
            is_cancelled=1,
        )


def has_entries(site: Site, company: Document) -> bool:
    """Tell whether anything was ever booked for a Company."""
    return any(True for _ in _of(site, "GL Entry", company["name"]))


def is_booked(site: Site, account: Document) -> bool:
    """Tell whether anything was ever booked on an account."""
    wanted = fold(account["name"])
    return any(fold(entry["account"]) == wanted for entry in site.every("GL Entry"))


def queue_record(site: Site, record: Document) -> None:
    """Submit a deletion record: it waits to be started."""
    record["status"] = QUEUED
    rows: list[Mapping[str, object]] = [{"doctype_name": name} for name in _LEFT]
    record["doctypes_to_be_ignored"] = site.table(record, "doctypes_to_be_ignored", rows)


def check_queue(site: Site, record: Document) -> None:
    """Refuse a second submitted record while one is queued or runs.

    Raises:
        EngineError: there is one of the same Company.
    """
    if record["docstatus"] != _SUBMITTED:
        return
    for other in _of(site, RECORD, record["company"]):
        if other["name"] != record["name"] and other["status"] in {QUEUED, RUNNING}:
            url = f"http://{site.name}/app/transaction-deletion-record/{other['name']}"
            raise errors.refused_by_erpnext(
                f'Cannot enqueue multi docs for one company. <a href="{url}">{other["name"]}</a> '
                f"is already queued/running for company: <strong>{record['company']}</strong>"
            )


def start_record(site: Site, record: Document) -> None:
    """Hand a submitted record to the background worker; any other is left as it is."""
    if record["docstatus"] == _SUBMITTED and record["status"] == QUEUED:
        record["status"] = RUNNING
        site.touch(record)


def finish_record(site: Site, record: Document) -> None:
    """Do the background worker's work: remove everything booked for the Company.

    A record that does not run is left as it is.
    """
    if record["status"] != RUNNING:
        return
    done: list[Mapping[str, object]] = []
    for kind in _transactions():
        found = list(_of(site, kind.name, record["company"]))
        for document in found:
            site.remove(document)
        if found:
            row = {"doctype_name": kind.name, "docfield_name": "company"}
            done.append({**row, "no_of_docs": len(found), "done": 1})
    record["doctypes"] = site.table(record, "doctypes", done)
    record.update(dict.fromkeys(_TASKS, 1), status=COMPLETED)
    site.touch(record)


def _transactions() -> Iterator[DocType]:
    for kind in DOCTYPES.values():
        link = kind.links.get("company")
        if link is not None and not kind.row and kind.name not in {*_LEFT, RECORD}:
            yield kind


def _of(site: Site, doctype: str, company: str) -> Iterator[Document]:
    wanted = fold(company)
    return (each for each in site.every(doctype) if fold(each["company"] or "") == wanted)


def _book(
    site: Site,
    invoice: Document,
    account: str | None,
    *,
    debit: float = 0.0,
    credit: float = 0.0,
    center: str | None = None,
    is_cancelled: int = 0,
) -> None:
    _add(
        site,
        "GL Entry",
        account=account,
        debit=debit,
        credit=credit,
        cost_center=center,
        is_cancelled=is_cancelled,
        **_voucher(invoice),
    )


def _voucher(invoice: Document) -> Document:
    return {
        "company": invoice["company"],
        "posting_date": invoice["posting_date"],
        "voucher_type": invoice["doctype"],
        "voucher_no": invoice["name"],
    }


def _add(site: Site, doctype: str, **values: object) -> None:
    entry = {**values, "name": site.row_name(), "docstatus": _SUBMITTED}
    site.add(site.new(doctype, entry, owner=API_USER))


def _numbered(site: Site, doctype: str, prefix: str, digits: int) -> str:
    numbers = (d["name"].removeprefix(prefix) for d in site.every(doctype))
    used = max((int(number) for number in numbers if number.isdecimal()), default=0)
    return f"{prefix}{used + 1:0{digits}d}"
