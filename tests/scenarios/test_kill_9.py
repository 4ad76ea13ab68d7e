"""The service is killed again and again while it works; nothing is lost, nothing made twice."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from tests.scenarios.fleet import all_completed, check_each_once, check_record, order
from tests.support.waiting import until

if TYPE_CHECKING:
    from tools.installation import Installation

TENANTS = int(os.environ.get("KILL_9_TENANTS", "12"))
KILLS = int(os.environ.get("KILL_9_KILLS", "5"))
STEPS = 10
# Longer than a test waits: whoever waited for the end of the dead one's lease would be seen. How
# long it takes is measured by the benchmark, on a machine of its own.
LEASE_SECONDS = 600


def attempts(shop: Installation) -> int:
    count: int = shop.sql("SELECT count(*) FROM attempts")[0][0]
    return count


async def restart(shop: Installation) -> float:
    """Start the service; return the seconds until it drove on what the dead one had begun."""
    # One that stood in line for its site's slot goes on as it began, under whoever takes over.
    known = {row[0] for row in shop.sql("SELECT id FROM attempts")}
    began = datetime.now(UTC)
    await shop.start_server()

    def first_of_new() -> list[tuple[str]]:
        return [
            (row[1],)
            for row in shop.sql("SELECT id, started_at FROM attempts ORDER BY id")
            if row[0] not in known
        ]

    await until(first_of_new)
    first = datetime.fromisoformat(first_of_new()[0][0]).replace(tzinfo=UTC)
    seconds = (first - began).total_seconds()
    assert seconds > 0
    return seconds


async def test_tenants_survive_kills_at_random_moments(shop: Installation) -> None:
    seed = int(os.environ.get("KILL_9_SEED", "0")) or secrets.randbelow(1_000_000)
    print(f"KILL_9_SEED={seed} KILL_9_TENANTS={TENANTS} KILL_9_KILLS={KILLS}")
    chance = random.Random(seed)
    shop.settings["PROVISIONER_LEASE_SECONDS"] = str(LEASE_SECONDS)
    await shop.start_site()
    await shop.site_faults({"latency_ms": 15})
    await shop.start_server()
    names = [f"Branch {number} Traders" for number in range(1, TENANTS + 1)]
    orders = [
        asyncio.create_task(order(shop, name, f"order-{number}"))
        for number, name in enumerate(names)
    ]

    # A kill whenever so many attempts have been made, and a moment more.
    marks = sorted(chance.sample(range(1, int(TENANTS * STEPS * 0.9)), KILLS))
    for mark in marks:
        await until(lambda: attempts(shop) >= mark)  # noqa: B023 - awaited at once
        await asyncio.sleep(chance.random() * 0.1)
        await shop.kill("server")
        under_way = shop.sql("SELECT count(*) FROM attempts WHERE outcome IS NULL")[0][0]
        resumed = await restart(shop)
        print(f"kill -9 at {mark} attempts, {under_way} under way: resumed after {resumed:.2f} s")

    tenants = await asyncio.gather(*orders)
    assert len(set(tenants)) == TENANTS
    await until(lambda: all_completed(shop, TENANTS))

    lost = shop.sql("SELECT count(*) FROM attempts WHERE outcome = 'LOST'")[0][0]
    print(f"{attempts(shop)} attempts, {lost} of them lost with their worker")
    assert {row[0] for row in shop.sql("SELECT id FROM tenants")} == set(tenants)
    check_record(shop)
    check_each_once(await shop.site_state(), names)


async def test_an_acknowledged_order_survives_a_kill_right_after_it(shop: Installation) -> None:
    await shop.start_site()
    await shop.start_server()
    tenant = await order(shop, "Kijani Stores", "order-1")
    await shop.kill("server")

    assert shop.sql("SELECT id FROM tenants") == [(tenant,)]
    assert shop.sql("SELECT count(*) FROM steps") == [(STEPS,)]
    await shop.start_server()
    assert await order(shop, "Kijani Stores", "order-1") == tenant
    await until(lambda: all_completed(shop, 1))
    check_each_once(await shop.site_state(), ["Kijani Stores"])
