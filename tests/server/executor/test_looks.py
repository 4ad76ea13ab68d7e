"""What a process has heard of is driven at once; it looks for the rest twice a second."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from server.errors import StoreUnavailable
from server.executor import choosing, executor
from server.store.operations import TenantOperation
from tests.server.executor.scene import PATIENCE_SECONDS, now

if TYPE_CHECKING:
    from server.store.due import DueAsked
    from server.store.found import DueRun
    from tests.server.executor.scene import Shop


@pytest.fixture(autouse=True)
def _by_hearsay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by the clock: who is not found by what was heard is never found."""
    for module in (choosing, executor):
        monkeypatch.setattr(module, "POLL_SECONDS", 10 * PATIENCE_SECONDS)


class Looks:
    """Counts the looks for whoever is due, but for the one that a worker begins with."""

    def __init__(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = -1
        self.first = asyncio.Event()
        reads = shop.store.database.reads
        due_runs = reads.due_runs

        async def noted(asked: DueAsked) -> list[DueRun]:
            found = await due_runs(asked)
            if not asked.begun and asked.tenants is None:
                self.count += 1
                self.first.set()
            return found

        monkeypatch.setattr(reads, "due_runs", noted)


async def driven(shop: Shop, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Looks:
    """Let an executor drive, and wait until it has looked."""
    await shop.open(**options)
    looks = Looks(shop, monkeypatch)
    await shop.store.executor.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        await looks.first.wait()
    return looks


async def test_new_tenants_are_driven_without_another_look(
    still: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = await driven(still, monkeypatch)
    for number in range(3):
        await still.completed(f"Branch {number}")
    assert looks.count == 0


async def test_whatever_else_is_ordered_is_looked_for_at_once(
    still: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = await driven(still, monkeypatch)
    tenant = await still.completed()
    await still.again(tenant)
    await still.must_complete(tenant)
    assert looks.count > 0


async def test_more_new_tenants_than_places_are_all_driven(
    still: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await driven(still, monkeypatch, max_runs=1)
    tenants = [await still.order(f"Branch {number}") for number in range(3)]
    await still.must_complete(*tenants)
    began_or_ended = [
        op.tenant_id
        for op, _ in still.store.written
        if op.raise_token or op.completed_at is not None
    ]
    # One after the other, in their order.
    assert began_or_ended == [each for each in tenants for _ in range(2)]


async def test_a_new_tenant_that_was_changed_before_its_turn_is_looked_for(
    still: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await driven(still, monkeypatch, max_runs=1)
    first = await still.order("Branch 1")
    second = await still.order("Branch 2")
    changed = TenantOperation(tenant_id=second, at=now(), revision=1)
    assert (await still.store.database.submit(changed)).applied
    await still.must_complete(first, second)


async def test_who_could_not_be_claimed_is_looked_for_with_the_next(
    still: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await driven(still, monkeypatch)
    reads = still.store.database.reads
    shared_names, failed = reads.shared_names, asyncio.Event()

    async def fails(*_: object) -> Any:  # Any: it gives nothing
        monkeypatch.setattr(reads, "shared_names", shared_names)
        failed.set()
        raise StoreUnavailable("The database can't be read now.")

    monkeypatch.setattr(reads, "shared_names", fails)
    first = await still.order("Branch 1")
    async with asyncio.timeout(PATIENCE_SECONDS):
        await failed.wait()
    second = await still.order("Branch 2")
    await still.must_complete(first, second)
