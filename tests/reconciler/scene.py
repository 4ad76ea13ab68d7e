"""A store with tenants in every shape, made by orders and then damaged by SQL."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text

from reconciler.sweep import Sweeper
from server.commands import Commands, EngineEntry, OrderTerms
from server.model.actor import LOCAL
from server.model.blueprint import ERPNEXT, blueprint_of
from server.model.derive import derive
from server.model.identifiers import WorkerId
from server.model.states import (
    DONE_STEP_STATES,
    ErrorClass,
    GateState,
    RunState,
    StepState,
    TenantState,
)
from server.store.columns import UtcTime
from server.store.database import Database
from server.store.operations import (
    GateOperation,
    Healing,
    RunRow,
    TenantOperation,
    WorkerOperation,
)
from server.store.postgres import COMMITS
from server.validation import RawSpec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from sqlalchemy import URL, Connection

    from server.model.identifiers import TenantId
    from server.model.records import Record, Step

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
URL_OF_SITE = "http://site"
# As the engines file makes it.
SITE = f"{URL_OF_SITE} host=site"
LEASE = 10.0
ENGINES = {"main": EngineEntry(site=SITE, blueprint=ERPNEXT)}

# Step key -> error class and code.
Failures = dict[str, tuple[ErrorClass | None, str]]
OPTIONAL_PASSING: Failures = {"step_9_pos_session": (ErrorClass.TRANSIENT, "ENGINE_NO_ANSWER")}
PASSING: Failures = {"step_4_warehouses": (ErrorClass.RACE, "ENGINE_DEADLOCK")}
PERMANENT: Failures = {"step_4_warehouses": (ErrorClass.PERMANENT, "ENGINE_REFUSED")}


def of_its_own(number: int) -> Failures:
    """A passing error that no other tenant has: no herd, each is driven on by itself."""
    return {"step_4_warehouses": (ErrorClass.RACE, f"ENGINE_DEADLOCK_{number}")}


# What PostgreSQL tells by its own clock.
_SHARED_TIMES = {"workers": ("heartbeat_at",), "engines": ("slot_expires_at", "gate_since")}
# How a writer on PostgreSQL counts its transactions, those that changed no row too.
_COUNTED = f"name LIKE '{COMMITS}%'"
# Each with what of it is read.
TABLES = dict.fromkeys(
    (
        "tenants",
        "bindings",
        "runs",
        "steps",
        "attempts",
        "resources",
        "log_entries",
        "workers",
        "engines",
        "requests",
        "sweeps",
        "findings",
        "herds",
        "quotas",
        "outbox",
    ),
    "",
) | {"quotas": f"WHERE NOT {_COUNTED}"}


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time

    def forward(self, **span: float) -> None:
        self.time += timedelta(**span)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A store, its orders, and a clock."""

    database: Database
    commands: Commands
    clock: Clock

    def sweeper(self, **options: Any) -> Sweeper:  # Any: the keyword arguments of Sweeper
        given: dict[str, Any] = {"engines": ENGINES, "now": self.clock, "lease_seconds": LEASE}
        return Sweeper(self.database, self.commands, **(given | options))

    async def start(self, name: str = "Kijani Stores") -> TenantId:
        return await self.commands.start(LOCAL, RawSpec(company_name=name))

    async def stopped(self, name: str, failures: Failures) -> TenantId:
        tenant_id = await self.start(name)
        await self.end_run(tenant_id, failures)
        return tenant_id

    async def completed(self, name: str) -> TenantId:
        return await self.stopped(name, {})

    async def end_run(self, tenant_id: TenantId, failures: Failures | None = None) -> None:
        """End the open run as an executor would: what is not named is done."""
        record = await self.record(tenant_id)
        assert record.run is not None
        steps = tuple(self._ended(step, failures or {}) for step in record.steps)
        undone = [step for step in steps if step.state not in DONE_STEP_STATES]
        state = RunState.COMPLETED
        if undone:
            required = any(step.required for step in undone)
            state = RunState.FAILED if required else RunState.PARTIAL
        run = replace(record.run, state=state, finished_at=self.clock(), worker_id=None)
        done = state is RunState.COMPLETED
        outcome = await self.database.submit(
            TenantOperation(
                tenant_id=tenant_id,
                at=self.clock(),
                token=record.tenant.fencing_token,
                standing=derive(
                    stored=None,
                    run=run,
                    steps=steps,
                    step_types=blueprint_of(record.run, ERPNEXT).steps_for(record.tenant.spec),
                    at=self.clock(),
                ),
                healing=Healing(count=0, at=None) if done else None,
                completed_at=self.clock() if done else None,
                runs=(RunRow(run=run, site=SITE),),
                steps=steps,
            )
        )
        assert outcome.applied

    def _ended(self, step: Step, failures: Failures) -> Step:
        if step.key not in failures:
            return replace(step, state=StepState.COMPLETED, completed_at=self.clock())
        error_class, code = failures[step.key]
        return replace(
            step,
            state=StepState.FAILED,
            error_class=error_class,
            error_code=code,
            error_message=f"{code} was met.",
            error_at=self.clock(),
        )

    async def lose_steps(self, tenant_id: str) -> None:
        """The seed's case: PARTIAL, 0 of 10 steps."""
        await self.sql("DELETE FROM steps WHERE tenant_id = :id", id=tenant_id)
        await self.sql("UPDATE tenants SET state = 'PARTIAL' WHERE id = :id", id=tenant_id)

    async def gate(self, state: GateState) -> None:
        at = await self.shared_now()
        await self.database.submit(GateOperation(site=SITE, at=at, gate=state))

    async def beat(self, worker_id: str) -> None:
        await self.database.submit(
            WorkerOperation(worker_id=WorkerId(worker_id), at=self.clock(), lease_seconds=LEASE)
        )

    async def continue_(self, tenant_id: str) -> None:
        await self.commands.continue_(LOCAL, tenant_id, OrderTerms())

    async def record(self, tenant_id: str) -> Record:
        return (await self.database.reads.records([tenant_id]))[0]

    async def shared_now(self) -> datetime:
        """The time of the clock that leases, slots and gates are told by."""
        if self.database.is_sqlite:
            return self.clock()
        told: datetime = (await self.sql("SELECT clock_timestamp() AS now"))[0]["now"]
        return told

    async def forward(self, **span: float) -> None:
        """Let time pass for leases, slots and gates too.

        PostgreSQL tells theirs by its own clock, which nobody sets by hand: there what they
        go by is put back instead.
        """
        self.clock.forward(**span)
        if self.database.is_sqlite:
            return
        for table, columns in _SHARED_TIMES.items():
            back = ", ".join(f"{name} = {name} - CAST(:span AS interval)" for name in columns)
            await self.sql(f"UPDATE {table} SET {back}", span=timedelta(**span))  # noqa: S608 - our own names

    async def sql(self, statement: str, **values: object) -> list[Mapping[str, Any]]:
        """Run SQL as an operator would, behind our code's back."""
        prepared = text(statement).bindparams(
            *(
                bindparam(name, type_=UtcTime)
                for name, value in values.items()
                if isinstance(value, datetime)
            )
        )

        def run(connection: Connection) -> list[Mapping[str, Any]]:
            result = connection.execute(prepared, values)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

        return await self.database.in_transaction(run)

    async def everything(self) -> dict[str, list[Mapping[str, Any]]]:
        """All rows of all tables; on PostgreSQL with who wrote them, be it with the same values."""
        columns = "*" if self.database.is_sqlite else "*, CAST(xmin AS text) AS written_by"

        def read(connection: Connection) -> dict[str, list[Mapping[str, Any]]]:
            return {
                table: [
                    dict(row)
                    for row in connection.execute(
                        text(f"SELECT {columns} FROM {table} {where} ORDER BY 1, 2")  # noqa: S608 - our own names
                    ).mappings()
                ]
                for table, where in TABLES.items()
            }

        return await self.database.in_transaction(read)

    async def writes(self) -> list[Any]:  # Any: what SQLite counts by
        """What moves with each write; on PostgreSQL `everything` tells it."""
        if not self.database.is_sqlite:
            return []
        # The first counts what our own connection wrote, the second sees every other one.
        return [
            await self.sql(query) for query in ("SELECT total_changes()", "PRAGMA data_version")
        ]

    async def runs(self, tenant_id: str) -> list[Mapping[str, Any]]:
        """All runs of a tenant; the last one is his now, though the clock has stood still."""
        return await self.sql(
            "SELECT * FROM runs WHERE tenant_id = :id "
            "ORDER BY created_at, id IN (SELECT run_id FROM tenants), id",
            id=tenant_id,
        )

    async def state(self, tenant_id: str) -> TenantState | None:
        return (await self.record(tenant_id)).tenant.state

    async def findings(self, tenant_id: str) -> list[dict[str, Any]]:
        return await self.database.reads.findings(limit=100, tenant_id=tenant_id)


async def herd(scene: Scene, failures: Failures = PASSING, *, size: int = 5) -> list[TenantId]:
    """Give tenants that all stopped at one error, at the same moment."""
    return await asyncio.gather(
        *(scene.stopped(f"Shop {number}", failures) for number in range(size))
    )


async def moving(scene: Scene, ids: list[TenantId]) -> list[TenantId]:
    """Return those of some tenants that are under way."""
    records = await scene.database.reads.records(ids)
    return [each.tenant.id for each in records if each.tenant.state is TenantState.IN_PROGRESS]


@asynccontextmanager
async def open_scene(url: URL | str) -> AsyncIterator[Scene]:
    """Give a scene on an empty store."""
    clock = Clock()
    database = await Database.open(url)
    commands = Commands(database, engines=ENGINES, default_engine="main", now=clock)
    yield Scene(database=database, commands=commands, clock=clock)
    await database.close()
