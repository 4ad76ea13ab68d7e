"""Rows damaged from outside are read without falling over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.model.derive import derive
from server.model.records import Hold
from server.model.spec import DEFAULT_PAYMENT_METHODS
from server.model.states import GateState, LogLevel, ResourceState, RunState, StepState, TenantState
from server.store.operations import TenantOperation
from tests.server.store.due import due, with_run
from tests.server.store.scene import KINDS, NOON, whole_change

if TYPE_CHECKING:
    from server.store.found import SweepMark
    from tests.server.store.scene import Scene


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
