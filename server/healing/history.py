"""Answers what sweeps found and what became of it, to those who may see it."""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from server.access.policy import demand_any
from server.errors import InvalidInput, Violation
from server.healing.report import Report, report
from server.limits import DEFAULT_PAGE, MAX_HISTORY_PAGE
from server.model.actor import Right
from server.validation import validate_tenant_id

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from server.model.actor import Actor
    from server.model.findings import FindingSeen, SweepSeen
    from server.store.database import Database

DEFAULT_PERIOD = timedelta(hours=24)

# A report reads so many findings at most; a fleet in trouble makes a few hundred a day.
_MOST_FINDINGS = 20_000

Place = tuple[datetime, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeps:
    """A page of sweeps.

    Attributes:
        next_page_token: Where the next page begins; "" if this is the last one.
    """

    sweeps: Sequence[SweepSeen]
    next_page_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """A page of findings.

    Attributes:
        next_page_token: Where the next page begins; "" if this is the last one.
    """

    findings: Sequence[FindingSeen]
    next_page_token: str


class History:
    """What sweeps of one store found."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._store = database.healing_history
        self._now = now

    async def sweeps(self, actor: Actor, *, page_size: int = 0, page_token: str = "") -> Sweeps:
        """Return a page of sweeps that found something, newest first.

        Args:
            actor: Who asks.
            page_size: The most to return, at most `MAX_HISTORY_PAGE`; 0 for the default.
            page_token: Where the page before ended, or "". It grants nothing.

        Raises:
            InvalidInput: the page's size or token is wrong.
            NotAllowed: not the caller's to see.
            StoreUnavailable: the database can't be read now.
        """
        demand_any(actor, Right.READ_FLEET)
        size, after = _page(page_size, page_token)
        found = await self._store.sweeps(after=after, limit=size + 1)
        token = _token(found[size - 1].started_at, found[size - 1].id) if len(found) > size else ""
        return Sweeps(sweeps=found[:size], next_page_token=token)

    async def findings(
        self,
        actor: Actor,
        *,
        page_size: int = 0,
        page_token: str = "",
        tenant_id: str = "",
        open_only: bool = False,
        person_only: bool = False,
        include_members: bool = False,
    ) -> Findings:
        """Return a page of findings, newest first.

        Args:
            actor: Who asks.
            page_size: The most to return; 0 for the default.
            page_token: Where the page before ended, or "".
            tenant_id: Only this tenant's, or "".
            open_only: Only those that are not over; of a stuck tenant only the latest.
            person_only: Only those that a person must act on.
            include_members: Include those that another finding stands for.

        Raises:
            InvalidInput, NotAllowed, StoreUnavailable: as for `sweeps`.
        """
        demand_any(actor, Right.READ_FLEET)
        size, after = _page(page_size, page_token)
        checked = validate_tenant_id(tenant_id) if tenant_id else ""
        found = await self._store.findings(
            after=after,
            limit=size + 1,
            tenant_id=checked,
            open_only=open_only,
            person_only=person_only,
            include_members=include_members or bool(checked),
        )
        token = _token(found[size - 1].found_at, found[size - 1].id) if len(found) > size else ""
        return Findings(findings=found[:size], next_page_token=token)

    async def report(
        self, actor: Actor, *, begins_at: datetime | None = None, ends_at: datetime | None = None
    ) -> Report:
        """Report what got stuck in a period, and what became of it.

        Args:
            actor: Who asks.
            begins_at: The start of the period; None for a day before its end.
            ends_at: The end of the period; None for now.

        Raises:
            InvalidInput: the period ends before it begins.
            NotAllowed, StoreUnavailable: as for `sweeps`.
        """
        demand_any(actor, Right.READ_FLEET)
        ends = ends_at or self._now()
        begins = begins_at or _a_period_before(ends)
        if begins >= ends:
            raise InvalidInput(
                (Violation(field="begins_at", description="must be before the period's end."),)
            )
        found = await self._store.findings_of(begins, ends, limit=_MOST_FINDINGS + 1)
        # In a thread: thousands of cases take as long as hundreds of calls.
        return await asyncio.to_thread(
            report,
            found[:_MOST_FINDINGS],
            begins_at=begins,
            ends_at=ends,
            truncated=len(found) > _MOST_FINDINGS,
        )


def _a_period_before(end: datetime) -> datetime:
    try:
        return end - DEFAULT_PERIOD
    except OverflowError:  # no day comes before it
        return datetime.min.replace(tzinfo=UTC)


def _page(size: int, token: str) -> tuple[int, Place | None]:
    if not 0 <= size <= MAX_HISTORY_PAGE:
        raise InvalidInput(
            (Violation(field="page_size", description=f"must be from 0 to {MAX_HISTORY_PAGE}."),)
        )
    return size or DEFAULT_PAGE, _place(token) if token else None


def _token(at: datetime, own_id: str) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{own_id}".encode()).decode()


def _place(token: str) -> Place:
    try:
        at, _, own_id = base64.urlsafe_b64decode(token.encode()).decode().partition("|")
        place = datetime.fromisoformat(at).astimezone(UTC), own_id
    except (binascii.Error, ValueError, OverflowError) as error:
        raise _no_token() from error
    # No database takes a zero byte, and nothing has such an id.
    if not own_id.isprintable():
        raise _no_token()
    return place


def _no_token() -> InvalidInput:
    return InvalidInput(
        (
            Violation(
                field="page_token",
                description="is not one of ours. Send the next_page_token of the page before.",
            ),
        )
    )
