"""A stand-in site over real HTTP, and the engine that talks to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.erpnext.client import Credentials, ErpNextEngine
from server.standin.app import StandIn
from tests.server.erpnext.context import NOON

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SECRET = "very-secret-value"
KEY = "very-secret-key"


def credentials() -> Credentials:
    return Credentials(api_key=KEY, api_secret=SECRET)


@pytest.fixture
async def site() -> AsyncIterator[StandIn]:
    async with StandIn(now=lambda: NOON) as standin:
        yield standin


@pytest.fixture
async def engine(site: StandIn) -> AsyncIterator[ErpNextEngine]:
    adapter = ErpNextEngine(url=site.url, credentials=credentials())
    yield adapter
    await adapter.close()
