"""What is old is deleted in pages; what still matters stays, and a cut log is told of."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, update

from server.access.trail import entry
from server.model.actor import LOCAL
from server.model.identifiers import AttemptId, RequestKey, TenantId, WorkerId, new_id
from server.model.records import Attempt
from server.model.states import AttemptOutcome, RunState, TenantState
from server.queries.log_pages import CursorCut, LogPages
from server.store import retention
from server.store.operations import (
    AuditOperation,
    FindingRow,
    OutboxRow,
    RequestOperation,
    RunRow,
    SweepOperation,
    TenantOperation,
)
from server.store.postgres import COMMITS
from server.store.retention import Kept, Retention
from server.store.tables import HERDS, LOG_ENTRIES, QUOTAS, TENANTS, WORKERS
from tests.server.store.scene import NOON, SITE, later, logs, run_of

if TYPE_CHECKING:
    from tests.server.store.scene import Scene

KEPT = Kept(log_days=30, attempt_days=60, request_days=7, finding_days=60, audit_days=60)


def job(scene: Scene, now: datetime, kept: Kept = KEPT) -> Retention:
    return Retention(scene.database, kept, now=lambda: now, pause_seconds=0)


async def finished(
    scene: Scene, name: str, state: TenantState = TenantState.COMPLETED, *, log_count: int = 3
) -> TenantId:
    """A tenant whose only run ended at NOON in a state."""
    tenant_id = await scene.tenant(name, log_count=log_count)
    record = await scene.record(tenant_id)
    assert record.run is not None
    closed = replace(record.run, state=RunState(state.value), finished_at=NOON)
    attempt = Attempt(
        id=AttemptId(new_id(NOON)),
        tenant_id=tenant_id,
        run_id=closed.id,
        step_key="step_1_platform_setup",
        number=1,
        worker_id=WorkerId("w"),
        started_at=NOON,
        deadline_at=later(seconds=30),
        ended_at=later(seconds=1),
        outcome=AttemptOutcome.APPLIED,
        error_class=None,
        error_code=None,
        message=None,
        evidence={},
    )
    await scene.written(
        TenantOperation(
            tenant_id=tenant_id,
            at=NOON,
            runs=(RunRow(run=closed, site=SITE),),
            attempts=(attempt,),
            log=tuple(replace(line, run_id=closed.id) for line in logs()),
        )
    )
    await scene.change_tenant(tenant_id, state=state.value)
    await scene.execute(
        update(LOG_ENTRIES).where(LOG_ENTRIES.c.tenant_id == tenant_id).values(run_id=closed.id)
    )
    return tenant_id


async def test_log_entries_and_attempts_of_a_finished_tenant_go_when_they_are_old(
    scene: Scene,
) -> None:
    tenant_id = await finished(scene, "Old")
    before = await scene.everything()
    assert await job(scene, later(days=29)).round() == {}
    assert await scene.everything() == before

    assert await job(scene, later(days=31)).round() == {"log_entries": 4}
    assert await job(scene, later(days=61)).round() == {"attempts": 1}
    # The tenant, its run and its steps stay.
    record = await scene.record(tenant_id)
    assert record.run is not None
    assert len(record.steps) > 0
    tail = await scene.database.reads.log_tail(tenant_id)
    assert tail is not None
    assert (tail.first, tail.last) == (5, 4)
    assert await job(scene, later(days=62)).round() == {}


@pytest.mark.parametrize("state", [TenantState.PARTIAL, TenantState.FAILED])
async def test_what_says_why_a_tenant_stands_still_stays_however_old(
    scene: Scene, state: TenantState
) -> None:
    tenant_id = await finished(scene, "Stuck", state)
    assert await job(scene, later(days=999)).round() == {}
    # Driven on, its earlier run is history.
    later_run = run_of(tenant_id, run_id=new_id(later(days=998)))
    await scene.written(
        TenantOperation(
            tenant_id=tenant_id,
            at=later(days=998),
            run_id=later_run.id,
            runs=(RunRow(run=later_run, site=SITE),),
            log=tuple(replace(line, run_id=later_run.id) for line in logs()),
        )
    )
    assert await job(scene, later(days=999)).round() == {"log_entries": 4, "attempts": 1}
    assert await scene.cursors(tenant_id) == [5]


async def test_an_open_run_keeps_its_log_and_attempts(scene: Scene) -> None:
    tenant_id = await finished(scene, "Open", TenantState.COMPLETED)
    await scene.change_run(tenant_id, state="WAITING")
    await scene.change_tenant(tenant_id, state="IN_PROGRESS")
    assert await job(scene, later(days=999)).round() == {}


async def test_a_log_is_cut_at_its_front_only_even_where_clocks_went_backwards(
    scene: Scene,
) -> None:
    tenant_id = await finished(scene, "Clock", log_count=4)
    entry = LOG_ENTRIES.c
    await scene.execute(
        update(LOG_ENTRIES)
        .where(entry.tenant_id == tenant_id, entry.cursor == 3)
        .values(time=later(days=20))
    )
    assert await job(scene, later(days=31)).round() == {"log_entries": 2}
    assert await scene.cursors(tenant_id) == [3, 4, 5]


async def test_an_entry_from_the_future_is_as_old_as_what_follows_it(scene: Scene) -> None:
    """One that a wrong clock wrote kept the whole log after it, for years."""
    tenant_id = await finished(scene, "Ahead", log_count=5)
    entry = LOG_ENTRIES.c

    async def put(cursor: int, days: float) -> None:
        where = (entry.tenant_id == tenant_id, entry.cursor == cursor)
        await scene.execute(update(LOG_ENTRIES).where(*where).values(time=later(days=days)))

    await put(1, 9000)
    await put(3, 9000)
    await put(5, 9000)
    await put(6, 20)
    assert await job(scene, later(days=31)).round() == {"log_entries": 4}
    # What follows it is not old yet.
    assert await scene.cursors(tenant_id) == [5, 6]
    assert await job(scene, later(days=51)).round() == {"log_entries": 2}


async def test_a_host_whose_own_clock_is_behind_deletes_nothing_that_looks_like_the_future(
    scene: Scene,
) -> None:
    await finished(scene, "Behind")
    before = await scene.everything()
    assert await job(scene, later(days=-400)).round() == {}
    assert await scene.everything() == before


async def test_a_follower_below_what_is_kept_is_told_the_oldest_cursor(scene: Scene) -> None:
    tenant_id = await finished(scene, "Followed", log_count=4)
    entry = LOG_ENTRIES.c
    await scene.execute(
        update(LOG_ENTRIES)
        .where(entry.tenant_id == tenant_id, entry.cursor > 3)
        .values(time=later(days=20))
    )
    pages = LogPages(scene.database.reads)
    assert [entry.cursor for entry in await pages.after(tenant_id, 1)] == [2, 3, 4, 5]
    await job(scene, later(days=31)).round()
    with pytest.raises(CursorCut, match="no longer kept") as told:
        await pages.after(tenant_id, 1)
    assert told.value.oldest_cursor == 4
    assert [entry.cursor for entry in await pages.after(tenant_id, 3)] == [4, 5]


async def test_request_ids_are_kept_for_seven_days_at_the_least(scene: Scene) -> None:
    tenant_id = await scene.tenant()
    for number in range(3):
        key = RequestKey(caller="me", method="Start", request_id=f"r{number}", body_hash="h")
        at = later(days=number)
        await scene.written(RequestOperation(tenant_id=tenant_id, at=at, request=key))
    greedy = replace(KEPT, request_days=1)
    assert await job(scene, later(days=6.9), greedy).round() == {}
    assert await job(scene, later(days=8.5), greedy).round() == {"requests": 2}
    known = [
        await scene.database.reads.request("me", "Start", f"r{number}") is not None
        for number in range(3)
    ]
    assert known == [False, False, True]


def found(
    tenant_id: str, *, cause: str = "NO_WORKER", ended_days: float | None = None
) -> FindingRow:
    return FindingRow(
        id=new_id(NOON),
        tenant_id=TenantId(tenant_id),
        revision=1,
        cause=cause,
        severity="PERSON",
        message="",
        evidence={},
        verdict="DRIVE_ON",
        outcome="ORDERED",
        stuck_since=None,
        found_at=NOON,
        ended_at=None if ended_days is None else later(days=ended_days),
        ended_as=None if ended_days is None else "HEALED",
    )


async def swept(scene: Scene, *findings: FindingRow, messages: tuple[OutboxRow, ...] = ()) -> None:
    await scene.written(
        SweepOperation(
            id=new_id(NOON),
            started_at=NOON,
            finished_at=NOON,
            observed=2,
            acted=0,
            skipped_passes=0,
            findings=findings,
            outbox=messages,
        )
    )


async def test_findings_go_a_time_after_they_ended_and_never_before(scene: Scene) -> None:
    tenant = await scene.tenant("Moved")
    # Of a tenant that moved on, and of what is no tenant: neither's revision says that it is over.
    moved, shut = found(tenant), found("engine:main", cause="ENGINE_SHUT")
    over, lately = found("t", ended_days=0.5), found("t", ended_days=30)
    await swept(scene, moved, shut, over, lately)
    await scene.written(TenantOperation(tenant_id=tenant, at=NOON))
    only = replace(KEPT, log_days=0, attempt_days=0)
    assert await job(scene, later(days=61), only).round() == {"findings": 1, "sweeps": 1}
    left = {row["id"] for row in await scene.sql("SELECT id FROM findings")}
    assert left == {moved.id, shut.id, lately.id}


async def test_herds_go_when_they_are_over_and_none_is_left_in_them(scene: Scene) -> None:
    finding, member = found("a", cause="HERD"), replace(found("b"), herd_id="f-member")
    await swept(scene, finding, member)

    def herd(fingerprint: str, finding_id: str, released_days: float | None) -> dict[str, object]:
        released = None if released_days is None else later(days=released_days)
        return {
            "fingerprint": fingerprint,
            "finding_id": finding_id,
            "released_at": released,
            "tenants": 3,
            "opened_at": NOON,
            "tries": 1,
        }

    await scene.execute(
        insert(HERDS).values(
            [
                herd("over", "f-gone", 0.5),
                herd("lately", "f-gone-too", 30),
                herd("stands", finding.id, None),
                herd("one is left", "f-member", 0.5),
                # Whoever opened it died before its finding was written.
                herd("never told", "f-never", None),
            ]
        )
    )
    assert await job(scene, later(days=61), replace(KEPT, log_days=0)).round() == {
        "herds": 2,
        "sweeps": 1,
    }
    left = {row["fingerprint"] for row in await scene.sql("SELECT fingerprint FROM herds")}
    assert left == {"lately", "stands", "one is left"}


async def test_messages_go_though_no_webhook_is_set_any_more(scene: Scene) -> None:
    rows = [
        OutboxRow(id=f"m{number}", kind="healed", body={}, created_at=later(days=days))
        for number, days in enumerate((0, 0, 0, 5))
    ]
    await swept(scene, messages=tuple(rows))
    for own_id, days in (("m1", 0.5), ("m2", 20)):
        await scene.database.outbox.delivered(own_id, later(days=days))
    assert await job(scene, later(days=30)).round() == {}, "the courier's own time"
    assert await job(scene, later(days=32)).round() == {"outbox": 2}
    left = {row["id"] for row in await scene.sql("SELECT id FROM outbox")}
    assert left == {"m2", "m3"}


async def test_who_ordered_what_is_kept_for_its_days_and_goes_in_pages(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE_ROWS", 2)
    for days in (0, 1, 2, 3, 30, 61):
        at = later(days=days)
        await scene.submit(AuditOperation(entry=entry(LOCAL, at, action="Continue", target="t")))
    # As old as it is kept, and not a moment older.
    assert await job(scene, later(days=62, seconds=1)).round() == {"audit": 3}
    rows = await scene.sql("SELECT at FROM audit")
    assert len(rows) == 3
    kept = replace(KEPT, audit_days=0)
    assert await job(scene, later(days=4000), kept).round() == {}


async def test_rows_of_dead_workers_go_but_for_those_a_run_points_to(scene: Scene) -> None:
    for worker_id in ("dead", "needed", "alive"):
        await scene.beat(worker_id)
    await scene.execute(update(WORKERS).values(heartbeat_at=NOON))
    await scene.execute(
        update(WORKERS).where(WORKERS.c.id == "alive").values(heartbeat_at=later(days=8))
    )
    tenant_id = await scene.tenant()
    await scene.change_run(tenant_id, state="RUNNING", worker_id="needed")
    assert await job(scene, later(days=8)).round() == {"workers": 1}
    assert await scene.database.reads.worker("dead") is None
    assert await scene.database.reads.worker("needed") is not None


@pytest.mark.postgres
async def test_counts_of_connections_that_are_gone_go_and_other_quotas_stay(
    postgres_scene: Scene,
) -> None:
    # By the database's clock, whatever ours says.
    old = datetime.now(UTC) - timedelta(days=8)
    for name, since in ((f"{COMMITS}gone", old), ("sweep", old)):
        await postgres_scene.execute(insert(QUOTAS).values(name=name, since=since, used=1))
    await postgres_scene.tenant()
    assert await job(postgres_scene, NOON).round() == {"quotas": 1}
    left = await postgres_scene.sql("SELECT name FROM quotas ORDER BY name")
    assert [row["name"].startswith(COMMITS) for row in left] == [True, False]


async def test_zero_days_keep_for_ever(scene: Scene) -> None:
    await finished(scene, "Kept")
    for_ever = Kept(log_days=0, attempt_days=0, request_days=0, finding_days=0)
    assert await job(scene, later(days=9999), for_ever).round() == {}


async def test_it_goes_in_pages_and_several_at_once_delete_each_row_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PAGE_ROWS", 4)
    monkeypatch.setattr(retention, "_TENANTS_A_PAGE", 2)
    tenants = [await finished(scene, f"Branch {number}", log_count=6) for number in range(5)]
    rounds = await asyncio.gather(*(job(scene, later(days=61)).round() for _ in range(3)))
    for table, count in (("log_entries", 7 * len(tenants)), ("attempts", len(tenants))):
        assert sum(deleted.get(table, 0) for deleted in rounds) == count
    assert [await scene.cursors(tenant_id) for tenant_id in tenants] == [[]] * len(tenants)


async def test_a_job_that_is_stopped_leaves_nothing_half_done(scene: Scene) -> None:
    await finished(scene, "Stopped")
    retiring = job(scene, later(days=61))
    retiring.start()
    await retiring.stop()
    assert (await scene.execute(TENANTS.select())) != []
