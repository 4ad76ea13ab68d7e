"""A tenant's means of payment: the account each should have, and keys for their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.erpnext.company import Company

# ERPNext makes its account and its row with the Company (recording
# 08-mode-of-payment-cash-get).
CASH = "Cash"


def account_name(company: Company, method: str) -> str:
    """Return the leaf account that a means of payment is booked to.

    Args:
        company: The tenant's Company.
        method: A Mode of Payment. Cash has the Company's own default account, every other one an
            account of the same name.
    """
    if method == CASH:
        return company.defaults["default_cash_account"]
    return company.names.with_suffix(method)


def row_key(company: Company, method: str) -> str:
    """Return our key for a row of Mode of Payment Account.

    ERPNext makes up the names of rows, so we can't know them in advance; but there is only one row
    for each means of payment and Company: a second one is refused (recording
    08-mode-of-payment-row-leaf-and-group).
    """
    return f"{method} / {company.name}"
