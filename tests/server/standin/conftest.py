"""A stand-in on a free port, and a client that is let in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.standin.app import StandIn
from tests.server.standin.calls import TOKEN
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx


@pytest.fixture
async def standin() -> AsyncIterator[StandIn]:
    async with StandIn() as running:
        yield running


@pytest.fixture
async def client(standin: StandIn) -> AsyncIterator[httpx.AsyncClient]:
    async with plain_client(base_url=standin.url, headers=TOKEN) as client:
        yield client
