"""Reads lists of tenants a page at a time, at the same cost for the first page and the last.

A page begins at a key, never at an offset. Which way is short depends on the filters, so
they are asked first: where one of them leaves few tenants (a name, a hold, who is stuck)
these few are read and sorted; otherwise the index of the order is walked, at most
`_MOST_WALKED` tenants a page. A page that was cut there holds fewer tenants than asked
for, perhaps none, and says where to go on: no filter can make a call slow.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Integer,
    Text,
    and_,
    func,
    literal,
    literal_column,
    or_,
    select,
    tuple_,
    type_coerce,
    union_all,
)

from server.model.listing import ListOrder, Position, TenantSummary
from server.model.records import Hold
from server.model.states import SETTLED_TENANT_STATES, TenantState
from server.store.columns import time_text
from server.store.tables import TENANT_WORDS, TENANTS
from server.store.values import whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from sqlalchemy import ColumnElement, Connection, FromClause, RowMapping, Select, Subquery

    from server.model.listing import Listing

    InSnapshot = Callable[[Callable[[Connection], "ListPage"]], Awaitable["ListPage"]]

# So many are looked up by key and sorted within a few milliseconds.
MOST_SORTED = 1000
# So many are walked through within ten milliseconds, from files in memory.
MOST_WALKED = 600

# Partial indexes are used only where a query repeats their condition as literal text.
_UNSETTLED: ColumnElement[bool] = literal_column(
    "state NOT IN ('COMPLETED','CANCELLED','DEPROVISIONING','DEPROVISIONED')"
)
_UNKNOWN_STATE: ColumnElement[bool] = literal_column(
    "state NOT IN ('PENDING','IN_PROGRESS','COMPLETED','PARTIAL','FAILED','CANCELLED',"
    "'DEPROVISIONING','DEPROVISIONED')"
)
_SETTLED = sorted(state.value for state in SETTLED_TENANT_STATES)
_HELD: ColumnElement[bool] = literal_column("hold_reason IS NOT NULL")

_KEYS = {
    ListOrder.NEWEST: TENANTS.c.created_at,
    ListOrder.OLDEST: TENANTS.c.created_at,
    ListOrder.UPDATED: TENANTS.c.state_since,
    ListOrder.NAME: TENANTS.c.company_fold,
}
_DESCENDING = frozenset({ListOrder.NEWEST, ListOrder.UPDATED})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Greater than every character a name can hold.
_LAST_CHARACTER = "\U0010ffff"

_COLUMNS = (
    TENANTS.c.id,
    TENANTS.c.company_name,
    TENANTS.c.engine_id,
    TENANTS.c.state,
    TENANTS.c.current_step,
    TENANTS.c.steps_completed,
    TENANTS.c.total_steps,
    TENANTS.c.error_code,
    TENANTS.c.hold_reason,
    TENANTS.c.hold_by,
    TENANTS.c.hold_since,
    TENANTS.c.revision,
    TENANTS.c.run_id,
    TENANTS.c.created_at,
    TENANTS.c.state_since,
    TENANTS.c.unsettled_since,
    TENANTS.c.updated_at,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPage:
    """One page of a list.

    Attributes:
        after: Where the next page begins; None: this is the last one.
    """

    tenants: tuple[TenantSummary, ...]
    after: Position | None


class TenantLists:
    """Lists of the tenants of one store."""

    def __init__(self, in_snapshot: InSnapshot) -> None:
        """Take what runs synchronous reads in one snapshot."""
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
            stuck_before: The time that `stuck_longer_than` means; kept from page to page.
            after: Where it begins; None: at the first tenant.
            limit: Most tenants of the page.
            only: Ids of the tenants that may be seen, or None for all.
        """

        def read(connection: Connection) -> ListPage:
            foreign = () if listing.states else _foreign_words(connection)
            query = _Query(connection.dialect.name, listing, foreign, stuck_before, only)
            few = query.visible() if only is not None else _few(connection, query)
            if few is None:
                return _walked(connection, query, after, limit)
            return query.page(_all(connection, query.sorted(few, after, limit + 1)), limit)

        return await self._in_snapshot(read)


def _foreign_words(connection: Connection) -> Sequence[str]:
    """Return the words of state that are none of ours: somebody wrote into the table."""
    query = select(TENANTS.c.state).where(_UNKNOWN_STATE).distinct()
    return connection.execute(query).scalars().all()


def _few(connection: Connection, query: _Query) -> Select[Any] | None:
    """Return the filter that leaves the fewest tenants, if they are few enough to sort."""
    best, fewest = None, MOST_SORTED + 1
    for candidate in query.candidates():
        counted = candidate.limit(_number(fewest)).subquery()
        count = connection.execute(select(func.count()).select_from(counted)).scalar_one()
        if count < fewest:
            best, fewest = candidate.limit(_number(MOST_SORTED)), count
        if fewest == 0:
            break
    return best


def _walked(connection: Connection, query: _Query, after: Position | None, limit: int) -> ListPage:
    """Walk the index of the order; where that was cut, the page says how far it came."""
    walked = limit + 1 if query.exact else MOST_WALKED
    rows = _all(connection, query.walk(after, walked, limit + 1))
    page = query.page(rows, limit)
    if page.after is not None or query.exact:
        return page
    end = connection.execute(query.end_of_walk(after, walked)).mappings().first()
    if end is None:
        return page
    return ListPage(tenants=page.tenants, after=query.position(end))


class _Query:
    """The statements for one list."""

    def __init__(
        self,
        dialect: str,
        listing: Listing,
        foreign_words: Sequence[str],
        stuck_before: datetime | None,
        only: Collection[str] | None,
    ) -> None:
        self._dialect = dialect
        self._listing = listing
        self._states = sorted(listing.states) if listing.states else [*TenantState, *foreign_words]
        self._stuck_before = stuck_before
        self._only = only
        self._column = _KEYS[listing.order]
        self._descending = listing.order in _DESCENDING
        # An index leads straight to the tenants of an engine in the order of their making.
        self._by_engine = bool(listing.engine_id) and listing.order in {
            ListOrder.NEWEST,
            ListOrder.OLDEST,
        }
        self._filters = self._all_filters()

    @property
    def exact(self) -> bool:
        """Whether the index of the order holds nothing but what is asked for."""
        return not self._filters

    def candidates(self) -> list[Select[Any]]:
        """Return, for each filter that has an index of its own, the ids it leaves."""
        listing = self._listing
        found: list[Select[Any]] = []
        if listing.text:
            words = TENANT_WORDS.c.words
            # In the order of the index: else PostgreSQL reads the table until it has enough, and
            # where a word's tenants lie close together that is most of it.
            found.append(
                select(TENANT_WORDS.c.tenant_id)
                .where(words >= listing.text, words < listing.text + _LAST_CHARACTER)
                .order_by(words)
            )
        if self._stuck_before is not None:
            # Since an unknown time is long enough, too: that row was changed by hand.
            since, unsettled = TENANTS.c.unsettled_since, select(TENANTS.c.id).where(_UNSETTLED)
            # Two ranges of one index, which an OR would not be; in its order, as above.
            ranges = (since.is_(None), since <= self._stuck_before)
            parts = (
                unsettled.where(range_).order_by(since).limit(_number(MOST_SORTED + 1)).subquery()
                for range_ in ranges
            )
            stuck = union_all(*(select(part) for part in parts)).subquery()
            found.append(select(stuck.c.id))
        if listing.held:
            found.append(select(TENANTS.c.id).where(_HELD))
        if listing.engine_id and not self._by_engine:
            found.append(select(TENANTS.c.id).where(TENANTS.c.engine_id == listing.engine_id))
        return found

    def visible(self) -> Select[Any]:
        """Return the ids that may be seen: a person is a member of few tenants."""
        return select(TENANTS.c.id).where(TENANTS.c.id.in_(self._only or ()))

    def sorted(self, ids: Select[Any], after: Position | None, limit: int) -> Select[Any]:
        """Return the page of a few tenants, all filters applied."""
        conditions = list(self._filters)
        if self._listing.states:
            conditions.append(TENANTS.c.state.in_(self._states))
        if self._by_engine:
            conditions.append(TENANTS.c.engine_id == self._listing.engine_id)
        return (
            self._ordered(select(*_COLUMNS, self._key()))
            .where(TENANTS.c.id.in_(ids), *conditions, *self._beyond(after))
            .limit(_number(limit))
        )

    def walk(self, after: Position | None, walked: int, limit: int) -> Select[Any]:
        """Return the page of the next so many tenants of the order."""
        passed = self._passed(after, walked)
        return (
            select(passed)
            .where(*self._all_filters(passed))
            .order_by(*self._rank(passed))
            .limit(_number(limit))
        )

    def end_of_walk(self, after: Position | None, walked: int) -> Select[Any]:
        """Return the last tenant that such a walk passes; none if the list ends before it."""
        keys = self._keys(after, walked)
        return (
            select(keys.c.id, keys.c.list_key)
            .order_by(*self._rank(keys))
            .limit(_number(1))
            .offset(_number(walked - 1))
        )

    def page(self, rows: Sequence[RowMapping], limit: int) -> ListPage:
        """Make a page of rows, one of which may be one too many."""
        more = len(rows) > limit
        return ListPage(
            tenants=tuple(_summary(row) for row in rows[:limit]),
            after=self.position(rows[limit - 1]) if more else None,
        )

    def position(self, row: RowMapping) -> Position:
        """Return the place after a row."""
        key = row["list_key"]
        return Position(
            key=time_text(key) if isinstance(key, datetime) else str(key), tenant_id=row["id"]
        )

    def _passed(self, after: Position | None, walked: int) -> Subquery:
        """Return the next tenants of the order, out of one range a state."""
        if len(self._states) == 1:
            (only,) = self._ranges([*_COLUMNS, TENANTS.c.words, self._key()], after, walked)
            return only.subquery("passed")
        keys = self._keys(after, walked)
        return (
            select(*_COLUMNS, TENANTS.c.words, keys.c.list_key)
            .join(keys, keys.c.id == TENANTS.c.id)
            .subquery("passed")
        )

    def _keys(self, after: Position | None, walked: int) -> Subquery:
        """Return ids and ranks of the next tenants of the order.

        The ranges are merged by what the index holds: whole rows are read only of those that
        come out of it.
        """
        ranges = self._ranges([TENANTS.c.id, self._key()], after, walked)
        parts = [select(range_.subquery()) for range_ in ranges]
        together = (union_all(*parts) if len(parts) > 1 else parts[0]).subquery()
        return select(together).order_by(*self._rank(together)).limit(_number(walked)).subquery()

    def _ranges(
        self, columns: Sequence[ColumnElement[Any]], after: Position | None, walked: int
    ) -> list[Select[Any]]:
        ranges = []
        for state in self._states:
            condition = [TENANTS.c.state == state, *self._beyond(after)]
            if self._by_engine:
                condition.append(TENANTS.c.engine_id == self._listing.engine_id)
            query = self._ordered(select(*columns))
            ranges.append(query.where(*condition).limit(_number(walked)))
        return ranges

    def _rank(self, ranked: Subquery) -> list[ColumnElement[Any]]:
        columns = [ranked.c.list_key, ranked.c.id]
        return [column.desc() if self._descending else column for column in columns]

    def _all_filters(self, tenants: FromClause = TENANTS) -> list[ColumnElement[bool]]:
        """Return the filters that the index of the order knows nothing of."""
        listing, column = self._listing, tenants.c
        filters: list[ColumnElement[bool]] = []
        if self._only is not None:
            filters.append(column.id.in_(self._only))
        if listing.engine_id and not self._by_engine:
            filters.append(column.engine_id == listing.engine_id)
        if listing.text:
            filters.append(_fits(tenants, listing.text))
        if listing.held is not None:
            held = column.hold_reason.is_not(None)
            filters.append(held if listing.held else column.hold_reason.is_(None))
        if self._stuck_before is not None:
            since = column.unsettled_since
            long_enough = or_(since.is_(None), since <= self._stuck_before)
            filters.append(and_(column.state.not_in(_SETTLED), long_enough))
        return filters

    def _key(self) -> ColumnElement[Any]:
        # On SQLite a time is read as it is written, also one that is none.
        key = type_coerce(self._column, Text) if self._dialect == "sqlite" else self._column
        return key.label("list_key")

    def _ordered(self, query: Select[Any]) -> Select[Any]:
        if self._descending:
            return query.order_by(self._column.desc(), TENANTS.c.id.desc())
        return query.order_by(self._column, TENANTS.c.id)

    def _beyond(self, after: Position | None) -> list[ColumnElement[bool]]:
        if after is None:
            return []
        here = tuple_(self._column, TENANTS.c.id)
        if self._dialect == "sqlite" or self._listing.order is ListOrder.NAME:
            there = tuple_(literal(after.key, Text), literal(after.tenant_id, Text))
        else:
            there = tuple_(
                literal(_time(after.key), self._column.type), literal(after.tenant_id, Text)
            )
        return [here < there if self._descending else here > there]


def _time(key: str) -> datetime:
    try:
        return datetime.fromisoformat(key)
    except ValueError:  # a key of nobody's making
        return _EPOCH


def _fits(tenants: FromClause, text: str) -> ColumnElement[bool]:
    """Tell whether a word of the name begins with a text, or the id does."""
    words = literal(" ") + tenants.c.words
    return or_(words.like(f"% {text}%"), func.replace(tenants.c.id, "-", " ").like(f"{text}%"))


def _number(number: int) -> ColumnElement[int]:
    """Return a number as literal text: PostgreSQL plans for a tenth of all rows otherwise."""
    return literal(number, Integer, literal_execute=True)


def _all(connection: Connection, query: Any) -> Sequence[RowMapping]:  # Any: a select
    return connection.execute(query).mappings().all()


def _summary(row: RowMapping) -> TenantSummary:
    hold = None
    if row["hold_reason"] is not None:
        hold = Hold(
            reason=row["hold_reason"],
            by=row["hold_by"] or "unknown",
            since=row["hold_since"] or row["updated_at"] or _EPOCH,
        )
    return TenantSummary(
        id=row["id"],
        company_name=row["company_name"],
        engine_id=row["engine_id"],
        state=TenantState.parse(row["state"]),
        current_step=row["current_step"],
        steps_completed=whole(row["steps_completed"]),
        total_steps=whole(row["total_steps"]),
        error_code=row["error_code"] or "",
        hold=hold,
        revision=whole(row["revision"]),
        run_id=row["run_id"] or "",
        created_at=row["created_at"] or _EPOCH,
        state_since=row["state_since"] or _EPOCH,
        unsettled_since=row["unsettled_since"],
        updated_at=row["updated_at"] or _EPOCH,
    )
