"""Outages of random length over a fleet: no attempt is burnt, all complete, load comes back slowly.

The short form runs in `make test`, the full one (ten outages, a hundred tenants) in `make prove`.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sqlite3
from typing import TYPE_CHECKING

import pytest

from server.executor import gates
from tests.server.executor.scene import PATIENCE_SECONDS
from tests.support.waiting import until

if TYPE_CHECKING:
    from server.model.step_context import Answer, Request
    from server.store.operations import Operation, Outcome
    from tests.server.executor.scene import Shop

KINDS = ({"down": True}, {"maintenance": True}, {"token": "other:secret"})


class Eye:
    """Counts what is out at the engine at one time, and what is driven while load comes back."""

    def __init__(self, shop: Shop) -> None:
        self.out = 0
        # Runs under way, and the wave, after each write while there was one.
        self.waves: list[tuple[int, int]] = []
        self._shop = shop
        self._rows = sqlite3.connect(shop.file, timeout=30)
        self._send, self._submit = shop.store.engine.send, shop.store.database.submit
        shop.store.engine.send = self.send  # type: ignore[method-assign]  # the test looks on
        shop.store.database.submit = self.submit  # type: ignore[method-assign]  # likewise

    async def send(self, request: Request) -> Answer:
        self.out += 1
        try:
            return await self._send(request)
        finally:
            self.out -= 1

    async def submit(self, operation: Operation) -> Outcome:
        outcome = await self._submit(operation)
        under_way, wave, gate = self._rows.execute(
            "SELECT (SELECT count(*) FROM runs WHERE state = 'RUNNING'), wave, gate FROM engines"
        ).fetchone()
        if wave is not None and gate == "UP":
            self.waves.append((under_way, wave))
        return outcome

    def close(self) -> None:
        """Look no more. Each run has one request out at most, so the wave bounds the rate."""
        self._shop.store.database.submit = self._submit  # type: ignore[method-assign]  # as it was
        self._rows.close()
        assert self.waves
        assert [each for each in self.waves if each[0] > each[1]] == []
        assert min(wave for _, wave in self.waves) == 1


async def come_through(shop: Shop, *, tenants: int, outages: int) -> None:
    seed = int(os.environ.get("OUTAGES_SEED", "0")) or secrets.randbelow(1_000_000)
    print(f"OUTAGES_SEED={seed} tenants={tenants} outages={outages}")
    chance = random.Random(seed)
    eye = Eye(shop)
    ordered = [await shop.order(f"Branch {number} Traders") for number in range(tenants)]
    marks = sorted(chance.sample(range(1, tenants * 8), outages))
    for mark in marks:

        async def so_far(mark: int = mark) -> bool:
            rows = shop.sql("SELECT count(*) FROM attempts WHERE outcome IN ('APPLIED','ADOPTED')")
            return bool(rows[0][0] >= mark)

        async with asyncio.timeout(PATIENCE_SECONDS * 20):
            while not await so_far():
                await shop.changed.wait()
        await shop.faults(**chance.choice(KINDS))

        async def shut() -> bool:
            return shop.sql("SELECT gate FROM engines") != [("UP",)]

        await shop.until(shut)
        # Everybody who was under way has met the shut gate: from here load comes back.
        await until(lambda: all_still(shop, eye))
        # By chance: the look of the prober that finds it up is near, or far off.
        await asyncio.sleep(chance.random() * 0.3)
        await shop.faults()
        await shop.until(lambda: _open(shop))
        wave = shop.sql("SELECT wave FROM engines")[0][0]
        print(f"outage at {mark} attempts: open again, wave {wave}")
    async with asyncio.timeout(PATIENCE_SECONDS * 20):
        while shop.sql("SELECT 1 FROM tenants WHERE state = 'IN_PROGRESS'"):
            await shop.changed.wait()
    await shop.must_complete(*ordered)

    for tenant in ordered:
        steps = (await shop.record(tenant)).steps
        assert {step.tries for step in steps} == {1}, "an outage costs no try"
        assert {step.losses for step in steps} == {0}
    ended: dict[str, int] = dict(
        shop.sql("SELECT outcome, count(*) FROM attempts GROUP BY outcome")
    )
    print(ended)
    assert shop.sql("SELECT step_key, error_code, message FROM attempts WHERE outcome='LOST'") == []
    assert set(ended) <= {"APPLIED", "ADOPTED", "WAIT_ENGINE", "RETRY"}
    # Unknown outcomes are looked at again; races are no tries. Nothing else was repeated.
    assert {
        row[0] for row in shop.sql("SELECT error_class FROM attempts WHERE outcome = 'RETRY'")
    } <= {"RACE"}
    names = [each["name"] for each in (await shop.look())["documents"]["Company"]]
    assert len(names) == len(set(names)) == tenants + 1
    eye.close()


def all_still(shop: Shop, eye: Eye) -> bool:
    return not (eye.out or shop.sql("SELECT 1 FROM runs WHERE state = 'RUNNING'"))


async def _open(shop: Shop) -> bool:
    return shop.sql("SELECT gate FROM engines") == [("UP",)]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "PROBE_PAUSES_SECONDS", (0.05, 0.1, 0.2))


async def test_outages_over_a_small_fleet_cost_nothing(still: Shop) -> None:
    # A lease that a busy machine keeps: what is tested is the engine's outage, not ours.
    await still.drive(lease_seconds=30.0)
    await come_through(still, tenants=12, outages=3)


@pytest.mark.prove
async def test_ten_outages_over_a_hundred_tenants_cost_nothing(still: Shop) -> None:
    await still.drive(lease_seconds=30.0)
    await come_through(still, tenants=100, outages=10)


async def test_after_an_outage_one_run_goes_first_then_two(shop: Shop) -> None:
    """The number of runs that are driven is bounded by the wave at every moment."""
    await shop.faults(down=True)
    tenants = [await shop.order(f"Branch {number} Traders") for number in range(8)]
    await shop.until_waiting(tenants[0], "ENGINE_DOWN")
    eye = Eye(shop)
    await shop.faults()
    await shop.must_complete(*tenants)
    eye.close()
