"""What is read: runs that are due, tenants to look at, and rows damaged from outside."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Engine, Insert, Text, cast, event, insert, literal, select, true

from reconciler.observe import PAGE
from server.model.derive import derive
from server.model.identifiers import TenantId, WorkerId
from server.model.records import Hold
from server.model.spec import DEFAULT_PAYMENT_METHODS
from server.model.states import GateState, LogLevel, ResourceState, RunState, StepState, TenantState
from server.store import due as runs_due
from server.store.due import DueAsked
from server.store.found import SweepMark
from server.store.operations import SweepOperation, TenantOperation
from server.store.tables import RUNS
from tests.server.store.scene import (
    KINDS,
    LEASE,
    NOON,
    OTHER_SITE,
    SITE,
    creation,
    later,
    run_of,
    whole_change,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from server.store.claims import Claim
    from tests.server.store.scene import Scene

HORIZON = timedelta(hours=1)
ME = WorkerId("me")
SECOND = timedelta(seconds=1)
SWEEP = SweepOperation(
    id="a",
    started_at=NOON,
    finished_at=NOON,
    observed=1,
    acted=0,
    skipped_passes=0,
    findings=(),
)


async def due(
    scene: Scene,
    *,
    now: datetime = NOON,
    alone: bool = False,
    closed_sites: Collection[str] = (),
    driving: Collection[str] = (),
    limit: int = 10,
    begun: bool = False,
    left: bool = True,
) -> list[TenantId]:
    asked = DueAsked(
        now=await scene.at(now),
        worker_id=ME,
        alone=alone,
        sites={SITE, OTHER_SITE} - set(closed_sites),
        driving=driving,
        horizon=HORIZON,
        limit=limit,
        begun=begun,
        left=left,
    )
    return [run.tenant_id for run in await scene.database.reads.due_runs(asked)]


async def with_run(
    scene: Scene,
    state: RunState,
    *,
    due_at: datetime = NOON,
    worker_id: str | None = None,
    site: str = SITE,
) -> TenantId:
    opened = partial(run_of, state=state, due_at=due_at, worker_id=worker_id)
    name = f"{state} {due_at} {worker_id}"
    operation = creation(name, site=site, run=opened)
    await scene.written(operation)
    return operation.tenant_id


@pytest.mark.parametrize(
    ("due_at", "claimed"),
    [
        (NOON - SECOND, True),
        (NOON, True),
        (NOON + SECOND, False),
        (NOON + HORIZON, False),
        # The clock was set back since it was written.
        (NOON + HORIZON + SECOND, True),
        (NOON + timedelta(days=9999), True),
    ],
)
async def test_a_waiting_run_is_claimed_when_its_time_has_come_or_lies_absurdly_far_ahead(
    scene: Scene, due_at: datetime, claimed: bool
) -> None:
    tenant_id = await with_run(scene, RunState.WAITING, due_at=due_at)
    assert await due(scene) == ([tenant_id] if claimed else [])


async def test_who_began_and_waited_is_seen_before_those_who_did_not_begin(scene: Scene) -> None:
    """Its pause ended after they were ordered: by that time alone it would come last."""
    for number in range(3):
        await with_run(scene, RunState.QUEUED, due_at=NOON - (number + 1) * SECOND)
    waited = await with_run(scene, RunState.WAITING, due_at=NOON)
    await with_run(scene, RunState.WAITING, due_at=NOON + SECOND)
    assert (await due(scene))[-1] == waited
    assert await due(scene, limit=1, begun=True) == [waited]
    assert await due(scene, begun=True) == [waited]


async def test_who_lost_its_worker_is_seen_before_those_who_did_not_begin(scene: Scene) -> None:
    """Whether it died, or stopped and queued the run again; neither is due before them."""
    await scene.beat("alive")
    left = await with_run(scene, RunState.RUNNING, worker_id="dead")
    handed_back = await with_run(scene, RunState.QUEUED, due_at=NOON + SECOND)
    await scene.change_run(handed_back, started_at=NOON)
    await with_run(scene, RunState.RUNNING, worker_id="alive")
    await with_run(scene, RunState.QUEUED, due_at=NOON - SECOND)
    assert set(await due(scene, begun=True)) == {left, handed_back}
    assert await due(scene, begun=True, left=False) == [handed_back]


@pytest.mark.parametrize("ahead", [-SECOND, SECOND, HORIZON, timedelta(days=9999)])
async def test_a_queued_run_is_claimed_at_once_whatever_the_clock_of_the_host_that_opened_it(
    scene: Scene, ahead: timedelta
) -> None:
    tenant_id = await with_run(scene, RunState.QUEUED, due_at=NOON + ahead)
    assert await due(scene) == [tenant_id]


@pytest.mark.parametrize(
    "state",
    [state for state in RunState if state not in {"QUEUED", "WAITING", "RUNNING"}],
)
async def test_a_closed_run_is_never_claimed(sqlite_scene: Scene, state: RunState) -> None:
    await with_run(sqlite_scene, state)
    assert await due(sqlite_scene, alone=True) == []


async def test_a_run_of_a_living_worker_is_left_to_it(scene: Scene) -> None:
    await scene.beat("other")
    await with_run(scene, RunState.RUNNING, worker_id="other")
    assert await due(scene, now=later(seconds=LEASE) - SECOND) == []


@pytest.mark.parametrize("worker_id", ["other", "never seen", None])
async def test_a_run_of_a_worker_that_is_dead_or_unknown_is_claimed(
    scene: Scene, worker_id: str | None
) -> None:
    await scene.beat("other")
    tenant_id = await with_run(scene, RunState.RUNNING, worker_id=worker_id)
    assert await due(scene, now=later(seconds=LEASE)) == [tenant_id]


async def test_a_run_of_a_worker_that_stopped_is_claimed_at_once(scene: Scene) -> None:
    await scene.beat("other")
    await scene.beat("other", stopped=True)
    tenant_id = await with_run(scene, RunState.RUNNING, worker_id="other")
    assert await due(scene) == [tenant_id]


async def test_a_run_of_a_worker_that_began_while_it_was_looked_is_left_to_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.beat("other")
    await with_run(scene, RunState.RUNNING, worker_id="other")
    mine = await with_run(scene, RunState.QUEUED)
    looks: list[int] = []
    look = runs_due.living_workers

    async def late(connection: AsyncConnection, now: datetime) -> set[str]:
        looks.append(1)
        return set() if len(looks) == 1 else await look(connection, now)

    monkeypatch.setattr(runs_due, "living_workers", late)
    assert await due(scene) == [mine]
    assert len(looks) == 2


async def test_a_lease_from_the_future_keeps_nothing(scene: Scene) -> None:
    """The clock was set back since that heartbeat."""
    await scene.beat("other", at=later(days=1))
    tenant_id = await with_run(scene, RunState.RUNNING, worker_id="other")
    assert await due(scene) == [tenant_id]


@pytest.mark.postgres
async def test_on_postgresql_leases_last_by_the_databases_clock_not_by_the_readers(
    postgres_scene: Scene,
) -> None:
    scene = postgres_scene
    await scene.beat("other", at=later(days=-300))
    tenant_id = await with_run(scene, RunState.RUNNING, worker_id="other")
    for now in (later(days=-1), NOON, later(days=1)):
        asked = DueAsked(
            now=now,
            worker_id=ME,
            alone=False,
            sites={SITE},
            driving=(),
            horizon=HORIZON,
            limit=10,
        )
        assert await scene.database.reads.due_runs(asked) == []
        live = await scene.database.reads.live(tenant_id)
        assert live is not None
        assert live.worker is not None
        assert live.worker.is_alive(now)
        assert abs(live.worker.last_sign(now) - now) < 60 * SECOND


async def test_who_drives_alone_claims_the_runs_of_all_others(scene: Scene) -> None:
    await scene.beat("other")
    tenant_id = await with_run(scene, RunState.RUNNING, worker_id="other")
    assert await due(scene, alone=True) == [tenant_id]


async def test_a_look_for_new_runs_alone_leaves_out_what_is_under_way(scene: Scene) -> None:
    await scene.beat(ME)
    lost = await with_run(scene, RunState.RUNNING, worker_id="dead")
    new = await with_run(scene, RunState.QUEUED)
    assert set(await due(scene)) == {lost, new}
    assert await due(scene, left=False) == [new]


async def test_a_run_of_ones_own_is_claimed_only_if_it_is_not_being_driven(scene: Scene) -> None:
    await scene.beat(ME)
    tenant_id = await with_run(scene, RunState.RUNNING, worker_id=ME)
    run = (await scene.record(tenant_id)).run
    assert run is not None
    assert await due(scene) == [tenant_id]
    assert await due(scene, driving={run.id}) == []


async def test_runs_of_a_closed_site_wait(scene: Scene) -> None:
    await with_run(scene, RunState.QUEUED)
    elsewhere = await with_run(scene, RunState.QUEUED, site=OTHER_SITE)
    assert await due(scene, closed_sites={SITE}) == [elsewhere]


async def test_the_longest_due_come_first_and_no_more_than_asked_for(scene: Scene) -> None:
    minutes = (3, 1, 2)
    ids = {
        ago: await with_run(scene, RunState.WAITING, due_at=NOON - timedelta(minutes=ago))
        for ago in minutes
    }
    assert await due(scene, limit=2) == [ids[3], ids[2]]


async def unsettled(scene: Scene) -> list[TenantId]:
    marks = await scene.database.reads.unsettled(NOON, after=None, limit=100)
    return [mark.id for mark in marks]


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        ("PENDING", True),
        ("IN_PROGRESS", True),
        ("PARTIAL", True),
        ("FAILED", True),
        ("NONSENSE", True),
        ("", True),
        ("COMPLETED", False),
        ("CANCELLED", False),
        ("DEPROVISIONING", False),
        ("DEPROVISIONED", False),
    ],
)
async def test_a_sweep_sees_a_state_that_was_changed_by_sql(
    scene: Scene, state: str, seen: bool
) -> None:
    tenant_id = await scene.tenant()
    await scene.change_tenant(tenant_id, state="PARTIAL" if state == "COMPLETED" else "COMPLETED")
    await scene.change_tenant(tenant_id, state=state)
    assert await unsettled(scene) == ([tenant_id] if seen else [])


@pytest.mark.parametrize(
    ("look_at", "seen"),
    [(None, True), (NOON, True), (NOON - SECOND, True), (NOON + SECOND, False)],
)
async def test_a_sweep_looks_when_it_is_due(
    scene: Scene, look_at: datetime | None, seen: bool
) -> None:
    tenant_id = await scene.tenant()
    await scene.change_tenant(tenant_id, look_at=look_at)
    assert await unsettled(scene) == ([tenant_id] if seen else [])


async def test_the_pages_of_a_sweep_cover_every_tenant_once(scene: Scene) -> None:
    ids = sorted([await scene.tenant(f"Shop {number}") for number in range(7)])
    await scene.change_tenant(ids[0], look_at=NOON)
    await scene.change_tenant(ids[1], look_at=NOON - SECOND)
    await scene.change_tenant(ids[3], look_at=NOON)
    await scene.change_tenant(ids[4], look_at=NOON + SECOND)
    seen: list[SweepMark] = []
    read = scene.database.reads.unsettled
    while page := await read(NOON, after=seen[-1] if seen else None, limit=2):
        seen += page
    never, put_off = [ids[2], ids[5], ids[6]], [ids[1], ids[0], ids[3]]
    assert [mark.id for mark in seen] == never + put_off
    assert await scene.database.reads.next_tenants(after=ids[2], limit=3) == ids[3:6]


async def test_every_garbage_word_is_read_without_falling_over(scene: Scene) -> None:
    tenant_id = await scene.tenant()
    record = await scene.record(tenant_id)
    await scene.gate()
    await scene.written(whole_change(record, token=1, revision=None))
    for table, column in (
        ("tenants", "state"),
        ("runs", "state"),
        ("runs", "run_order"),
        ("runs", "waiting_code"),
        ("steps", "state"),
        ("steps", "error_class"),
        ("resources", "state"),
        ("engines", "gate"),
        ("log_entries", "level"),
    ):
        await scene.sql(f"UPDATE {table} SET {column} = 'garbage'")  # noqa: S608 - our own names
    live = await scene.database.reads.live(tenant_id)
    assert live is not None
    assert live.gate is not None
    assert live.record.run is not None
    assert (live.record.tenant.state, live.record.run.state) == (None, None)
    assert {step.state for step in live.record.steps} == {StepState.PENDING}
    assert live.gate.state is GateState.UP
    (resource,) = await scene.database.reads.resources(tenant_id)
    assert resource.state is ResourceState.ADOPTED
    page = await scene.database.reads.log_page(tenant_id, after=0, limit=10)
    assert {entry.level for entry in page} == {LogLevel.INFO}
    standing = derive(
        stored=live.record.tenant.state,
        run=live.record.run,
        steps=live.record.steps,
        step_types=KINDS,
        at=NOON,
    )
    assert (standing.state, bool(standing.errors)) == (TenantState.FAILED, True)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "not json",
        "[1, 2]",
        "null",
        "{}",
        '{"payment_methods": 5, "opening_amount": "much", "till_user": 7}',
        '{"payment_methods": "Cash", "opening_amount": null, "till_user": []}',
        '{"payment_methods": {"a": 1}, "opening_amount": [1], "country_code": null}',
    ],
)
async def test_a_spec_that_is_no_spec_is_read_with_its_defaults(scene: Scene, spec: str) -> None:
    tenant_id = await scene.tenant("Acme")
    await scene.change_tenant(tenant_id, spec=spec)
    read = (await scene.record(tenant_id)).tenant.spec
    assert (read.company_name, read.engine_id, read.country_code) == ("Acme", "main", "KE")
    assert read.payment_methods == DEFAULT_PAYMENT_METHODS
    assert (read.opening_amount, read.till_user) == (0.0, None)


@pytest.mark.parametrize("damage", ["", "not json", "[]", "7", '{"a": {"b": 1}}'])
async def test_texts_that_are_no_json_objects_read_as_empty(scene: Scene, damage: str) -> None:
    tenant_id = await scene.tenant()
    await scene.sql("UPDATE steps SET outputs = :text", text=damage)
    await scene.sql("UPDATE log_entries SET fields = :text", text=damage)
    (step, *_) = (await scene.record(tenant_id)).steps
    (entry,) = await scene.database.reads.log_page(tenant_id, after=0, limit=10)
    assert list(step.outputs) == list(entry.fields) == (["a"] if "a" in damage else [])


async def test_rows_that_are_gone_leave_a_record_that_can_still_be_read(scene: Scene) -> None:
    """Promise 1: a record damaged from outside is read without falling over."""
    tenant_id = await scene.tenant()
    await scene.sql("DELETE FROM steps")
    assert (await scene.record(tenant_id)).steps == ()
    await scene.sql("DELETE FROM runs")
    await scene.sql("DELETE FROM bindings")
    await scene.sql("DELETE FROM log_entries")
    live = await scene.database.reads.live(tenant_id)
    assert live is not None
    assert (live.record.run, live.gate, live.worker) == (None, None, None)
    assert await scene.database.reads.binding(tenant_id) is None
    tail = await scene.database.reads.log_tail(tenant_id)
    assert tail is not None
    assert (tail.first, tail.last) == (2, 1)


@pytest.mark.parametrize("damage", ["", "garbage", "2026-13-45", "7"])
async def test_times_that_are_none_are_survived_on_sqlite(sqlite_scene: Scene, damage: str) -> None:
    scene = sqlite_scene
    await scene.gate()
    await scene.beat("other")
    tenant_id = await with_run(scene, RunState.RUNNING, worker_id="other")
    await scene.written(
        TenantOperation(
            tenant_id=tenant_id, at=NOON, hold=Hold(reason="gone", by="reconciler", since=NOON)
        )
    )
    for table, columns in (
        ("tenants", ("created_at", "updated_at", "hold_since", "look_at", "healed_at")),
        ("runs", ("created_at", "due_at", "started_at", "finished_at", "deadline_at")),
        ("steps", ("error_at", "started_at", "completed_at")),
        ("workers", ("started_at", "heartbeat_at")),
        ("engines", ("gate_since", "slot_expires_at")),
        ("log_entries", ("time",)),
    ):
        for column in columns:
            await scene.sql(f"UPDATE {table} SET {column} = :at", at=damage)  # noqa: S608 - words of ours
    live = await scene.database.reads.live(tenant_id)
    assert live is not None
    assert live.record.tenant.hold is not None
    # Its worker can't be shown to live, so its run is taken over.
    assert await due(scene) == [tenant_id]
    marks: list[SweepMark] = []
    while page := await scene.database.reads.unsettled(
        NOON, after=marks[-1] if marks else None, limit=1
    ):
        marks += page
        assert len(marks) == 1
    assert len(await scene.database.reads.log_page(tenant_id, after=0, limit=10)) == 1


async def plan_of(scene: Scene, table: str) -> str:
    """How SQLite carries out what is sent to read this."""
    details = [str(row.detail) for row in await explained(scene, table, "EXPLAIN QUERY PLAN")]
    table = table.partition(" ")[0]
    return "\n".join(line for line in details if f" {table}" in line)


async def explained(scene: Scene, table: str, how: str) -> list[Row[Any]]:
    """What the database says of the queries that are sent to read this."""
    sent: list[tuple[str, tuple[object, ...]]] = []

    # Of whichever engine: short reads have one of their own.
    @event.listens_for(Engine, "before_cursor_execute")
    def remember(_connection: object, _cursor: object, statement: str, *rest: object) -> None:
        parameters = rest[0]
        assert isinstance(parameters, tuple)
        sent.append((statement, parameters))

    if table == "runs":
        reads = scene.database.reads
        await due(scene, closed_sites={SITE})
        await due(scene, closed_sites={OTHER_SITE}, begun=True, left=False)
        await reads.slot_line(SITE, driving=["other"], limit=5)
        await reads.slot_line(SITE, driving=[], limit=5, before=NOON)
        await reads.lines()
        await reads.driven_elsewhere(NOON, [SITE], worker_id=ME)
        await scene.database.site_loads([])
    elif table == "tenants that wait":
        await scene.database.healing.handed_over(never=later(days=9999), limit=10)
    elif table == "tenants of what was found":
        await scene.database.healing.settled()
        await scene.database.drift.repaired(SITE, claimed=HORIZON, limit=2)
    elif table == "sweeps":
        await scene.database.submit(SWEEP)
        await scene.database.healing_history.sweeps(after=None, limit=2)
    else:
        reads = scene.database.reads
        await reads.unsettled(NOON, after=SweepMark(None, TenantId("0")), limit=PAGE)
        put_off = "2026" if scene.database.is_sqlite else later(days=-1)
        await reads.unsettled(NOON, after=SweepMark(put_off, TenantId("0")), limit=PAGE)
    event.remove(Engine, "before_cursor_execute", remember)
    said: list[Row[Any]] = []
    async with scene.database._engine.connect() as connection:
        for statement, parameters in sent:
            if statement.startswith("SELECT"):
                said += await connection.exec_driver_sql(f"{how} {statement}", parameters)
    return said


async def test_who_waits_for_a_person_is_found_without_reading_every_tenant(
    sqlite_scene: Scene,
) -> None:
    await sqlite_scene.tenant()
    plan = await plan_of(sqlite_scene, "tenants that wait")
    assert "USING INDEX ix_tenants_unsettled" in plan
    assert "USING INDEX ix_tenants_held" in plan
    assert "SCAN tenants\n" not in f"{plan}\n"


async def test_whose_finding_is_open_is_found_without_reading_who_is_done(
    sqlite_scene: Scene,
) -> None:
    """Each sweep asks twice, and once more for each site, and all but a few are done."""
    await sqlite_scene.tenant()
    plan = await plan_of(sqlite_scene, "tenants of what was found")
    assert len(plan.splitlines()) == 2
    for line in plan.splitlines():
        assert "SEARCH tenants USING INDEX sqlite_autoindex_tenants_1 (id=?)" in line


async def test_a_page_of_sweeps_reads_the_findings_once_and_not_once_a_sweep(
    sqlite_scene: Scene,
) -> None:
    said = [row.detail for row in await explained(sqlite_scene, "sweeps", "EXPLAIN QUERY PLAN")]
    (line,) = (line for line in said if "findings" in line)
    assert "SEARCH findings USING INDEX ix_findings_found_at" in line
    assert not [line for line in said if "CORRELATED" in line]


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize(
    ("table", "index"), [("runs", "ix_runs_open"), ("tenants", "ix_tenants_unsettled")]
)
async def test_sweeps_and_claims_read_only_what_is_open(
    sqlite_scene: Scene, table: str, index: str, analysed: bool
) -> None:
    scene = sqlite_scene
    for number in range(20):
        await scene.tenant(f"Shop {number}")
    await scene.sql("UPDATE tenants SET state = 'COMPLETED' WHERE company_name <> 'Shop 1'")
    await scene.sql("UPDATE runs SET state = 'COMPLETED' WHERE due_at > '2000' AND rowid > 2")
    if analysed:
        await scene.sql("ANALYZE")
    plan = await plan_of(scene, table)
    assert plan
    for line in plan.splitlines():
        assert f"INDEX {index}" in line
        # Who is put off to a later time is passed over, not read.
        assert table != "tenants" or "(look_at" in line


UNSETTLED = "ix_tenants_unsettled"
# After one that stands still: others that do, some whose time has come, and thousands that are
# done or put off.
_MANY = """
INSERT INTO tenants SELECT (jsonb_populate_record(t, jsonb_build_object(
    'id', '9' || lpad(i::text, 5, '0'),
    'state', CASE WHEN i <= :stuck OR i % 10 = 3 THEN 'FAILED' ELSE 'COMPLETED' END,
    'look_at', CASE WHEN i > :stuck AND i % 10 = 3 THEN
        CASE WHEN i <= 200 THEN '2026-01-01Z' ELSE '9000-01-01Z' END
    END
))).* FROM tenants t, generate_series(1, 5000) i
"""


@pytest.mark.parametrize("analysed", [False, True])
@pytest.mark.parametrize("stuck", [0, 100])
async def test_a_sweep_on_postgres_passes_over_those_who_are_done(
    postgres_scene: Scene, stuck: int, analysed: bool
) -> None:
    scene = postgres_scene
    await scene.tenant()
    await scene.sql(_MANY, stuck=stuck)
    if analysed:
        await scene.sql("ANALYZE tenants")
    said = "\n".join(str(row[0]) for row in await explained(scene, "tenants", "EXPLAIN"))
    # Those never put off, those whose time has come where the page has room for them, and these
    # on a later page.
    ranges = 2 if stuck >= PAGE else 3
    # By their key all tenants are read: the planner takes the unsettled to be everywhere.
    assert re.findall(r"Scan (?:using|on) (?!tenants)(\w+)", said) == [UNSETTLED] * ranges
    assert "Seq Scan" not in said
    # Entered by the time: who is put off to a later one is passed over.
    assert len(re.findall("Index Cond: .*look_at", said)) == ranges


async def claim(scene: Scene, tenant_id: TenantId) -> Claim:
    claims = await scene.database.reads.claims([tenant_id, "unknown"], passed_step="step_2_company")
    assert list(claims) == [tenant_id]
    return claims[tenant_id]


async def test_who_passed_a_step_is_told_by_runs_and_by_rows(scene: Scene) -> None:
    tenant_id = await scene.tenant()
    assert not (await claim(scene, tenant_id)).passed_step
    await scene.sql("UPDATE steps SET state = 'COMPLETED' WHERE key = 'step_2_company'")
    assert (await claim(scene, tenant_id)).passed_step
    await scene.sql("DELETE FROM steps")
    assert not (await claim(scene, tenant_id)).passed_step
    await scene.change_run(tenant_id, previous_state="PARTIAL")
    assert (await claim(scene, tenant_id)).passed_step
    await scene.change_run(tenant_id, previous_state="", state="COMPLETED")
    assert (await claim(scene, tenant_id)).passed_step
    await scene.change_run(tenant_id, state="FAILED")
    await scene.change_tenant(tenant_id, first_completed_at=NOON)
    assert (await claim(scene, tenant_id)).passed_step


# More than the levels that SQLite compares a row with, and than most processes claim at once.
_REMOVED = 1100


def _many_removals() -> Insert:
    """Return what writes, by an existing run, that many other tenants were removed before."""
    number = select(literal(1).label("number")).cte("many", recursive=True)
    number = number.union_all(
        select(number.c.number + 1).where(number.c.number < literal(_REMOVED))
    )
    text = cast(number.c.number, Text)
    theirs = {
        "id": "removal " + text,
        "tenant_id": "removed " + text,
        "run_order": literal("DEPROVISION"),
        "state": literal("COMPLETED"),
    }
    one = select(RUNS).limit(1).subquery()
    rows = select(*(theirs.get(column.name, column) for column in one.c)).select_from(
        one.join(number, true())
    )
    return insert(RUNS).from_select([column.name for column in one.c], rows)


async def test_any_number_of_tenants_that_were_removed_before_are_claimed_at_once(
    scene: Scene,
) -> None:
    again, before = await scene.tenant("Again"), await scene.tenant("Before")
    await scene.change_run(again, state="PARTIAL")
    await scene.change_run(before, state="COMPLETED", run_order="DEPROVISION")
    await scene.execute(_many_removals())
    claims = await scene.database.reads.claims(
        [again, *(f"removed {number}" for number in range(1, _REMOVED + 1)), before],
        passed_step="step_2_company",
    )
    assert {tenant_id: claim.passed_step for tenant_id, claim in claims.items()} == {
        again: True,
        before: False,
    }


async def test_a_claim_brings_all_that_driving_a_run_needs(scene: Scene) -> None:
    tenant_id = await scene.tenant()
    record = await scene.record(tenant_id)
    await scene.written(whole_change(record, token=1, revision=None))
    claimed = await claim(scene, tenant_id)
    assert claimed.record == await scene.record(tenant_id)
    assert claimed.abbreviation == "KS"
    assert list(claimed.resources) == await scene.database.reads.resources(tenant_id)
    assert claimed.attempts == ()


async def test_tenants_of_one_name_are_found_as_the_engine_compares_names(scene: Scene) -> None:
    tenant_id = await scene.tenant("Café")
    elsewhere = await scene.tenant("Cafe", site=OTHER_SITE)
    for each in (tenant_id, elsewhere):
        assert (await claim(scene, each)).only_tenant_of_name
    bound = await scene.database.reads.bound_to(SITE, "cafe")
    assert bound is not None
    assert bound.tenant_id == tenant_id
    # A second one of the site, as an import behind our back could make it.
    await scene.sql("DELETE FROM bindings")
    second = await scene.tenant("CAFE")
    assert not (await claim(scene, tenant_id)).only_tenant_of_name
    assert (await claim(scene, elsewhere)).only_tenant_of_name
    await scene.change_tenant(second, state="DEPROVISIONED")
    assert (await claim(scene, tenant_id)).only_tenant_of_name


async def test_followers_are_told_the_end_of_each_log_and_whether_it_moves(scene: Scene) -> None:
    moving = await scene.tenant("Acme", log_count=3)
    resting = await scene.tenant("Bidii", log_count=2)
    await scene.change_tenant(resting, state="COMPLETED")
    assert await scene.database.reads.log_ends([moving, resting, "unknown"]) == {
        moving: (3, True),
        resting: (2, False),
    }
    assert await scene.database.reads.log_tail("unknown") is None
