"""An open store, and operations to write into it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text, update

from server.model.blueprint import ERPNEXT
from server.model.derive import derive
from server.model.identifiers import RunId, TenantId, WorkerId, new_id
from server.model.ownership import Resource
from server.model.records import Run, Step
from server.model.spec import TenantSpec
from server.model.states import (
    GateState,
    LogLevel,
    Order,
    ResourceState,
    RunState,
    StepState,
    TenantState,
)
from server.store import postgres as store_postgres
from server.store.operations import (
    BindingRow,
    GateOperation,
    LogDraft,
    NewTenant,
    ResourceRow,
    RunRow,
    SlotTake,
    TenantOperation,
    WorkerOperation,
)
from server.store.tables import ENGINES, METADATA, RUNS, TENANTS, WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Executable

    from server.model.records import Record
    from server.store.database import Database
    from server.store.operations import Operation, Outcome

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SITE = "http://site"
OTHER_SITE = "http://other"
LEASE = 10.0
KINDS = ERPNEXT.steps_for(
    TenantSpec(company_name="Any", country_code="KE", currency="KES", engine_id="main")
)

Row = dict[str, Any]


def later(**span: float) -> datetime:
    return NOON + timedelta(**span)


def logs(count: int = 1, *, event: str = "test") -> tuple[LogDraft, ...]:
    return tuple(
        LogDraft(level=LogLevel.INFO, event=event, message=f"line {number}")
        for number in range(count)
    )


def run_of(
    tenant_id: TenantId,
    state: RunState = RunState.QUEUED,
    *,
    run_id: str = "",
    due_at: datetime = NOON,
    worker_id: str | None = None,
) -> Run:
    return Run(
        id=RunId(run_id or new_id(NOON)),
        tenant_id=tenant_id,
        order=Order.START,
        blueprint=ERPNEXT.name,
        blueprint_version=ERPNEXT.version,
        state=state,
        total_steps=len(KINDS),
        due_at=due_at,
        worker_id=None if worker_id is None else WorkerId(worker_id),
        token=0,
        actor="local",
        reason="",
        previous_state="PENDING",
        waiting_for=None,
        created_at=NOON,
        started_at=None,
        finished_at=None,
    )


def steps_of(run: Run, state: StepState = StepState.PENDING) -> tuple[Step, ...]:
    return tuple(
        Step(run_id=run.id, key=kind.key, position=at, required=kind.required, state=state)
        for at, kind in enumerate(KINDS)
    )


def creation(
    name: str = "Kijani Stores",
    *,
    tenant_id: str = "",
    site: str = SITE,
    abbreviation: str | None = None,
    log_count: int = 1,
    run: Callable[[TenantId], Run] = run_of,
) -> TenantOperation:
    """What starting a tenant writes: tenant, run, all steps, binding, log."""
    given = TenantId(tenant_id or new_id(NOON))
    opened = run(given)
    steps = steps_of(opened)
    return TenantOperation(
        tenant_id=given,
        at=NOON,
        create=NewTenant(
            spec=TenantSpec(company_name=name, country_code="KE", currency="KES", engine_id="main"),
            site=site,
        ),
        standing=derive(stored=None, run=opened, steps=steps, step_types=KINDS, at=NOON),
        run_id=opened.id,
        runs=(RunRow(run=opened, site=site),),
        steps=steps,
        binding=BindingRow(site=site, company_name=name, abbreviation=abbreviation),
        log=logs(log_count),
    )


def whole_change(record: Record, *, token: int | None, revision: int | None) -> TenantOperation:
    """An operation that would touch every table a tenant has."""
    assert record.run is not None
    run = replace(record.run, state=RunState.RUNNING, worker_id=WorkerId("worker-1"))
    steps = tuple(replace(step, state=StepState.RUNNING) for step in record.steps)
    return TenantOperation(
        tenant_id=record.tenant.id,
        at=later(seconds=5),
        token=token,
        revision=revision,
        standing=derive(stored=None, run=run, steps=steps, step_types=KINDS, at=NOON),
        raise_token=True,
        runs=(RunRow(run=run, site=record.tenant.site),),
        steps=steps,
        binding=BindingRow(
            site=record.tenant.site,
            company_name=record.tenant.spec.company_name,
            abbreviation="KS",
        ),
        resources=(
            ResourceRow(
                resource=Resource(
                    doctype="Company",
                    name=record.tenant.spec.company_name,
                    state=ResourceState.INTENDED,
                    intended_at=NOON,
                ),
                shared=False,
                run_id=run.id,
                step_key="step_2_company",
            ),
        ),
        log=logs(3),
    )


def take(*, site: str = SITE, name: str = "Acme", seconds: float = 60) -> SlotTake:
    return SlotTake(
        site=site,
        doctype="Company",
        name=name,
        seconds=seconds,
    )


@dataclass(slots=True, kw_only=True)
class Scene:
    """A store that counts its transactions."""

    database: Database
    commits: list[int] = field(default_factory=list)
    beats: dict[str, datetime] = field(default_factory=dict)
    # Since when, and for how many seconds, a site's slot was last taken.
    slots: dict[str, tuple[datetime, float]] = field(default_factory=dict)

    async def submit(self, operation: Operation) -> Outcome:
        # A store that never answers shall fail its test, not hang it.
        outcome = await asyncio.wait_for(self.database.submit(operation), 30)
        if outcome.applied and isinstance(operation, TenantOperation):
            slot = operation.slot
            if isinstance(slot, SlotTake):
                self.slots[slot.site] = (operation.at, slot.seconds)
        return outcome

    async def written(self, operation: Operation) -> Outcome:
        outcome = await self.submit(operation)
        assert outcome.applied, outcome
        return outcome

    async def tenant(
        self, name: str = "Kijani Stores", **options: Any
    ) -> TenantId:  # Any: passed on
        operation = creation(name, **options)
        await self.written(operation)
        return operation.tenant_id

    async def record(self, tenant_id: str) -> Record:
        (record,) = await self.database.reads.records([tenant_id])
        return record

    async def gate(self, site: str = SITE, state: GateState = GateState.UP) -> None:
        await self.written(GateOperation(site=site, at=NOON, gate=state))

    async def beat(self, worker_id: str, *, at: datetime = NOON, stopped: bool = False) -> None:
        await self.written(
            WorkerOperation(
                worker_id=WorkerId(worker_id), at=at, lease_seconds=LEASE, stopped=stopped
            )
        )
        self.beats[worker_id] = at

    async def at(self, now: datetime) -> datetime:
        """Make it this time: on PostgreSQL its clock tells a heartbeat's and a slot's age."""
        if not self.database.is_sqlite:
            for site, (taken_at, seconds) in self.slots.items():
                sent_at = func.clock_timestamp() - (now - taken_at)
                expires_at = sent_at + timedelta(seconds=seconds)
                await self.execute(
                    update(ENGINES)
                    .where(ENGINES.c.site == site)
                    .values(slot_sent_at=sent_at, slot_expires_at=expires_at)
                )
            for worker_id, beat_at in self.beats.items():
                await self.execute(
                    update(WORKERS)
                    .where(WORKERS.c.id == worker_id)
                    .values(heartbeat_at=func.clock_timestamp() - (now - beat_at))
                )
        return now

    async def execute(self, statement: Executable) -> Sequence[Mapping[str, Any]]:
        """Run a statement behind our code's back."""

        def work(connection: Connection) -> Sequence[Mapping[str, Any]]:
            result = connection.execute(statement)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

        return await self.database.in_transaction(work)

    async def sql(self, statement: str, **values: object) -> Sequence[Mapping[str, Any]]:
        return await self.execute(text(statement).bindparams(**values))

    async def change_run(self, tenant_id: str, **values: object) -> None:
        await self.execute(update(RUNS).where(RUNS.c.tenant_id == tenant_id).values(**values))

    async def change_tenant(self, tenant_id: str, **values: object) -> None:
        await self.execute(update(TENANTS).where(TENANTS.c.id == tenant_id).values(**values))

    async def everything(self) -> dict[str, list[Row]]:
        """All rows of all tables, but for what is written with refused operations, too.

        That is the audit, and what PostgreSQL's writer counts its transactions by.
        """
        found: dict[str, list[Row]] = {}
        for table in METADATA.sorted_tables:
            if table.name == "audit":
                continue
            rows = await self.execute(select(table))
            found[table.name] = sorted((dict(row) for row in rows), key=str)
        found["quotas"] = [
            row for row in found["quotas"] if not row["name"].startswith(store_postgres.COMMITS)
        ]
        return found

    async def cursors(self, tenant_id: str) -> list[int]:
        page = await self.database.reads.log_page(tenant_id, after=0, limit=100_000)
        return [entry.cursor for entry in page]

    async def state(self, tenant_id: str) -> TenantState | None:
        return (await self.record(tenant_id)).tenant.state
