"""How long real ERPNext takes for each call.

Facts: the medians of 12-latencies and 12-company-create-time-grows. Only `--latency recorded`
waits for them; a refusal takes as long as a read.
"""

from __future__ import annotations

_READ = 0.013
_WRITE = 0.03
# Seconds for calls that do not take the time of an ordinary read or write.
_CALLS = {
    ("GET", "ping"): 0.007,
    ("GET", "frappe.ping"): 0.007,
    ("GET", "frappe.auth.get_logged_user"): 0.009,
    ("GET", "frappe.utils.change_log.get_versions"): 0.019,
    ("PUT", "Selling Settings"): 0.504,
    ("PUT", "Stock Settings"): 0.916,
    ("POST", "Price List"): 0.018,
    ("POST", "Customer"): 0.04,
    ("POST", "Item"): 0.054,
    ("POST", "POS Profile"): 0.58,
    ("POST", "POS Opening Entry"): 0.042,
    ("POST", "frappe.client.cancel"): 0.131,
    ("POST", "Sales Invoice"): 1.587,
    ("DELETE", "POS Opening Entry"): 0.14,
    ("DELETE", "POS Profile"): 1.979,
    ("DELETE", "Customer"): 0.174,
    ("DELETE", "Item"): 0.211,
    ("DELETE", "Price List"): 0.136,
    ("DELETE", "Company"): 3.634,
}
_DELETE = 0.229
# The background worker's time for the entries of one invoice (10-transaction-deletion-record).
DELETION_SECONDS = 7.1
_COMPANY, _EACH_COMPANY = 1.6, 0.2


def read_seconds(method: str, target: str) -> float:
    """Return the seconds that a call takes if it changes nothing or is refused.

    Args:
        method: The HTTP method.
        target: The doctype, or the dotted path of a method.
    """
    return _CALLS.get((method, target), _READ) if method == "GET" else _READ


def write_seconds(method: str, target: str, companies: int) -> float:
    """Return the seconds that a call takes if it changes something.

    Args:
        method: The HTTP method.
        target: The doctype, or the dotted path of a method.
        companies: How many Companies the site has before it.
    """
    if (method, target) == ("POST", "Company"):
        return _COMPANY + _EACH_COMPANY * (companies - 1)
    return _CALLS.get((method, target), _DELETE if method == "DELETE" else _WRITE)
