"""Proves that the reconciler heals: plants a stuck tenant of each curable kind, and watches.

All of it happens in a throw-away database, on an engine whose steps do nothing, so it can be run
beside a live service at any time. It shows that this version on this machine notices, judges and
drives on, and how fast; it says nothing about the engines.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.sweep import Sweeper
from server.commands import Commands, EngineEntry
from server.diagnosis import Diagnoser
from server.executor.executor import Executor, ExecutorOptions
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.model.budget import Pacing
from server.model.states import GateState, TenantState
from server.noop import NoopEngine
from server.store.database import Database
from server.store.operations import GateOperation
from server.validation import RawSpec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy import Connection

    from server.model.identifiers import TenantId

_ENGINE = "selftest"
_LEASE_SECONDS = 1.0
_SWEEP_SECONDS = 0.1
_LOOK_SECONDS = 0.01
_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One kind of stuck tenant, and what became of those that were planted.

    Attributes:
        kind: What was planted.
        diagnosis: The most likely cause before anything was done; "" if none was named.
        healed: Whether all of them reached COMPLETED, unaided.
        seconds_to_notice: Seconds until a sweep found it; None if none did, or none had to.
        seconds_to_heal: Seconds until all of them were COMPLETED; None if they never were.
    """

    kind: str
    tenants: int
    diagnosis: str
    healed: bool
    seconds_to_notice: float | None
    seconds_to_heal: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SelftestReport:
    """What a selftest showed."""

    trials: tuple[Trial, ...]

    @property
    def passed(self) -> bool:
        """Whether every kind was healed."""
        return all(trial.healed for trial in self.trials)


async def selftest(*, patience_seconds: float = _PATIENCE_SECONDS) -> SelftestReport:
    """Plant stuck tenants of each curable kind, one kind after the other, and watch.

    Args:
        patience_seconds: The longest to wait for one kind.

    Returns:
        A trial of each kind; one that was not healed in time is no error.
    """
    async with AsyncExitStack() as stack:
        bench = await _Bench.open(stack)
        trials = [await bench.try_(kind, plant, patience_seconds) for kind, plant in _KINDS.items()]
    return SelftestReport(trials=tuple(trials))


@dataclass
class _Bench:
    """A throwaway service: store, orders, worker and sweeper."""

    database: Database
    engine: NoopEngine
    commands: Commands
    entries: dict[str, EngineEntry]
    worker: Executor | None = None
    made: int = 0

    @classmethod
    async def open(cls, stack: AsyncExitStack) -> _Bench:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="provisioner-selftest-"))
        database = await Database.open(f"sqlite+aiosqlite:///{Path(folder) / 'selftest.db'}")
        stack.push_async_callback(database.close)
        engine = NoopEngine(_ENGINE)
        await database.register_engines(
            [GateOperation(site=engine.site, at=_now(), gate=GateState.UP)]
        )
        entries = {_ENGINE: EngineEntry(site=engine.site, blueprint=NOOP)}
        commands = Commands(database, engines=entries, default_engine=_ENGINE, now=_now)
        bench = cls(database, engine, commands, entries)
        await bench.open_worker()
        stack.push_async_callback(bench.close_worker)
        return bench

    async def open_worker(self) -> None:
        self.worker = Executor(
            self.database,
            {_ENGINE: self.engine},
            now=_now,
            options=ExecutorOptions(lease_seconds=_LEASE_SECONDS, pacing=Pacing()),
        )
        await self.worker.start()

    async def close_worker(self) -> None:
        worker, self.worker = self.worker, None
        if worker is not None:
            await worker.stop()

    async def order(self) -> TenantId:
        self.made += 1
        return await self.commands.start(LOCAL, RawSpec(company_name=f"Selftest {self.made}"))

    async def completed(self) -> TenantId:
        tenant_id = await self.order()
        ends = time.monotonic() + _PATIENCE_SECONDS
        while not await self.done([tenant_id]) and time.monotonic() < ends:  # noqa: ASYNC110 - rows tell
            await asyncio.sleep(_LOOK_SECONDS)
        return tenant_id

    async def done(self, ids: Sequence[TenantId]) -> bool:
        """Tell whether tenants are COMPLETED, both as stored and as derived from their rows."""
        records = await self.database.reads.records(ids)
        return all(
            record.tenant.state is TenantState.COMPLETED
            and record.run is not None
            and record.run.state is not None
            and record.run.state.value == "COMPLETED"
            and len(record.steps) == len(NOOP.steps)
            for record in records
        )

    async def damage(self, tenant_id: TenantId, *statements: str) -> None:
        """Change rows behind the back of our code, as a person with SQL might."""

        def run(connection: Connection) -> None:
            for statement in statements:
                connection.exec_driver_sql(statement, (tenant_id,))

        await self.database.in_transaction(run)

    def sweeper(self) -> Sweeper:
        return Sweeper(
            self.database,
            self.commands,
            engines=self.entries,
            now=_now,
            lease_seconds=_LEASE_SECONDS,
        )

    async def diagnose(self, tenant_id: TenantId) -> str:
        found = await Diagnoser(
            self.database, engines=self.entries, now=_now, lease_seconds=_LEASE_SECONDS
        ).diagnose(LOCAL, tenant_id, ask_engine=False)
        return found.causes[0].code if found.causes else ""

    async def try_(
        self,
        kind: str,
        plant: Callable[[_Bench], Awaitable[list[TenantId]]],
        patience_seconds: float,
    ) -> Trial:
        """Plant one kind, sweep until it is healed, and return how long that took."""
        ids = await plant(self)
        diagnosis = await self.diagnose(ids[0])
        if self.worker is None:
            await self.open_worker()
        planted, noticed, healed = time.monotonic(), None, None
        sweeper = self.sweeper()
        while time.monotonic() - planted < patience_seconds:
            report = await sweeper.sweep()
            if noticed is None and any(found.tenant_id in ids for found in report.findings):
                noticed = time.monotonic() - planted
            if await self.done(ids):
                healed = time.monotonic() - planted
                break
            await asyncio.sleep(_SWEEP_SECONDS)
        return Trial(
            kind=kind,
            tenants=len(ids),
            diagnosis=diagnosis,
            healed=healed is not None,
            seconds_to_notice=None if noticed is None else round(noticed, 3),
            seconds_to_heal=None if healed is None else round(healed, 3),
        )


_PARTIAL = (
    "UPDATE runs SET state = 'PARTIAL' WHERE tenant_id = ?",
    "UPDATE tenants SET state = 'PARTIAL' WHERE id = ?",
)
_FAILED = (
    "UPDATE runs SET state = 'FAILED' WHERE tenant_id = ?",
    "UPDATE tenants SET state = 'FAILED' WHERE id = ?",
)
_PASSING = (
    "UPDATE steps SET state = 'FAILED', error_class = 'TRANSIENT', error_code = "
    "'ENGINE_NO_ANSWER', error_message = 'No answer came in time.' "
    "WHERE tenant_id = ? AND position = 7"
)


async def _record_lost(bench: _Bench) -> list[TenantId]:
    tenant_id = await bench.completed()
    await bench.damage(tenant_id, "DELETE FROM steps WHERE tenant_id = ?", *_PARTIAL)
    return [tenant_id]


async def _run_lost(bench: _Bench) -> list[TenantId]:
    tenant_id = await bench.completed()
    await bench.damage(
        tenant_id,
        "DELETE FROM steps WHERE tenant_id = ?",
        "DELETE FROM runs WHERE tenant_id = ?",
        "UPDATE tenants SET state = 'PENDING' WHERE id = ?",
    )
    return [tenant_id]


async def _wrong_word(bench: _Bench) -> list[TenantId]:
    tenant_id = await bench.completed()
    await bench.damage(tenant_id, "UPDATE tenants SET state = 'NOT_PROVISIONED' WHERE id = ?")
    return [tenant_id]


async def _passing_error(bench: _Bench) -> list[TenantId]:
    tenant_id = await bench.completed()
    await bench.damage(tenant_id, _PASSING, *_FAILED)
    return [tenant_id]


async def _step_not_done(bench: _Bench) -> list[TenantId]:
    tenant_id = await bench.completed()
    await bench.damage(
        tenant_id,
        "UPDATE steps SET state = 'PENDING' WHERE tenant_id = ? AND position = 9",
        *_FAILED,
    )
    return [tenant_id]


async def _worker_died(bench: _Bench) -> list[TenantId]:
    await bench.close_worker()
    tenant_id = await bench.order()
    await bench.damage(
        tenant_id,
        "UPDATE runs SET state = 'RUNNING', worker_id = 'one-that-died' WHERE tenant_id = ?",
    )
    return [tenant_id]


async def _open_without_steps(bench: _Bench) -> list[TenantId]:
    await bench.close_worker()
    tenant_id = await bench.order()
    await bench.damage(tenant_id, "DELETE FROM steps WHERE tenant_id = ?")
    return [tenant_id]


async def _herd(bench: _Bench) -> list[TenantId]:
    ids = [await bench.completed() for _ in range(4)]
    for tenant_id in ids:
        await bench.damage(tenant_id, _PASSING.replace("7", "5"), *_FAILED)
    return ids


_KINDS: dict[str, Callable[[_Bench], Awaitable[list[TenantId]]]] = {
    "record lost (PARTIAL, 0 of 10 steps)": _record_lost,
    "run lost": _run_lost,
    "stored word differs": _wrong_word,
    "stopped at a passing error": _passing_error,
    "closed without a reason": _step_not_done,
    "worker died": _worker_died,
    "open run without steps": _open_without_steps,
    "many at one error": _herd,
}


def _now() -> datetime:
    return datetime.now(UTC)


def as_facts(report: SelftestReport) -> dict[str, Any]:
    """Return what `selftest --json` prints."""
    return {
        "passed": report.passed,
        "trials": [
            {
                "kind": trial.kind,
                "tenants": trial.tenants,
                "diagnosis": trial.diagnosis,
                "healed": trial.healed,
                "seconds_to_notice": trial.seconds_to_notice,
                "seconds_to_heal": trial.seconds_to_heal,
            }
            for trial in report.trials
        ],
    }


def as_text(report: SelftestReport) -> str:
    """Return what `selftest` prints."""
    lines = [
        f"{'healed' if trial.healed else 'NOT HEALED':<11} {trial.kind:<38} "
        f"{trial.diagnosis or '-':<18} {_seconds(trial.seconds_to_heal)}"
        for trial in report.trials
    ]
    healed = sum(trial.healed for trial in report.trials)
    lines.append(
        f"{healed} of {len(report.trials)} kinds of stuck tenants were healed. Nothing but a "
        "throwaway database was touched."
    )
    return "\n".join(lines)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
