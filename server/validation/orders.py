"""Checks what comes with an order or a query: ids, reasons, revisions, cursors, step keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.limits import MAX_REASON, MAX_REQUEST_ID
from server.model.identifiers import TenantId, canonical_uuid
from server.validation.words import invalid, nearest, shown, unfit_character

if TYPE_CHECKING:
    from server.model.blueprint import Blueprint


def validate_tenant_id(text: str) -> TenantId:
    """Check a tenant's id, and return it in its canonical form: lower case.

    Args:
        text: What was sent; there need be no such tenant.

    Raises:
        InvalidInput: if it is not a UUID.
    """
    canonical = canonical_uuid(text)
    if canonical is None:
        what = f"{shown(text)} is not a UUID" if text else "is missing"
        raise invalid(
            "tenant_id",
            f"{what}. Give the tenant's id, such as 01900000-0000-7000-8000-000000000000.",
        )
    return TenantId(canonical)


def validate_request_id(text: str) -> str:
    """Check the id that a caller gave an order; empty is none.

    Raises:
        InvalidInput: if it is too long or not printable.
    """
    if len(text) > MAX_REQUEST_ID:
        raise invalid(
            "request_id",
            f"has {len(text)} characters; at most {MAX_REQUEST_ID} are allowed. Send a UUID.",
        )
    if not text.isprintable():
        raise invalid(
            "request_id",
            f"{shown(text)} holds a character that cannot be printed. Send a UUID.",
        )
    return text


def validate_reason(text: str) -> str:
    """Check the reason for an order, and return it trimmed; empty is none.

    Raises:
        InvalidInput: if it is too long or holds control characters.
    """
    trimmed = text.strip()
    if len(trimmed) > MAX_REASON:
        raise invalid(
            "reason",
            f"has {len(trimmed)} characters; at most {MAX_REASON} are allowed. Shorten it.",
        )
    unfit = unfit_character(trimmed)
    if unfit:
        raise invalid("reason", f"holds {unfit}. Write it as one line of plain text.")
    return trimmed


def validate_cursor(cursor: int) -> int:
    """Check a log cursor; 0 is the beginning.

    Raises:
        InvalidInput: if it is negative.
    """
    if cursor < 0:
        raise invalid(
            "after_cursor",
            f"is {cursor}; a cursor is never negative. Send 0 for the whole log, or the cursor of "
            "the last entry you have.",
        )
    return cursor


def validate_revision(revision: int | None) -> int | None:
    """Check the revision that an order was based on; None is "whatever it is now".

    Raises:
        InvalidInput: if no tenant can have it.
    """
    if revision is not None and revision < 1:
        raise invalid(
            "expected_revision",
            f"is {revision}; revisions begin with 1. Send the revision of the status you judged, "
            "or leave it out.",
        )
    return revision


def validate_step_key(key: str, blueprint: Blueprint, *, required: bool = False) -> str:
    """Check that a blueprint has a step with this key.

    Args:
        key: The key as it was sent; empty for no step in particular.
        blueprint: The blueprint of the tenant's engine.
        required: Whether the order needs a step.

    Returns:
        The key; "" for no step in particular.

    Raises:
        InvalidInput: if there is no such step, or none was named and one is needed.
    """
    keys = [step.key for step in blueprint.steps]
    if key in keys or (key == "" and not required):
        return key
    if not key:
        raise invalid("step_key", f"is missing. Name one: {', '.join(keys)}.")
    remedy = nearest(key, keys) or f"Known are: {', '.join(keys)}."
    raise invalid("step_key", f"there is no step {shown(key)}. {remedy}")
