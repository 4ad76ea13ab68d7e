"""One tenant for each column and each value that may stand there: nobody is lost, nobody is hidden.

All of them stand in one store, so that what one does to the others is seen too. Tenants in each
state meet each damage: those that stand still, those that move, and those that nobody moves.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from server.commands import OrderTerms
from server.diagnosis import Diagnoser
from server.errors import ProvisionerError, StoreUnavailable
from server.healing import History
from server.model.actor import LOCAL
from server.model.identifiers import WorkerId
from server.model.states import TenantState
from server.model.undo import UndoOptions
from server.queries import Queries
from server.rpc.messages import log_page, tenant_status
from server.store.due import DueAsked
from server.store.retention import Kept, Retention
from server.store.tenant_pages import TenantFilter, TenantPages
from tests.damage.rows import clone, damages, strike
from tests.damage.states import MADE, made
from tests.reconciler.conftest import scene
from tests.reconciler.scene import ENGINES, LEASE, NOON, SITE, of_its_own

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy import Connection

    from tests.damage.rows import Damage
    from tests.reconciler.scene import Scene

__all__ = ["scene"]

T = TypeVar("T")

# The short form takes every so many-th damage of a tenant that failed, and of the other states
# each a part of its own.
STEP = 11
STEP_OF_OTHERS = 97
# A text that is no UTF-8 fails the first read of a connection that meets it.
MOST_TRIES = 40
# Asked and ordered together: the writer takes what waits into one commit.
AT_A_TIME = 32
# Later than all that is kept for a time.
YEARS = timedelta(days=800)
# A worker claims for as many tenants at once as it drives: 32 usually.
MOST_CLAIMS = 500
# What a diagnosis says of a run that goes on by itself.
GOES_ON = frozenset({"WORKER", "NO_WORKER", "STEP_RUNNING"})


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    for _ in range(MOST_TRIES):
        try:
            return await call()
        except StoreUnavailable as error:
            if "UTF-8" not in error.message:
                raise
    return await call()


async def with_damages(scene: Scene, state: str, *, begin: int, step: int) -> dict[str, Damage]:
    """Make a tenant for each damage, and damage it; return those that the database took."""
    source = await made(scene, state)
    await scene.sql(
        "INSERT INTO findings (id, sweep_id, tenant_id, revision, cause, severity, message, "
        "evidence, verdict, outcome, found_at) SELECT 'f', 's', id, 1, 'STALLED', 'PERSON', 'm', "
        "'{}', 'NOTHING_YET', 'NOTHING', created_at FROM tenants"
    )
    chosen = list(damages(sqlite=scene.database.is_sqlite))[begin::step]
    wanted = {f"01900000-0000-7000-8000-{number:012d}": each for number, each in enumerate(chosen)}

    def work(connection: Connection) -> dict[str, Damage]:
        taken = {}
        for tenant_id, each in wanted.items():
            clone(connection, source, tenant_id)
            if strike(connection, each, tenant_id):
                taken[tenant_id] = each
        return taken

    return await scene.database.in_transaction(work)


async def all_are_found(scene: Scene, state: str, *, step: int, begin: int = 0) -> int:
    taken = await with_damages(scene, state, begin=begin, step=step)
    healthy = await scene.stopped("Healthy", of_its_own(1))
    sweeper = scene.sweeper(limit=100_000)

    first = await patiently(sweeper.sweep)
    second = await patiently(sweeper.sweep)

    assert first is not None
    assert second is not None
    assert await scene.state(healthy) is TenantState.IN_PROGRESS
    await every_answer_comes(scene, taken)
    await every_worker_sees_the_healthy(scene, taken, healthy)
    await every_order_is_answered(scene, taken)
    await every_worker_sees_the_healthy(scene, taken, healthy)
    return len(taken)


async def every_answer_comes(scene: Scene, taken: dict[str, Damage]) -> None:
    """Ask for each in all ways; what is raised names the damage."""
    there = {row["id"] for row in await scene.sql("SELECT id FROM tenants")}
    claimed = await patiently(partial(claimable, scene, there))
    queries = Queries(scene.database, engines=ENGINES, now=scene.clock, lease_seconds=LEASE)
    diagnoser = Diagnoser(scene.database, engines=ENGINES, now=scene.clock, lease_seconds=LEASE)
    fell, unnamed = [], []

    async def asked(tenant_id: str) -> None:
        calls: list[Callable[[], Awaitable[object]]] = [
            partial(queries.status, LOCAL, tenant_id),
            partial(scene.database.reads.log_page, tenant_id, after=0, limit=100),
            partial(scene.database.reads.log_tail, tenant_id),
            partial(scene.database.reads.findings, limit=100, tenant_id=tenant_id),
            partial(diagnoser.diagnose, LOCAL, tenant_id),
        ]
        try:
            status, log, *_, diagnosis = [await patiently(call) for call in calls]
            as_sent(status, log)
        except Exception as error:  # noqa: BLE001 - all that fell are told at once
            fell.append((taken[tenant_id].what, repr(error)))
            return
        if is_silent(diagnosis) and tenant_id not in claimed:
            unnamed.append((taken[tenant_id].what, diagnosis))

    await some_at_a_time(asked, sorted(taken.keys() & there))
    assert not fell
    assert not unnamed
    await all_together_are_told(scene, there)


def as_sent(status: Any, log: Any) -> None:  # Any: of a list of answers
    tenant_status(status)
    if log:
        log_page(log)


async def all_together_are_told(scene: Scene, there: set[str]) -> None:
    """Ask what is asked of all at once: one of them may not hide the others."""
    database, pages = scene.database, TenantPages(scene.database)
    await patiently(pages.counts)
    await patiently(lambda: pages.page(TenantFilter(), skip=0, limit=10_000))
    await patiently(database.healing.settled)
    await patiently(database.healing.open_herds)
    ends = await patiently(partial(database.reads.log_ends, list(there)))
    assert {type(each[0]) for each in ends.values()} == {int}
    history = History(database, now=scene.clock)
    await patiently(partial(history.findings, LOCAL, page_size=1000, include_members=True))
    await patiently(partial(history.report, LOCAL))
    await patiently(partial(database.site_loads, {SITE}))
    await patiently(database.history.step_times)
    await patiently(partial(database.history.waiting, {"step_2_company"}))
    retention = Retention(database, Kept(), now=lambda: scene.clock() + YEARS, pause_seconds=0.0)
    await patiently(retention.round)


def is_silent(found: Any) -> bool:  # Any: of a list of answers
    """Tell whether a diagnosis says that the run is queued and goes on by itself."""
    codes = {each.code for each in found.causes}
    return bool(codes) and codes <= GOES_ON


async def claimable(scene: Scene, tenant_ids: set[str]) -> set[str]:
    """Return the tenants whose last run a worker may claim now."""
    due = {(run.run_id, run.tenant_id) for run in await scene.database.reads.due_runs(_ASKED)}
    found, asked = set(), sorted(tenant_ids)
    for first in range(0, len(asked), MOST_CLAIMS):
        some = asked[first : first + MOST_CLAIMS]
        claims = await scene.database.reads.claims(some, passed_step="step_2_company")
        found |= {
            tenant_id
            for tenant_id, claim in claims.items()
            if claim.record.run is not None and (claim.record.run.id, tenant_id) in due
        }
    return found


_ASKED = DueAsked(
    now=NOON,
    worker_id=WorkerId("me"),
    alone=False,
    sites={SITE},
    driving=(),
    horizon=NOON - NOON,
    limit=10_000,
)


async def every_worker_sees_the_healthy(
    scene: Scene, taken: dict[str, Damage], healthy: str
) -> None:
    assert healthy in await patiently(partial(claimable, scene, {*taken, healthy}))


async def every_order_is_answered(scene: Scene, taken: dict[str, Damage]) -> None:
    """Give each order to each; it is carried out, or refused with words for a person."""
    commands, terms, fell = scene.commands, OrderTerms(reason="a look at what is left"), []

    async def ordered(tenant_id: str) -> None:
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "skip": lambda: commands.skip_step(
                LOCAL, tenant_id, terms, step_key="step_9_pos_session"
            ),
            "release": lambda: commands.release(LOCAL, tenant_id, terms),
            "continue": lambda: commands.continue_(LOCAL, tenant_id, terms),
            "cancel": lambda: commands.cancel(LOCAL, tenant_id, terms),
            "retry": lambda: commands.retry(LOCAL, tenant_id, terms),
            "cancel again": lambda: commands.cancel(LOCAL, tenant_id, terms),
            "deprovision": lambda: commands.deprovision(
                LOCAL, tenant_id, terms, options=UndoOptions()
            ),
        }
        for name, call in calls.items():
            try:
                await patiently(call)
            except ProvisionerError as error:
                # It may be away for a moment, or says what to correct.
                if isinstance(error, StoreUnavailable) and "A damaged row" not in error.message:
                    fell.append((taken[tenant_id].what, name, error.message))
            except Exception as error:  # noqa: BLE001 - all that fell are told at once
                fell.append((taken[tenant_id].what, name, repr(error)))

    await some_at_a_time(ordered, sorted(taken))
    assert not fell


async def some_at_a_time(work: Callable[[str], Awaitable[None]], tenant_ids: Sequence[str]) -> None:
    for first in range(0, len(tenant_ids), AT_A_TIME):
        await asyncio.gather(*map(work, tenant_ids[first : first + AT_A_TIME]))


async def test_some_damages_of_every_table_hide_nobody_and_lose_nobody(scene: Scene) -> None:
    assert await all_are_found(scene, "FAILED", step=STEP) > 50


@pytest.mark.parametrize("state", [state for state in MADE if state != "FAILED"])
async def test_some_damages_of_tenants_in_other_states_hide_nobody_and_lose_nobody(
    scene: Scene, state: str
) -> None:
    begin = list(MADE).index(state) * STEP
    assert await all_are_found(scene, state, begin=begin, step=STEP_OF_OTHERS) > 4


@pytest.mark.prove
@pytest.mark.parametrize("state", MADE)
async def test_every_damage_of_every_column_hides_nobody_and_loses_nobody(
    scene: Scene, state: str
) -> None:
    assert await all_are_found(scene, state, step=1) > 500
