"""Which ERPNext role opens which doctype, so that an error can name the role that is missing.

A user with only System Manager may make Companies and opening entries, but hardly anything else
that a tenant needs (recording 01-permissions-system-manager-only).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

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


# The roles that the API user needs: one of each group (docs/erpnext.md).
NEEDED_ROLES: tuple[tuple[str, ...], ...] = (
    ("System Manager",),
    ("Accounts Manager",),
    ("Stock Manager",),
    ("Sales Master Manager", "Sales Manager"),
    ("Item Manager",),
)


def missing_roles(has: Collection[str]) -> list[str]:
    """Return the roles that an API user lacks: the first of each group of which it has none."""
    return [group[0] for group in NEEDED_ROLES if not set(group) & set(has)]


def role_for(doctype: str) -> str:
    """Return the name of the role that opens a doctype; System Manager for one not known here."""
    return _ROLES.get(doctype, "System Manager")
