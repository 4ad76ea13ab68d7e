"""The work of reads does not follow what is over: counted, never timed, on both databases.

A table that holds twenty times as much may cost a level of an index, and nothing else.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from server.model.states import TenantState
from server.store import backup, retention
from server.store.database import Database
from server.store.tables import OUTBOX
from server.store.tenant_pages import TenantFilter, TenantPages
from tests.server.store.growing import NOON, SITE, at, fill, more_runs, tenant, work_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy import URL, Connection

FEW, MANY = 300, 6000
PERIOD = timedelta(days=7)
Calls = dict[str, "Callable[[], Awaitable[object]]"]


@pytest.fixture
async def store(store_url: URL) -> AsyncIterator[Database]:
    database = await Database.open(store_url)
    yield database
    await database.close()


def calls_of(store: Database) -> Calls:
    """Return what is asked again and again, or by people who wait."""
    return {**findings_of(store), **of_sites(store), **old_lists_of(store), **kept_of(store)}


def findings_of(store: Database) -> Calls:
    healing, history = store.healing, store.healing_history

    def listed(
        after: int | None = None, *, of: str = "", open_only: bool = False
    ) -> Callable[[], Awaitable[object]]:
        return lambda: history.findings(
            after=None if after is None else (at(after), f"finding {after:06}"),
            limit=5,
            tenant_id=of,
            open_only=open_only,
            person_only=False,
            include_members=False,
        )

    async def came_through() -> object:
        (herd,) = (await healing.herds(["f"])).values()
        return await healing.came_through(herd, but_by="reconciler", limit=5)

    return {
        "newest findings": listed(),
        "findings of long ago": listed(50),
        "open findings": listed(open_only=True),
        "open findings, a later page": listed(50, open_only=True),
        "findings of a tenant": listed(of=tenant(5)),
        "a report": lambda: history.findings_of(at(40), at(50), limit=100),
        "newest sweeps": lambda: history.sweeps(after=None, limit=5),
        "sweeps of long ago": lambda: history.sweeps(after=(at(50), "sweep 000050"), limit=5),
        "findings whose tenants came to rest": healing.settled,
        "open herds": healing.open_herds,
        "who came through of a herd": came_through,
        "drift after a run": lambda: store.drift.repaired(SITE, claimed=PERIOD, limit=2),
        "open drift of a tenant": lambda: store.drift.open_drifts(tenant(5)),  # type: ignore[arg-type]  # a text
    }


def of_sites(store: Database) -> Calls:
    vanished = store.reads.vanished_companies
    return {
        "held for a Company that is gone": lambda: vanished(SITE, since=None, limit=5),
        "held for that since a while": lambda: vanished(SITE, since=at(0), limit=5),
        "how many are held": lambda: store.held_tenants(SITE),
    }


def old_lists_of(store: Database) -> Calls:
    pages = TenantPages(store)
    ids = [tenant(number) for number in (2, 5, 13)]
    done, partial = frozenset({TenantState.COMPLETED}), frozenset({TenantState.PARTIAL})

    def listed(wanted: TenantFilter) -> Callable[[], Awaitable[object]]:
        return lambda: pages.page(wanted, skip=0, limit=5)

    return {
        "old list of a member's": listed(TenantFilter(ids=ids)),
        "old list of a member's, of a word": listed(
            TenantFilter(ids=ids, free=done, held=frozenset())
        ),
        "old list of a member's, of an engine": listed(TenantFilter(ids=ids, engine_id="main")),
        "old list of a word that few have": listed(TenantFilter(free=partial, held=frozenset())),
    }


def kept_of(store: Database) -> Calls:
    at_once = store.in_transaction

    def look_for_workers(connection: Connection) -> None:
        with connection.begin_nested() as part:
            assert connection.execute(retention._old_workers(NOON)(connection)).rowcount > 0
            part.rollback()

    return {
        "workers of long ago": lambda: at_once(look_for_workers),
        "open runs after a restore": lambda: at_once(backup.with_open_runs),
    }


async def test_a_claim_reads_each_run_of_its_tenant_once(store: Database) -> None:
    """A tenant that was tried for months has hundreds, and claims are read on the event loop."""

    async def claimed() -> None:
        claims = await store.reads.claims([tenant(0)], passed_step="step_2_company")
        assert claims[tenant(0)].passed_step

    await fill(store, 0, 1)
    await more_runs(store, 600)
    work = await work_of(store, claimed)

    # Where each read all others: 3000 steps a run, or 20 pages.
    assert work < 600 * (50 if store.is_sqlite else 10)


async def test_the_work_of_reads_does_not_follow_what_is_over(store: Database) -> None:
    calls = calls_of(store)
    await fill(store, 0, FEW)
    few = {name: await work_of(store, call) for name, call in calls.items()}
    await fill(store, FEW, MANY)
    many = {name: await work_of(store, call) for name, call in calls.items()}

    grown = {name: (few[name], many[name]) for name in calls if many[name] > 2 * few[name] + 40}
    assert grown == {}


async def test_a_page_of_messages_to_forget_reads_none_of_the_others_that_stay(
    store: Database,
) -> None:
    """A receiver away for weeks leaves many; each page held SQLite's writer while it read all."""

    async def wait(first: int, last: int) -> None:
        rows = [
            {
                "id": f"message {number:06}",
                "kind": "healed",
                "body": "{}",
                "created_at": NOON,
                "due_at": NOON,
                "tries": 1,
            }
            for number in range(first, last)
        ]

        def write(connection: Connection) -> None:
            connection.execute(OUTBOX.insert(), rows)
            if connection.dialect.name == "postgresql":
                connection.execute(text("ANALYZE outbox"))

        await store.in_transaction(write)

    def forget() -> Awaitable[object]:
        return store.outbox.forget(NOON, after="message 000009")

    await wait(0, 1000)
    few = await work_of(store, forget)
    await wait(1000, 10_000)
    assert await work_of(store, forget) <= 2 * few + 40
