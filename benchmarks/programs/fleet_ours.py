"""Provisions a fleet on given sites; prints how long it took and who held which slot when.

They are ordered over gRPC, for each site in turn, with one worker as it is shipped. Who holds a
slot is seen from the writes to the store: a request that is about to be sent takes the site's slot,
its answer frees it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr

from clients.sdk import ProvisionerClient
from provisioner.v1.tenant_pb2 import TenantSpec
from server.__main__ import settle_memory, settle_threads
from server.app import App
from server.model.blueprint import ERPNEXT
from server.model.identifiers import SiteKey
from server.settings import EngineConfig, EnginesConfig, load_settings
from server.store.operations import SlotFree, SlotTake

if TYPE_CHECKING:
    from server.store.operations import Outcome, TenantOperation


class Watch:
    """Observes who holds a slot, and who is done.

    Attributes:
        done: Set once all tenants are done.
        slots: Site, doctype, and from and until when by `time.perf_counter`, in the order in which
            the slots were freed.
    """

    def __init__(self, tenants: int) -> None:
        self.done = asyncio.Event()
        # Those that are held now are in `_held`.
        self.slots: list[tuple[str, str, float, float]] = []
        self._held: dict[str, tuple[str, str, float]] = {}
        self._left = tenants

    def heard(self, operation: TenantOperation, _outcome: Outcome) -> None:
        """Hear of an operation that this process wrote (a watcher of `Database.on_applied`)."""
        now, slot = time.perf_counter(), operation.slot
        if isinstance(slot, SlotTake):
            self._held[operation.tenant_id] = (slot.site, slot.doctype, now)
        elif isinstance(slot, SlotFree) and operation.tenant_id in self._held:
            site, doctype, since = self._held.pop(operation.tenant_id)
            self.slots.append((site, doctype, since, now))
        if operation.completed_at is not None:
            self._left -= 1
            if self._left == 0:
                self.done.set()


async def measure(database: str, urls: list[str], tenants: int, patience: float) -> object:
    """Provision a fleet, with as many tenants at each site.

    Args:
        database: The database's URL; it is set up if it is empty.
        urls: The sites; they accept any key.
        tenants: How many tenants.
        patience: The longest time for all of them to be done, in seconds.

    Returns:
        Seconds and processor seconds from the first order to the last tenant done, the sites, and
        who held their slots: site, doctype, since and until in seconds after that first order.

    Raises:
        TimeoutError: not all were done in time.
    """
    engines = {
        f"site-{number}": EngineConfig(
            id=f"site-{number}",
            blueprint=ERPNEXT.name,
            site=SiteKey(f"{url} host={urlsplit(url).netloc}"),
            url=url,
            api_key=SecretStr("key"),
            api_secret=SecretStr("secret"),
        )
        for number, url in enumerate(urls)
    }
    settings = load_settings(
        config=None,
        overrides={
            "database_url": database,
            "grpc_address": "127.0.0.1:0",
            "http_address": "127.0.0.1:0",
            "auth": "off",
        },
        environ={},
    )
    watch = Watch(tenants)
    async with AsyncExitStack() as stack:
        app = App(settings, EnginesConfig(default="site-0", engines=engines))
        await stack.enter_async_context(app)
        client = await stack.enter_async_context(ProvisionerClient(f"127.0.0.1:{app.grpc_port}"))
        app.core.database.on_applied(watch.heard)
        settle_memory()
        settle_threads()
        began, cpu = time.perf_counter(), time.process_time()
        for number in range(tenants):
            site = number % len(urls)
            spec = TenantSpec(company_name=f"Branch {number:03} Traders", engine_id=f"site-{site}")
            await client.start_provisioning(spec)
        try:
            async with asyncio.timeout(patience):
                await watch.done.wait()
        except TimeoutError:
            print("not all tenants were done in time", file=sys.stderr)
            raise
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
    return {
        "seconds": took,
        "cpu": cpu,
        "sites": [engine.site for engine in engines.values()],
        "slots": [
            (site, doctype, since - began, until - began)
            for site, doctype, since, until in watch.slots
        ],
    }


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--tenants", type=int, required=True)
    parser.add_argument("--patience", type=float, required=True)
    parser.add_argument("sites", nargs="+")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    print(json.dumps(asyncio.run(measure(given.url, given.sites, given.tenants, given.patience))))


if __name__ == "__main__":
    main()
