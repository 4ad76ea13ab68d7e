"""Decides who may do what: guests nothing, users what their roles allow.

Facts: 01-permissions-system-manager-only, 02-company-list-no-token, 02-company-create-no-token,
02-company-creates-by-itself (Department), 05-settings-no-permission. Only what the recordings
show: by default the caller has every role the product asks for.
"""

from __future__ import annotations

from server.standin import errors

GUEST = "Guest"
_STOCK = frozenset({"Stock Manager", "Item Manager"})
_SALES = frozenset({"Sales Manager", "Sales Master Manager"})
_ACCOUNTS = frozenset({"Accounts Manager"})
# Doctypes that System Manager alone may not write; any of these roles may.
_WRITERS = {
    "Warehouse": _STOCK,
    "UOM": _STOCK,
    "Item": _STOCK,
    "Item Group": _STOCK,
    "Item Price": _SALES,
    "Price List": _SALES,
    "Customer": _SALES,
    "Customer Group": _SALES,
    "Territory": _SALES,
    "Account": _ACCOUNTS,
    "Mode of Payment": _ACCOUNTS,
    "Mode of Payment Account": _ACCOUNTS,
    "Fiscal Year": _ACCOUNTS,
    "POS Profile": _ACCOUNTS,
    "Stock Settings": _STOCK,
    "Selling Settings": _SALES | {"System Manager"},
    "Company": _ACCOUNTS | {"System Manager"},
    "User": frozenset({"System Manager"}),
}
# Reading Stock Settings is how the product finds out that stock roles are missing.
_READERS = {
    "Stock Settings": _STOCK | {"Stock User", "Sales User"},
    "Selling Settings": _SALES | {"System Manager"},
}
# A user without any of these reads it without its fields, and stores none (the recorded
# System Manager of 01-permissions-system-manager-only).
_SEES_FIELDS = {"Selling Settings": _SALES}
_NOBODY = frozenset({"Department"})
_READS = frozenset({"GET", "HEAD"})


def sees_fields(roles: frozenset[str] | None, doctype: str) -> bool:
    """Tell whether a user who may read a document also reads and stores its fields.

    Args:
        roles: The user's roles; None means all of them.
        doctype: The document's doctype.
    """
    return roles is None or bool(_SEES_FIELDS.get(doctype, roles) & roles)


def check(
    user: str, roles: frozenset[str] | None, doctype: str, method: str, *, document: bool = False
) -> None:
    """Refuse what the user may not do, with a 403.

    Args:
        user: The user who asks.
        roles: The user's roles; None means all of them.
        doctype: The doctype of what is asked for.
        method: The HTTP method.
        document: Whether a single document is asked for; the refusal is then worded differently.

    Raises:
        EngineError: the user may not do that.
    """
    reading = method in _READS
    allowed = user != GUEST and doctype not in _NOBODY
    if roles is not None:
        needed = (_READERS if reading else _WRITERS).get(doctype, roles)
        allowed = allowed and bool(needed & roles)
    if allowed:
        return
    if reading:
        raise errors.not_allowed_to_read(user, doctype, document=document)
    raise errors.not_allowed_to_write(user, doctype)
