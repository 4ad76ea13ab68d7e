"""Followers that cancel, vanish or never read cost the server nothing that lasts.

Measured on a server in a process of its own, since a client keeps things too
(grpc/grpc#43360, #43462). `make prove` opens ten thousand streams, `make test` some hundred.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio
import pytest

from clients.sdk import ProvisionerClient
from provisioner.v1 import provisioning_pb2 as pb
from provisioner.v1.provisioning_pb2_grpc import ProvisioningServiceStub
from provisioner.v1.tenant_pb2 import TenantSpec
from tests.support import proof

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tools.installation import Installation

MIB = 1 << 20
PATIENCE_SECONDS = 120.0
WAVE = 100
ENTRIES, ENTRY_BYTES = 5000, 4096
SLEEPERS = 20


class Served:
    """A server with one tenant that waits for its engine, and so can be followed for long."""

    def __init__(self, shop: Installation, tenant_id: str) -> None:
        self._shop = shop
        self.tenant_id = tenant_id
        self._memory = Path(f"/proc/{shop.processes['server'].pid}/statm")

    @property
    def memory(self) -> int:
        """What the server's process holds, in bytes."""
        return int(self._memory.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    @contextlib.asynccontextmanager
    async def channel(self) -> AsyncIterator[grpc.aio.Channel]:
        # Channels of one address share a connection, unless they are told not to.
        options = [("grpc.use_local_subchannel_pool", 1)]
        address = f"127.0.0.1:{self._shop.grpc_port}"
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            yield channel

    def follow(
        self, channel: grpc.aio.Channel
    ) -> grpc.aio.UnaryStreamCall[pb.StreamLogsRequest, pb.StreamLogsResponse]:
        request = pb.StreamLogsRequest(tenant_id=self.tenant_id, follow=True)
        return ProvisioningServiceStub(channel).StreamLogs(request)

    async def wave(self) -> None:
        """Open streams; cancel some, before and after their first page, and drop the rest."""
        async with self.channel() as channel:
            calls = [self.follow(channel) for _ in range(WAVE)]
            calls[0].cancel()
            pages = [asyncio.wait_for(call.read(), PATIENCE_SECONDS) for call in calls[1:]]
            assert all(
                isinstance(page, pb.StreamLogsResponse) for page in await asyncio.gather(*pages)
            )
            for call in calls[1::2]:
                call.cancel()

    def write_log(self) -> None:
        """Make the tenant's log long, behind the server's back."""
        with contextlib.closing(sqlite3.connect(self._shop.database, timeout=30)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            ((last,),) = connection.execute("SELECT log_seq FROM tenants").fetchall()
            connection.executemany(
                "INSERT INTO log_entries SELECT tenant_id, ?, time, level, run_id, step_key,"
                " attempt, ?, fields FROM log_entries WHERE cursor = 1",
                [(last + number, "x" * ENTRY_BYTES) for number in range(1, ENTRIES + 1)],
            )
            connection.execute("UPDATE tenants SET log_seq = ?", (last + ENTRIES,))
            connection.commit()


@pytest.fixture
async def served(shop: Installation) -> Served:
    # Without a site: the tenant waits for it.
    await shop.start_server()
    async with ProvisionerClient(f"127.0.0.1:{shop.grpc_port}") as client:
        status = await client.start_provisioning(TenantSpec(company_name="Acme"))
    return Served(shop, status.tenant_id)


@pytest.mark.parametrize(
    ("waves", "most"),
    [(5, 16 * MIB), pytest.param(100, 16 * MIB, marks=pytest.mark.prove)],
)
async def test_streams_that_are_cancelled_or_dropped_leave_no_memory_behind(
    served: Served, waves: int, most: int
) -> None:
    warm_up = max(2, waves // 10)
    for _ in range(warm_up):
        await served.wave()
    before = served.memory
    for _ in range(waves - warm_up):
        await served.wave()
    grown = served.memory - before
    print(f"{waves * WAVE} streams: {before / MIB:.1f} MiB and {grown / MIB:+.1f} MiB")
    proof.note(streams=waves * WAVE, grown=f"{grown / MIB:.1f} MiB")
    assert grown < most


async def test_followers_that_do_not_read_cost_a_bounded_memory_and_slow_nobody(
    served: Served,
) -> None:
    await served.wave()
    served.write_log()
    before = served.memory
    async with contextlib.AsyncExitStack() as stack:
        sleepers = []
        for _ in range(SLEEPERS):
            channel = await stack.enter_async_context(served.channel())
            sleepers.append(served.follow(channel))
        await asyncio.gather(*(call.initial_metadata() for call in sleepers))

        reader = served.follow(await stack.enter_async_context(served.channel()))
        read = 0
        async with asyncio.timeout(PATIENCE_SECONDS):
            while read < ENTRIES:
                page = await reader.read()
                assert isinstance(page, pb.StreamLogsResponse)
                read = page.entries[-1].cursor
        grown = served.memory - before
        for call in [*sleepers, reader]:
            call.cancel()
    # Without a bound each would hold the whole log.
    whole = SLEEPERS * ENTRIES * ENTRY_BYTES
    print(f"{SLEEPERS} sleepers: {grown / MIB:+.1f} MiB of {whole / MIB:.0f} MiB")
    assert grown < whole / 3
