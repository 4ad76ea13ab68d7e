"""One read for all who ask: none is older than its call, and nobody takes others along."""

from __future__ import annotations

import asyncio

import pytest

from server.errors import StoreUnavailable
from server.store.shared import Shared


class Reading:
    """A read that waits until it may go on, and tells its own number."""

    def __init__(self) -> None:
        self.count = 0
        self.go = asyncio.Event()
        self.problem: Exception | None = None

    async def __call__(self) -> int:
        self.count += 1
        number = self.count
        await self.go.wait()
        if self.problem is not None:
            raise self.problem
        return number


async def begun(reading: Reading) -> None:
    while not reading.count:
        await asyncio.sleep(0)


async def test_who_asks_while_a_read_is_out_shares_the_next_one() -> None:
    reading = Reading()
    shared = Shared(reading)
    early = asyncio.create_task(shared.read())
    await begun(reading)
    late = [asyncio.create_task(shared.read()) for _ in range(3)]
    await asyncio.sleep(0)
    late[0].cancel()
    reading.go.set()
    assert await early == 1
    assert await asyncio.gather(*late[1:]) == [2, 2]
    assert await shared.read() == 3


async def test_a_read_that_fails_fails_those_who_shared_it_and_nobody_after() -> None:
    reading = Reading()
    reading.problem = StoreUnavailable("away")
    reading.go.set()
    shared = Shared(reading)
    asked = [asyncio.create_task(shared.read()) for _ in range(2)]
    for task in asked:
        with pytest.raises(StoreUnavailable, match="away"):
            await task
    reading.problem = None
    assert await shared.read() == reading.count


async def test_nobody_waits_for_ever_for_a_read_that_was_called_off() -> None:
    reading = Reading()
    shared = Shared(reading)
    asked = asyncio.create_task(shared.read())
    await begun(reading)
    assert shared._task is not None
    shared._task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(asked, 30)
