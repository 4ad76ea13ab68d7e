"""Orders ten-step no-op tenants over gRPC, a given number open at once; prints tenants a second.

A process of its own, as callers are. On its standard input it hears which tenants are done, from
the program that started it, which is also the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from datetime import UTC, datetime

from clients.sdk import ProvisionerClient
from provisioner.v1.tenant_pb2 import TenantSpec


class Finish:
    """Hears which tenants are done, on standard input: an id a line."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._early: set[str] = set()

    def heard(self, tenant_id: str) -> None:
        """Take note that a tenant is done, perhaps before anybody waits for it."""
        waiting = self._waiting.pop(tenant_id, None)
        if waiting is None:
            self._early.add(tenant_id)
        elif not waiting.done():
            waiting.set_result(None)

    async def of(self, tenant_id: str) -> None:
        """Wait until a tenant is done; each is waited for once."""
        if tenant_id in self._early:
            self._early.discard(tenant_id)
            return
        self._waiting[tenant_id] = asyncio.get_running_loop().create_future()
        await self._waiting[tenant_id]

    async def listen(self) -> None:
        """Hear until standard input ends."""
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            self.heard(line.decode().strip())


def warm_up(at_once: int) -> int:
    """Return how many tenants are ordered before the measure, for so many open at once."""
    return max(16, min(at_once, 128))


async def measure(port: int, tenants: int, at_once: int) -> float:
    """Return how many tenants a second are ordered and done.

    Args:
        port: The server's gRPC port on this machine.
        tenants: How many are measured, after those of the warm-up.
        at_once: How many are open at once: a new one is ordered when one is done.

    Raises:
        clients.sdk.ProvisionerError: an order failed.
    """
    finish = Finish()
    listening = asyncio.create_task(finish.listen())
    async with ProvisionerClient(f"127.0.0.1:{port}", timeout_seconds=60.0) as client:

        async def many(first: int, count: int) -> None:
            numbers = iter(range(first, first + count))
            mark = f"{datetime.now(UTC):%H%M%S%f}"

            async def lane() -> None:
                for number in numbers:
                    spec = TenantSpec(company_name=f"Shop {mark} {number}")
                    status = await client.start_provisioning(spec)
                    await finish.of(status.tenant_id)

            await asyncio.gather(*(lane() for _ in range(at_once)))

        await many(1_000_000, warm_up(at_once))  # statements are compiled, pages are warm
        began = time.perf_counter()
        await many(0, tenants)
        took = time.perf_counter() - began
    listening.cancel()
    return tenants / took


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tenants", type=int, required=True)
    parser.add_argument("--open", type=int, required=True)
    given = parser.parse_args()
    rate = asyncio.run(measure(given.port, given.tenants, given.open))
    print(json.dumps({"rate": rate}))


if __name__ == "__main__":
    main()
