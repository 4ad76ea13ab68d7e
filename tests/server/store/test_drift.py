"""Whose drift is looked for, on both databases: who is due, in which order, and once."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from server.commands import Commands, EngineEntry
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.store.database import Database
from server.validation import RawSpec
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection

    from server.store.drift import DueLook

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
WEEK = timedelta(days=7)
HOUR = timedelta(hours=1)
SITE = "site"


async def finished(
    database: Database, name: str, *, at: datetime = NOON, state: str = "COMPLETED"
) -> str:
    """A tenant that is finished, by its stored word, which is all that is read here."""
    commands = Commands(
        database,
        engines={"main": EngineEntry(site=SITE, blueprint=NOOP)},
        default_engine="main",
        now=lambda: at,
    )
    tenant_id = await commands.start(LOCAL, RawSpec(company_name=name))
    await sql(database, f"UPDATE tenants SET state = '{state}' WHERE id = '{tenant_id}'")  # noqa: S608 - our own words
    return tenant_id


async def sql(database: Database, statement: str, **values: object) -> list[Any]:
    def run(connection: Connection) -> list[Any]:
        result = connection.execute(text(statement), values)
        return list(result) if result.returns_rows else []

    return await database.in_transaction(run)


async def due(database: Database, now: datetime, *, limit: int = 10) -> list[DueLook]:
    return await database.drift.due(SITE, now=now, period=WEEK, limit=limit)


async def test_a_tenant_is_due_a_period_after_it_was_finished_and_not_before(
    database: Database,
) -> None:
    tenant = await finished(database, "One")
    await finished(database, "Moving", state="IN_PROGRESS")

    assert await due(database, NOON + WEEK - HOUR) == []
    assert [each.tenant_id for each in await due(database, NOON + WEEK)] == [tenant]
    assert await database.drift.due("elsewhere", now=NOON + WEEK, period=WEEK, limit=10) == []


async def test_the_longest_waiting_comes_first_whether_it_was_looked_at_or_not(
    database: Database,
) -> None:
    names = {
        await finished(database, name, at=NOON + timedelta(hours=hours)): name
        for name, hours in (("A", 0), ("B", 1), ("C", 2))
    }
    first = (await due(database, NOON + WEEK))[0]
    assert await database.drift.claim(first, until=NOON + WEEK + timedelta(minutes=90))

    later = NOON + WEEK + timedelta(hours=9)

    assert [names[each.tenant_id] for each in await due(database, later)] == ["B", "A", "C"]
    assert [names[each.tenant_id] for each in await due(database, later, limit=1)] == ["B"]


async def test_of_many_that_take_one_look_at_once_one_gets_it(database: Database) -> None:
    await finished(database, "One")
    now = NOON + WEEK
    for seen in range(2):  # never looked at, then looked at before
        [look] = await due(database, now)
        assert (look.seen is None) == (seen == 0)

        taken = await asyncio.gather(
            *(
                database.drift.claim(look, until=now + HOUR + timedelta(seconds=number))
                for number in range(5)
            )
        )

        assert sorted(taken) == [False] * 4 + [True]
        assert await due(database, now) == []
        now += 2 * HOUR


async def test_a_tenant_that_an_order_came_to_is_not_taken(database: Database) -> None:
    tenant = await finished(database, "One")
    [look] = await due(database, NOON + WEEK)
    await sql(
        database, "UPDATE tenants SET revision = revision + 1 WHERE id = :tenant", tenant=tenant
    )

    assert not await database.drift.claim(look, until=NOON + WEEK + HOUR)
    assert not await database.drift.is_at(look.tenant_id, look.revision)


async def test_a_time_further_ahead_than_a_period_is_due(database: Database) -> None:
    await finished(database, "One")
    [look] = await due(database, NOON + WEEK)
    await database.drift.claim(look, until=NOON + 3 * WEEK)

    assert (
        len(await due(database, NOON + WEEK)) == 1
    )  # the clock was set back, or the period shorter


async def test_a_tenant_whose_times_are_damaged_is_looked_at_and_hides_no_other(
    database: Database,
) -> None:
    now = NOON + 2 * WEEK
    damage = "''" if database.is_sqlite else "'-infinity'"
    ids = [await finished(database, name) for name in ("Never", "Before", "Whole")]
    of = "WHERE id = :tenant"
    await sql(database, f"UPDATE tenants SET state_since = {damage} {of}", tenant=ids[0])  # noqa: S608 - our own words
    await sql(database, f"UPDATE tenants SET verify_at = {damage} {of}", tenant=ids[1])  # noqa: S608 - our own words

    looks = await due(database, now)

    assert {each.tenant_id for each in looks} == set(ids)
    assert [await database.drift.claim(look, until=now + HOUR) for look in looks] == [True] * 3
    assert await due(database, now) == []


async def test_a_run_whose_end_is_damaged_does_not_hide_what_others_repaired(
    database: Database,
) -> None:
    ends = ("'zzz'", "'9999-12-31 23:30:00+00:00'") if database.is_sqlite else ("'infinity'",)
    names = [*(f"Damaged {number}" for number in range(len(ends))), "Whole"]
    ids = [await finished(database, name) for name in names]
    for number, tenant in enumerate(ids):
        await sql(
            database,
            "INSERT INTO findings (id, sweep_id, tenant_id, revision, cause, severity, message, "
            "evidence, verdict, outcome, found_at, fingerprint, tenants) VALUES (:id, 's', "
            ":tenant, 1, 'DRIFT', 'PERSON', 'm', '{}', 'CALL_OPERATOR', 'OPERATOR_CALLED', "
            "'2026-05-05 12:00:00+00:00', '', 1)",
            id=str(number),
            tenant=tenant,
        )
    await sql(database, "UPDATE tenants SET verify_at = '2026-05-05 13:00:00+00:00'")
    await sql(database, "UPDATE runs SET finished_at = '2026-05-05 12:30:00+00:00'")
    for tenant, end in zip(ids, ends, strict=False):
        await sql(
            database,
            f"UPDATE runs SET finished_at = {end} WHERE tenant_id = :tenant",  # noqa: S608 - our own words
            tenant=tenant,
        )

    repaired = await database.drift.repaired(SITE, claimed=HOUR, limit=10)

    assert ids[-1] in {each.tenant_id for each in repaired}


async def test_only_who_took_a_look_puts_it_off(database: Database) -> None:
    tenant = await finished(database, "One")
    [look] = await due(database, NOON + WEEK)
    await database.drift.claim(look, until=NOON + WEEK + HOUR)

    await database.drift.put_off(look.tenant_id, claimed=NOON, until=NOON + 2 * WEEK)
    assert [each.tenant_id for each in await due(database, NOON + WEEK + HOUR)] == [tenant]
    await database.drift.put_off(look.tenant_id, claimed=NOON + WEEK + HOUR, until=NOON + 2 * WEEK)
    assert await due(database, NOON + WEEK + HOUR) == []


async def test_on_sqlite_who_is_due_is_read_from_an_index_in_its_order(tmp_path: Path) -> None:
    database = await Database.open(await copied_store(tmp_path / "plan.db"))
    never = "state = 'COMPLETED' AND verify_at IS NULL"
    before = "state = 'COMPLETED' AND verify_at IS NOT NULL"
    for of, index, column in (
        (never, "ix_tenants_never_verified", "state_since"),
        (before, "ix_tenants_verify_at", "verify_at"),
    ):
        plan = await sql(
            database,
            f"EXPLAIN QUERY PLAN SELECT id FROM tenants WHERE {of} AND site = 's' "  # noqa: S608 - words of ours
            f"AND hold_reason IS NULL AND {column} <= '2026' ORDER BY {column}, id LIMIT 2",
        )
        steps = " ".join(str(row[-1]) for row in plan)
        assert f"{index} (site=?" in steps
        assert f"{column}<?)" in steps
        assert "TEMP B-TREE" not in steps
    await database.close()
