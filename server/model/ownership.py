"""Who a document at the engine belongs to, and whether a Company may be made: pure decisions.

Promise 8: healing does no harm. A Company that existed and is gone is not made again without a
person's order; a Company that exists but is not provably ours is not taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING

from server.model.naming import fold_name
from server.model.states import ResourceState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

# If the site's clock is behind ours, a document of ours can appear to have been made before we
# requested it; between two hosts with NTP the difference is well below this.
CLOCK_TOLERANCE = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document seen at the engine.

    Attributes:
        doctype: ERPNext's doctype, such as "Company".
        name: Its name there.
        owner: The user who made it, or "" if not read.
        created_at: When it was made, in UTC; None if not read.
        shared: Whether it belongs to the site and not to one tenant; we never delete it.
        row_of_shared: Whether it is a row of a document that all tenants share. Such a row
            shows the owner and creation time of that document (recording
            08-mode-of-payment-add-row), which say nothing about the row.
        saved_at: For such a row, if its content is exactly what we asked for: when the document
            it is part of was last saved, in UTC; otherwise None.
        made_since: Whether it was made after the moment to which our database was restored, in
            place of one that the record already had (`Removal.judged`).
    """

    doctype: str
    name: str
    owner: str = ""
    created_at: datetime | None = None
    shared: bool = False
    row_of_shared: bool = False
    saved_at: datetime | None = None
    made_since: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """What the record says about one document of a tenant.

    Attributes:
        intended_at: When we requested it; for an adopted one, when we first saw it.
        shared: Whether it belongs to the site and not to one tenant; we never delete it.
        busy_until: Until when a change or removal of it whose answer was lost may still be
            carried out; None if there is none.
        settled_at: When its outcome was known; for an intended one, when the last request for it
            was answered without making it, so that none is out; None if neither is recorded.
    """

    doctype: str
    name: str
    state: ResourceState
    intended_at: datetime
    shared: bool = False
    busy_until: datetime | None = None
    settled_at: datetime | None = None

    @property
    def outcome_unknown(self) -> bool:
        """Whether a request for it, or a change of it, may still be carried out."""
        asked_for = self.state is ResourceState.INTENDED and self.settled_at is None
        return asked_for or self.busy_until is not None


def resource_key(doctype: str, name: str) -> tuple[str, str]:
    """Return the key a document is known by: the engine may spell its name differently.

    Two names have the same key if the engine compares them as equal (`fold_name`).
    """
    return (doctype, fold_name(name))


def settle(resource: Resource | None, seen: Document, api_user: str) -> ResourceState:
    """Decide whether a document that was seen was made by us.

    Args:
        resource: The record's row for it, or None.
        seen: The document.
        api_user: The user our requests are made as.

    Returns:
        CREATED if the record says so, or if our user made it after we requested it; otherwise
        ADOPTED. What somebody else made in place of one of ours is theirs. A row of a shared
        document does not tell who made it or when. But it did not exist when we requested it, or
        we would not have; if it exists now with exactly our content, and the document was saved
        since, we take it as ours. Nobody could tell it from an equal row that somebody else added
        in that time, and it goes with the Company.
    """
    if resource is None or resource.state is ResourceState.REMOVED or seen.made_since:
        # If we removed it and it exists again, somebody else made it.
        return ResourceState.ADOPTED
    if resource.state is not ResourceState.INTENDED:
        return (
            ResourceState.ADOPTED if _took_its_place(resource, seen, api_user) else resource.state
        )
    made_at = seen.saved_at if seen.row_of_shared else seen.created_at
    ours = (
        (seen.row_of_shared or seen.owner == api_user)
        and made_at is not None
        and made_at >= resource.intended_at - CLOCK_TOLERANCE
    )
    return ResourceState.CREATED if ours else ResourceState.ADOPTED


def _took_its_place(resource: Resource, seen: Document, api_user: str) -> bool:
    """Tell whether somebody else made this document after the record said that ours was made.

    Ours was deleted or renamed then. The owner alone proves nothing: an engine may have been given
    another API user since. The time alone proves nothing either: another process of ours, or one
    from before our database was restored, may have made it again.
    """
    return (
        not seen.row_of_shared
        and seen.owner not in {"", api_user}
        and seen.created_at is not None
        and resource.settled_at is not None
        and seen.created_at > resource.settled_at + CLOCK_TOLERANCE
    )


# A Company that we removed ourselves, on a person's order, did not vanish.
WAS_THERE = frozenset({ResourceState.CREATED, ResourceState.ADOPTED})


def had_till(resources: Iterable[Resource]) -> bool:
    """Tell whether the record says that a till was opened for a tenant."""
    return any(
        each.doctype == "POS Opening Entry" and each.state in WAS_THERE for each in resources
    )


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
        passed_company_step: Whether any record says that step_2 was done.
        completed_once: Whether the tenant was ever COMPLETED.
        only_tenant_of_name: Whether no other tenant on this site has that folded name.
        ordered_to_make_again: Whether a person ordered a Retry of this step: only that makes a
            Company again which existed and is gone. Continue does not.
        had_till: Whether the record says that the Company's till was opened, by us or by people.
    """

    resource: Resource | None
    abbreviation: str | None
    passed_company_step: bool
    completed_once: bool
    only_tenant_of_name: bool
    ordered_to_make_again: bool
    had_till: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanySeen:
    """The Company as it is in the engine."""

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
        record: What the record says.
        seen: What is in the engine; None if it answered 404.
        country: The country the tenant should have, in the engine's spelling.
        currency: The currency it should have.
        api_user: The user our requests are made as.

    Returns:
        MAKE if there is none and one may be made; VANISHED if there was one and it is gone;
        OURS or ADOPT if the one there may be used; NOT_OURS if a person must decide.
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
    """Tell whether our user made it, with the abbreviation that the record has for it.

    Before each intent we looked for it, and it did not exist. If it appears to be older than
    the intent, a clock is to blame: this host's, the site's, or the hour that comes twice when
    daylight saving time ends.
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
    # A removal was taken back: the tenant was COMPLETED, and we know what became of its Company.
    was_there = state in WAS_THERE or (record.completed_once and state is not ResourceState.REMOVED)
    if was_there and not record.ordered_to_make_again:
        return CompanyVerdict.VANISHED
    return CompanyVerdict.MAKE
