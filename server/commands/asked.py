"""An order as it was given: who asks what of which tenant, checked before anything is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.access.policy import demand
from server.errors import InvalidInput, NotAllowed, Violation
from server.model.actor import Right
from server.store.operations import RequestKey
from server.validation import (
    validate_reason,
    validate_request_id,
    validate_revision,
    validate_tenant_id,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from server.model.actor import Actor
    from server.model.identifiers import TenantId


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderTerms:
    """What every order on an existing tenant carries.

    Attributes:
        request_id: Names the order; "" if it can't be recognised.
        expected_revision: Carry it out only at this revision, or None.
        reason: Why, for the record.
    """

    request_id: str = ""
    expected_revision: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An order on an existing tenant, checked.

    Attributes:
        key: Names it, so that a repeated one is known; None if it can't be.
    """

    actor: Actor
    tenant_id: TenantId
    terms: OrderTerms
    key: RequestKey | None


def ask(
    actor: Actor,
    tenant_id: str,
    terms: OrderTerms,
    *,
    method: str,
    body: Mapping[str, object],
    right: Right = Right.ORDER,
    reason_needed: bool = False,
) -> Asked:
    """Check who asks and what every order carries.

    Args:
        actor: Who orders.
        tenant_id: As it was sent.
        terms: As they were sent.
        method: The order's name, part of what makes a repeated one known.
        body: The order's own fields: the same request id with others is another order.
        right: What the caller must have.
        reason_needed: Whether the record must say why.

    Raises:
        InvalidInput: a field is wrong.
        NotFound: he may not know whether there is such a tenant.
        NotAllowed: not the caller's to order.
    """
    checked = validate_tenant_id(tenant_id)
    demand(actor, right, checked)
    if reason_needed and not terms.reason.strip():
        raise InvalidInput(
            (
                Violation(
                    field="reason",
                    description="is missing. Say why: it is kept in the record.",
                ),
            )
        )
    terms = OrderTerms(
        request_id=validate_request_id(terms.request_id),
        expected_revision=validate_revision(terms.expected_revision),
        reason=validate_reason(terms.reason),
    )
    whole = {
        **body,
        "tenant_id": checked,
        "reason": terms.reason,
        "expected_revision": terms.expected_revision,
    }
    return Asked(
        actor=actor,
        tenant_id=checked,
        terms=terms,
        key=request_key(actor, method, terms.request_id, whole),
    )


def demand_person(actor: Actor) -> None:
    """Refuse the healer what only a person may order.

    Raises:
        NotAllowed: the reconciler asks.
    """
    if not actor.is_person:
        raise NotAllowed("The reconciler may not give this order: a person must.")


def request_key(
    actor: Actor, method: str, request_id: str, body: Mapping[str, object]
) -> RequestKey | None:
    """Return what a repeated order is known by, or None where it has no name."""
    if not request_id:
        return None
    text = json.dumps(body, sort_keys=True, ensure_ascii=False)
    return RequestKey(
        caller=actor.name,
        method=method,
        request_id=request_id,
        body_hash=hashlib.sha256(text.encode()).hexdigest(),
    )
