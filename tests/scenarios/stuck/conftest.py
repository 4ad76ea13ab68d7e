"""One town for the stories of a module, on each database; its healthy tenants stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from sqlalchemy import make_url

from tests.scenarios.stuck.town import Town
from tests.scenarios.stuck.town import town as open_town
from tests.support.stores import copied_store, postgres_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_OF_ENGINES = frozenset({"test_engines.py", "test_old_guesses.py"})


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave what an engine says on PostgreSQL to `make prove`: no database has a part in it."""
    for item in items:
        if item.path.name in _OF_ENGINES and "postgres" in item.nodeid:
            item.add_marker(pytest.mark.prove)


@pytest_asyncio.fixture(
    scope="module",
    loop_scope="module",
    params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)],
)
async def shared_town(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Town]:
    if request.param == "sqlite":
        file = tmp_path_factory.mktemp("town") / "town.db"
        async with open_town(make_url(await copied_store(file))) as town:
            yield town
        return
    async with (
        postgres_store(request.getfixturevalue("postgres_cluster")) as url,
        open_town(url) as town,
    ):
        yield town


@pytest_asyncio.fixture(loop_scope="module")
async def town(shared_town: Town) -> AsyncIterator[Town]:
    """Give the town, and see afterwards that no healthy tenant was touched."""
    before = await shared_town.rows_of(shared_town.healthy)
    at_site = [await shared_town.belongings(name) for name in ("Healthy One", "Healthy Two")]
    yield shared_town
    await shared_town.faults()
    assert await shared_town.rows_of(shared_town.healthy) == before
    assert at_site == [
        await shared_town.belongings(name) for name in ("Healthy One", "Healthy Two")
    ]
