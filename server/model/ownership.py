"""Whose a document at the engine is, and whether a Company may be made: pure decisions.

Promise 8: the healer does no harm. A Company that was there and is gone is not made
again by itself; a Company that is there but not provably ours is not taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from server.model.naming import fold_name
from server.model.states import ResourceState

if TYPE_CHECKING:
    from datetime import datetime

# A document of ours can seem to be made before we asked for it when the site's clock
# runs behind ours; between two hosts with NTP that is well below this.
CLOCK_TOLERANCE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document seen at the engine.

    Attributes:
        doctype: ERPNext's kind, such as "Company".
        name: Its name there.
        owner: The user who made it, or "" if not read.
        created_at: When, in UTC; None if not read.
        shared: Whether it belongs to the site, not to one tenant; never deleted by us.
        row_of_shared: Whether it is a row of a document that all tenants share: it bears the
            owner and the time of creation of that one (recording 08-mode-of-payment-add-row),
            so they tell nothing of it.
        saved_at: For such a row, if it says just what we ask for: when the document it is in
            was saved last, in UTC; else None.
    """

    doctype: str
    name: str
    owner: str = ""
    created_at: datetime | None = None
    shared: bool = False
    row_of_shared: bool = False
    saved_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What the record says of one document of a tenant.

    Attributes:
        intended_at: When we asked for it; for an adopted one, when we first saw it.
        shared: Whether it belongs to the site, not to one tenant; never deleted by us.
        busy_until: Until when a change or removal of it whose answer was lost may still be
            carried out; None where none is out.
    """

    doctype: str
    name: str
    state: ResourceState
    intended_at: datetime
    shared: bool = False
    busy_until: datetime | None = None


def resource_key(doctype: str, name: str) -> tuple[str, str]:
    """Return what a document is known by: the engine may spell its name another way."""
    return (doctype, fold_name(name))


def settle(resource: Resource | None, seen: Document, api_user: str) -> ResourceState:
    """Decide whether a document that was seen was made by us.

    Args:
        resource: The record's row, or None.
        seen: The document.
        api_user: The user our requests are made as.

    Returns:
        CREATED if the record says so, or if we asked for it before it was made and our
        user made it; else ADOPTED. A row of a shared document does not tell who made it and
        when. It was not there when we asked for it, or we had not; if it is there now, in
        our words, and that document was saved since, it is ours: nobody can tell it from a
        row that somebody else added in that time, and it goes with the Company.
    """
    if resource is None or resource.state is ResourceState.REMOVED:
        # What we removed and is there again was made by somebody else.
        return ResourceState.ADOPTED
    if resource.state is not ResourceState.INTENDED:
        return resource.state
    made_at = seen.saved_at if seen.row_of_shared else seen.created_at
    ours = (
        (seen.row_of_shared or seen.owner == api_user)
        and made_at is not None
        and made_at >= resource.intended_at - CLOCK_TOLERANCE
    )
    return ResourceState.CREATED if ours else ResourceState.ADOPTED


# A Company that we removed ourselves, by order, did not vanish.
_WAS_THERE = frozenset({ResourceState.CREATED, ResourceState.ADOPTED})


class CompanyVerdict(Enum):
    """What may be done about a tenant's Company."""

    MAKE = auto()
    OURS = auto()
    ADOPT = auto()
    NOT_OURS = auto()
    VANISHED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanyRecord:
    """What the record says about a tenant's Company.

    Attributes:
        resource: The Company's resource row, or None.
        abbreviation: The bound abbreviation, or None if none was chosen or it was lost.
        passed_company_step: Whether any record says that step_2 was passed.
        completed_once: Whether the tenant was ever COMPLETED.
        only_tenant_of_name: Whether no other tenant of this site has that folded name.
        ordered_to_make_again: Whether a person ordered to look at this step again (a Retry):
            only that makes a Company anew which was there and is gone. Continue does not.
    """

    resource: Resource | None
    abbreviation: str | None
    passed_company_step: bool
    completed_once: bool
    only_tenant_of_name: bool
    ordered_to_make_again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanySeen:
    """The Company as the engine has it."""

    document: Document
    abbreviation: str
    country: str
    currency: str


def judge_company(
    record: CompanyRecord,
    seen: CompanySeen | None,
    *,
    country: str,
    currency: str,
    api_user: str,
) -> CompanyVerdict:
    """Decide what may be done about a tenant's Company.

    Args:
        record: What we know.
        seen: What the engine holds, or None where it answered 404.
        country: The country the tenant should have, in the engine's spelling.
        currency: The currency it should have.
        api_user: The user our requests are made as.

    Returns:
        MAKE if there is none and may be one; VANISHED if there was one and it is gone;
        OURS or ADOPT if it may be used; NOT_OURS if a person must decide.
    """
    if seen is None:
        return _judge_missing(record)
    if record.resource is not None and (
        settle(record.resource, seen.document, api_user) is ResourceState.CREATED
        or record.resource.state is ResourceState.ADOPTED
    ):
        return CompanyVerdict.OURS
    agrees = (
        (
            record.abbreviation is None
            or fold_name(record.abbreviation) == fold_name(seen.abbreviation)
        )
        and seen.country == country
        and seen.currency == currency
    )
    if record.passed_company_step and record.only_tenant_of_name and agrees:
        return CompanyVerdict.ADOPT
    if _was_asked_for(record, seen, api_user) and record.only_tenant_of_name and agrees:
        return CompanyVerdict.ADOPT
    return CompanyVerdict.NOT_OURS


def _was_asked_for(record: CompanyRecord, seen: CompanySeen, api_user: str) -> bool:
    """Tell whether our user made it under the abbreviation that the record has for it.

    Before each intent it was looked for, and not there. That it seems to be made before is a
    clock's word: of this host, of the site, or of the hour that comes twice.
    """
    resource = record.resource
    return (
        resource is not None
        and resource.state is ResourceState.INTENDED
        and record.abbreviation is not None
        and seen.document.owner == api_user
    )


def _judge_missing(record: CompanyRecord) -> CompanyVerdict:
    state = None if record.resource is None else record.resource.state
    # A removal that was taken back: the tenant was COMPLETED, and we know where its Company went.
    was_there = state in _WAS_THERE or (
        record.completed_once and state is not ResourceState.REMOVED
    )
    if was_there and not record.ordered_to_make_again:
        return CompanyVerdict.VANISHED
    return CompanyVerdict.MAKE
