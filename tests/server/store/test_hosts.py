"""Several hosts in the URL: one whose machine is gone keeps nobody from the other."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from server.errors import StoreUnavailable
from server.store import postgres as store_postgres
from server.store import wakeups
from server.store.snapshot import snapshot
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import URL

pytestmark = pytest.mark.postgres


class Silent:
    """A host that takes connections and never answers."""

    def __init__(self) -> None:
        self.came = 0
        self.port = 0

    async def taken(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        with contextlib.suppress(ConnectionError):
            while await reader.read(1024):
                pass
        writer.close()


@pytest.fixture
async def silent() -> AsyncIterator[Silent]:
    host = Silent()
    async with await asyncio.start_server(host.taken, "127.0.0.1", 0) as server:
        host.port = server.sockets[0].getsockname()[1]
        yield host


def both(silent: Silent, url: URL, asked: str = "read-write") -> URL:
    """Name the silent one and then the real one."""
    named = (f"127.0.0.1:{silent.port}", f"{url.query['host']}:5432")
    return url.update_query_dict({"host": named, "target_session_attrs": asked})


async def asked(url: URL) -> object:
    engine = store_postgres.engine(url, connections=2, seconds=1.5)
    try:
        async with snapshot(engine) as one, snapshot(engine) as other:
            await one.exec_driver_sql("SELECT 1")
            return (await other.exec_driver_sql("SELECT 1")).scalar_one()
    finally:
        await engine.dispose()


async def test_a_host_that_hangs_takes_a_part_of_the_time_and_is_then_passed_over(
    postgres_url: URL, silent: Silent
) -> None:
    """All the time went into it, so that a standby that was promoted was never found."""
    assert await asked(both(silent, postgres_url)) == 1
    # The second connection went where the first one had found what was asked for.
    assert silent.came == 1


async def test_who_takes_any_host_asks_the_first_one_first_each_time(
    postgres_url: URL, silent: Silent
) -> None:
    assert await asked(both(silent, postgres_url, "any")) == 1
    assert silent.came == 2


async def test_where_no_host_answers_or_is_what_is_asked_for_the_reason_is_told(
    postgres_url: URL, silent: Silent
) -> None:
    with pytest.raises(StoreUnavailable, match="no answer came in time"):
        await asked(both(silent, postgres_url, "standby"))
    real = f"{postgres_url.query['host']}:5432"
    twice = {"host": (real, real), "target_session_attrs": "standby"}
    with pytest.raises(StoreUnavailable, match="match the target attribute"):
        await asked(postgres_url.update_query_dict(twice))


async def test_the_ear_finds_the_host_that_answers(postgres_url: URL, silent: Silent) -> None:
    heard: list[bool] = []
    ear = wakeups.Wakeups(both(silent, postgres_url))
    # It passes on that it may have missed something, once it listens.
    ear.on_heard(lambda _, queued: heard.append(queued))
    ear.start()
    try:
        await until(lambda: heard)
    finally:
        await ear.stop()
