"""A process dies while it removes a tenant; the next one removes the rest, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.commands import OrderTerms
from server.erpnext.undo import removing
from server.executor import quarantine
from server.model.actor import LOCAL
from server.model.undo import UndoOptions
from tests.crash import lives
from tests.crash.lives import NAME, World, kinds
from tests.crash.test_every_crash_point import chance, deaths
from tests.server.executor.scene import check_all
from tests.support import proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.crash.ports import Death, Life
    from tests.server.executor.scene import Store

SAMPLE = 5


class RemovalWorld(World):
    """A tenant that is COMPLETED, and processes that die while they remove it."""

    async def complete(self) -> None:
        """Make the tenant, in a process that does not die."""
        store = await self.shop.drive()
        self.acknowledged = await self.shop.completed(NAME)
        await self.shop.leave(store)

    async def _work(self, life: Life, opened: list[Store]) -> None:
        commands = await self._begin(life, opened)
        assert self.acknowledged is not None
        await commands.deprovision(
            LOCAL,
            self.acknowledged,
            OrderTerms(request_id="removal-1", reason="a test"),
            options=UndoOptions(),
        )
        await self.shop.rest(self.acknowledged)

    async def _check(self) -> None:
        store = await self.shop.open()
        try:
            shop = self.shop
            assert self.acknowledged is not None
            assert shop.sql("SELECT state FROM tenants") == [("DEPROVISIONED",)], await shop.lines(
                self.acknowledged
            )
            await check_all(shop)
            assert not await shop.belongings(NAME)
            held = (await shop.look())["documents"]
            assert not held.get("Customer")
            assert [each["name"] for each in held["Price List"] if "KS" in each["name"]] == []
            assert shop.sql("SELECT DISTINCT state FROM resources WHERE NOT shared") == [
                ("REMOVED",)
            ]
            assert shop.sql("SELECT count(*) FROM bindings") == [(0,)]
            assert shop.sql("SELECT slot_tenant_id FROM engines") == [(None,)]
            assert shop.sql("SELECT id FROM attempts WHERE ended_at IS NULL") == []
            assert shop.sql("SELECT count(*) FROM runs") == [(2,)]
            # What a process that died has deleted was not somebody else.
            last = (await shop.lines(self.acknowledged))[-1]
            assert last.endswith("Nothing of it is left at the engine."), last
        finally:
            await shop.leave(store)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the time of a removal without an answer be over soon."""
    monkeypatch.setattr(removing, "REMOVE_SECONDS", 1.0)
    monkeypatch.setattr(quarantine, "GRACE_SECONDS", 0.5)
    monkeypatch.setattr(lives, "World", RemovalWorld)


async def remove_through(*all_deaths: Death) -> World:
    """Let a tenant be removed by processes that die so, then by one that lives."""
    async with lives.world() as here:
        assert isinstance(here, RemovalWorld)
        await here.complete()
        for death in (*all_deaths, None):
            life = await here.live(death)
            if not life.died.is_set():
                break
        await here.end()
        return here


async def broken_by(ways: Sequence[Death]) -> list[str]:
    """Live through each of some ways to die; return those after which a promise was broken."""
    failures = []
    for way in ways:
        try:
            await remove_through(way)
        except (AssertionError, TimeoutError) as error:
            failures.append(f"{way}: {type(error).__name__} {str(error)[:1500]}")
    return failures


async def test_a_death_at_some_points_of_a_removal_is_survived() -> None:
    points = (await remove_through()).lives[0].points
    ways = deaths(points)
    print(f"{len(points)} points, {len(ways)} deaths: {kinds(points)}")
    changing = [way for way in ways if points[way.number].changes]
    assert await broken_by(chance("removal").sample(changing, SAMPLE)) == []


@pytest.mark.prove
async def test_a_death_at_every_point_of_a_removal_is_survived() -> None:
    points = (await remove_through()).lives[0].points
    ways = deaths(points)
    proof.note(points=len(points), deaths=len(ways))
    assert await broken_by(ways) == []
