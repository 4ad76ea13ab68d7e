"""PostgreSQL is opened: by several at once, by one that stands still, or not at all."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from server.errors import StoreUnavailable
from server.store import schema
from server.store.database import Database

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection


pytestmark = pytest.mark.postgres
_OPEN = """
import asyncio, sys
from datetime import UTC, datetime
from server.model.states import GateState
from server.store.database import Database
from server.store.operations import GateOperation

async def main():
    database = await Database.open(sys.argv[1])
    at = datetime.now(UTC)
    await database.register_engines([GateOperation(site="site", at=at, gate=GateState.UP)])
    await database.close()

asyncio.run(main())
"""


async def test_servers_that_start_at_once_on_an_empty_database_set_it_up_once(
    postgres_url: URL,
) -> None:
    """As processes of their own: Alembic can't be used twice at once in one."""
    url = postgres_url.render_as_string(hide_password=False)
    starting = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", _OPEN, url, stderr=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    said = [(await process.communicate())[1].decode() for process in starting]
    assert said == [""] * 3
    database = await Database.open(postgres_url)
    try:
        assert list(await database.reads.gates()) == ["site"]
    finally:
        await database.close()


async def test_a_host_that_stands_still_while_it_sets_a_database_up_begins_again(
    postgres_url: URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server hangs up on who is idle within a transaction; nothing of it was written."""
    prepare, times = schema.prepare, list[int]()

    def stands_still(connection: Connection) -> None:
        times.append(1)
        if len(times) == 1:
            connection.execute(
                text("SELECT set_config('idle_in_transaction_session_timeout', '1', true)")
            )
            time.sleep(0.5)  # beyond what the server bears: the time is what is tested
        prepare(connection)

    monkeypatch.setattr(schema, "prepare", stands_still)
    database = await Database.open(postgres_url)
    try:
        assert await database.reads.gates() == {}
    finally:
        await database.close()
    assert len(times) == 2


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"database": "nothing"}, "does not exist. Check user, password and database name"),
        ({"query": {"host": "/nowhere"}}, "Check that it runs, that the folder of its socket"),
        (
            {"host": "127.0.0.1", "port": 1, "query": {}},
            "Check that it runs, and that host and port",
        ),
    ],
)
async def test_a_database_that_cannot_be_opened_is_refused_with_what_to_do(
    postgres_url: URL, changes: dict[str, Any], remedy: str
) -> None:
    url = postgres_url.set(password="hush-hush", **changes)
    with pytest.raises(StoreUnavailable) as told:
        await Database.open(url)
    assert remedy in told.value.message
    assert "hush-hush" not in told.value.message
