"""The work of reads does not follow what is over: counted, never timed, on both databases.

A table that holds twenty times as much may cost a level of an index, and nothing else.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from server.model.states import TenantState
from server.store import backup, retention
from server.store.tables import OUTBOX
from server.store.tenant_pages import TenantFilter, TenantPages
from tests.server.store.growing import NOON, SITE, at, fill, more_runs, tenant, work_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Connection

    from server.store.database import Database

FEW, MANY = 300, 6000
PERIOD = timedelta(days=7)
Calls = dict[str, "Callable[[], Awaitable[object]]"]


def calls_of(database: Database) -> Calls:
    """Return what is asked again and again, or by people who wait."""
    return {
        **findings_of(database),
        **of_sites(database),
        **old_lists_of(database),
        **kept_of(database),
    }


def findings_of(database: Database) -> Calls:
    healing, history = database.healing, database.healing_history

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
        "drift after a run": lambda: database.drift.repaired(SITE, claimed=PERIOD, limit=2),
        "open drift of a tenant": lambda: database.drift.open_drifts(tenant(5)),  # type: ignore[arg-type]  # a text
    }


def of_sites(database: Database) -> Calls:
    vanished = database.reads.vanished_companies
    return {
        "held for a Company that is gone": lambda: vanished(SITE, since=None, limit=5),
        "held for that since a while": lambda: vanished(SITE, since=at(0), limit=5),
        "how many are held": lambda: database.held_tenants(SITE),
    }


def old_lists_of(database: Database) -> Calls:
    pages = TenantPages(database)
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


def kept_of(database: Database) -> Calls:
    at_once = database.in_transaction

    def look_for_workers(connection: Connection) -> None:
        with connection.begin_nested() as part:
            assert connection.execute(retention._old_workers(NOON)(connection)).rowcount > 0
            part.rollback()

    return {
        "workers of long ago": lambda: at_once(look_for_workers),
        "open runs after a restore": lambda: at_once(backup.with_open_runs),
    }


async def test_a_claim_reads_each_run_of_its_tenant_once(database: Database) -> None:
    """A tenant that was tried for months has hundreds, and claims are read on the event loop."""

    async def claimed() -> None:
        claims = await database.reads.claims([tenant(0)], passed_step="step_2_company")
        assert claims[tenant(0)].passed_step

    await fill(database, 0, 1)
    await more_runs(database, 600)
    work = await work_of(database, claimed)

    # Where each read all others: 3000 steps a run, or 20 pages.
    assert work < 600 * (50 if database.is_sqlite else 10)


async def test_the_work_of_reads_does_not_follow_what_is_over(database: Database) -> None:
    calls = calls_of(database)
    await fill(database, 0, FEW)
    few = {name: await work_of(database, call) for name, call in calls.items()}
    await fill(database, FEW, MANY)
    many = {name: await work_of(database, call) for name, call in calls.items()}

    grown = {name: (few[name], many[name]) for name in calls if many[name] > 2 * few[name] + 40}
    assert grown == {}


async def test_a_page_of_messages_to_forget_reads_none_of_the_others_that_stay(
    database: Database,
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

        await database.in_transaction(write)

    def forget() -> Awaitable[object]:
        return database.outbox.forget(NOON, after="message 000009")

    await wait(0, 1000)
    few = await work_of(database, forget)
    await wait(1000, 10_000)
    assert await work_of(database, forget) <= 2 * few + 40
