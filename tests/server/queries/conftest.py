"""A store with one tenant, and what may be known of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.commands import Commands
from server.model.actor import LOCAL
from server.store.database import Database
from server.validation import RawSpec
from tests.server.queries.scene import ENGINES, NOW, running
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from server.model.identifiers import TenantId
    from server.queries import Queries


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(await copied_store(tmp_path / "provisioner.db"))
    yield opened
    await opened.close()


@pytest.fixture
async def queries(database: Database) -> AsyncIterator[Queries]:
    async with running(database) as started:
        yield started


@pytest.fixture
async def tenant(database: Database) -> TenantId:
    commands = Commands(database, engines=ENGINES, default_engine="main", now=lambda: NOW)
    return await commands.start(LOCAL, RawSpec(company_name="Acme"))
