"""The statements for lists of tenants, built once per shape of list."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Integer,
    Text,
    and_,
    bindparam,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
    union_all,
)

from server.model.listing import ListOrder
from server.model.states import SETTLED_TENANT_STATES
from server.store.conditions import HELD, UNKNOWN_STATE, UNSETTLED
from server.store.tables import TENANT_WORDS, TENANTS

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from sqlalchemy import ColumnElement, FromClause, Select, Subquery

_UNSETTLED: ColumnElement[bool] = literal_column(UNSETTLED)
_UNKNOWN_STATE: ColumnElement[bool] = literal_column(UNKNOWN_STATE)
_SETTLED = sorted(state.value for state in SETTLED_TENANT_STATES)
_HELD: ColumnElement[bool] = literal_column(HELD)

_KEYS = {
    ListOrder.NEWEST: TENANTS.c.created_at,
    ListOrder.OLDEST: TENANTS.c.created_at,
    ListOrder.UPDATED: TENANTS.c.state_since,
    ListOrder.NAME: TENANTS.c.company_fold,
}
_DESCENDING = frozenset({ListOrder.NEWEST, ListOrder.UPDATED})

# How many statements to keep, for the various shapes and page sizes.
_MOST_KEPT = 256

_ENGINE = bindparam("engine_id", type_=Text)
_WORDS_FROM, _WORDS_TO = bindparam("words_from", type_=Text), bindparam("words_to", type_=Text)
_WORD_LIKE, _ID_LIKE = bindparam("word_like", type_=Text), bindparam("id_like", type_=Text)
_STUCK_BEFORE = bindparam("stuck_before", type_=TENANTS.c.unsettled_since.type)
_ONLY = bindparam("only", type_=Text, expanding=True)

# In the order in which `_summary` reads them.
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
class Shape:
    """What a list's statements depend on: everything but the values.

    Attributes:
        states: The states asked for; empty for any.
        engine: Whether only one engine is asked for; text and stuck likewise.
        held: Whether held tenants are asked for, or those that are not; None for both.
        scoped: Whether only some ids may be seen.
        later: Whether it is not the first page.
    """

    sqlite: bool
    order: ListOrder
    states: tuple[str, ...]
    engine: bool
    text: bool
    held: bool | None
    stuck: bool
    scoped: bool
    later: bool

    @property
    def by_engine(self) -> bool:
        """Whether an index has the tenants of the engine in the order asked for."""
        return self.engine and self.order in {ListOrder.NEWEST, ListOrder.OLDEST}

    @property
    def is_filtered(self) -> bool:
        """Whether the index of the order contains tenants that the filters leave out."""
        by_other = self.engine and not self.by_engine
        return by_other or self.text or self.held is not None or self.stuck or self.scoped

    @property
    def opens(self) -> bool:
        """Whether something must be found out before the page can be read."""
        return self.is_filtered or not self.states

    @property
    def key_is_time(self) -> bool:
        """Whether the order's key is sent to the database as a time."""
        # On SQLite a time is read as the text that is stored, even if it is not a time.
        return not self.sqlite and self.order is not ListOrder.NAME


@lru_cache(maxsize=_MOST_KEPT)
def made(make: Callable[..., Select[Any]], shape: Shape, *how: Hashable) -> Select[Any]:
    """Return a statement of `Statements`, built once for all lists of its shape.

    Building one with eight ranges takes longer than sending it and reading its page.

    Args:
        make: A method of `Statements`.
        shape: The shape of the list.
        how: The method's other arguments.
    """
    return make(Statements(shape), *how)


class Statements:
    """The statements for lists of one shape; values are filled in when they are sent."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._column = _KEYS[shape.order]
        self._descending = shape.order in _DESCENDING

    def opening(self, most: int) -> Select[Any]:
        """Return how many tenants each candidate leaves, up to `most`, and a foreign word.

        Args:
            most: Where counting ends: so many are too many to sort.

        Returns:
            A query for one row: a number for each filter that has its own index, then a stored
                state that is not one of ours, or NULL.
        """
        counts = [
            select(func.count()).select_from(candidate.limit(_number(most)).subquery())
            for candidate in self._candidates(most)
        ]
        word = null() if self._shape.states else foreign_word().scalar_subquery()
        return select(*(count.scalar_subquery() for count in counts), word)

    def visible(self, limit: int) -> Select[Any]:
        """Return the page of the few tenants that may be seen, with all filters applied."""
        return self._sorted(TENANTS.c.id.in_(_ONLY), limit)

    def sorted(self, candidate: int, most: int, limit: int) -> Select[Any]:
        """Return the page of the few tenants that a candidate leaves, with all filters applied.

        Args:
            candidate: Its place among the numbers of `opening`.
            most: As for `opening`.
            limit: The most tenants on the page.
        """
        ids = self._candidates(most)[candidate].limit(_number(most))
        return self._sorted(TENANTS.c.id.in_(ids), limit)

    def walk(self, states: tuple[str, ...], walked: int, limit: int) -> Select[Any]:
        """Return the page from the next `walked` tenants in the order.

        Args:
            states: The stored states to walk, with those that are none of ours.
            walked: How many tenants are passed at most, whether they fit or not.
            limit: The most tenants on the page.
        """
        passed = self._passed(states, walked)
        shown = [passed.c[column.name] for column in _COLUMNS]
        return (
            select(*shown, passed.c.list_key)
            .where(*self._filters(passed))
            .order_by(*self._rank(passed))
            .limit(_number(limit))
        )

    def end_of_walk(self, states: tuple[str, ...], walked: int) -> Select[Any]:
        """Return the last tenant that such a walk passes; no row if the list ends before.

        Args:
            states: As for `walk`.
            walked: As for `walk`.
        """
        keys = self._keys(states, walked)
        return (
            select(keys.c.list_key, keys.c.id)
            .order_by(*self._rank(keys))
            .limit(_number(1))
            .offset(_number(walked - 1))
        )

    def _candidates(self, most: int) -> list[Select[Any]]:
        """Return, for each filter that has its own index, the ids that it leaves."""
        shape = self._shape
        found: list[Select[Any]] = []
        if shape.text:
            words = TENANT_WORDS.c.words
            # In the order of the index: otherwise PostgreSQL reads the table until it has enough,
            # and if a word's tenants lie close together, that is most of the table.
            found.append(
                select(TENANT_WORDS.c.tenant_id)
                .where(words >= _WORDS_FROM, words < _WORDS_TO)
                .order_by(words)
            )
        if shape.stuck:
            # An unknown time counts as long enough, too: that row was changed by hand.
            since, unsettled = TENANTS.c.unsettled_since, select(TENANTS.c.id).where(_UNSETTLED)
            # Two ranges of one index, because an OR would not use it; in its order, as above.
            ranges = (since.is_(None), since <= _STUCK_BEFORE)
            parts = (
                unsettled.where(range_).order_by(since).limit(_number(most)).subquery()
                for range_ in ranges
            )
            stuck = union_all(*(select(part) for part in parts)).subquery()
            found.append(select(stuck.c.id))
        if shape.held:
            found.append(select(TENANTS.c.id).where(_HELD))
        if shape.engine and not shape.by_engine:
            # In the order of the index, as above.
            found.append(
                select(TENANTS.c.id)
                .where(TENANTS.c.engine_id == _ENGINE)
                .order_by(TENANTS.c.state, TENANTS.c.created_at)
            )
        return found

    def _sorted(self, among: ColumnElement[bool], limit: int) -> Select[Any]:
        """Return the page of a few tenants, with all filters applied."""
        conditions = [among, *self._filters(TENANTS), *self._beyond()]
        if self._shape.states:
            conditions.append(self._unindexed(TENANTS.c.state).in_(self._shape.states))
        if self._shape.by_engine:
            conditions.append(self._unindexed(TENANTS.c.engine_id) == _ENGINE)
        page = self._ordered(select(*_COLUMNS, self._key())).where(*conditions)
        return page.limit(_number(limit))

    def _unindexed(self, column: ColumnElement[str]) -> ColumnElement[str]:
        """Return a column in a form that no index has, if SQLite would have to guess.

        Nobody runs ANALYZE on its tables, and without those statistics it assumes that the index
        of a state or an engine leaves fewer tenants than a thousand ids do.
        """
        return func.coalesce(column, "") if self._shape.sqlite else column

    def _passed(self, states: tuple[str, ...], walked: int) -> Subquery:
        """Return the next tenants in the order, from one range per state."""
        if len(states) == 1:
            (only,) = self._ranges([*_COLUMNS, TENANTS.c.words, self._key()], states, walked)
            return only.subquery("passed")
        keys = self._keys(states, walked)
        own = select(*_COLUMNS, TENANTS.c.words)
        if self._shape.sqlite:
            passed = own.add_columns(keys.c.list_key).join(keys, keys.c.id == TENANTS.c.id)
            return passed.subquery("passed")
        # Each row by its key, with a fence (OFFSET 0) that keeps the filters out. PostgreSQL
        # guesses that a word fits few tenants; if there are some tens of thousands, it would read
        # all of them to find those few before it looked for the keys among them.
        row = own.where(TENANTS.c.id == keys.c.id).offset(_number(0)).lateral()
        return select(*row.c, keys.c.list_key).join(row, true()).subquery("passed")

    def _keys(self, states: tuple[str, ...], walked: int) -> Subquery:
        """Return ids and sort keys of the next tenants in the order.

        The ranges are merged using only what the index holds; whole rows are read only for the
        tenants that result.
        """
        ranges = self._ranges([TENANTS.c.id, self._key()], states, walked)
        parts = [select(range_.subquery()) for range_ in ranges]
        together = (union_all(*parts) if len(parts) > 1 else parts[0]).subquery()
        return select(together).order_by(*self._rank(together)).limit(_number(walked)).subquery()

    def _ranges(
        self, columns: Sequence[ColumnElement[Any]], states: tuple[str, ...], walked: int
    ) -> list[Select[Any]]:
        ranges = []
        for state in states:
            condition = [TENANTS.c.state == state, *self._beyond()]
            if self._shape.by_engine:
                condition.append(TENANTS.c.engine_id == _ENGINE)
            query = self._ordered(select(*columns))
            ranges.append(query.where(*condition).limit(_number(walked)))
        return ranges

    def _rank(self, ranked: Subquery) -> list[ColumnElement[Any]]:
        columns = [ranked.c.list_key, ranked.c.id]
        return [column.desc() if self._descending else column for column in columns]

    def _filters(self, tenants: FromClause) -> list[ColumnElement[bool]]:
        """Return the filters that the index of the order does not cover."""
        shape, column = self._shape, tenants.c
        filters: list[ColumnElement[bool]] = []
        if shape.engine and not shape.by_engine:
            filters.append(self._unindexed(column.engine_id) == _ENGINE)
        if shape.text:
            filters.append(_fits(tenants))
        if shape.held is not None:
            held = column.hold_reason.is_not(None)
            filters.append(held if shape.held else column.hold_reason.is_(None))
        if shape.stuck:
            since = column.unsettled_since
            long_enough = or_(since.is_(None), since <= _STUCK_BEFORE)
            filters.append(and_(column.state.not_in(_SETTLED), long_enough))
        return filters

    def _key(self) -> ColumnElement[Any]:
        # On SQLite a time is read as the text that is stored, even if it is not a time.
        key = type_coerce(self._column, Text) if self._shape.sqlite else self._column
        return key.label("list_key")

    def _ordered(self, query: Select[Any]) -> Select[Any]:
        if self._descending:
            return query.order_by(self._column.desc(), TENANTS.c.id.desc())
        return query.order_by(self._column, TENANTS.c.id)

    def _beyond(self) -> list[ColumnElement[bool]]:
        if not self._shape.later:
            return []
        here = tuple_(self._column, TENANTS.c.id)
        key = bindparam("after_key", type_=self._column.type if self._shape.key_is_time else Text)
        there = tuple_(key, bindparam("after_id", type_=Text))
        return [here < there if self._descending else here > there]


def foreign_word() -> Select[Any]:
    """Return the first stored state that is not one of ours.

    They are read one by one: PostgreSQL expects many such tenants, and to find all their states at
    once it starts parallel workers, which took half of a page's time although there were none.
    """
    state = TENANTS.c.state
    return select(state).where(_UNKNOWN_STATE).order_by(state).limit(_number(1))


def _fits(tenants: FromClause) -> ColumnElement[bool]:
    """Return the condition that a word of the name, or the id, begins with a text."""
    words = literal(" ") + tenants.c.words
    return or_(words.like(_WORD_LIKE), func.replace(tenants.c.id, "-", " ").like(_ID_LIKE))


def _number(number: int) -> ColumnElement[int]:
    """Return a number as literal text: otherwise PostgreSQL plans for a tenth of all rows."""
    return literal(number, Integer, literal_execute=True)
