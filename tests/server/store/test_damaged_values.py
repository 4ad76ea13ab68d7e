"""Values that one database takes and Python does not: one damaged row hides no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.errors import StoreUnavailable
from server.model.identifiers import WorkerId
from server.model.records import Hold
from server.model.states import GateState
from server.store.due import DueAsked
from server.store.operations import GateOperation, TenantOperation, WorkerOperation
from server.store.values import json_object
from tests.server.settings.given import load
from tests.server.store.scene import NOON, SITE, creation, later, whole_change

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from tests.server.store.scene import Scene

TIMES = {
    "tenants": ("hold_since", "look_at", "healed_at", "first_completed_at", "updated_at"),
    "runs": ("due_at", "waiting_until", "started_at", "finished_at", "created_at"),
    "steps": ("error_at", "started_at", "completed_at"),
    "log_entries": ("time",),
}
OF_POSTGRESQL = ["infinity", "-infinity", "4000-01-01 00:00:00+00 BC", "200000-01-01 00:00:00+00"]


async def two(scene: Scene) -> tuple[TenantId, TenantId]:
    """Make two tenants; the first one will be damaged."""
    first, second = creation("Damaged"), creation("Healthy")
    await scene.written(first)
    await scene.written(second)
    return first.tenant_id, second.tenant_id


async def all_that_sweeps_and_workers_read(scene: Scene, tenants: tuple[TenantId, ...]) -> None:
    reads = scene.database.reads
    assert {record.tenant.id for record in await reads.records(tenants)} == set(tenants)
    await reads.unsettled(NOON, after=None, limit=10)
    asked = DueAsked(
        now=NOON,
        worker_id=WorkerId("me"),
        alone=False,
        sites={SITE},
        driving=(),
        horizon=later(hours=1) - NOON,
        limit=10,
    )
    due = [run.tenant_id for run in await reads.due_runs(asked)]
    assert tenants[1] in due
    assert (await reads.claims(set(tenants), passed_step="step_2_company")).keys() == set(tenants)
    for tenant_id in tenants:
        assert await scene.database.glances.live(tenant_id) is not None
        assert await scene.database.picture(tenant_id, NOON) is not None
        assert await reads.log_page(tenant_id, after=0, limit=10)


async def set_all_times(scene: Scene, tenant_id: TenantId, time: str) -> None:
    for table, columns in TIMES.items():
        owner = "id" if table == "tenants" else "tenant_id"
        values = ", ".join(f"{column} = '{time}'" for column in columns)
        await scene.sql(f"UPDATE {table} SET {values} WHERE {owner} = '{tenant_id}'")  # noqa: S608 - our own words


@pytest.mark.postgres
@pytest.mark.parametrize("time", OF_POSTGRESQL)
async def test_times_that_only_postgresql_knows_read_as_none(
    postgres_scene: Scene, time: str
) -> None:
    scene = postgres_scene
    tenants = await two(scene)
    await set_all_times(scene, tenants[0], time)

    await all_that_sweeps_and_workers_read(scene, tenants)

    (record,) = await scene.database.reads.records([tenants[0]])
    assert record.tenant.look_at is None
    assert record.run is not None
    assert record.run.finished_at is None


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-12:00"])
async def test_times_at_the_ends_of_the_calendar_are_survived_on_sqlite(
    sqlite_scene: Scene, time: str
) -> None:
    scene = sqlite_scene
    tenants = await two(scene)
    await set_all_times(scene, tenants[0], time)

    await all_that_sweeps_and_workers_read(scene, tenants)


async def test_text_that_is_no_utf_8_fails_one_read_and_hides_no_tenant(
    sqlite_scene: Scene,
) -> None:
    """Such as a shell writes that speaks Latin-1."""
    scene = sqlite_scene
    tenants = await two(scene)
    odd = "CAST(x'4b61666565e9' AS TEXT)"
    await scene.sql(
        f"UPDATE tenants SET company_name = {odd}, error_code = {odd} WHERE id = '{tenants[0]}'"  # noqa: S608 - our own words
    )
    await scene.sql(f"UPDATE runs SET reason = {odd} WHERE tenant_id = '{tenants[0]}'")  # noqa: S608 - our own words
    await scene.sql(f"UPDATE log_entries SET message = {odd} WHERE tenant_id = '{tenants[0]}'")  # noqa: S608 - our own words

    async def settle() -> None:
        for _ in range(12):  # once for each connection, at most
            try:
                await all_that_sweeps_and_workers_read(scene, tenants)
            except StoreUnavailable as error:
                assert "UTF-8" in error.message  # noqa: PT017 - the first reads may meet it
            else:
                return
        raise AssertionError("it is met again and again")

    await settle()
    (record,) = await scene.database.reads.records([tenants[0]])
    assert record.run is not None
    assert record.run.reason == "Kafee\ufffd"


@pytest.mark.parametrize(
    "stored", ["[" * 100_000, '{"a":' * 100_000], ids=["a deep list", "a deep object"]
)
async def test_json_that_is_nested_without_end_reads_as_empty(scene: Scene, stored: str) -> None:
    tenants = await two(scene)
    await scene.sql("UPDATE tenants SET spec = :text WHERE id = :id", text=stored, id=tenants[0])
    await scene.sql(
        "UPDATE steps SET outputs = :text WHERE tenant_id = :id", text=stored, id=tenants[0]
    )
    await all_that_sweeps_and_workers_read(scene, tenants)


async def test_what_json_says_and_no_database_takes_can_be_written_again(scene: Scene) -> None:
    tenants = await two(scene)
    stored = '{"abbreviation": "A\\ud800B\\u0000", "emoji": "\\ud83d\\ude00"}'
    await scene.sql(
        "UPDATE steps SET outputs = :text WHERE tenant_id = :id", text=stored, id=tenants[0]
    )
    (record,) = await scene.database.reads.records([tenants[0]])
    assert record.steps[0].outputs == {"abbreviation": "A\ufffdB\ufffd", "emoji": "\U0001f600"}
    change = whole_change(record, token=None, revision=record.tenant.revision)
    assert (await scene.submit(change)).applied
    again = (await scene.database.reads.records([tenants[0]]))[0]
    assert again.steps[0].outputs == record.steps[0].outputs


def test_json_that_is_whole_is_read_as_it_is() -> None:
    assert json_object('{"a": "\\u00e9\\ud83d\\ude00", "b": [{"c": null}]}') == {
        "a": "\u00e9\U0001f600",
        "b": [{"c": None}],
    }


async def test_how_long_a_sites_steps_took_leaves_out_times_that_are_none(
    sqlite_scene: Scene,
) -> None:
    scene = sqlite_scene
    tenant_id, _ = await two(scene)
    run = (await scene.record(tenant_id)).run
    assert run is not None
    for number, began in enumerate(("garbage", "2026-05-04 12:00:00.000000+00:00"), start=1):
        await scene.sql(
            "INSERT INTO attempts (id, tenant_id, run_id, step_key, number, worker_id, started_at,"
            " deadline_at, ended_at, outcome, evidence) VALUES (:id, :tenant, :run, 'step_1', :id,"
            " 'w', :began, :ended, :ended, 'APPLIED', '{}')",
            id=str(number),
            tenant=tenant_id,
            run=run.id,
            began=began,
            ended="2026-05-04 12:00:03.000000+00:00",
        )
    await scene.submit(GateOperation(site=SITE, at=NOON, gate=GateState.UP))
    load = (await scene.database.site_loads([SITE]))[SITE]
    assert load.step_seconds == {"step_1": (3.0,)}


async def test_bytes_in_a_held_tenants_row_are_read_as_the_text_they_are(
    sqlite_scene: Scene,
) -> None:
    """The list of those who wait for a person is part of every dry run of a sweep."""
    scene = sqlite_scene
    tenant_id, _ = await two(scene)
    hold = Hold(reason="gone", by="run", since=NOON)
    await scene.written(TenantOperation(tenant_id=tenant_id, at=NOON, hold=hold))
    texts = ("company_name", "state", "error_code", "hold_reason")
    odd = ", ".join(f"{column} = CAST('odd' AS BLOB)" for column in texts)
    await scene.sql(f"UPDATE tenants SET {odd} WHERE id = '{tenant_id}'")  # noqa: S608 - our own words
    (waiting,) = await scene.database.healing.handed_over(never=later(days=9999), limit=10)
    assert (waiting.company_name, waiting.state, waiting.error_code, waiting.reason) == (
        ("odd",) * 4
    )


async def test_the_longest_lease_that_a_server_may_have_counts(scene: Scene) -> None:
    longest = load(lease_seconds="100000").lease_seconds
    await scene.written(WorkerOperation(worker_id=WorkerId("slow"), at=NOON, lease_seconds=longest))
    worker = await scene.database.reads.worker(WorkerId("slow"))
    assert worker is not None
    assert worker.is_alive(later(seconds=86_399))


@pytest.mark.parametrize("length", [-1.0, 1e300])
async def test_a_lease_that_can_be_none_is_over(scene: Scene, length: float) -> None:
    await scene.beat("odd")
    await scene.sql("UPDATE workers SET lease_seconds = :length", length=length)
    worker = await scene.database.reads.worker(WorkerId("odd"))
    assert worker is not None
    assert not worker.is_alive(NOON)
