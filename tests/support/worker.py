"""One worker in a process of its own: `python -m tests.support.worker DATABASE SITE`.

Prints a line once it drives, and stops when its input ends.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import UTC, datetime

import structlog

from server.erpnext.client import Credentials, ErpNextEngine
from server.executor.executor import Executor, ExecutorOptions
from server.model.states import GateState
from server.store.database import Database
from server.store.operations import GateOperation

# Of a worker that is suspended for a while and must not be taken for dead.
LEASE_SECONDS = 120.0


def now() -> datetime:
    return datetime.now(UTC)


async def work(database_url: str, site_url: str) -> None:
    database = await Database.open(database_url)
    engine = ErpNextEngine(
        url=site_url, credentials=Credentials(api_key="key", api_secret="secret")
    )
    await database.register_engines([GateOperation(site=engine.site, at=now(), gate=GateState.UP)])
    executor = Executor(
        database, {"main": engine}, now=now, options=ExecutorOptions(lease_seconds=LEASE_SECONDS)
    )
    await executor.start()
    print("drives", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await executor.stop()
    await engine.close()
    await database.close()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    asyncio.run(work(*sys.argv[1:]))
