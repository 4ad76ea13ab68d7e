"""What reconcilers count and remember together, on both databases: who comes second is told so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from server.commands import Commands, EngineEntry
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.model.records import Hold
from server.store import healing_history
from server.store.herd_row import Herd
from server.store.operations import FindingRow, OutboxRow, SweepOperation, TenantOperation
from server.validation import RawSpec

if TYPE_CHECKING:
    import pytest
    from sqlalchemy import RowMapping

    from server.model.findings import FindingSeen
    from server.model.identifiers import TenantId
    from server.store.database import Database

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
WINDOW = timedelta(seconds=30)


def herd(**more: object) -> Herd:
    made = Herd(fingerprint="f", finding_id="h1", tenants=5, opened_at=NOON)
    return replace(made, **more)  # type: ignore[arg-type]  # the fields of a herd


def commands_of(database: Database) -> Commands:
    return Commands(
        database,
        engines={"main": EngineEntry(site="site", blueprint=NOOP)},
        default_engine="main",
        now=lambda: NOON,
    )


async def started(database: Database, name: str) -> TenantId:
    return await commands_of(database).start(LOCAL, RawSpec(company_name=name))


def finding(own_id: str, tenant_id: TenantId, **more: object) -> FindingRow:
    made = FindingRow(
        id=own_id,
        tenant_id=tenant_id,
        revision=1,
        cause="PASSING_ERROR",
        severity="MOVING",
        message="It stopped.",
        evidence={"steps": "4"},
        verdict="DRIVE_ON",
        outcome="ORDERED",
        stuck_since=NOON,
        found_at=NOON,
        fingerprint="f",
    )
    return replace(made, **more)  # type: ignore[arg-type]  # the fields of a finding


async def record(database: Database, *findings: FindingRow) -> None:
    operation = SweepOperation(
        id=f"sweep of {findings[0].id}",
        started_at=NOON,
        finished_at=NOON,
        observed=1,
        acted=1,
        skipped_passes=0,
        findings=findings,
    )
    assert (await database.submit(operation)).applied


async def test_of_two_that_name_a_canary_one_is_told_that_it_was_late(database: Database) -> None:
    canaries = [
        herd(canary_tenant_id=name, canary_revision=3, ordered_at=NOON, tries=1) for name in "ab"
    ]

    first = await asyncio.gather(*(database.healing.put_herd(each, seen=None) for each in canaries))
    stored = (await database.healing.herds(["f", "g"]))["f"]
    later = [replace(stored, tries=2, alerted_at=NOON), replace(stored, released_at=NOON)]
    second = await asyncio.gather(*(database.healing.put_herd(each, seen=stored) for each in later))

    assert sorted(first) == [False, True]
    assert stored in canaries
    assert sorted(second) == [False, True]


async def test_turns_are_shared_and_come_back_with_the_next_window(database: Database) -> None:
    async def take(now: datetime) -> bool:
        return await database.healing.take_turn("orders", now=now, window=WINDOW, limit=3)

    taken = await asyncio.gather(*(take(NOON) for _ in range(8)))
    await database.healing.give_turn_back("orders")
    given_back = [await take(NOON), await take(NOON)]
    next_window = await asyncio.gather(*(take(NOON + WINDOW) for _ in range(8)))
    set_back = await take(NOON - timedelta(days=1))

    assert sum(taken) == 3
    assert given_back == [True, False]
    assert sum(next_window) == 3
    assert set_back, "a clock that was set back must not lock everybody out"


async def test_a_finding_is_ended_once_and_told_of_once(database: Database) -> None:
    tenant_id = await started(database, "Kijani Stores")
    await record(database, finding("a", tenant_id))
    open_before = await database.healing.open_by_fingerprint(["f"])
    unsettled = await database.healing.settled()
    await database.in_transaction(
        lambda connection: connection.exec_driver_sql("UPDATE tenants SET state = 'COMPLETED'")
    )
    (settled,) = await database.healing.settled()
    told = [
        OutboxRow(id=f"m{number}", kind="healed", body={}, created_at=NOON) for number in range(2)
    ]

    ended = await asyncio.gather(
        *(
            database.healing.end(["a"], ended_as="HEALED", at=NOON, messages=[message])
            for message in told
        )
    )

    await database.healing.join_earlier(herd(finding_id="h9"), before=None)
    assert open_before == {"f": {tenant_id}}
    assert unsettled == []
    assert (settled.tenant_id, settled.run_actor, settled.state) == (
        tenant_id,
        "local",
        "COMPLETED",
    )
    assert sorted(ended) == [False, True]
    assert len(await database.outbox.claim(NOON, hold=WINDOW, longest=WINDOW, limit=10)) == 1
    assert await database.healing.settled() == []
    assert await database.healing.open_by_fingerprint(["f"]) == {}


async def test_a_herd_knows_how_many_of_its_tenants_are_not_settled(database: Database) -> None:
    ids = [await started(database, f"Shop {number}") for number in range(3)]
    await database.healing.put_herd(herd(), seen=None)
    members = [
        finding(f"m{number}", tenant_id, herd_id="h1") for number, tenant_id in enumerate(ids)
    ]
    await record(database, finding("h1", ids[0], cause="HERD", tenants=3), *members)
    await database.healing.end(["m0"], ended_as="HEALED", at=NOON)
    await database.healing.mark_finding("h1", tenants=4, severity="PERSON", message="Again.")

    ((open_herd, left),) = await database.healing.open_herds()
    listed = await database.healing_history.findings(
        after=None,
        limit=10,
        tenant_id="",
        open_only=True,
        person_only=True,
        include_members=False,
    )

    assert (open_herd, left) == (herd(), 2)
    assert [(each.id, each.tenants, each.message) for each in listed] == [("h1", 4, "Again.")]
    assert await database.healing.has_finding("h1")
    assert not await database.healing.has_finding("h2")


async def test_of_a_standstill_only_the_latest_open_findings_are_listed(database: Database) -> None:
    """Driven on five times it was six lines, and the one for a person not the only one."""
    shop, other = [await started(database, name) for name in ("Shop", "Other")]
    await record(
        database,
        *(finding(f"again {number}", shop, revision=number) for number in range(1, 4)),
        finding("spent", shop, revision=3, cause="HEALING_BUDGET_SPENT", severity="PERSON"),
        # Said of the same look, and something else.
        finding("word", shop, revision=3, cause="STATE_DIFFERS"),
        # Not about the standstill: each is over by itself.
        finding("drift", shop, cause="DRIFT"),
        finding("herd", shop, cause="HERD", tenants=3),
        finding("sweep", shop, revision=0, cause="SWEEP_ERROR"),
        finding("before", other, revision=1, severity="PERSON"),
        finding("now", other, revision=2),
        finding("over", other, revision=3, ended_at=NOON, ended_as="MENDED"),
    )

    async def listed(
        *, tenant_id: str = "", open_only: bool = True, person_only: bool = False
    ) -> list[str]:
        found = await database.healing_history.findings(
            after=None,
            limit=50,
            tenant_id=tenant_id,
            open_only=open_only,
            person_only=person_only,
            include_members=True,
        )
        return sorted(each.id for each in found)

    assert await listed() == ["drift", "herd", "now", "spent", "sweep", "word"]
    assert await listed(tenant_id=other) == ["now"]
    # What needed a person before, and was driven on since, does not any more.
    assert await listed(person_only=True) == ["spent"]
    assert len(await listed(open_only=False)) == 11


async def test_who_waits_for_a_person_is_listed(database: Database) -> None:
    held, called, _moving = [await started(database, name) for name in ("Held", "Called", "Moving")]
    hold = Hold(reason="The Company is gone.", by="run", since=NOON)
    await database.submit(TenantOperation(tenant_id=held, at=NOON, hold=hold))
    await database.submit(TenantOperation(tenant_id=called, at=NOON, look_at=NEVER))
    # One of an old client that lives on another kind of engine, and never has a run here.
    await commands_of(database).register_elsewhere(
        LOCAL, name="Elsewhere", country_code="KE", kind="odoo", facts={}
    )

    found = await database.healing.handed_over(never=NEVER, limit=10)

    assert {(each.tenant_id, each.held, each.reason) for each in found} == {
        (held, True, "The Company is gone."),
        (called, False, ""),
    }


async def test_pages_of_history_go_on_where_they_ended_also_at_one_moment(
    database: Database,
) -> None:
    tenant_id = await started(database, "Kijani Stores")
    for name in "abc":
        await record(database, finding(name, tenant_id))

    first = await database.healing_history.sweeps(after=None, limit=2)
    rest = await database.healing_history.sweeps(
        after=(first[-1].started_at, first[-1].id), limit=2
    )
    all_of_it = await database.healing_history.findings_of(
        NOON, NOON + timedelta(seconds=1), limit=10
    )

    assert [sweep.id[-1] for sweep in (*first, *rest)] == ["c", "b", "a"]
    assert [sweep.findings for sweep in (*first, *rest)] == [1, 1, 1]
    assert [each.company_name for each in all_of_it] == ["Kijani Stores"] * 3
    assert all_of_it[0].evidence == {"steps": "4"}


async def test_others_are_answered_while_the_findings_of_a_report_are_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be twenty thousand."""
    tenant_id = await started(database, "Kijani Stores")
    await record(database, *(finding(f"f{number}", tenant_id) for number in range(6)))
    heard: list[str] = []
    really = healing_history._finding

    def noted(row: RowMapping) -> FindingSeen:
        heard.append("x")
        return really(row)

    async def others() -> None:
        while True:
            heard.append(" ")
            await asyncio.sleep(0)

    monkeypatch.setattr(healing_history, "_finding", noted)
    monkeypatch.setattr(healing_history, "_AT_A_TIME", 2)
    task = asyncio.create_task(others())
    found = await database.healing_history.findings_of(NOON, NOON + WINDOW, limit=5)
    task.cancel()
    assert [each.id for each in found] == ["f5", "f4", "f3", "f2", "f1"]
    assert "".join(heard).split() == ["xx", "xx", "x"]
