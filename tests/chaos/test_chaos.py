"""Everything that can fail fails at random, under load; then the whole history is checked.

CHAOS_SECONDS and CHAOS_SEED choose another storm.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from clients.sdk import ProvisionerClient, Unreachable
from provisioner.v1.tenant_pb2 import TenantSpec
from tests.chaos.replicas import Replicas, replicas
from tests.scenarios.fleet import check_each_once
from tests.support import proof

if TYPE_CHECKING:
    from pathlib import Path

# All waits are for processes that were killed in between, on a busy machine.
PATIENCE_SECONDS = 240.0


async def order(fleet: Replicas, name: str, request_id: str, dice: random.Random) -> str:
    """Order as a careful caller does: of anybody, again, with the same id, until heard."""
    spec = TenantSpec(company_name=name, till_user="till@example.com")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            member = dice.choice(fleet.living() or fleet.members)
            try:
                async with ProvisionerClient(f"127.0.0.1:{member.grpc_port}") as client:
                    status = await asyncio.wait_for(
                        client.start_provisioning(spec, request_id=request_id), 5
                    )
                    return status.tenant_id
            except (Unreachable, TimeoutError):
                await asyncio.sleep(0.05)


async def storm(folder: Path, *, seconds: float, seed: str, tenants: int) -> None:
    dice = random.Random(seed)
    print(f"CHAOS_SEED={seed} CHAOS_SECONDS={seconds}")
    async with replicas(folder) as fleet:
        await fleet.start()
        await fleet.site.site_faults({"latency_ms": 10})
        names = [f"Branch {number} Traders" for number in range(tenants)]

        async def load(name: str, number: int) -> str:
            await asyncio.sleep(seconds * 0.8 * number / tenants)
            return await order(fleet, name, f"order-{number}", random.Random(f"{seed}{number}"))

        orders = [asyncio.create_task(load(*each[::-1])) for each in enumerate(names)]
        harms = [
            fleet.kill_a_server,
            fleet.suspend_a_server,
            fleet.kill_a_reconciler,
            fleet.cut_connections,
            fleet.restart_the_database,
            fleet.the_engine_is_down,
            fleet.damage_a_record,
        ]
        done: Counter[str] = Counter()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            # Each kind once before any a second time.
            rare = min(done[harm.__name__] for harm in harms)
            harm = dice.choice([harm for harm in harms if done[harm.__name__] == rare])
            print(f"{seconds - (until - time.monotonic()):6.1f} s: {await harm(dice)}")
            done[harm.__name__] += 1
            await asyncio.sleep(dice.random())

        acknowledged = await asyncio.gather(*orders)
        await until_all_completed(fleet, tenants)
        await check(fleet, names, acknowledged)
        proof.note(
            seconds=int(seconds),
            seed=seed,
            tenants=tenants,
            **dict(sorted(done.items())),
        )


async def until_all_completed(fleet: Replicas, tenants: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            rows = await fleet.sql("SELECT state, count(*) FROM tenants GROUP BY state")
            if dict(rows) == {"COMPLETED": tenants}:
                return
            await asyncio.sleep(0.2)


async def check(fleet: Replicas, names: list[str], acknowledged: list[str]) -> None:
    """Check the history: effects once, cursors without gap, every acknowledged order there."""
    there = {row[0] for row in await fleet.sql("SELECT id FROM tenants")}
    assert set(acknowledged) == there
    assert len(set(acknowledged)) == len(names)
    check_each_once(await fleet.site.site_state(), names)
    gaps = await fleet.sql(
        "SELECT t.id, t.log_seq, count(*), min(cursor), max(cursor) FROM tenants t"
        " JOIN log_entries l ON l.tenant_id = t.id GROUP BY t.id, t.log_seq"
        " HAVING count(*) <> t.log_seq OR min(cursor) <> 1 OR max(cursor) <> t.log_seq"
    )
    assert gaps == []
    assert await fleet.sql("SELECT id FROM attempts WHERE outcome IS NULL") == []
    assert await fleet.sql("SELECT site FROM engines WHERE slot_tenant_id IS NOT NULL") == []
    # A write under an old token would have an attempt of another worker begin before the
    # one it replaced was ended.
    twice = await fleet.sql(
        "SELECT run_id, step_key, number, count(*) FROM attempts"
        " GROUP BY run_id, step_key, number HAVING count(*) > 1"
    )
    assert twice == []
    begun = await fleet.sql(
        "SELECT tenant_id, count(*) FROM log_entries WHERE message LIKE 'The run ended COMPLETED%'"
        " GROUP BY tenant_id, run_id HAVING count(*) > 1"
    )
    assert begun == [], "a run was closed twice"


async def test_a_short_storm_loses_nothing(tmp_path: Path) -> None:
    await storm(
        tmp_path,
        seconds=float(os.environ.get("CHAOS_SECONDS", "20")),
        seed=os.environ.get("CHAOS_SEED", "1"),
        tenants=12,
    )


@pytest.mark.prove
@pytest.mark.parametrize("seed", ["2", "3", "4"])
async def test_a_long_storm_loses_nothing(tmp_path: Path, seed: str) -> None:
    await storm(tmp_path, seconds=120, seed=seed, tenants=60)
