"""Serves no-op tenants for the benchmarks of reading; prints ports, ids and a token as JSON.

With authentication on, as it is shipped: the caller signs in as anybody does. It then carries out
the commands on its standard input, one JSON object a line, and answers each with one:

- `{"append": SECONDS, "rate": ENTRIES_A_SECOND, "tenants": NUMBER}`: write log entries, each
  with the moment before its operation was given to the store; answers how many.
- `{"busy": RUNS}`: from now on so many runs are open, each pausing before each step.
- `{"open": RUNS}`: start so many runs, and answer once all are driven.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import sys
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import grpc.aio
import structlog

import server.app
from provisioner.v1 import provisioning_pb2 as pb
from provisioner.v1.access_pb2 import SignInRequest
from provisioner.v1.access_pb2_grpc import AccessServiceStub
from provisioner.v1.provisioning_pb2_grpc import ProvisioningServiceStub
from provisioner.v1.tenant_pb2 import TenantSpec
from server.__main__ import settle_memory, settle_threads
from server.app import App, utc_now
from server.model.actor import LOCAL
from server.model.identifiers import SiteKey, TenantId
from server.model.states import LogLevel
from server.noop import NoopEngine, NoopStep
from server.queries import log_pages
from server.settings import EngineConfig, EnginesConfig, load_settings
from server.store.operations import LogDraft, TenantOperation
from server.validation import RawSpec

if TYPE_CHECKING:
    from server.model.step_context import Found, StepContext
    from server.store.operations import Outcome

EMAIL, PASSWORD = "bench@example.com", "correct horse battery staple"


class PausingStep(NoopStep):
    """A step that takes a while, as one that asks an ERPNext does.

    Attributes:
        seconds: How long it takes on average; half to one and a half times that. For all steps.
    """

    seconds = 0.0

    async def apply(self, context: StepContext, found: Found) -> None:
        """Wait, then do nothing."""
        # Spread out, as in production.
        await asyncio.sleep(self.seconds * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        await super().apply(context, found)


class PausingEngine(NoopEngine):
    """An engine that does nothing, slowly."""

    def __init__(self, site: str = "noop") -> None:
        super().__init__(site)
        self._steps = {key: PausingStep(key) for key in self._steps}


class Shop:
    """The served application, and the commands it carries out.

    Attributes:
        ids: The tenants that were ordered over gRPC, in that order.
    """

    def __init__(self, app: App, stub: Any, metadata: Any) -> None:
        self.ids: list[str] = []
        self._app = app
        self._stub = stub
        self._metadata = metadata
        self._lanes: list[asyncio.Task[None]] = []
        self._number = 0
        self._ended: dict[str, asyncio.Event] = {}
        app.core.database.on_applied(self._heard)

    async def start(self) -> str:
        """Order a tenant over gRPC; return its id, without waiting for its run."""
        self._number += 1
        spec = TenantSpec(company_name=f"Shop {os.getpid()} {self._number}")
        request = pb.StartProvisioningRequest(spec=spec)
        answer = await self._stub.StartProvisioning(request, metadata=self._metadata)
        return str(answer.status.tenant_id)

    async def to_the_end(self, tenant_id: str) -> None:
        """Wait until a tenant is at rest."""
        request = pb.StreamLogsRequest(tenant_id=tenant_id, follow=True)
        async for _ in self._stub.StreamLogs(request, metadata=self._metadata):
            pass  # it ends once the tenant is at rest

    async def append(self, tenant_id: str, entries: int) -> None:
        """Write log entries of one tenant, in one operation.

        Args:
            tenant_id: The tenant.
            entries: How many. Each has when it was given to the store, in nanoseconds by
                `time.perf_counter_ns`, in its field `at`.
        """
        now = str(time.perf_counter_ns())
        draft = LogDraft(
            level=LogLevel.INFO,
            event="bench.line",
            message="A line as long as those that a step writes.",
            fields={"at": now},
        )
        await self._app.core.database.submit(
            TenantOperation(tenant_id=TenantId(tenant_id), at=utc_now(), log=(draft,) * entries)
        )

    async def obey(self, told: dict[str, Any]) -> dict[str, Any]:
        """Carry out one command; return its answer.

        Args:
            told: The command, as the module's docstring has them; anything else is an `open`.

        Raises:
            KeyError: the command lacks one of its values.
        """
        if "append" in told:
            return {"appended": await self._appended(told)}
        if "busy" in told:
            self._lanes = [asyncio.create_task(self._lane()) for _ in range(told["busy"])]
            # Not in the first moment, when all of them start at once.
            await asyncio.sleep(2 * PausingStep.seconds)
            return {"busy": told["busy"]}
        self.ids += [await self.start() for _ in range(told["open"])]
        await asyncio.sleep(2.0)  # claimed, and their first attempts begun
        return {"ids": self.ids}

    async def _lane(self) -> None:
        """Order one tenant after another in process, so that no client's work is counted."""
        while True:
            self._number += 1
            spec = RawSpec(company_name=f"Shop {os.getpid()} {self._number}")
            tenant_id = await self._app.core.commands.start(LOCAL, spec)
            await self._ended.setdefault(tenant_id, asyncio.Event()).wait()
            del self._ended[tenant_id]

    def _heard(self, operation: TenantOperation, _outcome: Outcome) -> None:
        if operation.completed_at is not None and self._lanes:
            self._ended.setdefault(operation.tenant_id, asyncio.Event()).set()

    async def _appended(self, told: dict[str, Any]) -> int:
        pause, number = 1 / told["rate"], 0
        began = time.perf_counter()
        tasks = set()
        while (late := time.perf_counter() - began) < told["append"]:
            tenant_id = self.ids[number % told["tenants"]]
            tasks.add(asyncio.create_task(self.append(tenant_id, 1)))
            number += 1
            await asyncio.sleep(max(0.0, number * pause - late))
        await asyncio.gather(*tasks)
        return number


async def serve(given: argparse.Namespace) -> None:
    """Serve, print the facts, and carry out commands until standard input ends.

    Args:
        given: The command line.
    """
    PausingStep.seconds = given.pause
    if given.pause:
        setattr(server.app, "NoopEngine", PausingEngine)  # noqa: B010 - a type is no variable
    if given.page:
        setattr(log_pages, "PAGE_ENTRIES", given.page)  # noqa: B010 - a constant is none either
    engine = EngineConfig(id="noop", blueprint="noop", site=SiteKey("noop"))
    settings = load_settings(
        config=None,
        overrides={
            "database_url": given.url,
            "grpc_address": "127.0.0.1:0",
            "http_address": "127.0.0.1:0",
            "admin_email": EMAIL,
            "admin_password": PASSWORD,
            "jwt_key_file": given.key_file,
            "max_runs": "1024",
        },
        environ={},
    )
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(
            App(settings, EnginesConfig(default="noop", engines={"noop": engine}))
        )
        settle_memory()
        settle_threads()
        channel = await stack.enter_async_context(
            grpc.aio.insecure_channel(f"127.0.0.1:{app.grpc_port}")
        )
        signed = await AccessServiceStub(channel).SignIn(
            SignInRequest(email=EMAIL, password=PASSWORD)
        )
        metadata = (("authorization", f"Bearer {signed.access_token}"),)
        shop = Shop(app, ProvisioningServiceStub(channel), metadata)
        shop.ids = [await shop.start() for _ in range(given.tenants)]
        if given.pause < 1:
            # They are done before anything is measured; longer pauses are for runs that stay open.
            for tenant_id in shop.ids:
                await shop.to_the_end(tenant_id)
        if given.entries:
            await shop.append(shop.ids[0], given.entries)
        facts = {
            "port": app.grpc_port,
            "pid": os.getpid(),
            "http": app.http_port,
            "ids": shop.ids,
            "token": signed.access_token,
        }
        print(json.dumps(facts), flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await shop.obey(json.loads(line))), flush=True)


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--tenants", type=int, default=200)
    parser.add_argument("--key-file", required=True)
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that a step takes")
    parser.add_argument("--entries", type=int, default=0, help="more in the first one's log")
    parser.add_argument("--page", type=int, default=0, help="most entries a message")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
