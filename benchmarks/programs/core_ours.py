"""Serves, drives ten-step no-op tenants as they are ordered, and prints tenants a second.

They are ordered over gRPC by `core_caller`, a process of its own, which is told which tenants are
done as soon as that is durable. With `--in-process` this process orders them, as with DBOS. What is
measured is what `provisioner serve` starts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sqlite3
import sys
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import Engine, event

from benchmarks.programs.core_caller import warm_up
from server.__main__ import settle_memory, settle_threads
from server.app import App
from server.model.actor import LOCAL
from server.model.identifiers import SiteKey
from server.settings import EngineConfig, EnginesConfig, load_settings
from server.validation import RawSpec

if TYPE_CHECKING:
    from server.store.operations import Outcome, TenantOperation


class Statements:
    """Counts what the process sends to its database; there may be one of these in a process.

    Attributes:
        count: How many statements so far, those of transactions included.
    """

    def __init__(self) -> None:
        self.count = 0
        event.listen(Engine, "connect", self._connected)
        event.listen(Engine, "before_cursor_execute", self._executed)

    def _connected(self, connection: Any, _record: object) -> None:
        # The hot path passes its statements to the driver directly.
        if isinstance(connection, sqlite3.Connection):
            connection.set_trace_callback(self._traced)

    def _traced(self, _statement: str) -> None:
        self.count += 1

    def _executed(self, connection: Any, *_: object) -> None:
        if not isinstance(connection.connection.dbapi_connection, sqlite3.Connection):
            self.count += 1


async def measure(
    url: str, tenants: int, at_once: int, *, in_process: bool, count: bool = False
) -> dict[str, Any]:
    """Serve, have tenants ordered, and return how many a second are done.

    Args:
        url: The database, which is set up if it is empty.
        tenants: How many are measured, after those of the warm-up.
        at_once: How many are open at once.
        in_process: Whether they are ordered in this process rather than over gRPC.
        count: Whether to count database statements, which costs some of the rate.

    Returns:
        `rate`, in tenants a second; and `statements` for a tenant, if they were counted.
    """
    statements = Statements() if count else None
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
        settle_memory()
        settle_threads()
        before = statements.count if statements else 0
        order = _in_process if in_process else _by_caller
        result = await order(app, tenants, at_once)
        if statements is not None:
            # Statements of the warm-up are counted, so its tenants are, too.
            result["statements"] = (statements.count - before) / (tenants + warm_up(at_once))
        return result


async def _by_caller(app: App, tenants: int, at_once: int) -> dict[str, Any]:
    command = ["-m", "benchmarks.programs.core_caller", "--port", str(app.grpc_port)]
    command += ["--tenants", str(tenants), "--open", str(at_once)]
    pipe = asyncio.subprocess.PIPE
    caller = await asyncio.create_subprocess_exec(sys.executable, *command, stdin=pipe, stdout=pipe)
    if caller.stdin is None or caller.stdout is None:
        raise RuntimeError("no pipes")
    told = caller.stdin

    def heard(operation: TenantOperation, _outcome: Outcome) -> None:
        if operation.completed_at is not None:
            told.write(f"{operation.tenant_id}\n".encode())

    app.core.database.on_applied(heard)
    result: dict[str, Any] = json.loads(await caller.stdout.read())
    await caller.wait()
    return result


async def _in_process(app: App, tenants: int, at_once: int) -> dict[str, Any]:
    ended: dict[str, asyncio.Event] = {}

    def heard(operation: TenantOperation, _outcome: Outcome) -> None:
        if operation.completed_at is not None:
            ended.setdefault(operation.tenant_id, asyncio.Event()).set()

    app.core.database.on_applied(heard)

    async def many(first: int, count: int) -> None:
        numbers = iter(range(first, first + count))
        mark = f"{datetime.now(UTC):%H%M%S%f}"

        async def lane() -> None:
            for number in numbers:
                spec = RawSpec(company_name=f"Shop {mark} {number}")
                tenant_id = await app.core.commands.start(LOCAL, spec)
                await ended.setdefault(tenant_id, asyncio.Event()).wait()
                del ended[tenant_id]

        await asyncio.gather(*(lane() for _ in range(at_once)))

    await many(1_000_000, warm_up(at_once))  # statements are compiled, pages are warm
    began = time.perf_counter()
    await many(0, tenants)
    return {"rate": tenants / (time.perf_counter() - began)}


def main() -> None:
    """Measure once and print it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--tenants", type=int, required=True)
    parser.add_argument("--open", type=int, required=True)
    parser.add_argument("--in-process", action="store_true")
    parser.add_argument("--count", action="store_true", help="count statements, which costs")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    result = asyncio.run(
        measure(
            given.url, given.tenants, given.open, in_process=given.in_process, count=given.count
        )
    )
    print(json.dumps(result))


if __name__ == "__main__":
    main()
