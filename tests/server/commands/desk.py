"""Commands and the store behind them, and how tests bring a tenant somewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.commands import Commands, EngineEntry, OrderTerms
from server.model.actor import Actor, Role
from server.model.blueprint import ERPNEXT
from server.model.derive import derive
from server.model.identifiers import WorkerId
from server.model.ownership import Resource
from server.model.records import Hold
from server.model.states import DONE_STEP_STATES, ResourceState, RunState, StepState
from server.model.undo import UndoOptions
from server.store.operations import ResourceRow, RunRow, TenantOperation, WorkerOperation
from server.validation import RawSpec
from tests.server.store.scene import KINDS, NOON, OTHER_SITE, SITE, Scene, later

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from typing import Any

    from server.errors import (
        Refused,
    )
    from server.model.identifiers import TenantId
    from server.model.records import Record, Step


ENGINES = {
    "main": EngineEntry(site=SITE, blueprint=ERPNEXT),
    "other": EngineEntry(site=OTHER_SITE, blueprint=ERPNEXT),
}
JANE = Actor(name="jane", role=Role.OPERATOR)
VIEWER = Actor(name="vic", role=Role.VIEWER)
NAME = "Kijani Stores"
REQUIRED = "step_4_warehouses"
OPTIONAL = "step_9_pos_session"
ALWAYS = {"step_0_engine_check", "step_10_post_sale_updates"}
TERMS = OrderTerms()
WHY = OrderTerms(reason="agreed with the shop")
PLAIN = UndoOptions()
MADE = later(minutes=-30)


@dataclass(slots=True)
class Desk:
    """Commands, and the store behind them."""

    commands: Commands
    scene: Scene

    async def start(
        self, name: str = NAME, *, tenant_id: str = "", request_id: str = ""
    ) -> TenantId:
        return await self.commands.start(
            JANE, RawSpec(company_name=name), tenant_id=tenant_id, request_id=request_id
        )

    async def record(self, tenant_id: str) -> Record:
        record = await self.scene.record(tenant_id)
        if record.run is not None and record.steps:
            assert len(record.steps) == record.run.total_steps  # promise 1
        return record

    async def runs(self, tenant_id: str) -> int:
        (row,) = await self.scene.sql(
            "SELECT count(*) AS n FROM runs WHERE tenant_id = :i", i=tenant_id
        )
        return int(row["n"])

    async def end(self, tenant_id: str, named: Mapping[str, StepState] | None = None) -> None:
        """End the open run as an executor would; steps that are not named are done."""
        record = await self.record(tenant_id)
        assert record.run is not None
        steps = tuple(_ended(step, (named or {}).get(step.key)) for step in record.steps)
        undone = [step for step in steps if step.state not in DONE_STEP_STATES]
        state = RunState.COMPLETED
        if undone:
            failed = any(step.required for step in undone)
            state = RunState.FAILED if failed else RunState.PARTIAL
        run = replace(record.run, state=state, finished_at=NOON)
        standing = derive(stored=None, run=run, steps=steps, step_types=KINDS, at=NOON)
        await self.scene.written(
            TenantOperation(
                tenant_id=record.tenant.id,
                at=NOON,
                token=record.tenant.fencing_token,
                standing=standing,
                runs=(RunRow(run=run, site=record.tenant.site),),
                steps=steps,
                completed_at=NOON if state is RunState.COMPLETED else None,
            )
        )

    async def stopped(self, named: Mapping[str, StepState] | None = None) -> TenantId:
        tenant_id = await self.start()
        await self.end(tenant_id, named)
        return tenant_id

    async def held(self) -> TenantId:
        tenant_id = await self.stopped({REQUIRED: StepState.FAILED})
        hold = Hold(reason="The Company is gone", by="reconciler", since=NOON)
        await self.scene.written(TenantOperation(tenant_id=tenant_id, at=NOON, hold=hold))
        return tenant_id


def _ended(step: Step, named: StepState | None) -> Step:
    if named is None:
        named = StepState.COMPLETED
    failed = named is StepState.FAILED
    return replace(
        step,
        state=named,
        tries=5 if failed else 1,
        error_code="ENGINE_REFUSED" if failed else None,
        error_message="The engine refused it." if failed else None,
        error_at=NOON if failed else None,
        completed_at=MADE if named is StepState.COMPLETED else None,
        outputs={"made": step.key} if named is StepState.COMPLETED else {},
    )


def undone(record: Record) -> set[str]:
    return {step.key for step in record.steps if step.state not in DONE_STEP_STATES}


def by_continue(desk: Desk, tenant_id: str) -> Coroutine[Any, Any, TenantId]:
    return desk.commands.continue_(JANE, tenant_id, TERMS)


def by_retry(desk: Desk, tenant_id: str) -> Coroutine[Any, Any, TenantId]:
    return desk.commands.retry(JANE, tenant_id, TERMS)


async def last_line(desk: Desk, tenant_id: TenantId) -> str:
    log = await desk.scene.database.reads.log_page(tenant_id, after=0, limit=1000)
    return log[-1].message


async def a_resource(
    desk: Desk, tenant_id: TenantId, doctype: str, state: ResourceState, *, shared: bool = False
) -> None:
    record = await desk.record(tenant_id)
    assert record.run is not None
    row = ResourceRow(
        resource=Resource(doctype=doctype, name=f"A {doctype}", state=state, intended_at=NOON),
        shared=shared,
        run_id=record.run.id,
        step_key="step_2_company",
    )
    await desk.scene.written(TenantOperation(tenant_id=tenant_id, at=NOON, resources=(row,)))


async def driven(desk: Desk, tenant_id: TenantId, *, beat: bool) -> None:
    """Have a worker at the tenant's run; alive, or dead for a minute."""
    worker = WorkerId("01900000-0000-7000-8000-00000000aaaa")
    await desk.scene.database.submit(
        WorkerOperation(
            worker_id=worker,
            at=NOON if beat else later(seconds=-60),
            lease_seconds=10.0,
        )
    )
    record = await desk.record(tenant_id)
    assert record.run is not None
    run = replace(record.run, state=RunState.RUNNING, worker_id=worker)
    await desk.scene.written(
        TenantOperation(tenant_id=tenant_id, at=NOON, runs=(RunRow(run=run, site=SITE),))
    )


def next_command(refused: Refused) -> str:
    """Return the command that a refusal names: its last words, and a fact for programs."""
    command = refused.facts["next_command"]
    assert refused.message.endswith(f": {command}")
    return command
