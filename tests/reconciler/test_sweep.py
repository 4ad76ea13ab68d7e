"""What a sweep promises as a whole: quiet, bounded, isolated, repeatable."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler import observe
from reconciler.herd import failure_of
from reconciler.judge import judge
from reconciler.remedies import RemedyOutcome
from server.errors import StoreUnavailable
from server.model.states import TenantState
from server.store.operations import SweepOperation, TenantOperation
from tests.reconciler.scene import OPTIONAL_PASSING, PASSING, PERMANENT, moving, of_its_own

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from reconciler.judge import Judgement
    from reconciler.observation import Observation
    from server.model.fingerprint import Failure
    from server.model.records import Record
    from server.store.found import SweepMark
    from server.store.operations import Operation, Outcome
    from tests.reconciler.scene import Scene


def poison(scene: Scene, monkeypatch: pytest.MonkeyPatch, tenant_id: str) -> None:
    """Make reading one tenant raise, as a damage nobody thought of would."""
    read = scene.database.reads.records

    async def poisoned(ids: Collection[str]) -> list[Record]:
        if tenant_id in ids:
            raise TypeError("a row that cannot be read")
        return await read(ids)

    monkeypatch.setattr(scene.database.reads, "records", poisoned)


async def test_a_tenant_whose_error_can_not_be_compared_is_noted_and_the_others_get_their_turn(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To tell which tenants stand at one error, each is looked at before any of them is moved."""
    odd = await scene.stopped("Odd", of_its_own(1))
    other = await scene.stopped("Other", of_its_own(2))

    def fails(seen: Observation) -> Failure | None:
        if seen.tenant_id == odd:
            raise TypeError("an error that is no text")
        return failure_of(seen)

    monkeypatch.setattr("reconciler.sweep.failure_of", fails)
    await scene.sweeper().sweep()

    assert await scene.state(other) is TenantState.IN_PROGRESS
    assert [row["cause"] for row in await scene.findings(odd)] == ["SWEEP_ERROR"]


async def test_bytes_where_a_text_should_be_stop_no_sweep(sqlite_scene: Scene) -> None:
    scene = sqlite_scene
    odd = await scene.stopped("Odd", of_its_own(1))
    other = await scene.stopped("Other", of_its_own(2))
    await scene.sql(
        "UPDATE steps SET error_message = x'00ff', error_code = x'4142', note = 7 "
        "WHERE tenant_id = :id",
        id=odd,
    )
    await scene.sweeper().sweep()

    assert await scene.state(other) is TenantState.IN_PROGRESS
    assert await scene.state(odd) is TenantState.IN_PROGRESS
    message = (await scene.findings(odd))[0]["message"]
    assert "step_4_warehouses (AB)" in message


async def test_a_finding_whose_time_is_none_is_written_off_like_any_other(scene: Scene) -> None:
    odd = await scene.completed("Odd")
    await scene.sql(
        "INSERT INTO findings (id, sweep_id, tenant_id, revision, cause, severity, message, "
        "evidence, verdict, outcome, found_at) SELECT 'f', 's', id, 1, 'STALLED', 'PERSON', 'm', "
        "'{}', 'NOTHING_YET', 'NOTHING', 'infinity' FROM tenants"
    )
    await scene.sweeper(notify=True).sweep()
    assert [row["ended_as"] for row in await scene.findings(odd)] == ["CLEARED"]


async def test_a_healthy_sweep_writes_nothing(scene: Scene) -> None:
    for number in range(3):
        await scene.completed(f"Done {number}")
    await scene.start("Moving")
    before = await scene.everything()
    writes = await scene.writes()
    sweeper = scene.sweeper()

    reports = [await sweeper.sweep() for _ in range(3)]

    assert await scene.writes() == writes
    assert await scene.everything() == before
    assert [report.findings for report in reports] == [(), (), ()]
    assert all(report.observed == 4 for report in reports)


async def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = await scene.stopped("Lost", OPTIONAL_PASSING)
    await scene.lose_steps(lost)
    refused = await scene.stopped("Refused", PERMANENT)
    wrong = await scene.completed("Wrong word")
    await scene.sql("UPDATE tenants SET state = 'FAILED' WHERE id = :id", id=wrong)
    unreadable = await scene.completed("Unreadable")
    poison(scene, monkeypatch, unreadable)
    before = await scene.everything()

    report = await scene.sweeper().sweep(dry_run=True)

    assert await scene.everything() == before
    assert report.dry_run
    assert (report.acted, report.recorded) == (0, 0)
    verdicts = {found.tenant_id: found.verdict.value for found in report.findings}
    assert verdicts == {
        lost: "REBUILD_RECORD",
        refused: "CALL_OPERATOR",
        wrong: "REBUILD_RECORD",
        unreadable: "NOTHING_YET",
    }
    assert {found.carried.outcome for found in report.findings} == {RemedyOutcome.DRY_RUN}


async def test_a_tenant_that_cannot_be_read_does_not_stop_the_sweep(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned = await scene.stopped("Poisoned", PASSING)
    others = [await scene.stopped(f"Other {number}", of_its_own(number)) for number in range(3)]
    poison(scene, monkeypatch, poisoned)
    sweeper = scene.sweeper()

    await sweeper.sweep()
    settled = await scene.everything()
    await sweeper.sweep()

    assert [await scene.state(other) for other in others] == [TenantState.IN_PROGRESS] * 3
    found = await scene.findings(poisoned)
    assert [(row["cause"], row["outcome"]) for row in found] == [("SWEEP_ERROR", "ERROR")]
    assert await scene.everything() == settled


async def test_a_tenant_that_makes_the_judge_raise_does_not_stop_the_sweep(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned = await scene.stopped("Poisoned", PASSING)
    other = await scene.stopped("Other", PASSING)

    def poisonous(seen: Observation) -> Judgement:
        if seen.tenant_id == poisoned:
            raise ZeroDivisionError
        return judge(seen)

    monkeypatch.setattr("reconciler.sweep.judge", poisonous)

    await scene.sweeper().sweep()

    assert await scene.state(poisoned) is TenantState.FAILED
    assert await scene.state(other) is TenantState.IN_PROGRESS
    assert [row["cause"] for row in await scene.findings(poisoned)] == ["SWEEP_ERROR"]


async def test_a_tenant_whose_id_no_order_takes_does_not_stop_the_sweep(scene: Scene) -> None:
    odd = await scene.stopped("Odd", PASSING)
    other = await scene.stopped("Other", PASSING)
    for table in ("runs", "steps", "bindings"):
        await scene.sql(
            f"UPDATE {table} SET tenant_id = 'odd' WHERE tenant_id = :id",  # noqa: S608 - our own names
            id=odd,
        )
    await scene.sql("UPDATE tenants SET id = 'odd' WHERE id = :id", id=odd)

    await scene.sweeper().sweep()

    assert await scene.state(other) is TenantState.IN_PROGRESS
    assert [row["cause"] for row in await scene.findings("odd")] == ["SWEEP_ERROR"]


async def test_one_sweep_gives_no_more_orders_than_its_limit(scene: Scene) -> None:
    for number in range(5):
        await scene.stopped(f"Shop {number}", of_its_own(number))
    sweeper = scene.sweeper(limit=2)

    acted = [(await sweeper.sweep()).acted for _ in range(4)]

    assert acted == [2, 2, 1, 0]
    stored = await scene.sql("SELECT outcome FROM findings")
    assert [row["outcome"] for row in stored] == ["ORDERED"] * 5


async def test_who_was_ordered_first_gets_the_first_turns(scene: Scene) -> None:
    ids = []
    for number in range(4):
        ids.append(await scene.stopped(f"Shop {number}", of_its_own(number)))
        scene.clock.forward(seconds=1)
    # PostgreSQL puts a row that is written anew behind all others.
    await scene.sql("UPDATE tenants SET company_name = company_name WHERE id = :id", id=ids[0])

    await scene.sweeper(limit=2).sweep()

    assert await moving(scene, ids) == ids[:2]


async def test_more_than_a_page_of_stuck_tenants_is_seen_in_one_sweep(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe, "PAGE", 10)
    await asyncio.gather(
        *(scene.stopped(f"Shop {number}", of_its_own(number)) for number in range(31))
    )

    report = await scene.sweeper().sweep()

    assert report.observed == 31
    assert report.acted == 31


async def test_a_sweep_that_found_something_is_recorded_with_its_findings(scene: Scene) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)

    report = await scene.sweeper(skipped_passes=lambda: 3).sweep()

    sweeps = await scene.database.reads.sweeps(limit=10)
    assert [(row["id"], row["acted"], row["skipped_passes"]) for row in sweeps] == [
        (report.id, 1, 3)
    ]
    found = (await scene.findings(tenant_id))[0]
    assert found["sweep_id"] == report.id
    assert found["verdict"] == "DRIVE_ON"
    assert "ENGINE_DEADLOCK" in found["evidence"]


async def test_a_sweep_that_is_cut_short_records_what_it_did(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = sorted([await scene.stopped(f"Shop {number}", PASSING) for number in range(2)])

    def cut(seen: Observation) -> Judgement:
        if seen.tenant_id == ids[1]:
            raise asyncio.CancelledError
        return judge(seen)

    monkeypatch.setattr("reconciler.sweep.judge", cut)

    with pytest.raises(asyncio.CancelledError):
        await scene.sweeper().sweep()

    assert [row["outcome"] for row in await scene.findings(ids[0])] == ["ORDERED"]


@pytest.mark.parametrize("held_up", [TenantOperation, SweepOperation])
async def test_a_sweep_that_is_cut_while_it_orders_or_records_tells_of_each_order(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, held_up: type[Operation]
) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)
    submit, reached, go_on = scene.database.submit, asyncio.Event(), asyncio.Event()

    async def held(operation: Operation) -> Outcome:
        # The order is durable, and its answer on the way; of the record nothing is written yet.
        outcome = await submit(operation) if isinstance(operation, TenantOperation) else None
        if isinstance(operation, held_up):
            reached.set()
            await go_on.wait()
        return outcome or await submit(operation)

    monkeypatch.setattr(scene.database, "submit", held)
    sweep = asyncio.create_task(scene.sweeper().sweep())
    await reached.wait()
    sweep.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await sweep

    assert [row["outcome"] for row in await scene.findings(tenant_id)] == ["ORDERED"]


async def test_a_sweep_says_that_the_store_cannot_be_read(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await scene.stopped("Kijani Stores", PASSING)

    async def away(_ids: object) -> None:
        raise StoreUnavailable("The database can't be read now.")

    monkeypatch.setattr(scene.database.reads, "records", away)

    with pytest.raises(StoreUnavailable):
        await scene.sweeper().sweep()


async def test_a_finding_another_reconciler_recorded_a_moment_ago_is_not_recorded_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id = await scene.start()
    scene.clock.forward(minutes=1)
    first, second = scene.sweeper(), scene.sweeper()
    known = scene.database.reads.known_finding
    answers: list[bool] = []

    async def too_early(tenant: str, revision: int, cause: str) -> bool:
        answers.append(bool(answers) and await known(tenant, revision, cause))
        return answers[-1]

    await first.sweep()
    monkeypatch.setattr(scene.database.reads, "known_finding", too_early)

    report = await second.sweep()

    assert answers == [False, True]
    assert report.recorded == 0
    assert [row["cause"] for row in await scene.findings(tenant_id)] == ["NO_WORKER"]


@pytest.mark.parametrize(("page", "asked"), [(100, 1), (3, 2), (2, 2)])
async def test_a_sweep_asks_for_no_page_after_one_that_was_not_full(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, page: int, asked: int
) -> None:
    for number in range(3):
        await scene.stopped(f"Stuck {number}", PERMANENT)
    monkeypatch.setattr(observe, "PAGE", page)
    read = scene.database.reads.unsettled
    pages: list[int] = []

    async def counted(now: datetime, *, after: SweepMark | None, limit: int) -> list[SweepMark]:
        marks = await read(now, after=after, limit=limit)
        pages.append(len(marks))
        return marks

    monkeypatch.setattr(scene.database.reads, "unsettled", counted)
    report = await scene.sweeper().sweep(dry_run=True)
    assert report.observed == 3
    assert (len(pages), sum(pages)) == (asked, 3)


async def test_a_call_whose_reconciler_died_before_it_was_recorded_is_made_by_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant_id = await scene.stopped("Kijani Stores", PERMANENT)
    dying = scene.sweeper(notify=True)

    async def dies(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(dying._recorder, "record", dies)
    with pytest.raises(asyncio.CancelledError):
        await dying.sweep()

    for _ in range(2):
        await scene.sweeper(notify=True).sweep()

    found = await scene.findings(tenant_id)
    assert [row["outcome"] for row in found] == ["OPERATOR_CALLED"]
    assert len(await scene.sql("SELECT 1 FROM outbox WHERE kind = 'needs_person'")) == 1
    log = await scene.database.reads.log_page(tenant_id, after=0, limit=100)
    assert [entry.fields["event"] for entry in log].count("finding.recorded") == 1
