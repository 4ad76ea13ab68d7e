"""An open store, and an authority that signs what a test's server shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from server.store.database import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy import URL


@pytest.fixture
async def database(store_url: URL) -> AsyncIterator[Database]:
    """An empty store: a test that asks for it runs once on each kind of database."""
    opened = await Database.open(store_url)
    yield opened
    await opened.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()
