"""What must not read every tenant: the plans the databases make."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.observe import PAGE
from server.model.identifiers import TenantId
from server.store.found import SweepMark
from server.store.operations import SweepOperation
from server.store.pulse import Pulse
from tests.server.store.due import HORIZON, ME, due
from tests.server.store.scene import NOON, OTHER_SITE, SITE, later
from tests.server.store.sent import statements_sent

if TYPE_CHECKING:
    from sqlalchemy import Row

    from tests.server.store.scene import Scene


SWEEP = SweepOperation(
    id="a",
    started_at=NOON,
    finished_at=NOON,
    observed=1,
    acted=0,
    skipped_passes=0,
    findings=(),
)


async def plan_of(scene: Scene, table: str) -> str:
    """How SQLite carries out what is sent to read this."""
    details = [str(row.detail) for row in await explained(scene, table, "EXPLAIN QUERY PLAN")]
    table = table.partition(" ")[0]
    return "\n".join(line for line in details if f" {table}" in line)


async def explained(scene: Scene, table: str, how: str) -> list[Row[Any]]:
    """What the database says of the queries that are sent to read this."""
    with statements_sent() as sent:
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


async def test_the_pulses_question_is_not_taken_for_a_statement_of_the_test(
    postgres_scene: Scene,
) -> None:
    """It comes once a second, so that now and then a plan above had one table more."""
    database = postgres_scene.database
    assert isinstance(database.pulse, Pulse)
    with statements_sent() as sent:
        await database.pulse._ask()
        await database.healing.settled()
    assert len(sent) == 1
