"""Means of payment of a tenant: the account each should have, and keys for their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.erpnext.company import Company

# Its account and its row come with the Company (recording 08-mode-of-payment-cash-get).
CASH = "Cash"


def account_name(company: Company, method: str) -> str:
    """Return the leaf account that a means of payment books on."""
    if method == CASH:
        return company.defaults["default_cash_account"]
    return company.names.with_suffix(method)


def row_key(company: Company, method: str) -> str:
    """Return our key for a row of Mode of Payment Account.

    ERPNext makes up the names of rows, so they cannot be known before; there is one row for
    each means of payment and Company.
    """
    return f"{method} / {company.name}"
