"""Which role of ERPNext opens which doctype, to be named where it is missing.

System Manager alone may make Companies and opening entries, but hardly anything else a
tenant needs (recording 01-permissions-system-manager-only).
"""

from __future__ import annotations

_ROLES = {
    "Account": "Accounts Manager",
    "Company": "System Manager",
    "Country": "System Manager",
    "Cost Center": "Accounts Manager",
    "Customer": "Sales Master Manager",
    "Customer Group": "Sales Master Manager",
    "Fiscal Year": "System Manager",
    "Item": "Item Manager",
    "Item Group": "Item Manager",
    "Item Price": "Sales Master Manager",
    "Mode of Payment": "Accounts Manager",
    "Mode of Payment Account": "Accounts Manager",
    "POS Opening Entry": "System Manager",
    "POS Profile": "Accounts Manager",
    "Price List": "Sales Master Manager",
    "Selling Settings": "System Manager",
    "Stock Settings": "Stock Manager",
    "Territory": "Sales Master Manager",
    "UOM": "Item Manager",
    "Warehouse": "Stock Manager",
    "Warehouse Type": "Stock Manager",
}


def role_for(doctype: str) -> str:
    """Return the role that opens a doctype, in words."""
    return _ROLES.get(doctype, "System Manager")
