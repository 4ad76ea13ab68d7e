"""A tenant in any state, as it is read; and the log of one that is really there."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete

from server.commands import EngineEntry
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.model.derive import Standing
from server.model.identifiers import RunId, TenantId, WorkerId
from server.model.records import Hold, Record, Run, Step, Tenant, WaitingFor, Worker
from server.model.spec import TenantSpec
from server.model.states import (
    GateState,
    LogLevel,
    Order,
    RunState,
    StepState,
    TenantState,
    WaitingCode,
)
from server.queries import Queries
from server.store.found import Gate, Live
from server.store.operations import LogDraft, TenantOperation
from server.store.tables import LOG_ENTRIES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from server.store.database import Database


NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
LEASE = 10.0
TENANT = TenantId("01900000-0000-7000-8000-000000000001")
RUN = RunId("01900000-0000-7000-8000-0000000000aa")
WORKER = WorkerId("worker-1")
KINDS = NOOP.steps
ENGINES = {"main": EngineEntry(site="site", blueprint=NOOP)}
SPEC = TenantSpec(company_name="Acme", country_code="KE", currency="KES", engine_id="main")
SLOT_WAIT = WaitingFor(code=WaitingCode.SITE_SLOT, message="Waiting for the site.", until=None)


def before(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def live(
    run_state: RunState | None,
    *,
    step_states: tuple[StepState, ...] = (StepState.PENDING,) * len(KINDS),
    stored: TenantState | None = TenantState.IN_PROGRESS,
    hold: Hold | None = None,
    waiting_for: WaitingFor | None = None,
    due_at: datetime = NOW,
    updated_at: datetime = NOW,
    deadline_at: datetime | None = None,
    heartbeat_at: datetime | None = None,
    stopped_at: datetime | None = None,
    gate: GateState = GateState.UP,
) -> Live:
    """A tenant of the no-op blueprint; a run state of None is a tenant without a run."""
    run = None
    if run_state is not None:
        run = Run(
            id=RUN,
            tenant_id=TENANT,
            order=Order.START,
            blueprint=NOOP.name,
            blueprint_version=1,
            state=run_state,
            total_steps=len(KINDS),
            due_at=due_at,
            worker_id=WORKER if heartbeat_at else None,
            token=1,
            actor="local",
            reason="",
            previous_state="PENDING",
            waiting_for=waiting_for,
            created_at=before(600),
            started_at=before(500),
            finished_at=None,
        )
    steps = tuple(
        Step(
            run_id=RUN,
            key=kind.key,
            position=position,
            required=kind.required,
            state=state,
            error_code="BROKEN" if state is StepState.FAILED else None,
            error_message="It broke." if state is StepState.FAILED else None,
            error_at=NOW if state is StepState.FAILED else None,
        )
        for position, (kind, state) in enumerate(zip(KINDS, step_states, strict=False))
    )
    tenant = Tenant(
        id=TENANT,
        spec=SPEC,
        site="site",
        state=stored,
        run_id=RUN if run else None,
        fencing_token=1,
        log_seq=1,
        revision=1,
        hold=hold,
        look_at=None,
        heal_count=0,
        healed_at=None,
        first_completed_at=None,
        created_at=before(600),
        updated_at=updated_at,
    )
    worker = None
    if heartbeat_at is not None:
        worker = Worker(
            id=WORKER,
            started_at=before(900),
            heartbeat_at=heartbeat_at,
            lease_seconds=LEASE,
            stopped_at=stopped_at,
        )
    site = Gate(
        site="site",
        state=gate,
        code="" if gate is GateState.UP else "SITE_DOWN",
        message="" if gate is GateState.UP else "The site does not answer.",
        since=before(60),
        next_probe_at=None if gate is GateState.UP else after(15),
        slot_tenant_id=None,
        slot_doctype=None,
        slot_name=None,
        slot_sent_at=None,
        slot_expires_at=None,
    )
    record = Record(tenant=tenant, run=run, steps=steps)
    return Live(record=record, gate=site, worker=worker, deadline_at=deadline_at)


def paused(seen: Live, until: datetime) -> Live:
    """A tenant whose site asked to be left alone (the rate limit of one of its tenants)."""
    assert seen.gate is not None
    return replace(seen, gate=replace(seen.gate, paused_until=until))


@asynccontextmanager
async def running(database: Database, poll_seconds: float = 60.0) -> AsyncIterator[Queries]:
    """Queries that poll so seldom that only what this process wrote wakes a follower."""
    queries = Queries(
        database, engines=ENGINES, now=lambda: NOW, lease_seconds=LEASE, poll_seconds=poll_seconds
    )
    await queries.start()
    yield queries
    await queries.stop()


async def write(database: Database, tenant: TenantId, *messages: str) -> None:
    drafts = tuple(LogDraft(level=LogLevel.INFO, message=text, event="test") for text in messages)
    assert (await database.submit(TenantOperation(tenant_id=tenant, at=NOW, log=drafts))).applied


async def come_to_rest(database: Database, tenant: TenantId, *messages: str) -> None:
    operation = TenantOperation(
        tenant_id=tenant,
        at=NOW,
        standing=Standing(
            state=TenantState.COMPLETED,
            current_step="",
            steps_completed=10,
            total_steps=10,
            errors=(),
        ),
        log=tuple(LogDraft(level=LogLevel.INFO, message=m, event="test") for m in messages),
    )
    assert (await database.submit(operation)).applied


async def cursors(queries: Queries, tenant: str, after: int, *, follow: bool = False) -> list[int]:
    async with aclosing(queries.logs(LOCAL, tenant, after, follow=follow)) as pages:
        return [entry.cursor async for page in pages for entry in page]


async def delete_entries(database: Database, *which: int) -> None:
    await database.in_transaction(
        lambda connection: connection.execute(
            delete(LOG_ENTRIES).where(LOG_ENTRIES.c.cursor.in_(which))
        )
    )
