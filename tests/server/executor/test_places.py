"""A process's places are shared out among the sites: no site's many runs keep another's waiting."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from server.commands import Commands, EngineEntry
from server.executor.executor import Executor, ExecutorOptions
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.model.states import GateState
from server.noop import NoopEngine, NoopStep
from server.store.database import Database
from server.store.operations import GateOperation
from server.validation import RawSpec

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from server.model.step_context import Found, StepContext
    from server.store.operations import Outcome, TenantOperation

PATIENCE_SECONDS = 90.0
PLACES = 4


def now() -> datetime:
    return datetime.now(UTC)


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
    done: dict[str, asyncio.Event] = {}

    def heard(operation: TenantOperation, _outcome: Outcome) -> None:
        if operation.completed_at is not None:
            done.setdefault(operation.tenant_id, asyncio.Event()).set()

    engines = {name: NoopEngine(name) for name in ("busy", "idle")}
    database = await Database.open(f"sqlite+aiosqlite:///{tmp_path}/provisioner.db")
    executor = Executor(database, engines, now=now, options=ExecutorOptions(max_runs=PLACES))
    commands = Commands(
        database,
        engines={
            name: EngineEntry(site=each.site, blueprint=NOOP) for name, each in engines.items()
        },
        default_engine="busy",
        now=now,
    )
    database.on_applied(heard)
    try:
        await database.register_engines(
            [GateOperation(site=name, at=now(), gate=GateState.UP) for name in engines]
        )
        for number in range(3 * PLACES):
            await commands.start(LOCAL, RawSpec(company_name=f"Busy {number}", engine_id="busy"))
        await executor.start()
        async with asyncio.timeout(PATIENCE_SECONDS):
            # Nobody else has work: all places are theirs.
            for _ in range(PLACES):
                await hanging.acquire()
            late = await commands.start(LOCAL, RawSpec(company_name="Idle", engine_id="idle"))
            may_go.release()
            await done.setdefault(late, asyncio.Event()).wait()
        # One of theirs was let go, and may have ended too.
        assert len([event for event in done.values() if event.is_set()]) <= 1 + 1
    finally:
        for _ in range(3 * PLACES):
            may_go.release()
        await executor.stop()
        await database.close()
