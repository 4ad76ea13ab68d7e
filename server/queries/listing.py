"""Lists of the tenants that a caller may see, one page at a time.

A page token holds the place where the page before ended, and a mark of the caller, the filters
and the order it is valid for; with others it is refused, because the place would mean nothing.
It is not a secret and grants nothing: rights are checked for every page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from server.errors import InvalidInput, Violation
from server.limits import DEFAULT_PAGE, MAX_PAGE
from server.model.listing import Position
from server.store.columns import time_text
from server.validation import validate_listing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from server.model.actor import Actor
    from server.model.listing import Listing, TenantSummary
    from server.queries.motion import Motion
    from server.store.found import Live
    from server.store.listing import TenantLists
    from server.validation import RawListing


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantPage:
    """One page of a list.

    Attributes:
        tenants: Fewer than were asked for, or none, do not mean that the list ends here.
        next_page_token: Where the next page begins; "" if this is the last one.
    """

    tenants: Sequence[TenantSummary]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What a page token contains."""

    after: Position
    stuck_before: datetime | None


async def list_tenants(
    lists: TenantLists,
    actor: Actor,
    raw: RawListing,
    *,
    now: Callable[[], datetime],
    motion: Callable[[Live], Motion],
) -> TenantPage:
    """Return one page of the tenants that the caller may see.

    Args:
        lists: The store's lists.
        actor: Who asks; that they may see any is checked before.
        raw: The filters as they were sent.
        now: The clock.
        motion: Says how a tenant's open run goes on.

    Raises:
        InvalidInput: a filter is wrong, or the token does not belong to this list.
        StoreUnavailable: the database can't be read now.
    """
    listing = validate_listing(raw)
    mark = _mark(actor, listing)
    place = _read(raw.page_token, mark) if raw.page_token else None
    stuck_before = None
    if listing.stuck_longer_than is not None:
        # The same for all pages; otherwise tenants would enter the list behind its reader.
        stuck_before = place.stuck_before if place else _before(now(), listing)
    page = await lists.page(
        listing,
        stuck_before=stuck_before,
        after=place.after if place else None,
        limit=min(raw.page_size or DEFAULT_PAGE, MAX_PAGE),
        only=actor.scope,
    )
    lives = page.in_motion
    return TenantPage(
        tenants=[
            _moving(tenant, motion(lives[tenant.id])) if tenant.id in lives else tenant
            for tenant in page.tenants
        ],
        next_page_token=(
            _token(_Place(after=page.after, stuck_before=stuck_before), mark) if page.after else ""
        ),
    )


def _moving(tenant: TenantSummary, motion: Motion) -> TenantSummary:
    """Add to a tenant's row how its open run goes on, as its status says it."""
    stands_still = next((error.code for error in motion.errors), "")
    return replace(
        tenant,
        waiting_for=motion.waiting_for,
        error_code=tenant.error_code or stands_still,
    )


def _before(now: datetime, listing: Listing) -> datetime | None:
    span = listing.stuck_longer_than
    if span is None:
        return None
    try:
        return now - span
    except OverflowError:  # longer than the calendar reaches back
        return datetime.min.replace(tzinfo=now.tzinfo)


def _mark(actor: Actor, listing: Listing) -> str:
    facts = [
        actor.name,
        sorted(state.value for state in listing.states),
        listing.engine_id,
        listing.text,
        listing.held,
        None if listing.stuck_longer_than is None else listing.stuck_longer_than.total_seconds(),
        listing.order.value,
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _token(place: _Place, mark: str) -> str:
    stuck = None if place.stuck_before is None else time_text(place.stuck_before)
    facts = [mark, place.after.key, place.after.tenant_id, stuck]
    return base64.urlsafe_b64encode(json.dumps(facts).encode()).decode().rstrip("=")


def _read(token: str, mark: str) -> _Place:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        read_mark, key, tenant_id, stuck = json.loads(text)
        place = _Place(
            after=Position(key=str(key), tenant_id=str(tenant_id)),
            stuck_before=None if stuck is None else datetime.fromisoformat(stuck).astimezone(UTC),
        )
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _no_token("is none of this service") from error
    # A database accepts neither a zero byte nor half a surrogate; no real place has one.
    if not f"{place.after.key}{place.after.tenant_id}".isprintable():
        raise _no_token("is none of this service")
    if read_mark != mark:
        raise _no_token("is of another list")
    return place


def _no_token(what: str) -> InvalidInput:
    return InvalidInput(
        (
            Violation(
                field="page_token",
                description=(
                    f"{what}. Send the next_page_token of the page before, as the same caller and "
                    "with the same filters and order; or none, for the first page."
                ),
            ),
        )
    )
