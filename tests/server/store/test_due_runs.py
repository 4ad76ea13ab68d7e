"""Which runs a worker may claim: whose time has come, and whose worker is gone."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from server.model.states import RunState
from server.store import due as runs_due
from server.store.due import DueAsked
from tests.server.store.due import HORIZON, ME, SECOND, due, with_run
from tests.server.store.scene import LEASE, NOON, OTHER_SITE, SITE, later

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from tests.server.store.scene import Scene


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
