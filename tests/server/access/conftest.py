"""A room of access over a real store of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.store.database import Database
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty store on SQLite, where the kind of database does not matter."""
    opened = await Database.open(await copied_store(tmp_path / "provisioner.db"))
    yield opened
    await opened.close()
