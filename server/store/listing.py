"""Reads lists of tenants page by page, at the same cost for the first page and the last.

A page begins at a key, never at an offset. The fastest way depends on the filters, so it is first
asked how many tenants they leave. If one of them leaves few (a name, a hold, being stuck), these
few are read and sorted; otherwise the index of the order is walked, at most `MOST_WALKED` tenants
per page. A page that is cut off there has fewer tenants than asked for, perhaps none, and says
where to go on. So no filter can make a call slow.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from server.model.listing import Position, TenantSummary
from server.model.records import Hold
from server.model.states import TenantState
from server.store.columns import time_text
from server.store.in_motion import read_in_motion
from server.store.list_statements import Shape, Statements, foreign_word, made
from server.store.tables import TENANTS
from server.store.values import whole, words

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping, Sequence

    from sqlalchemy import Connection, Select

    from server.model.listing import Listing
    from server.store.found import Live

    InSnapshot = Callable[[Callable[[Connection], "ListPage"]], Awaitable["ListPage"]]

# This many are looked up by key and sorted within a few milliseconds.
MOST_SORTED = 1000
# This many are walked through within ten milliseconds, with the files in memory.
MOST_WALKED = 600

_WITH_OPEN_RUN = frozenset(
    {TenantState.PENDING, TenantState.IN_PROGRESS, TenantState.DEPROVISIONING}
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# No character in a name is greater than this one.
_LAST_CHARACTER = "\U0010ffff"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """One page of a list.

    Attributes:
        after: Where the next page begins; None if this is the last one.
        in_motion: What decides how those go on that have an open run, by tenant id.
    """

    tenants: tuple[TenantSummary, ...]
    after: Position | None
    in_motion: Mapping[str, Live] = field(default_factory=dict)


class TenantLists:
    """Lists of the tenants of one store."""

    def __init__(self, in_snapshot: InSnapshot) -> None:
        """Take the function that runs synchronous reads in one snapshot."""
        self._in_snapshot = in_snapshot

    async def page(
        self,
        listing: Listing,
        *,
        stuck_before: datetime | None,
        after: Position | None,
        limit: int,
        only: Collection[str] | None = None,
    ) -> ListPage:
        """Return one page.

        Args:
            listing: Filters and order.
            stuck_before: The time that `stuck_longer_than` means, the same for all pages.
            after: Where the page begins; None for the first page.
            limit: The most tenants on the page.
            only: The ids of the tenants that may be seen, or None for all.

        Raises:
            StoreUnavailable: the database can't be read.
        """

        def read(connection: Connection) -> ListPage:
            query = _Query(connection, listing, stuck_before, after, only)
            page = query.page(limit)
            moving = [each.id for each in page.tenants if each.state in _WITH_OPEN_RUN]
            return replace(page, in_motion=read_in_motion(connection, moving))

        return await self._in_snapshot(read)


class _Query:
    """One list that is asked for: its shape and its values."""

    def __init__(
        self,
        connection: Connection,
        listing: Listing,
        stuck_before: datetime | None,
        after: Position | None,
        only: Collection[str] | None,
    ) -> None:
        self._connection = connection
        self._shape = shape = Shape(
            sqlite=connection.dialect.name == "sqlite",
            order=listing.order,
            states=tuple(sorted(listing.states)),
            engine=bool(listing.engine_id),
            text=bool(listing.text),
            held=listing.held,
            stuck=stuck_before is not None,
            scoped=only is not None,
            later=after is not None,
        )
        self._values: dict[str, Any] = {}
        if shape.engine:
            self._values["engine_id"] = listing.engine_id
        if shape.text:
            self._values |= {
                "words_from": listing.text,
                "words_to": listing.text + _LAST_CHARACTER,
                "word_like": f"% {listing.text}%",
                "id_like": f"{listing.text}%",
            }
        if shape.stuck:
            self._values["stuck_before"] = stuck_before
        if only is not None:
            self._values["only"] = list(only)
        if after is not None:
            key = _time(after.key) if shape.key_is_time else after.key
            self._values |= {"after_key": key, "after_id": after.tenant_id}

    def page(self, limit: int) -> ListPage:
        """Read one page."""
        if self._shape.scoped:
            # A person is a member of few tenants.
            return _page(self._all(Statements.visible, limit + 1), limit)
        few, foreign_words = self._opening()
        if few is not None:
            return _page(self._all(Statements.sorted, few, MOST_SORTED, limit + 1), limit)
        return self._walked(self._shape.states or (*TenantState, *foreign_words), limit)

    def _opening(self) -> tuple[int | None, list[str]]:
        """Find out, in one statement, how the page is to be read.

        Returns:
            The filter that leaves the fewest tenants, if they are few enough to sort; and the
            stored states that are not ours, because somebody wrote into the table.
        """
        if not self._shape.opens:
            return None, []
        ((*counts, word),) = self._all(Statements.opening, MOST_SORTED + 1)
        few = min(range(len(counts)), key=counts.__getitem__, default=None)
        if few is not None and counts[few] > MOST_SORTED:
            few = None
        foreign: list[str] = []
        while word is not None:
            foreign.append(word)
            rest = foreign_word().where(TENANTS.c.state > word)
            word = self._connection.execute(rest).scalar()
        return few, foreign

    def _walked(self, states: tuple[str, ...], limit: int) -> ListPage:
        """Walk the index of the order; if the walk is cut off, the page says how far it came."""
        exact = not self._shape.is_filtered
        walked = limit + 1 if exact else MOST_WALKED
        page = _page(self._all(Statements.walk, states, walked, limit + 1), limit)
        if page.after is not None or exact:
            return page
        ends = self._all(Statements.end_of_walk, states, walked)
        if not ends:
            return page
        return ListPage(tenants=page.tenants, after=_position(*ends[0]))

    def _all(self, make: Callable[..., Select[Any]], *how: Hashable) -> Sequence[Sequence[Any]]:
        return self._connection.execute(made(make, self._shape, *how), self._values).all()


def _time(key: str) -> datetime:
    try:
        return datetime.fromisoformat(key)
    except ValueError:  # a key that was not made here
        return _EPOCH


def _page(rows: Sequence[Sequence[Any]], limit: int) -> ListPage:
    """Make a page from rows, which may be one more than fits on it."""
    after = None
    if len(rows) > limit:
        *_, key = last = rows[limit - 1]
        after = _position(key, last[0])
    return ListPage(tenants=tuple(_summary(row) for row in rows[:limit]), after=after)


def _position(key: object, tenant_id: str) -> Position:
    """Return the position after a tenant."""
    text = time_text(key) if isinstance(key, datetime) else str(key)
    return Position(key=text, tenant_id=tenant_id)


def _summary(row: Sequence[Any]) -> TenantSummary:
    (
        tenant_id,
        company_name,
        engine_id,
        state,
        current_step,
        steps_completed,
        total_steps,
        error_code,
        hold_reason,
        hold_by,
        hold_since,
        revision,
        run_id,
        created_at,
        state_since,
        unsettled_since,
        updated_at,
        _key,
    ) = row
    hold = None
    if hold_reason is not None:
        hold = Hold(
            reason=words(hold_reason),
            by=words(hold_by) or "unknown",
            since=hold_since or updated_at or _EPOCH,
        )
    return TenantSummary(
        id=tenant_id,
        company_name=words(company_name),
        engine_id=words(engine_id),
        state=TenantState.parse(state),
        current_step=words(current_step),
        steps_completed=whole(steps_completed),
        total_steps=whole(total_steps),
        error_code=words(error_code),
        hold=hold,
        revision=whole(revision),
        run_id=words(run_id),
        created_at=created_at or _EPOCH,
        state_since=state_since or _EPOCH,
        unsettled_since=unsettled_since,
        updated_at=updated_at or _EPOCH,
    )
