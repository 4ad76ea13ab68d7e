"""Drives ten-step no-op tenants through the store and the executor; prints tenants a second.

`--grpc` orders over gRPC on a socket, as a caller does; without it the orders are given in
process, as DBOS's are.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from clients.sdk import ProvisionerClient
from provisioner.v1.tenant_pb2 import TenantSpec
from server.app import App
from server.model.actor import LOCAL
from server.model.identifiers import SiteKey
from server.settings import EngineConfig, EnginesConfig, load_settings
from server.validation import RawSpec

if TYPE_CHECKING:
    from server.store.operations import Outcome, TenantOperation


class Finish:
    """Hears which tenants came to their end."""

    def __init__(self) -> None:
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._early: set[str] = set()

    def heard(self, operation: TenantOperation, _outcome: Outcome) -> None:
        if operation.completed_at is None:
            return
        waiting = self._waiting.pop(operation.tenant_id, None)
        if waiting is None:
            self._early.add(operation.tenant_id)
        elif not waiting.done():
            waiting.set_result(None)

    async def of(self, tenant_id: str) -> None:
        if tenant_id in self._early:
            self._early.discard(tenant_id)
            return
        self._waiting[tenant_id] = asyncio.get_running_loop().create_future()
        await self._waiting[tenant_id]


async def measure(url: str, tenants: int, at_once: int, *, grpc: bool) -> float:
    engine = EngineConfig(id="noop", blueprint="noop", site=SiteKey("noop"))
    settings = load_settings(
        config=None,
        overrides={
            "database_url": url,
            "grpc_address": "127.0.0.1:0",
            "http_address": "127.0.0.1:0",
            "auth": "off",
            "max_runs": str(min(max(at_once, 1), 1024)),
        },
        environ={},
    )
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(
            App(settings, EnginesConfig(default="noop", engines={"noop": engine}))
        )
        client = await stack.enter_async_context(ProvisionerClient(f"127.0.0.1:{app.grpc_port}"))
        finish = Finish()
        app.core.database.on_applied(finish.heard)
        mark = f"{datetime.now(UTC):%H%M%S%f}"

        async def one(number: int) -> None:
            name = f"Shop {mark} {number}"
            if grpc:
                status = await client.start_provisioning(TenantSpec(company_name=name))
                tenant_id = status.tenant_id
            else:
                tenant_id = await app.core.commands.start(LOCAL, RawSpec(company_name=name))
            await finish.of(tenant_id)

        async def many(count: int) -> None:
            numbers = iter(range(count))

            async def lane() -> None:
                for number in numbers:
                    await one(number + done)

            await asyncio.gather(*(lane() for _ in range(at_once)))

        done = 1_000_000
        await many(min(at_once * 2, 64))  # statements are compiled, pages are warm
        done = 0
        began = time.perf_counter()
        await many(tenants)
        return tenants / (time.perf_counter() - began)


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--tenants", type=int, required=True)
    parser.add_argument("--open", type=int, required=True)
    parser.add_argument("--grpc", action="store_true")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    rate = asyncio.run(measure(given.url, given.tenants, given.open, grpc=given.grpc))
    print(json.dumps({"rate": rate}))


if __name__ == "__main__":
    main()
