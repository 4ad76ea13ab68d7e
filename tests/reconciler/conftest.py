"""A store in a file of its own for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.commands import Commands
from server.store.database import Database
from tests.reconciler.scene import ENGINES, Clock, Scene
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    clock = Clock()
    database = await Database.open(await copied_store(tmp_path / "store.db"))
    commands = Commands(database, engines=ENGINES, default_engine="main", now=clock)
    yield Scene(database=database, commands=commands, clock=clock)
    await database.close()
