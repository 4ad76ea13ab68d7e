"""A store of its own for each test, on each database or on SQLite only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.reconciler.scene import Scene, open_scene
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import URL


@pytest.fixture
async def scene(store_url: URL) -> AsyncIterator[Scene]:
    async with open_scene(store_url) as scene:
        yield scene


@pytest.fixture
async def sqlite_scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with open_scene(await copied_store(tmp_path / "only.db")) as scene:
        yield scene
