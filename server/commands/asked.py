"""An order as it was given: who orders what for which tenant, checked before anything is read."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.access.policy import demand
from server.errors import InvalidInput, NotAllowed, Violation
from server.model.actor import Right
from server.model.identifiers import RequestKey
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
        request_id: Identifies the order, so that a repetition is recognised; "" for none.
        expected_revision: Carry it out only at this revision; None for any.
        reason: Why, for the record.
    """

    request_id: str = ""
    expected_revision: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An order on an existing tenant, checked.

    Attributes:
        key: Identifies it, so that a repetition is recognised; None if it has no request id.
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
    """Check who gives an order, and the fields that every order has.

    Args:
        actor: Who gives the order.
        tenant_id: The id as it was sent.
        terms: The terms as they were sent.
        method: The order's name, by which (among others) a repetition is recognised.
        body: The order's own fields: the same request id with other fields is another order.
        right: The right that the caller must have.
        reason_needed: Whether the order must give a reason.

    Raises:
        InvalidInput: a field is wrong.
        NotFound: the caller may not know whether there is such a tenant.
        NotAllowed: the caller may not give this order.
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
    """Refuse the reconciler what only a person may order.

    Raises:
        NotAllowed: the caller is the reconciler.
    """
    if not actor.is_person:
        raise NotAllowed("The reconciler may not give this order: a person must.")


def request_key(
    actor: Actor, method: str, request_id: str, body: Mapping[str, object]
) -> RequestKey | None:
    """Return what a repeated order is recognised by, or None if it has no request id.

    Other releases have recorded orders, and may serve beside this one: a field that an order gets
    later may be in the body only if it was sent, and what the body has now keeps its name and form.
    """
    if not request_id:
        return None
    text = json.dumps(body, sort_keys=True, ensure_ascii=False)
    return RequestKey(
        caller=actor.name,
        method=method,
        request_id=request_id,
        body_hash=hashlib.sha256(text.encode()).hexdigest(),
    )
