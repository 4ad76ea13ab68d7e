"""What sweeps say of tenants in motion: who drives them, and whether anybody does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.model.states import GateState, RunState, TenantState

if TYPE_CHECKING:
    from tests.reconciler.scene import Scene


async def test_an_open_run_that_nobody_drives_is_found_once_and_left_to_the_servers(
    scene: Scene,
) -> None:
    tenant_id = await scene.start()
    await scene.sql(
        "UPDATE runs SET state = 'RUNNING', worker_id = 'w1' WHERE tenant_id = :id", id=tenant_id
    )
    await scene.beat("w1")
    sweeper = scene.sweeper()
    quiet = await sweeper.sweep()
    await scene.forward(seconds=31)

    report = await sweeper.sweep()
    settled = await scene.everything()
    await sweeper.sweep()

    assert quiet.findings == ()
    assert [found.finding.cause.value for found in report.findings] == ["NO_WORKER"]
    assert await scene.everything() == settled
    assert len(await scene.runs(tenant_id)) == 1


async def test_right_after_an_outage_no_worker_is_missed_yet(scene: Scene) -> None:
    await scene.start()
    await scene.gate(GateState.DOWN)
    await scene.forward(minutes=10)
    await scene.gate(GateState.UP)

    early = await scene.sweeper().sweep()
    await scene.forward(seconds=31)
    later = await scene.sweeper().sweep()

    assert early.findings == ()
    assert [found.finding.cause.value for found in later.findings] == ["NO_WORKER"]


async def test_no_worker_is_missed_while_the_site_is_away_and_a_server_lives(scene: Scene) -> None:
    """The servers were restarted during an outage: none of them drives anything."""
    await scene.start("Ordered meanwhile")
    under_way = await scene.start("Its worker was killed")
    await scene.sql(
        "UPDATE runs SET state = 'RUNNING', worker_id = 'w1' WHERE tenant_id = :id", id=under_way
    )
    await scene.gate(GateState.DOWN)
    await scene.forward(minutes=4)
    await scene.beat("w2")
    sweeper = scene.sweeper()

    with_a_server = await sweeper.sweep()
    await scene.forward(seconds=31)
    without = await sweeper.sweep()

    assert with_a_server.findings == ()
    assert [found.finding.cause.value for found in without.findings] == ["NO_WORKER"] * 2


async def test_right_after_the_database_was_away_no_worker_is_missed_yet(scene: Scene) -> None:
    """Nobody could renew a lease meanwhile: each open run was told to have lost its worker."""
    await scene.start()
    pulse = scene.database.pulse
    await pulse._learn("It was away.")
    await scene.forward(minutes=10)
    # It answers this sweep before the pulse has asked it again.
    earliest = await scene.sweeper().sweep()
    await pulse._learn("", answers=True)

    early = await scene.sweeper().sweep()
    await scene.forward(seconds=31)
    assert pulse._back_at is not None
    pulse._back_at -= 31
    later = await scene.sweeper().sweep()

    assert earliest.findings == ()
    assert early.findings == ()
    assert [found.finding.cause.value for found in later.findings] == ["NO_WORKER"]


async def test_right_after_this_process_stood_still_no_worker_is_missed_yet(scene: Scene) -> None:
    """After a suspension of the host its first sweep comes before the first heartbeat."""
    await scene.start()
    pulse = scene.database.pulse
    pulse._turn()
    assert pulse._turned_at is not None
    pulse._turned_at -= 600
    await scene.forward(minutes=10)
    # A sweep, then the pulse, then another sweep go on after it.
    earliest = await scene.sweeper().sweep()
    pulse._turn()
    early = await scene.sweeper().sweep()
    await scene.forward(seconds=31)
    assert pulse._back_at is not None
    pulse._back_at -= 31
    later = await scene.sweeper().sweep()

    assert earliest.findings == ()
    assert early.findings == ()
    assert [found.finding.cause.value for found in later.findings] == ["NO_WORKER"]


async def test_a_run_that_waits_its_turn_behind_a_living_worker_is_no_finding(
    scene: Scene,
) -> None:
    driven, _queued = await scene.start("Driven"), await scene.start("Queued")
    await scene.sql(
        "UPDATE runs SET state = 'RUNNING', worker_id = 'w1' WHERE tenant_id = :id", id=driven
    )
    scene.clock.forward(minutes=10)
    await scene.beat("w1")

    report = await scene.sweeper().sweep()

    assert report.findings == ()


async def test_an_attempt_long_past_its_deadline_under_a_living_worker_is_a_finding(
    scene: Scene,
) -> None:
    tenant_id = await scene.start()
    await scene.sql(
        "UPDATE runs SET state = 'RUNNING', worker_id = 'w1', "
        "deadline_at = '2026-05-04 12:02:00.000000+00:00' WHERE tenant_id = :id",
        id=tenant_id,
    )
    scene.clock.forward(minutes=2)
    await scene.beat("w1")
    before = await scene.sweeper().sweep()
    scene.clock.forward(minutes=1)
    await scene.beat("w1")

    report = await scene.sweeper().sweep()

    assert before.findings == ()
    assert [found.finding.cause.value for found in report.findings] == ["STALLED"]
    assert await scene.state(tenant_id) is TenantState.IN_PROGRESS


async def test_an_open_run_without_steps_is_rebuilt_once_nobody_drives_it(scene: Scene) -> None:
    tenant_id = await scene.start()
    await scene.sql("DELETE FROM steps WHERE tenant_id = :id", id=tenant_id)
    early = await scene.sweeper().sweep()
    scene.clock.forward(seconds=31)

    await scene.sweeper().sweep()

    assert early.acted == 0
    runs = await scene.runs(tenant_id)
    assert [run["state"] for run in runs] == [RunState.REPLACED.value, RunState.QUEUED.value]
