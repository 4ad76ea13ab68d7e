"""A storm: everything that can fail fails at random, while orders come in and logs are followed."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import TYPE_CHECKING

from clients.sdk import ProvisionerClient, Unreachable
from provisioner.v1.tenant_pb2 import TenantSpec
from tests.chaos.history import History, findings
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.chaos.fleet import Fleet
    from tools.installation import Installation

# How long a caller waits for an answer before it asks another server.
ANSWER_SECONDS = 5.0
FOLLOWED = 3


async def storm(fleet: Fleet, *, seconds: float, seed: str, tenants: int) -> History:
    """Let a fleet live through a storm, and come to rest.

    Args:
        fleet: The processes; not started yet.
        seconds: How long the storm is.
        seed: Chooses what fails, and when.
        tenants: How many are ordered meanwhile.

    Returns:
        Its history, for the test to judge.
    """
    print(f"CHAOS_SEED={seed} CHAOS_SECONDS={seconds}")
    await fleet.start()
    await fleet.site.site_faults({"latency_ms": 10})
    names = [f"Branch {number} Traders" for number in range(tenants)]
    # All waits are for processes that were killed in between, on a busy machine.
    patience = 120.0 + 5 * seconds
    orders = [
        asyncio.create_task(
            _order_in_time(fleet, seed, name, seconds * 0.8 * number / tenants, patience)
        )
        for number, name in enumerate(names)
    ]
    following = [
        asyncio.create_task(_follow(fleet, each, seed, patience)) for each in orders[:FOLLOWED]
    ]
    done = await _harm(fleet, seconds, random.Random(seed))

    acknowledged = await asyncio.gather(*orders)
    if await _all_completed(fleet, tenants, patience):
        followed = dict(await asyncio.gather(*following))
    else:
        # A history with what stands still in it tells more than that time is over.
        followed = {}
        for task in following:
            task.cancel()
        print(*await fleet.sql(_STILL_FINDINGS), sep="\n")
    found = await findings(fleet.sql, await fleet.site.site_state(), names)
    if torn := [tenant for tenant, seen in followed.items() if seen != _in_order(seen)]:
        found["a follower missed an entry, or got it twice"] = torn
    return History(
        acknowledged=sorted(acknowledged),
        there=sorted(row[0] for row in await fleet.sql("SELECT id FROM tenants")),
        findings=found,
        counts={
            "seconds": int(seconds),
            "seed": seed,
            "tenants": tenants,
            **dict(sorted(done.items())),
            "refused_writes_of_replaced_workers": fleet.refused_writes(),
        },
    )


async def _all_completed(fleet: Fleet, tenants: int, patience: float) -> bool:
    async def completed() -> bool:
        rows = await fleet.sql("SELECT state, count(*) FROM tenants GROUP BY state")
        return dict(rows) == {"COMPLETED": tenants}

    try:
        return await until(completed, seconds=patience)
    except AssertionError:
        return False


_STILL_FINDINGS = (
    "SELECT f.* FROM findings f JOIN tenants t ON t.id = f.tenant_id"
    " WHERE t.state <> 'COMPLETED' ORDER BY f.id"
)


async def _harm(fleet: Fleet, seconds: float, dice: random.Random) -> Counter[str]:
    """Do harm until the time is over; each kind once before any a second time."""
    done: Counter[str] = Counter()
    until_then = time.monotonic() + seconds
    while time.monotonic() < until_then:
        rare = min(done[harm.__name__] for harm in fleet.harms)
        harm = dice.choice([each for each in fleet.harms if done[each.__name__] == rare])
        print(f"{seconds - (until_then - time.monotonic()):6.1f} s: {await harm(dice)}")
        done[harm.__name__] += 1
        await asyncio.sleep(dice.random())  # some come at once, some when all has healed
    return done


async def _order_in_time(
    fleet: Fleet, seed: str, name: str, seconds: float, patience: float
) -> str:
    """Order as a careful caller does: of anybody, again, with the same id, until heard."""
    await asyncio.sleep(seconds)  # orders come in over most of the storm
    dice = random.Random(f"{seed} {name}")

    async def order() -> str:
        async with ProvisionerClient(_address(_anybody(fleet, dice))) as client:
            status = await asyncio.wait_for(
                client.start_provisioning(
                    TenantSpec(company_name=name, till_user="till@example.com"), request_id=name
                ),
                ANSWER_SECONDS,
            )
            return status.tenant_id

    return await until(order, seconds=patience, trying=(Unreachable, TimeoutError))


async def _follow(
    fleet: Fleet, order: asyncio.Task[str], seed: str, patience: float
) -> tuple[str, list[int]]:
    """Follow a tenant's log to its end, on whichever server answers; return its cursors."""
    tenant = await order
    dice = random.Random(f"{seed} {tenant}")
    seen: list[int] = []

    async def follow() -> bool:
        async with ProvisionerClient(_address(_anybody(fleet, dice))) as client:
            after = seen[-1] if seen else 0
            async for entry in client.stream_logs(tenant, after_cursor=after, follow=True):
                seen.append(entry.cursor)  # noqa: PERF401 - what came before a cut counts
        return bool(seen)

    await until(follow, seconds=patience * 2, trying=(Unreachable,))
    return tenant, seen


def _in_order(seen: list[int]) -> list[int]:
    return list(range(1, len(seen) + 1))


def _anybody(fleet: Fleet, dice: random.Random) -> Installation:
    return dice.choice(fleet.living() or fleet.members)


def _address(member: Installation) -> str:
    return f"127.0.0.1:{member.grpc_port}"
