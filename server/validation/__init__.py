"""What callers may send: the one place that says so, with the field paths of the messages.

Each function takes what was sent and returns the value to work with, or raises `InvalidInput`,
which lists every wrong field, what is wrong with it and how to correct it. A description quotes
at most 60 characters of what was sent, with control characters escaped. Nothing here asks the
engine: whether the country, the chart or the till's user exist there is for the run to find out.
"""

from __future__ import annotations

from server.validation.listing import RawListing, validate_listing
from server.validation.orders import (
    validate_cursor,
    validate_reason,
    validate_request_id,
    validate_revision,
    validate_step_key,
    validate_tenant_id,
)
from server.validation.spec import RawSpec, validate_spec

__all__ = [
    "RawListing",
    "RawSpec",
    "validate_cursor",
    "validate_listing",
    "validate_reason",
    "validate_request_id",
    "validate_revision",
    "validate_spec",
    "validate_step_key",
    "validate_tenant_id",
]
