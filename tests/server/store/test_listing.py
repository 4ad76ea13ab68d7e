"""Lists of tenants: filters, orders, pages by key, and the indexes they walk."""

from __future__ import annotations

import contextlib
import itertools
import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from server.model.derive import Standing
from server.model.listing import Listing, ListOrder, Position, beginnings, words_of
from server.model.records import Hold
from server.model.states import TenantState
from server.store import list_statements
from server.store import listing as store_listing
from server.store.operations import TenantOperation
from server.store.rowset import add, put
from server.store.snapshot import snapshot
from server.store.tables import TENANT_WORDS, TENANTS
from tests.server.store.scene import NOON, creation, later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from server.store.database import Database
    from tests.server.store.scene import Row, Scene

NAMES = ("Zebra Foods", "Café Acme (Nairobi)", "acme tools", "Kijani Stores", "Baraka-Simba Ltd")
STATES = (
    TenantState.COMPLETED,
    TenantState.FAILED,
    TenantState.IN_PROGRESS,
    TenantState.COMPLETED,
    TenantState.PARTIAL,
)


def tenant_id(number: int) -> str:
    return f"{number:08x}-0000-7000-8000-000000000000"


def tenant(number: int, **values: Any) -> Row:  # Any: a column's value
    """A row of `tenants`; each a minute younger than the one before."""
    at = later(minutes=number)
    state = STATES[number % len(STATES)]
    name = values.pop("name", NAMES[number % len(NAMES)])
    return {
        "id": tenant_id(number),
        "company_name": name,
        "company_fold": name.lower(),
        "words": words_of(name),
        "spec": "{}",
        "engine_id": "main" if number % 3 else "other",
        "site": "site",
        "state": state.value,
        "current_step": "",
        "steps_completed": 3,
        "total_steps": 10,
        "fencing_token": 1,
        "log_seq": 1,
        "revision": 7,
        "heal_count": 0,
        "created_at": at,
        "updated_at": at,
        # The other way round than they were made.
        "state_since": later(days=-number),
        "unsettled_since": at
        if STATES[number % len(STATES)] is not TenantState.COMPLETED
        else None,
        **values,
    }


async def fill(database: Database, rows: Sequence[Row]) -> None:
    def work(connection: Connection) -> None:
        add(connection, TENANTS, rows)
        found = [
            {"words": words, "tenant_id": row["id"]}
            for row in rows
            for words in beginnings(row["id"], row["company_name"])
        ]
        put(connection, TENANT_WORDS, found)

    await database.in_transaction(work)


async def listed(
    database: Database,
    listing: Listing,
    *,
    limit: int = 3,
    stuck_before: datetime | None = None,
    only: Sequence[str] | None = None,
) -> list[int]:
    """The numbers of the tenants of all pages of a list."""
    found: list[int] = []
    after: Position | None = None
    for _ in range(1000):
        page = await database.lists.page(
            listing, stuck_before=stuck_before, after=after, limit=limit, only=only
        )
        assert len(page.tenants) <= limit
        found += [int(summary.id[:8], 16) for summary in page.tenants]
        if page.after is None:
            return found
        assert page.after != after
        after = page.after
    raise AssertionError("the list has no end")


@pytest.fixture(params=["sorted", "walked"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to a page give the same; walked four tenants at a time, so that it is cut."""
    if request.param == "walked":
        monkeypatch.setattr(store_listing, "MOST_SORTED", -1)
        monkeypatch.setattr(store_listing, "MOST_WALKED", 4)
    return str(request.param)


# Any: rows are compared by what they hold.
FILTERS: list[tuple[Listing, Callable[[Row], Any], str]] = [
    (Listing(), lambda row: True, "none"),
    (
        Listing(states=frozenset({TenantState.FAILED, TenantState.PARTIAL})),
        lambda row: row["state"] in {"FAILED", "PARTIAL"},
        "states",
    ),
    (Listing(engine_id="other"), lambda row: row["engine_id"] == "other", "engine"),
    (Listing(engine_id="nowhere"), lambda row: False, "unknown engine"),
    (Listing(text="acm"), lambda row: "cme" in row["company_name"], "text"),
    (Listing(text="cafe acme n"), lambda row: "Caf" in row["company_name"], "words"),
    (Listing(text="simba"), lambda row: "Simba" in row["company_name"], "part"),
    (Listing(text="00000007"), lambda row: row["id"] == tenant_id(7), "id"),
    (Listing(text="cme"), lambda row: False, "no beginning"),
    (Listing(held=True), lambda row: row["hold_reason"], "held"),
    (Listing(held=False), lambda row: not row["hold_reason"], "not held"),
    (
        Listing(stuck_longer_than=timedelta(minutes=1)),
        lambda row: (
            row["state"] != "COMPLETED"
            and (row["unsettled_since"] is None or row["unsettled_since"] <= later(minutes=12))
        ),
        "stuck",
    ),
    (
        Listing(states=frozenset({TenantState.FAILED}), engine_id="main", text="caf", held=False),
        lambda row: (
            row["state"] == "FAILED"
            and row["engine_id"] == "main"
            and "Caf" in row["company_name"]
            and not row["hold_reason"]
        ),
        "together",
    ),
]


def _rank(order: ListOrder, row: Row) -> Any:  # Any: what the order compares
    return {
        ListOrder.NEWEST: (-row["created_at"].timestamp(),),
        ListOrder.OLDEST: (row["created_at"],),
        ListOrder.UPDATED: (-row["state_since"].timestamp(),),
        ListOrder.NAME: (row["company_fold"], row["id"]),
    }[order]


async def test_every_filter_in_every_order_gives_each_tenant_once(scene: Scene, way: str) -> None:
    rows = [
        tenant(number, hold_reason="The Company is gone." if number % 7 == 4 else None)
        for number in range(1, 23)
    ]
    # Changed by hand: nobody knows since when it is stuck.
    rows.append(tenant(23, state="FAILED", unsettled_since=None, hold_reason=None))
    await fill(scene.database, rows)
    for listing, fits, name in FILTERS:
        for order in ListOrder:
            found = await listed(
                scene.database,
                replace(listing, order=order),
                stuck_before=later(minutes=12) if listing.stuck_longer_than else None,
            )
            wanted = sorted((row for row in rows if fits(row)), key=lambda row: _rank(order, row))
            assert [tenant_id(number) for number in found] == [row["id"] for row in wanted], (
                name,
                order,
            )


async def test_only_the_tenants_that_may_be_seen_are_listed(scene: Scene, way: str) -> None:
    await fill(scene.database, [tenant(number) for number in range(1, 20)])
    mine = [tenant_id(number) for number in (3, 4, 9, 14, 99)]
    assert await listed(scene.database, Listing(), only=mine) == [14, 9, 4, 3]
    failed = Listing(states=frozenset({TenantState.PARTIAL}))
    assert await listed(scene.database, failed, only=mine) == [14, 9, 4]
    assert await listed(scene.database, Listing(), only=[]) == []


async def test_tenants_of_one_rank_are_ordered_by_id(scene: Scene) -> None:
    rows = [tenant(number, name="Acme", created_at=NOON, state_since=NOON) for number in range(9)]
    await fill(scene.database, rows)
    newest = [8, 7, 6, 5, 4, 3, 2, 1, 0]
    for order in ListOrder:
        descending = order in {ListOrder.NEWEST, ListOrder.UPDATED}
        found = await listed(scene.database, Listing(order=order), limit=2)
        assert found == (newest if descending else newest[::-1])


async def test_tenants_with_foreign_words_of_state_are_listed_too(scene: Scene) -> None:
    words = {2: "BROKEN", 4: "", 5: "completed", 6: "BROKEN", 7: "\u00dcBEL"}
    rows = [tenant(number, state=words.get(number, "FAILED")) for number in range(1, 9)]
    await fill(scene.database, rows)
    assert await listed(scene.database, Listing()) == [8, 7, 6, 5, 4, 3, 2, 1]
    page = await scene.database.lists.page(Listing(), stuck_before=None, after=None, limit=10)
    foreign = [int(summary.id[:8], 16) for summary in page.tenants if summary.state is None]
    assert foreign == [7, 6, 5, 4, 2]


async def test_a_started_tenant_is_found_by_name_and_id_and_knows_since_when(scene: Scene) -> None:
    given = await scene.tenant("Kijani Stores")
    for text in ("kij", "stores", words_of(given)[:12]):
        page = await scene.database.lists.page(
            Listing(text=text), stuck_before=None, after=None, limit=5
        )
        assert [summary.id for summary in page.tenants] == [given]
    page = await scene.database.lists.page(Listing(), stuck_before=None, after=None, limit=5)
    (summary,) = page.tenants
    assert (summary.company_name, summary.engine_id) == ("Kijani Stores", "main")
    assert summary.state is TenantState.IN_PROGRESS
    assert summary.state_since == summary.unsettled_since == summary.created_at == NOON


async def test_unsettled_since_outlives_the_runs_in_between(scene: Scene) -> None:
    given = await scene.tenant()

    async def became(state: TenantState, minutes: int) -> tuple[datetime, datetime | None]:
        await scene.written(
            TenantOperation(tenant_id=given, at=later(minutes=minutes), standing=standing(state))
        )
        page = await scene.database.lists.page(Listing(), stuck_before=None, after=None, limit=1)
        return page.tenants[0].state_since, page.tenants[0].unsettled_since

    assert await became(TenantState.IN_PROGRESS, 1) == (NOON, NOON)
    assert await became(TenantState.FAILED, 2) == (later(minutes=2), NOON)
    assert await became(TenantState.IN_PROGRESS, 3) == (later(minutes=3), NOON)
    assert await became(TenantState.COMPLETED, 4) == (later(minutes=4), None)
    assert await became(TenantState.IN_PROGRESS, 5) == (later(minutes=5), later(minutes=5))
    # A change that says nothing of the state leaves both.
    await scene.written(
        TenantOperation(
            tenant_id=given, at=later(minutes=9), hold=Hold(reason="r", by="run", since=NOON)
        )
    )
    page = await scene.database.lists.page(
        Listing(held=True), stuck_before=None, after=None, limit=1
    )
    assert page.tenants[0].unsettled_since == later(minutes=5)


async def test_a_tenant_made_again_under_its_old_id_is_written(scene: Scene) -> None:
    """Its row was deleted by hand; what it was found by is still there."""
    operation = creation(tenant_id=tenant_id(5))
    await scene.written(operation)
    for table in ("tenants", "bindings", "runs", "steps", "log_entries"):
        await scene.sql(f"DELETE FROM {table}")  # noqa: S608 - own tables
    await scene.written(creation(tenant_id=tenant_id(5)))
    assert await listed(scene.database, Listing(text="kijani")) == [5]


def standing(state: TenantState) -> Standing:
    return Standing(state=state, current_step="", steps_completed=1, total_steps=2, errors=())


@pytest.fixture
def statements(scene: Scene) -> Iterator[list[tuple[str, Any]]]:
    with sent_to(scene.database) as sent:
        yield sent


@contextlib.contextmanager
def sent_to(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Give what is sent to a database to read, statements with their values."""
    sent: list[tuple[str, Any]] = []
    threads = database._snapshots
    engine = database._engine.sync_engine if threads is None else threads._engine

    def remember(_c: Any, _cursor: Any, sql: str, values: Any, *_: Any) -> None:
        sent.append((sql, values))

    event.listen(engine, "before_cursor_execute", remember)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", remember)


# Big enough that no database prefers to read the whole table.
MANY = 20_000


async def test_no_list_reads_the_whole_table(
    scene: Scene, statements: list[tuple[str, Any]]
) -> None:
    """Every filter in every order, first page and later one: the plan walks indexes only."""
    for base in range(0, MANY, 5000):
        await fill(scene.database, [plain(number) for number in range(base, base + 5000)])
    # An SQLite file has no such figures, as nobody makes any.
    if not scene.database.is_sqlite:
        await scene.sql("ANALYZE tenants")
        await scene.sql("ANALYZE tenant_words")
        # As before the first VACUUM: what an index says of a row must be asked of the table, too.
        await scene.sql("UPDATE pg_class SET relallvisible = 0 WHERE relname LIKE 'tenant%'")
    for listing, _, _ in FILTERS:
        for order in ListOrder:
            await two_pages(scene.database, replace(listing, order=order))
    # Also the same statement with other values: what fits few may be planned well by chance.
    seen = {(sql, str(values)): (sql, values) for sql, values in statements if "SELECT" in sql}
    assert len(seen) > 40
    for sql, values in seen.values():
        plan = await explain(scene, sql, values)
        whole = [line for line in plan if WHOLE.search(line)]
        assert not whole, (sql, plan)
    # A word that many names have leaves too many to sort: the index tells that, and what fits is
    # looked for among those that are walked through.
    statements.clear()
    for order in ListOrder:
        await two_pages(scene.database, Listing(text="shop", order=order))
    assert len(statements) >= 4 * len(ListOrder)
    for sql, values in list(statements):
        plan = await explain(scene, sql, values) if "SELECT" in sql else []
        assert not [line for line in plan if WHOLE.search(line)], plan


async def test_few_tenants_are_read_by_their_ids(sqlite_scene: Scene) -> None:
    """Whatever else is asked for: SQLite guesses that an engine or a state has few tenants."""
    scene = sqlite_scene
    await fill(scene.database, [plain(number) for number in range(2000)])
    states = frozenset({TenantState.COMPLETED, TenantState.CANCELLED})
    few: list[dict[str, Any]] = [
        {"held": True},
        {"text": "shop 10"},
        {"stuck_longer_than": timedelta(minutes=1)},
    ]
    more: list[dict[str, Any]] = [{"states": states}, {"engine_id": "main"}]
    with sent_to(scene.database) as statements:
        for one, other, order in itertools.product(few, [*more, more[0] | more[1]], ListOrder):
            await two_pages(scene.database, Listing(order=order, **one, **other))
    by_id = [(sql, values) for sql, values in statements if "tenants.id IN (SELECT" in sql]
    assert len(by_id) >= len(few) * (len(more) + 1) * len(ListOrder)
    for sql, values in by_id:
        plan = await explain(scene, sql, values)
        assert "SEARCH tenants USING INDEX sqlite_autoindex_tenants_1 (id=?)" in plan, (sql, plan)


async def test_postgres_starts_no_workers_for_foreign_words_of_state(postgres_scene: Scene) -> None:
    """It expects one tenant in four to have one; to start workers takes longer than a page."""
    scene = postgres_scene
    await fill(scene.database, [tenant(number) for number in range(3000)])
    await scene.sql("ANALYZE tenants")
    await scene.sql("UPDATE pg_class SET relallvisible = 0 WHERE relname = 'tenants'")
    with sent_to(scene.database) as sent:
        await two_pages(scene.database, Listing())
    sql, values = sent[0]
    assert "NOT IN" in sql
    plan = await explain(scene, sql, values)
    used = [line for line in plan if "ix_tenants_unknown_state" in line]
    assert len(used) == 1
    assert "Bitmap" not in used[0], plan


# The small partial indexes are read whole; anything else must be entered by a key.
WHOLE = re.compile(
    r"SCAN tenants(?! USING (COVERING )?INDEX ix_tenants_(held|unknown_state|unsettled_since))"
    r"|Seq Scan|Index Cond: .state NOT IN"
)


async def test_a_page_takes_three_statements_at_most(
    scene: Scene, statements: list[tuple[str, Any]], way: str
) -> None:
    """One to find the way, one for the page, and one for its end where a walk was cut.

    What the tenants on it that are under way wait for takes another, whatever their number.
    """
    await fill(scene.database, [tenant(number) for number in range(1, 20)])
    for listing, _, _ in FILTERS:
        statements.clear()
        stuck = later(minutes=12) if listing.stuck_longer_than else None
        await scene.database.lists.page(listing, stuck_before=stuck, after=None, limit=3)
        sent = [sql for sql, _ in statements if "SELECT" in sql]
        in_motion = [sql for sql in sent if "r.state IN" in sql]
        assert len(in_motion) <= 1
        assert 1 <= len(sent) - len(in_motion) <= (3 if way == "walked" else 2)
    statements.clear()
    failed = Listing(states=frozenset({TenantState.FAILED}))
    await scene.database.lists.page(failed, stuck_before=None, after=None, limit=3)
    assert len([sql for sql, _ in statements if "SELECT" in sql]) == 1


async def test_lists_that_differ_by_values_only_share_their_statements(scene: Scene) -> None:
    """To make a statement of many ranges takes longer than to send it and read its page."""
    await fill(scene.database, [tenant(number) for number in range(1, 20)])
    first = await listed(scene.database, Listing(engine_id="main", text="ac"))
    made = list_statements.made.cache_info().misses
    second = await listed(scene.database, Listing(engine_id="other", text="zeb"))
    assert first == [17, 16, 11, 7, 2, 1]
    assert second == [15]
    assert list_statements.made.cache_info().misses == made


async def two_pages(database: Database, listing: Listing) -> None:
    stuck = later(minutes=12) if listing.stuck_longer_than else None
    page = await database.lists.page(listing, stuck_before=stuck, after=None, limit=5)
    if page.after is not None:
        await database.lists.page(listing, stuck_before=stuck, after=page.after, limit=5)


def plain(number: int) -> Row:
    """A tenant as most are: finished, not held; one in a hundred is not well."""
    well = number % 100 != 0
    return tenant(
        number,
        name=f"{'Duka' if number % 5 else 'Shop'} {number} Ltd",
        state="COMPLETED" if well else "FAILED",
        unsettled_since=None if well else later(minutes=number),
        hold_reason=None if number % 1000 else "gone",
    )


async def explain(scene: Scene, sql: str, values: Any) -> list[str]:  # Any: parameters
    prefix = "EXPLAIN QUERY PLAN " if scene.database.is_sqlite else "EXPLAIN "
    async with snapshot(scene.database._engine) as connection:
        rows = (await connection.exec_driver_sql(prefix + sql, values)).all()
    return [str(row[-1]) for row in rows]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("  Café-Bar (Nairobi) ", "cafe bar nairobi"),
        ("A  b c d e f g h i j", "a b c d e f g h"),
        ("***", ""),
        ("O'Neil & Söhne/2", "o neil sohne 2"),
    ],
)
def test_words_are_folded_and_without_punctuation(text: str, words: str) -> None:
    assert words_of(text) == words


def test_a_tenant_is_found_by_each_word_of_its_name() -> None:
    assert beginnings(tenant_id(1), "Acme (Kenya) Ltd") == [
        "00000001 0000 7000 8000 000000000000",
        "acme kenya ltd",
        "kenya ltd",
        "ltd",
    ]
