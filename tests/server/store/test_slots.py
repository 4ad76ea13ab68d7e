"""One slot of a site for processes of many hosts: their clocks differ, and their runs wait."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from server.model.identifiers import RunId, WorkerId
from server.model.ownership import Resource
from server.model.records import WaitingFor
from server.model.states import ResourceState, RunState, WaitingCode
from server.store.operations import Refusal, ResourceRow, RunRow, SlotFree, TenantOperation
from tests.server.store.scene import LEASE, NOON, SITE, creation, later, run_of, take

if TYPE_CHECKING:
    from datetime import datetime

    from server.model.identifiers import TenantId
    from server.store.operations import Outcome
    from tests.server.store.scene import Scene

IN_LINE = WaitingFor(code=WaitingCode.SITE_SLOT, message="its turn", until=None)
HOURS = timedelta(hours=9)


@pytest.fixture
async def pair(postgres_scene: Scene) -> tuple[TenantId, TenantId]:
    await postgres_scene.gate()
    return await postgres_scene.tenant("Acme"), await postgres_scene.tenant("Bidii")


@pytest.mark.postgres
@pytest.mark.parametrize(("own", "other"), [(-HOURS, HOURS), (HOURS, -HOURS)], ids=str)
async def test_a_slot_is_kept_and_is_free_in_time_whatever_the_hosts_clocks_say(
    postgres_scene: Scene, pair: tuple[TenantId, TenantId], own: timedelta, other: timedelta
) -> None:
    scene = postgres_scene
    await scene.written(taking(pair[0], at=NOON + own))
    early = await scene.submit(taking(pair[1], at=NOON + other))
    assert early.refusal is Refusal.SLOT_BUSY
    gate = (await scene.database.reads.gates())[SITE]
    until = gate.slot_until(NOON + other)
    assert until is not None
    assert timedelta(seconds=30) < until - (NOON + other) <= timedelta(seconds=60)

    # A minute later by the clock that counts.
    scene.slots[SITE] = (NOON, 60.0)
    await scene.at(later(seconds=61))
    await scene.written(taking(pair[1], at=NOON + other))


@pytest.mark.postgres
@pytest.mark.parametrize(("writer", "reader"), [(-HOURS, HOURS), (HOURS, -HOURS)], ids=str)
async def test_a_change_that_may_be_out_keeps_the_names_as_long_whatever_the_hosts_clocks_say(
    postgres_scene: Scene, pair: tuple[TenantId, TenantId], writer: timedelta, reader: timedelta
) -> None:
    at = NOON + writer
    await postgres_scene.written(
        TenantOperation(
            tenant_id=pair[0], at=at, token=1, resources=(changing(at + timedelta(seconds=90)),)
        )
    )
    claims = await postgres_scene.database.reads.claims([pair[0]], passed_step="step_2_company")
    (resource,) = claims[pair[0]].resources_at(NOON + reader)
    assert resource.busy_until is not None
    left = resource.busy_until - (NOON + reader)
    assert timedelta(seconds=60) < left <= timedelta(seconds=90)


async def test_on_one_host_a_change_may_be_out_until_the_time_that_was_stored(
    sqlite_scene: Scene,
) -> None:
    tenant = await sqlite_scene.tenant("Acme")
    until = later(seconds=90)
    await sqlite_scene.written(
        TenantOperation(tenant_id=tenant, at=NOON, token=1, resources=(changing(until),))
    )
    claims = await sqlite_scene.database.reads.claims([tenant], passed_step="step_2_company")
    (resource,) = claims[tenant].resources_at(later(seconds=5))
    assert resource.busy_until == until


async def test_a_slot_that_is_given_back_is_taken_by_the_next_one_in_the_same_commit(
    scene: Scene,
) -> None:
    await scene.gate()
    first, second = await scene.tenant("Acme"), await scene.tenant("Bidii")
    await scene.written(taking(first, at=NOON))
    # Both wait for one commit, whichever was there first.
    took, gave = await asyncio.gather(
        scene.submit(taking(second, at=NOON)), scene.submit(giving(first))
    )
    assert took.applied
    assert gave.applied
    gate = (await scene.database.reads.gates())[SITE]
    assert gate.slot_tenant_id == second


async def test_who_was_replaced_gives_no_slot_to_the_next_one(scene: Scene) -> None:
    await scene.gate()
    first, second = await scene.tenant("Acme"), await scene.tenant("Bidii")
    await scene.written(taking(first, at=NOON))
    gave, took = await asyncio.gather(
        scene.submit(replace(giving(first), token=9)), scene.submit(taking(second, at=NOON))
    )
    assert (gave.refusal, took.refusal) == (Refusal.REPLACED, Refusal.SLOT_BUSY)
    gate = (await scene.database.reads.gates())[SITE]
    assert gate.slot_tenant_id == first


@pytest.mark.postgres
async def test_who_was_ordered_earlier_and_stands_in_line_at_another_process_goes_first(
    postgres_scene: Scene,
) -> None:
    scene = postgres_scene
    early, late = await two_in_line(scene)
    assert (await asked(scene, late, "worker-2")).refusal is Refusal.SLOT_BUSY
    assert (await asked(scene, early, "worker-1")).applied


@pytest.mark.postgres
async def test_the_line_within_a_process_is_its_own_affair(postgres_scene: Scene) -> None:
    _, late = await two_in_line(postgres_scene)
    assert (await asked(postgres_scene, late, "worker-1")).applied


@pytest.mark.postgres
@pytest.mark.parametrize("clock", [-HOURS, HOURS], ids=str)
async def test_one_whose_worker_is_dead_stands_in_nobodys_way(
    postgres_scene: Scene, clock: timedelta
) -> None:
    scene = postgres_scene
    _, late = await two_in_line(scene)
    await scene.at(later(seconds=LEASE + 1))
    assert (await asked(scene, late, "worker-2", at=NOON + clock)).applied


async def test_where_one_process_drives_nobody_waits_for_whom_a_dead_one_left_in_line(
    sqlite_scene: Scene,
) -> None:
    """That one is claimed in its turn: behind hundreds, the whole site would stand for it."""
    _, late = await two_in_line(sqlite_scene)
    assert (await asked(sqlite_scene, late, "worker-2")).applied


@pytest.mark.postgres
async def test_of_two_that_were_ordered_at_one_moment_one_goes_first(
    postgres_scene: Scene,
) -> None:
    first, second = sorted(await two_in_line(postgres_scene, apart=0.0), key=lambda each: each[1])
    assert (await asked(postgres_scene, second, "worker-2")).refusal is Refusal.SLOT_BUSY
    assert (await asked(postgres_scene, first, "worker-2")).applied


Ordered = tuple["TenantId", str, float]


async def two_in_line(scene: Scene, apart: float = 1.0) -> tuple[Ordered, Ordered]:
    """Two runs of one worker which wait for the slot, the second ordered later."""
    await scene.gate()
    await scene.beat("worker-1")
    await scene.beat("worker-2")
    made = []
    for number, name in enumerate(("Acme", "Bidii")):
        operation = creation(name, run=partial(run_of, worker_id="worker-1"))
        row = operation.runs[0]
        run = replace(
            row.run,
            state=RunState.RUNNING,
            waiting_for=IN_LINE,
            created_at=later(seconds=number * apart),
        )
        await scene.written(replace(operation, runs=(replace(row, run=run),)))
        made.append((operation.tenant_id, str(run.id), number * apart))
    return made[0], made[1]


async def asked(scene: Scene, ordered: Ordered, worker_id: str, *, at: datetime = NOON) -> Outcome:
    """Let a worker ask for the slot for a run that waits."""
    record = await scene.record(ordered[0])
    assert record.run is not None
    run = replace(record.run, worker_id=WorkerId(worker_id), waiting_for=None)
    operation = taking(ordered[0], at=at, since=later(seconds=ordered[2]))
    return await scene.submit(replace(operation, runs=(RunRow(run=run, site=SITE),)))


def taking(tenant_id: TenantId, *, at: datetime, since: datetime | None = None) -> TenantOperation:
    return TenantOperation(
        tenant_id=tenant_id, at=at, token=1, slot=replace(take(seconds=60), since=since)
    )


def giving(tenant_id: TenantId) -> TenantOperation:
    return TenantOperation(tenant_id=tenant_id, at=NOON, token=1, slot=SlotFree(site=SITE))


def changing(until: datetime) -> ResourceRow:
    return ResourceRow(
        resource=Resource(
            doctype="POS Opening Entry",
            name="POS-OPE-A-1",
            state=ResourceState.CREATED,
            intended_at=NOON,
            busy_until=until,
            settled_at=NOON,
        ),
        shared=False,
        run_id=RunId("run"),
        step_key="step_9_pos_session",
    )
