"""A shop whose executors are stopped and whose record is checked after each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.standin.app import StandIn
from tests.server.executor.scene import Shop, check_all

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def site() -> AsyncIterator[StandIn]:
    async with StandIn() as standin:
        yield standin


@pytest.fixture
async def still(site: StandIn, tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop where nothing is driven yet."""
    shop = Shop(site, tmp_path / "provisioner.db")
    try:
        yield shop
        if shop.stores:
            await check_all(shop)
    finally:
        site.hurry()
        for store in list(shop.stores):
            await shop.leave(store)


@pytest.fixture
async def shop(still: Shop) -> Shop:
    """A shop with one executor that drives."""
    await still.drive()
    return still
