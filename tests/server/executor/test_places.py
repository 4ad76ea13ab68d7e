"""A process's places are shared out among the sites: no site's many runs keep another's waiting."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from server.commands import Commands, EngineEntry
from server.executor.executor import Executor, ExecutorOptions
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.model.states import GateState
from server.noop import NoopEngine, NoopStep
from server.store.database import Database
from server.store.operations import GateOperation
from server.store.reads import Reads
from server.store.tables import RUNS
from server.validation import RawSpec
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    import pytest

    from server.model.identifiers import TenantId
    from server.model.step_context import Found, StepContext
    from server.store.found import DueRun, Gate
    from server.store.operations import Outcome, TenantOperation

PATIENCE_SECONDS = 90.0
PLACES = 4


def now() -> datetime:
    return datetime.now(UTC)


class Places:
    """Two sites with engines that do nothing, and an executor with few places."""

    def __init__(self, database: Database, *, most: int) -> None:
        engines = {name: NoopEngine(name) for name in ("busy", "idle")}
        self.database = database
        self.sites = list(engines)
        self.executor = Executor(database, engines, now=now, options=ExecutorOptions(max_runs=most))
        self._commands = Commands(
            database,
            engines={
                name: EngineEntry(site=each.site, blueprint=NOOP) for name, each in engines.items()
            },
            default_engine="busy",
            now=now,
        )
        self.done: dict[str, asyncio.Event] = {}
        # How many runs were claimed and not ended yet, after each claim and each end.
        self.driven = [0]
        database.on_applied(self._heard)

    def _heard(self, operation: TenantOperation, _outcome: Outcome) -> None:
        ended = operation.completed_at is not None
        self.driven.append(self.driven[-1] + operation.raise_token - ended)
        if ended:
            self.done.setdefault(operation.tenant_id, asyncio.Event()).set()

    async def order(self, name: str, engine: str) -> TenantId:
        return await self._commands.start(LOCAL, RawSpec(company_name=name, engine_id=engine))

    async def completed(self, tenant: TenantId) -> None:
        await self.done.setdefault(tenant, asyncio.Event()).wait()


@contextlib.asynccontextmanager
async def places(folder: Path, *, most: int) -> AsyncIterator[Places]:
    database = await Database.open(await copied_store(folder / "provisioner.db"))
    made = Places(database, most=most)
    try:
        await database.register_engines(
            [GateOperation(site=name, at=now(), gate=GateState.UP) for name in made.sites]
        )
        yield made
    finally:
        await made.executor.stop()
        await database.close()


def held_up(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Semaphore]:
    """Hold up every step until the event is set; the semaphore counts who came to it."""
    may_go, hanging = asyncio.Event(), asyncio.Semaphore(0)
    apply = NoopStep.apply

    async def hang(step: NoopStep, context: StepContext, found: Found) -> None:
        hanging.release()
        await may_go.wait()
        await apply(step, context, found)

    monkeypatch.setattr(NoopStep, "apply", hang)
    return may_go, hanging


async def test_a_place_that_is_free_goes_to_the_site_that_has_fewest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though those of the other site were ordered first."""
    may_go, hanging = asyncio.Semaphore(0), asyncio.Semaphore(0)
    apply = NoopStep.apply

    async def hang(step: NoopStep, context: StepContext, found: Found) -> None:
        if context.spec.engine_id == "busy" and step.key == NOOP.steps[0].key:
            hanging.release()
            await may_go.acquire()
        await apply(step, context, found)

    monkeypatch.setattr(NoopStep, "apply", hang)
    async with places(tmp_path, most=PLACES) as shop, asyncio.timeout(PATIENCE_SECONDS):
        for number in range(3 * PLACES):
            await shop.order(f"Busy {number}", "busy")
        await shop.executor.start()
        try:
            # Nobody else has work: all places are theirs.
            for _ in range(PLACES):
                await hanging.acquire()
            late = await shop.order("Idle", "idle")
            may_go.release()
            await shop.completed(late)
            # One of theirs was let go, and may have ended too.
            assert len([event for event in shop.done.values() if event.is_set()]) <= 1 + 1
        finally:
            for _ in range(3 * PLACES):
                may_go.release()


async def test_no_more_are_driven_than_there_are_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though no site has more than its share, and all are heard of at once."""
    may_go, hanging = held_up(monkeypatch)
    async with places(tmp_path, most=5) as shop, asyncio.timeout(PATIENCE_SECONDS):
        await shop.executor.start()
        tenants = []
        # The first is perhaps found before it is heard of; after the second all are taken.
        for order in (("First", "busy"), ("Second", "idle")):
            tenants.append(await shop.order(*order))
            await hanging.acquire()
        later = [("Third", "busy"), ("Fourth", "busy"), ("Fifth", "idle"), ("Sixth", "idle")]
        tenants += await asyncio.gather(*(shop.order(*each) for each in later))
        for _ in range(3):
            await hanging.acquire()
        may_go.set()
        for tenant in tenants:
            await shop.completed(tenant)
    assert max(shop.driven) == 5


async def test_a_run_that_was_found_before_it_was_heard_of_takes_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go, hanging = held_up(monkeypatch)
    looks = asyncio.Semaphore(0)
    untold: list[Callable[[], None]] | None = []
    async with places(tmp_path, most=1) as shop, asyncio.timeout(PATIENCE_SECONDS):
        on_applied, gates = shop.database.on_applied, shop.database.reads.gates

        def on_applied_late(watcher: Callable[[TenantOperation, Outcome], None]) -> None:
            def heard(operation: TenantOperation, outcome: Outcome) -> None:
                if untold is None:
                    watcher(operation, outcome)
                else:
                    untold.append(partial(watcher, operation, outcome))

            on_applied(heard)

        async def noted() -> dict[str, Gate]:
            looks.release()
            return await gates()

        monkeypatch.setattr(shop.database, "on_applied", on_applied_late)
        await shop.executor.start()
        first = await shop.order("First", "busy")
        await hanging.acquire()
        late, untold = untold, None
        assert late
        for tell in late:
            tell()
        monkeypatch.setattr(shop.database.reads, "gates", noted)
        second = await shop.order("Second", "busy")
        # Each look for work begins with the gates.
        for _ in range(3):
            await looks.acquire()
        may_go.set()
        await shop.completed(first)
        await shop.completed(second)
    assert max(shop.driven) == 1


async def test_only_a_site_that_has_a_line_is_asked_who_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice a second each worker looks who stands in line; of fifty sites nearly none has one."""
    asked: list[str] = []
    slot_line = Reads.slot_line

    async def noted(own: Reads, site: str, **options: Any) -> list[DueRun]:
        asked.append(site)
        return await slot_line(own, site, **options)

    monkeypatch.setattr(Reads, "slot_line", noted)
    async with places(tmp_path, most=PLACES) as made, asyncio.timeout(PATIENCE_SECONDS):
        tenant = await made.order("In line", "idle")
        stands = update(RUNS).values(state="WAITING", waiting_code="SITE_SLOT")
        await made.database.in_transaction(lambda connection: connection.execute(stands))
        await made.executor.start()
        await made.completed(tenant)
    assert set(asked) == {"idle"}
