"""The rules of single doctypes for documents without a till: naming, checking, what follows.

Each function imitates one controller of ERPNext as far as the recordings of its doctype show it
(03-account-create-bad, 04-warehouse-create-bad, 05-fiscal-year-*, 06-*, 07-*, 09-user-create);
those of tills and payments are in `till_rules.py`. A rule changes nothing but the document it is
given, except those that run after the document was stored. One that is broken is raised as
`errors.EngineError`.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING

from server.standin import company, errors
from server.standin.naming import fold
from server.standin.site import API_USER, TIME_ZONE

if TYPE_CHECKING:
    from server.standin.schema import Document
    from server.standin.site import Site

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")


def name_account(site: Site, account: Document) -> str:
    """Return the name: the suffix is always added (03-account-create-bad)."""
    if account["account_name"] is None:
        raise _attribute_error("strip")
    number = f"{account['account_number']} - " if account["account_number"] else ""
    return f"{number}{account['account_name'].strip()} - {_abbr(site, account)}"


def name_warehouse(site: Site, warehouse: Document) -> str:
    """Return the name: the suffix is added unless it is there (04-warehouse-create-with-suffix)."""
    title = warehouse["warehouse_name"]
    if title is None:
        raise _attribute_error("endswith")
    suffix = f" - {_abbr(site, warehouse)}"
    return str(title) if title.endswith(suffix) else f"{title}{suffix}"


def name_cost_center(site: Site, center: Document) -> str:
    """Return the name, made as an account's."""
    return f"{center['cost_center_name']} - {_abbr(site, center)}"


def name_user(_site: Site, user: Document) -> str:
    """Return the name: the e-mail address (09-user-create)."""
    if user["email"] is None:
        raise _attribute_error("strip", source=None)
    if not _EMAIL.fullmatch(user["email"]):
        text = f"{user['email']} is not a valid Email Address"
        raise errors.refused(text, "InvalidEmailAddressError")
    return str(user["email"]).lower()


def name_customer(site: Site, customer: Document) -> str:
    """Return the name: one that is taken gets a number (06-customer-create-again)."""
    title = customer["customer_name"]
    if not title:
        return f"CUST-{site.today()[:4]}-00001"
    if site.find("Customer", title) is None:
        return str(title)
    pattern = re.compile(re.escape(fold(title)) + r" - (\d+)")
    found = (pattern.fullmatch(fold(d["name"])) for d in site.every("Customer"))
    return f"{title} - {max((int(m[1]) for m in found if m), default=0) + 1}"


def name_row(site: Site, _document: Document) -> str:
    """Return a name without meaning."""
    return site.row_name()


def validate_account(site: Site, account: Document) -> None:
    """Check the parent, and fill in what follows from it and from the Company."""
    parent = site.find("Account", account["parent_account"]) if account["parent_account"] else None
    if parent is None:
        if not account["is_group"]:
            raise errors.refused_by_erpnext(
                f"The root account <strong>{account['name']}</strong> must be a group"
            )
    else:
        _validate_parent_account(account, parent)
        account["root_type"] = parent["root_type"]
        account["report_type"] = parent["report_type"]
    if not account["account_currency"]:
        owner = site.find("Company", account["company"])
        account["account_currency"] = owner["default_currency"] if owner else None
    account["account_type"] = account["account_type"] or ""


def _validate_parent_account(account: Document, parent: Document) -> None:
    told = f"Account {account['name']}: Parent account {parent['name']}"
    if not parent["is_group"]:
        raise errors.refused_by_erpnext(f"{told} can not be a ledger")
    if fold(parent["company"]) != fold(account["company"]):
        raise errors.refused_by_erpnext(f"{told} does not belong to company: {account['company']}")


def validate_fiscal_year(site: Site, year: Document) -> None:
    """Check dates and overlaps (05-fiscal-year-bad, 05-fiscal-year-colliding)."""
    start, end = _date(year["year_start_date"]), _date(year["year_end_date"])
    if start is not None and end is not None and end < start:
        raise errors.refused_by_erpnext(
            "<strong>Year End Date</strong> must be after <strong>Year Start Date</strong>",
            "InvalidDates",
        )
    if not year["is_short_year"] and (start is None or end != _a_year_later(start)):
        raise errors.refused_by_erpnext(
            "Fiscal Year End Date should be one year after Fiscal Year Start Date", "InvalidDates"
        )
    for other in site.every("Fiscal Year"):
        if fold(other["name"]) != fold(year["name"]) and _overlap(year, other):
            raise errors.refused_by_erpnext(
                f"Year start date or end date is overlapping with {other['name']}. "
                "To avoid please set company",
                "NameError",
                status=409,
            )


def _overlap(year: Document, other: Document) -> bool:
    if year["year_end_date"] < other["year_start_date"]:
        return False
    if year["year_start_date"] > other["year_end_date"]:
        return False
    ours = {fold(row["company"]) for row in year["companies"]}
    theirs = {fold(row["company"]) for row in other["companies"]}
    return not ours or not theirs or bool(ours & theirs)


def _a_year_later(start: date) -> date:
    try:
        return start.replace(year=start.year + 1) - timedelta(days=1)
    except ValueError:  # 29 February
        return start.replace(year=start.year + 1, day=28)


def _date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        return None


def validate_price_list(site: Site, price_list: Document) -> None:
    """It must be of use; its prices follow its currency (06-price-list-other-currency)."""
    if not price_list["selling"] and not price_list["buying"]:
        raise errors.refused_by_erpnext("Price List must be applicable for Buying or Selling")
    for price in site.every("Item Price"):
        if fold(price["price_list"]) == fold(price_list["name"]):
            price["currency"] = price_list["currency"]


def validate_item(site: Site, item: Document) -> None:
    """Check the defaults of each Company, and describe the item (07-item-create-bad)."""
    item["item_name"] = item["item_name"] or item["item_code"]
    item["description"] = item["description"] or item["item_name"]
    if not item["item_defaults"]:
        row = {
            "company": site.default_company,
            "default_warehouse": (site.find("Stock Settings", "Stock Settings") or {}).get(
                "default_warehouse"
            ),
        }
        item["item_defaults"] = site.table(item, "item_defaults", [row])
    companies = [fold(row["company"]) for row in item["item_defaults"]]
    if len(set(companies)) < len(companies):
        raise errors.refused_by_erpnext("Cannot set multiple Item Defaults for a company.")
    for row in item["item_defaults"]:
        name = row["default_warehouse"]
        warehouse = site.find("Warehouse", name) if name else None
        if warehouse is not None and fold(warehouse["company"]) != fold(row["company"]):
            raise errors.refused_by_erpnext(
                f"Row #{row['idx']}: Warehouse <strong>{name}</strong> doesn't belong to Company "
                f"<strong>{row['company']}</strong>. Please select valid "
                "<strong>Default Warehouse</strong>.",
                title="Invalid Item Defaults",
            )
    if not item["uoms"]:
        unit = {"uom": item["stock_uom"], "conversion_factor": 1.0}
        item["uoms"] = site.table(item, "uoms", [unit])


def after_item(site: Site, item: Document) -> None:
    """Make a price from a standard rate (07-item-price-after-standard-rate)."""
    if not item["standard_rate"]:
        return
    price = site.new(
        "Item Price",
        {
            "item_code": item["name"],
            "price_list": "Standard Selling",
            "price_list_rate": item["standard_rate"],
        },
    )
    price["name"] = site.row_name()
    validate_item_price(site, price)
    site.add(price)


def validate_item_price(site: Site, price: Document) -> None:
    """Fill in what item and list say; refuse the same price twice (07-item-price-create)."""
    item = site.find("Item", price["item_code"]) or {}
    price_list = site.find("Price List", price["price_list"]) or {}
    price["item_name"] = item.get("item_name")
    price["item_description"] = item.get("description")
    price["uom"] = price["uom"] or item.get("stock_uom")
    for field in ("buying", "selling", "currency"):
        price[field] = price_list.get(field)
    price["valid_from"] = price["valid_from"] or site.today()
    same = ("item_code", "price_list", "uom", "customer", "valid_from", "valid_upto")
    for other in site.every("Item Price"):
        if other["name"] == price["name"]:
            continue
        if all(fold(other[f] or "") == fold(price[f] or "") for f in same):
            raise _price_twice()


def _price_twice() -> errors.EngineError:
    text = (
        "Item Price appears multiple times based on Price List, Supplier/Customer, Currency, Item, "
        "Batch, UOM, Qty, and Dates."
    )
    return errors.refused_by_erpnext(
        text,
        "ItemPriceDuplicateItem",
        path="erpnext.stock.doctype.item_price.item_price",
    )


def validate_node(site: Site, node: Document) -> None:
    """Put a group without a parent below the root (06-territory-create)."""
    field = f"parent_{node['doctype'].lower().replace(' ', '_')}"
    if not node[field]:
        roots = [d for d in site.every(node["doctype"]) if not d[field] and d["is_group"]]
        if roots and fold(roots[0]["name"]) != fold(node["name"]):
            node[field] = node["old_parent"] = roots[0]["name"]


def validate_user(_site: Site, user: Document) -> None:
    """Fill in what follows from the name (09-user-create)."""
    names = (user["first_name"], user["last_name"])
    user["full_name"] = " ".join(name for name in names if name)
    user["time_zone"] = TIME_ZONE


def after_company(site: Site, made: Document) -> None:
    """Make what comes with a Company: accounts and more."""
    company.make_belongings(site, made, owner=API_USER)


def _abbr(site: Site, document: Document) -> str:
    owner = site.find("Company", document["company"]) or {}
    return str(owner.get("abbr"))


def _attribute_error(name: str, source: str | None = errors.ERPNEXT) -> errors.EngineError:
    text = f"AttributeError: 'NoneType' object has no attribute '{name}'"
    return errors.crashed("AttributeError", text, source=source)
