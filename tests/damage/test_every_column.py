"""One tenant for each column and each value that may stand there: nobody is lost, nobody is hidden.

All of them stand in one store, so that what one does to the others is seen too.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from server.diagnosis import Diagnoser
from server.errors import StoreUnavailable
from server.model.actor import LOCAL
from server.model.identifiers import WorkerId
from server.model.states import TenantState
from server.queries import Queries
from server.store.due import DueAsked
from server.store.tenant_pages import TenantFilter, TenantPages
from tests.damage.rows import clone, damages, strike
from tests.reconciler.conftest import scene
from tests.reconciler.scene import ENGINES, LEASE, NOON, OPTIONAL_PASSING, PASSING, SITE, of_its_own

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Connection

    from tests.damage.rows import Damage
    from tests.reconciler.scene import Failures, Scene

__all__ = ["scene"]

# The short form takes every so many-th damage.
STEP = 11
MADE: dict[str, Failures] = {"FAILED": PASSING, "PARTIAL": OPTIONAL_PASSING, "COMPLETED": {}}
# A text that is no UTF-8 fails the first read of a connection that meets it.
MOST_TRIES = 12


async def patiently(call: Callable[[], Awaitable[object]]) -> object:
    for _ in range(MOST_TRIES):
        try:
            return await call()
        except StoreUnavailable as error:
            if "UTF-8" not in error.message:
                raise
    return await call()


async def with_damages(scene: Scene, state: str, *, step: int) -> dict[str, Damage]:
    """Make a tenant for each damage, and damage it; return those that the database took."""
    source = await scene.stopped("Seed", MADE[state])
    await scene.sql(
        "INSERT INTO findings (id, sweep_id, tenant_id, revision, cause, severity, message, "
        "evidence, verdict, outcome, found_at) SELECT 'f', 's', id, 1, 'STALLED', 'PERSON', 'm', "
        "'{}', 'NOTHING_YET', 'NOTHING', created_at FROM tenants"
    )
    chosen = list(damages(sqlite=scene.database.is_sqlite))[::step]
    wanted = {f"01900000-0000-7000-8000-{number:012d}": each for number, each in enumerate(chosen)}

    def work(connection: Connection) -> dict[str, Damage]:
        taken = {}
        for tenant_id, each in wanted.items():
            clone(connection, source, tenant_id)
            if strike(connection, each, tenant_id):
                taken[tenant_id] = each
        return taken

    return await scene.database.in_transaction(work)


async def all_are_found(scene: Scene, state: str, *, step: int) -> int:
    taken = await with_damages(scene, state, step=step)
    healthy = await scene.stopped("Healthy", of_its_own(1))
    sweeper = scene.sweeper(limit=100_000)

    first = await patiently(sweeper.sweep)
    second = await patiently(sweeper.sweep)

    assert first is not None
    assert second is not None
    assert await scene.state(healthy) is TenantState.IN_PROGRESS
    await every_answer_comes(scene, taken)
    await every_worker_sees_the_healthy(scene, taken, healthy)
    return len(taken)


async def every_answer_comes(scene: Scene, taken: dict[str, Damage]) -> None:
    """Ask for each in all ways; what is raised names the damage."""
    database = scene.database
    queries = Queries(database, engines=ENGINES, now=scene.clock, lease_seconds=LEASE)
    diagnoser = Diagnoser(database, engines=ENGINES, now=scene.clock, lease_seconds=LEASE)
    pages = TenantPages(database)
    there = {row["id"] for row in await scene.sql("SELECT id FROM tenants")}
    fell = []
    for tenant_id in taken.keys() & there:
        calls: list[Callable[[], Awaitable[object]]] = [
            partial(queries.status, LOCAL, tenant_id),
            partial(diagnoser.diagnose, LOCAL, tenant_id),
            partial(database.reads.log_page, tenant_id, after=0, limit=100),
            partial(database.reads.findings, limit=100, tenant_id=tenant_id),
        ]
        for call in calls:
            try:
                await patiently(call)
            except Exception as error:  # noqa: BLE001 - all that fell are told at once
                fell.append((taken[tenant_id].what, repr(error)))
    assert not fell
    await patiently(pages.counts)
    await patiently(lambda: pages.page(TenantFilter(), skip=0, limit=10_000))
    await patiently(database.healing.settled)
    await patiently(database.healing.open_herds)


async def every_worker_sees_the_healthy(
    scene: Scene, taken: dict[str, Damage], healthy: str
) -> None:
    asked = DueAsked(
        now=scene.clock(),
        worker_id=WorkerId("me"),
        alone=False,
        sites={SITE},
        driving=(),
        horizon=NOON - NOON,
        limit=10_000,
    )
    reads = scene.database.reads
    due = await reads.due_runs(asked)
    assert healthy in {run.tenant_id for run in due}
    claims = await reads.claims({*taken, healthy}, passed_step="step_2_company")
    assert healthy in claims


async def test_some_damages_of_every_table_hide_nobody_and_lose_nobody(scene: Scene) -> None:
    assert await all_are_found(scene, "FAILED", step=STEP) > 50


@pytest.mark.prove
@pytest.mark.parametrize("state", MADE)
async def test_every_damage_of_every_column_hides_nobody_and_loses_nobody(
    scene: Scene, state: str
) -> None:
    assert await all_are_found(scene, state, step=1) > 500
