"""What belongs to sites and processes: the gate, the slot, the heartbeat."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from server.model.identifiers import RequestKey, WorkerId
from server.model.states import GateState
from server.store.operations import (
    GateOperation,
    Refusal,
    SlotFree,
    TenantOperation,
    WorkerOperation,
)
from server.store.site_operations import SiteAccepted, SitePause
from tests.server.store.scene import LEASE, NOON, OTHER_SITE, SITE, later, logs, take

if TYPE_CHECKING:
    from datetime import datetime

    from server.model.identifiers import TenantId
    from server.store.operations import SlotTake
    from tests.server.store.scene import Scene


def taking(
    tenant_id: TenantId, *, slot: SlotTake | None = None, at: datetime = NOON, token: int = 1
) -> TenantOperation:
    return TenantOperation(tenant_id=tenant_id, at=at, token=token, slot=slot or take(), log=logs())


async def holder(scene: Scene, site: str = SITE) -> str | None:
    return (await scene.database.reads.gates())[site].slot_tenant_id


@pytest.fixture
async def pair(scene: Scene) -> tuple[TenantId, TenantId]:
    await scene.gate()
    return await scene.tenant("Acme"), await scene.tenant("Bidii")


async def test_a_free_slot_is_taken_and_names_the_request_that_is_out(
    scene: Scene, pair: tuple[TenantId, TenantId]
) -> None:
    await scene.written(taking(pair[0]))
    gate = (await scene.database.reads.gates())[SITE]
    assert (gate.slot_tenant_id, gate.slot_doctype, gate.slot_name) == (pair[0], "Company", "Acme")
    assert gate.slot_sent_at is not None
    assert gate.slot_expires_at is not None
    # PostgreSQL's clock goes on between the two times of one statement.
    counted_from = gate.slot_expires_at - timedelta(seconds=60)
    assert gate.slot_sent_at <= counted_from <= (gate.read_at or gate.slot_sent_at)
    # As the reader's clock has it, whichever clock keeps the slot.
    until = gate.slot_until(NOON)
    assert until is not None
    assert later(seconds=30) < until <= later(seconds=60)


async def test_a_slot_that_is_taken_refuses_others_and_nothing_of_them_is_written(
    scene: Scene, pair: tuple[TenantId, TenantId]
) -> None:
    await scene.written(taking(pair[0]))
    before = await scene.everything()
    assert (await scene.submit(taking(pair[1]))).refusal is Refusal.SLOT_BUSY
    assert await scene.everything() == before


async def test_of_two_that_ask_in_one_batch_one_gets_the_slot(
    scene: Scene, pair: tuple[TenantId, TenantId]
) -> None:
    outcomes = await asyncio.gather(*(scene.submit(taking(each)) for each in pair))
    assert [outcome.refusal for outcome in outcomes] == [None, Refusal.SLOT_BUSY]


async def test_a_slot_given_back_is_free_for_others(
    scene: Scene, pair: tuple[TenantId, TenantId]
) -> None:
    await scene.written(taking(pair[0]))
    free = TenantOperation(tenant_id=pair[0], at=NOON, token=1, slot=SlotFree(site=SITE))
    await scene.written(free)
    assert await holder(scene) is None
    await scene.written(taking(pair[1]))
    # Given back once more by who holds it no longer: the other one keeps it.
    await scene.written(free)
    assert await holder(scene) == pair[1]


async def test_a_slot_is_free_when_its_time_is_over_and_not_before(
    scene: Scene, pair: tuple[TenantId, TenantId]
) -> None:
    await scene.written(taking(pair[0]))
    # PostgreSQL's own clock goes on meanwhile.
    spare = 0.0 if scene.database.is_sqlite else 30.0
    early = await scene.submit(taking(pair[1], at=await scene.at(later(seconds=60 - spare))))
    assert early.refusal is Refusal.SLOT_BUSY
    await scene.written(taking(pair[1], at=await scene.at(later(seconds=60, milliseconds=1))))
    assert await holder(scene) == pair[1]


async def test_who_drives_a_tenant_now_takes_its_slot_again(
    scene: Scene, pair: tuple[TenantId, TenantId]
) -> None:
    """Promise 4: who takes the run over takes its slot too."""
    await scene.written(taking(pair[0]))
    await scene.written(TenantOperation(tenant_id=pair[0], at=NOON, token=1, raise_token=True))
    await scene.written(taking(pair[0], token=2, slot=take(name="Main Store")))
    assert (await scene.database.reads.gates())[SITE].slot_name == "Main Store"


@pytest.mark.parametrize("token", [0, 2])
async def test_a_replaced_worker_gets_no_slot_and_changes_none(
    scene: Scene, pair: tuple[TenantId, TenantId], token: int
) -> None:
    stale = taking(pair[0], token=token)
    assert (await scene.submit(stale)).refusal is Refusal.REPLACED
    assert await holder(scene) is None
    await scene.written(taking(pair[0]))
    free = replace(stale, slot=SlotFree(site=SITE))
    assert (await scene.submit(free)).refusal is Refusal.REPLACED
    assert await holder(scene) == pair[0]


async def test_sites_have_slots_of_their_own(scene: Scene, pair: tuple[TenantId, TenantId]) -> None:
    await scene.gate(OTHER_SITE)
    await scene.written(taking(pair[0]))
    await scene.written(taking(pair[1], slot=take(site=OTHER_SITE)))
    assert (await holder(scene), await holder(scene, OTHER_SITE)) == pair


async def test_a_gate_remembers_since_when_it_stands_as_it_does(scene: Scene) -> None:
    async def told(state: GateState, seconds: int, code: str = "") -> None:
        await scene.written(
            GateOperation(
                site=SITE,
                at=later(seconds=seconds),
                gate=state,
                code=code,
                message=code.lower(),
                next_probe_at=later(seconds=seconds + 1) if code else None,
            )
        )

    await told(GateState.UP, 0)
    await told(GateState.DOWN, 10, "ENGINE_NO_ANSWER")
    await told(GateState.DOWN, 20, "ENGINE_ERROR")
    gate = (await scene.database.reads.gates())[SITE]
    assert (gate.state, gate.code, gate.message, gate.since, gate.next_probe_at) == (
        GateState.DOWN,
        "ENGINE_ERROR",
        "engine_error",
        later(seconds=10),
        later(seconds=21),
    )
    await told(GateState.UP, 30)
    gate = (await scene.database.reads.gates())[SITE]
    assert (gate.state, gate.code, gate.since) == (GateState.UP, "", later(seconds=30))
    assert gate.next_probe_at is None


async def test_the_gate_does_not_touch_the_slot(
    scene: Scene, pair: tuple[TenantId, TenantId]
) -> None:
    await scene.written(taking(pair[0]))
    await scene.gate(state=GateState.DOWN)
    assert await holder(scene) == pair[0]


async def test_registering_a_site_makes_its_row_and_leaves_a_known_one_alone(
    scene: Scene,
) -> None:
    await scene.gate(state=GateState.DOWN)
    await scene.database.register_engines(
        [GateOperation(site=site, at=NOON, gate=GateState.UP) for site in (SITE, OTHER_SITE)]
    )
    gates = await scene.database.reads.gates()
    assert {site: gate.state for site, gate in gates.items()} == {
        SITE: GateState.DOWN,
        OTHER_SITE: GateState.UP,
    }


async def test_a_site_is_accepted_once_by_one_order_also_where_two_come_together(
    scene: Scene,
) -> None:
    await scene.gate()
    key = RequestKey(caller="jane", method="AcceptSite", request_id="one", body_hash="same")
    word = SiteAccepted(site=SITE, at=NOON, request=key)
    answers = await asyncio.gather(*(scene.submit(word) for _ in range(3)))
    assert sorted(answer.applied for answer in answers) == [False, False, True]
    known = await scene.database.reads.request("jane", "AcceptSite", "one")
    assert known is not None
    assert (known.body_hash, known.tenant_id) == ("same", "")
    await scene.written(SiteAccepted(site=SITE, at=NOON))


async def test_a_heartbeat_renews_the_row_and_the_last_one_ends_it(scene: Scene) -> None:
    await scene.beat("worker-1")
    await scene.beat("worker-1", at=later(seconds=5))
    worker = await scene.database.reads.worker("worker-1")
    assert worker is not None
    if scene.database.is_sqlite:
        assert (worker.started_at, worker.heartbeat_at) == (NOON, later(seconds=5))
    else:
        # By the database's clock.
        assert worker.started_at < worker.heartbeat_at
    assert worker.stopped_at is None
    assert worker.is_alive(later(seconds=6))
    assert worker.lease_seconds == LEASE
    await scene.written(
        WorkerOperation(
            worker_id=WorkerId("worker-1"), at=later(seconds=6), lease_seconds=LEASE, stopped=True
        )
    )
    worker = await scene.database.reads.worker("worker-1")
    assert worker is not None
    assert worker.stopped_at is not None
    assert not worker.is_alive(later(seconds=6))
    assert await scene.database.reads.worker("worker-2") is None


async def test_a_pause_is_replaced_by_a_later_one_or_if_no_site_could_have_asked_for_it(
    scene: Scene,
) -> None:
    """A clock that was set back leaves one that is hours ahead; nobody heeds it."""
    await scene.gate()

    async def paused(seconds: float, *, longest: float = 600.0) -> timedelta:
        until = later(seconds=seconds)
        await scene.submit(SitePause(site=SITE, at=NOON, until=until, longest=longest))
        stored = (await scene.database.reads.gates())[SITE].paused_until
        assert stored is not None
        return stored - NOON

    hours = await paused(7200, longest=10_000.0)
    assert hours - await paused(30) == timedelta(seconds=7170)
    longer = await paused(60)
    assert hours - longer == timedelta(seconds=7140)
    assert await paused(45) == longer
