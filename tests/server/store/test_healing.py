"""What reconcilers count and remember together, on both databases: who comes second is told so."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from server.commands import Commands, EngineEntry
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.model.records import Hold
from server.store import healing_history
from server.store.database import Database
from server.store.herd_row import Herd
from server.store.operations import FindingRow, OutboxRow, SweepOperation, TenantOperation
from server.validation import RawSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import URL, RowMapping

    from server.model.findings import FindingSeen
    from server.model.identifiers import TenantId

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
NEVER = datetime(9999, 12, 31, tzinfo=UTC)
WINDOW = timedelta(seconds=30)


@pytest.fixture
async def store(store_url: URL) -> AsyncIterator[Database]:
    database = await Database.open(store_url)
    yield database
    await database.close()


def herd(**more: object) -> Herd:
    made = Herd(fingerprint="f", finding_id="h1", tenants=5, opened_at=NOON)
    return replace(made, **more)  # type: ignore[arg-type]  # the fields of a herd


def commands_of(store: Database) -> Commands:
    return Commands(
        store,
        engines={"main": EngineEntry(site="site", blueprint=NOOP)},
        default_engine="main",
        now=lambda: NOON,
    )


async def started(store: Database, name: str) -> TenantId:
    return await commands_of(store).start(LOCAL, RawSpec(company_name=name))


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


async def record(store: Database, *findings: FindingRow) -> None:
    operation = SweepOperation(
        id=f"sweep of {findings[0].id}",
        started_at=NOON,
        finished_at=NOON,
        observed=1,
        acted=1,
        skipped_passes=0,
        findings=findings,
    )
    assert (await store.submit(operation)).applied


async def test_of_two_that_name_a_canary_one_is_told_that_it_was_late(store: Database) -> None:
    canaries = [
        herd(canary_tenant_id=name, canary_revision=3, ordered_at=NOON, tries=1) for name in "ab"
    ]

    first = await asyncio.gather(*(store.healing.put_herd(each, seen=None) for each in canaries))
    stored = (await store.healing.herds(["f", "g"]))["f"]
    later = [replace(stored, tries=2, alerted_at=NOON), replace(stored, released_at=NOON)]
    second = await asyncio.gather(*(store.healing.put_herd(each, seen=stored) for each in later))

    assert sorted(first) == [False, True]
    assert stored in canaries
    assert sorted(second) == [False, True]


async def test_turns_are_shared_and_come_back_with_the_next_window(store: Database) -> None:
    async def take(now: datetime) -> bool:
        return await store.healing.take_turn("orders", now=now, window=WINDOW, limit=3)

    taken = await asyncio.gather(*(take(NOON) for _ in range(8)))
    await store.healing.give_turn_back("orders")
    given_back = [await take(NOON), await take(NOON)]
    next_window = await asyncio.gather(*(take(NOON + WINDOW) for _ in range(8)))
    set_back = await take(NOON - timedelta(days=1))

    assert sum(taken) == 3
    assert given_back == [True, False]
    assert sum(next_window) == 3
    assert set_back, "a clock that was set back must not lock everybody out"


async def test_a_finding_is_ended_once_and_told_of_once(store: Database) -> None:
    tenant_id = await started(store, "Kijani Stores")
    await record(store, finding("a", tenant_id))
    open_before = await store.healing.open_by_fingerprint(["f"])
    unsettled = await store.healing.settled()
    await store.in_transaction(
        lambda connection: connection.exec_driver_sql("UPDATE tenants SET state = 'COMPLETED'")
    )
    (settled,) = await store.healing.settled()
    told = [
        OutboxRow(id=f"m{number}", kind="healed", body={}, created_at=NOON) for number in range(2)
    ]

    ended = await asyncio.gather(
        *(
            store.healing.end(["a"], ended_as="HEALED", at=NOON, messages=[message])
            for message in told
        )
    )

    await store.healing.join_earlier(herd(finding_id="h9"), before=None)
    assert open_before == {"f": {tenant_id}}
    assert unsettled == []
    assert (settled.tenant_id, settled.run_actor, settled.state) == (
        tenant_id,
        "local",
        "COMPLETED",
    )
    assert sorted(ended) == [False, True]
    assert len(await store.outbox.claim(NOON, hold=WINDOW, longest=WINDOW, limit=10)) == 1
    assert await store.healing.settled() == []
    assert await store.healing.open_by_fingerprint(["f"]) == {}


async def test_a_herd_knows_how_many_of_its_tenants_are_not_settled(store: Database) -> None:
    ids = [await started(store, f"Shop {number}") for number in range(3)]
    await store.healing.put_herd(herd(), seen=None)
    members = [
        finding(f"m{number}", tenant_id, herd_id="h1") for number, tenant_id in enumerate(ids)
    ]
    await record(store, finding("h1", ids[0], cause="HERD", tenants=3), *members)
    await store.healing.end(["m0"], ended_as="HEALED", at=NOON)
    await store.healing.mark_finding("h1", tenants=4, severity="PERSON", message="Again.")

    ((open_herd, left),) = await store.healing.open_herds()
    listed = await store.healing_history.findings(
        after=None,
        limit=10,
        tenant_id="",
        open_only=True,
        person_only=True,
        include_members=False,
    )

    assert (open_herd, left) == (herd(), 2)
    assert [(each.id, each.tenants, each.message) for each in listed] == [("h1", 4, "Again.")]
    assert await store.healing.has_finding("h1")
    assert not await store.healing.has_finding("h2")


async def test_of_a_standstill_only_the_latest_open_findings_are_listed(store: Database) -> None:
    """Driven on five times it was six lines, and the one for a person not the only one."""
    shop, other = [await started(store, name) for name in ("Shop", "Other")]
    await record(
        store,
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
        found = await store.healing_history.findings(
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


async def test_who_waits_for_a_person_is_listed(store: Database) -> None:
    held, called, _moving = [await started(store, name) for name in ("Held", "Called", "Moving")]
    hold = Hold(reason="The Company is gone.", by="run", since=NOON)
    await store.submit(TenantOperation(tenant_id=held, at=NOON, hold=hold))
    await store.submit(TenantOperation(tenant_id=called, at=NOON, look_at=NEVER))
    # One of an old client that lives on another kind of engine, and never has a run here.
    await commands_of(store).register_elsewhere(
        LOCAL, name="Elsewhere", country_code="KE", kind="odoo", facts={}
    )

    found = await store.healing.handed_over(never=NEVER, limit=10)

    assert {(each.tenant_id, each.held, each.reason) for each in found} == {
        (held, True, "The Company is gone."),
        (called, False, ""),
    }


async def test_pages_of_history_go_on_where_they_ended_also_at_one_moment(store: Database) -> None:
    tenant_id = await started(store, "Kijani Stores")
    for name in "abc":
        await record(store, finding(name, tenant_id))

    first = await store.healing_history.sweeps(after=None, limit=2)
    rest = await store.healing_history.sweeps(after=(first[-1].started_at, first[-1].id), limit=2)
    all_of_it = await store.healing_history.findings_of(NOON, NOON + timedelta(seconds=1), limit=10)

    assert [sweep.id[-1] for sweep in (*first, *rest)] == ["c", "b", "a"]
    assert [sweep.findings for sweep in (*first, *rest)] == [1, 1, 1]
    assert [each.company_name for each in all_of_it] == ["Kijani Stores"] * 3
    assert all_of_it[0].evidence == {"steps": "4"}


async def test_others_are_answered_while_the_findings_of_a_report_are_read(
    store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be twenty thousand."""
    tenant_id = await started(store, "Kijani Stores")
    await record(store, *(finding(f"f{number}", tenant_id) for number in range(6)))
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
    found = await store.healing_history.findings_of(NOON, NOON + WINDOW, limit=5)
    task.cancel()
    assert [each.id for each in found] == ["f5", "f4", "f3", "f2", "f1"]
    assert "".join(heard).split() == ["xx", "xx", "x"]
