"""Fixtures of the callers' tests: a scripted service behind a real port."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from clients.sdk import ProvisionerClient
from tests.clients.fake_service import FakeService, Serving, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Pauses:
    """Stands in for sleeping: takes no time, and remembers how long it should have been."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def service() -> FakeService:
    """The scripts, to be filled in by the test."""
    return FakeService()


@pytest.fixture
async def server(service: FakeService) -> AsyncIterator[Serving]:
    """The scripted service behind a port."""
    async with serving(service) as server:
        yield server


@pytest.fixture
def pauses() -> Pauses:
    """The pauses the client would have made."""
    return Pauses()


@pytest.fixture
async def client(server: Serving, pauses: Pauses) -> AsyncIterator[ProvisionerClient]:
    """A client of the scripted service that never sleeps."""
    async with ProvisionerClient(server.address, pause=pauses) as client:
        yield client
