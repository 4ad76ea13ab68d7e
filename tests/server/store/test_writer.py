"""The one writer: nobody waits for ever, and a caller that goes away changes nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy.exc import OperationalError

from server.errors import StoreUnavailable
from server.model.identifiers import TenantId
from server.store import writer as store_writer
from server.store.operations import Outcome, Refusal, TenantOperation
from server.store.writer import MAX_BATCH, Writer
from tests.server.store.scene import NOON, SITE, creation, logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from server.store.operations import Operation
    from tests.server.store.scene import Scene

DOWN: tuple[Exception, ...] = (
    OperationalError("COMMIT", {}, Exception("disk full")),
    ConnectionRefusedError("refused"),
    ValueError("can't be encoded"),
)


def change(tenant_id: str) -> TenantOperation:
    return TenantOperation(tenant_id=TenantId(tenant_id), at=NOON)


class Disk:
    """Stands in for the database: holds commits back, or fails them."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.error: BaseException | None = None
        self.batches: list[list[str]] = []

    async def commit(self, batch: Sequence[Operation]) -> list[Outcome]:
        await self.open.wait()
        if self.error is not None:
            raise self.error
        self.batches.append([op.tenant_id for op in batch if isinstance(op, TenantOperation)])
        return [Outcome(revision=1) for _ in batch]


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
async def writer(disk: Disk) -> AsyncIterator[Writer]:
    made = Writer(disk.commit)
    made.start()
    yield made
    disk.open.set()
    disk.error = None
    await made.stop()


async def turns(count: int = 20) -> None:
    """Let whoever is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_caller_that_is_cancelled_does_not_withdraw_its_operation(scene: Scene) -> None:
    operation = creation()
    caller = asyncio.create_task(scene.database.submit(operation))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    # The next one waits behind it.
    assert (await scene.submit(creation("Kijani stores"))).refusal is Refusal.NAME_TAKEN
    assert (await scene.record(operation.tenant_id)).run is not None


async def test_what_waits_while_a_commit_runs_is_one_group(writer: Writer, disk: Disk) -> None:
    disk.open.clear()
    callers = [asyncio.create_task(writer.submit(change("first")))]
    await turns()
    callers += [asyncio.create_task(writer.submit(change(f"t{number}"))) for number in range(50)]
    await turns()
    disk.open.set()
    await asyncio.gather(*callers)
    assert [len(batch) for batch in disk.batches] == [1, 50]


async def test_two_halves_that_took_turns_become_one_group(writer: Writer, disk: Disk) -> None:
    async def lane(name: str) -> None:
        for _ in range(4):
            await writer.submit(change(name))
            await turns(2)

    disk.open.clear()
    lanes = [asyncio.create_task(lane(f"a{number}")) for number in range(3)]
    await turns()
    lanes += [asyncio.create_task(lane(f"b{number}")) for number in range(3)]
    await turns()
    disk.open.set()
    await asyncio.gather(*lanes)
    # The second group takes along the next operations of the first.
    assert [len(batch) for batch in disk.batches] == [3, 6, 6, 6, 3]


async def test_nobody_is_waited_for_who_has_no_more_to_write(writer: Writer, disk: Disk) -> None:
    disk.open.clear()
    first = asyncio.create_task(writer.submit(change("first")))
    await turns()
    second = asyncio.create_task(writer.submit(change("second")))
    disk.open.set()
    await asyncio.gather(first, second)
    assert disk.batches == [["first"], ["second"]]


async def test_a_group_holds_one_operation_of_a_tenant_and_no_more_than_its_limit(
    writer: Writer, disk: Disk
) -> None:
    names = [f"t{number}" for number in range(MAX_BATCH + 10)]
    await asyncio.gather(*(writer.submit(change(name)) for name in [*names, "t0", "t0", "t1"]))
    assert all(len(batch) == len(set(batch)) <= MAX_BATCH for batch in disk.batches)
    assert sum(batch.count("t0") for batch in disk.batches) == 3


@pytest.mark.parametrize("error", DOWN, ids=lambda error: type(error).__name__)
async def test_a_database_that_is_down_fails_the_operation_and_the_next_one_is_written(
    writer: Writer, disk: Disk, error: Exception
) -> None:
    disk.error = error
    answers = await asyncio.gather(
        *(writer.submit(change(name)) for name in ("a", "b")), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
    disk.error = None
    assert (await writer.submit(change("a"))).applied


async def test_where_the_writer_dies_nobody_is_left_waiting(disk: Disk) -> None:
    writer = Writer(disk.commit)
    writer.start()
    disk.open.clear()
    callers = [asyncio.create_task(writer.submit(change("under way")))]
    await turns()
    callers.append(asyncio.create_task(writer.submit(change("waiting"))))
    await turns()
    disk.error = KeyboardInterruptOfATest()
    disk.open.set()
    async with asyncio.timeout(5):
        answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 2
    with pytest.raises(StoreUnavailable):
        await writer.submit(change("later"))
    with pytest.raises(KeyboardInterruptOfATest):
        await writer.stop()


class KeyboardInterruptOfATest(BaseException):
    """What no `except Exception` catches."""


async def test_stopping_writes_what_waits_and_takes_nothing_more(disk: Disk) -> None:
    writer = Writer(disk.commit)
    writer.start()
    callers = [asyncio.create_task(writer.submit(change(name))) for name in ("a", "b", "a")]
    await asyncio.sleep(0)
    await writer.stop()
    assert all(outcome.applied for outcome in await asyncio.gather(*callers))
    with pytest.raises(StoreUnavailable):
        await writer.submit(change("a"))


async def test_watchers_are_told_what_was_written_and_nothing_else(scene: Scene) -> None:
    told: list[tuple[str, int]] = []
    scene.database.on_applied(lambda op, outcome: told.append((op.tenant_id, outcome.log_seq)))
    tenant_id = await scene.tenant()
    await scene.gate(SITE)
    stale = TenantOperation(tenant_id=tenant_id, at=NOON, token=9, log=logs())
    assert not (await scene.submit(stale)).applied
    assert told == [(tenant_id, 1)]


async def test_after_a_batch_of_many_as_many_are_waited_for_and_no_longer(
    writer: Writer, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_writer, "_MOMENT_SECONDS", 600.0)
    many = [f"first {number}" for number in range(store_writer._MANY)]
    await asyncio.gather(*(writer.submit(change(each)) for each in many))
    again = [f"second {number}" for number in range(store_writer._MANY)]
    early = [asyncio.create_task(writer.submit(change(each))) for each in again[:-1]]
    await turns()  # past the writer's own: they come from elsewhere
    assert len(disk.batches) == 1
    async with asyncio.timeout(60):
        await asyncio.gather(*early, writer.submit(change(again[-1])))
    assert [set(batch) for batch in disk.batches] == [set(many), set(again)]


async def test_who_is_waited_for_and_does_not_come_holds_up_nobody(
    writer: Writer, disk: Disk
) -> None:
    many = [f"first {number}" for number in range(store_writer._MANY)]
    await asyncio.gather(*(writer.submit(change(each)) for each in many))
    async with asyncio.timeout(60):
        await writer.submit(change("alone"))
    assert [set(batch) for batch in disk.batches] == [set(many), {"alone"}]


async def test_after_a_batch_of_few_nobody_is_waited_for(
    writer: Writer, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_writer, "_MOMENT_SECONDS", 600.0)
    few = [f"first {number}" for number in range(store_writer._MANY - 1)]
    async with asyncio.timeout(60):
        await asyncio.gather(*(writer.submit(change(each)) for each in few))
        await writer.submit(change("next"))
    assert [set(batch) for batch in disk.batches] == [set(few), {"next"}]
