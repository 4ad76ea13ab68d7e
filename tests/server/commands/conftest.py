"""A desk that takes orders, over a store with nobody to carry them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.commands import Commands
from server.store.database import Database
from tests.server.commands.desk import ENGINES, Desk
from tests.server.store.scene import NOON, Scene
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    database = await Database.open(await copied_store(tmp_path / "orders.db"))
    commands = Commands(database, engines=ENGINES, default_engine="main", now=lambda: NOON)
    yield Desk(commands=commands, scene=Scene(database=database))
    await database.close()
