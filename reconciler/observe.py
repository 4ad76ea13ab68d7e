"""Reads through the store what a sweep must look at, and returns observations.

There are two ways in: the unsettled tenants whose `look_at` is due, in pages; and, in each
sweep, a few tenants of any state, in a round by id, so that a stored state that differs from the
rows, or a finished tenant without steps, is found, too. The place in that round is kept only in
memory: a healthy sweep writes nothing.

A row that can't be read becomes an `Unreadable`; the others become observations all the same.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.judge import QUIET_LEASES
from reconciler.observation import FailedStep, LastRun, Observation
from server.errors import StoreUnavailable
from server.executor.clock import CommonClock
from server.model.blueprint import BLUEPRINTS, ERPNEXT, blueprint_of
from server.model.damaged import why_damaged
from server.model.derive import derive
from server.model.elsewhere import why_other_site
from server.model.identifiers import TenantId
from server.model.states import OPEN_RUN_STATES, GateState, RunState, StepState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from datetime import datetime

    from server.commands import EngineEntry
    from server.model.blueprint import Blueprint
    from server.model.records import Record, Run, Step, Worker
    from server.store.database import Database
    from server.store.found import Gate

# A page of records is three queries; a hundred keeps each below a few milliseconds.
PAGE = 100
# Every tenant is looked at once in (tenants / 20) sweeps, whatever its state.
ROUND = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A tenant whose rows could not be read.

    Attributes:
        error: The error's class and words; it may quote what the rows hold.
    """

    tenant_id: TenantId
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scene:
    """What a page's tenants have in common."""

    gates: Mapping[str, Gate]
    workers: Mapping[str, Worker | None]
    now: datetime
    database_back: datetime | None
    servers_alive: bool

    def alive(self, worker_id: str | None) -> bool:
        worker = self.workers.get(worker_id) if worker_id else None
        return worker is not None and worker.is_alive(self.now)


class Observer:
    """Makes the observations of a sweep, page by page."""

    def __init__(
        self,
        database: Database,
        *,
        engines: Mapping[str, EngineEntry],
        now: Callable[[], datetime],
        lease_seconds: float,
    ) -> None:
        """Take what is observed; nothing is read yet.

        Args:
            database: The store.
            engines: The configured engines, by id.
            now: This process's clock; corrected by its difference from the database's.
            lease_seconds: The lease of this installation's workers.
        """
        self._reads = database.reads
        self._pulse = database.pulse
        self._engines = engines
        self._now = CommonClock.of(now)
        self._lease_seconds = lease_seconds
        self._place = ""
        # The workers that were alive last time: a queue only counts while one of them lives.
        self._living: frozenset[str] = frozenset()

    async def pages(self) -> AsyncIterator[list[Observation | Unreadable]]:
        """Yield everything this sweep must look at, each tenant once.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        seen: set[str] = set()
        after, now = None, self._now()
        while marks := await self._reads.unsettled(now, after=after, limit=PAGE):
            after = marks[-1]
            # A tenant that this sweep has just put off for a short time may come up again.
            ids = [mark.id for mark in marks if mark.id not in seen]
            seen.update(ids)
            if ids:
                yield await self._observe(ids)
            if len(marks) < PAGE:
                break
        turn = await self._next_of_round()
        if left := [tenant_id for tenant_id in turn if tenant_id not in seen]:
            yield await self._observe(left)

    async def one(self, tenant_id: str) -> Observation | None:
        """Return the observation of one tenant; None if it does not exist or can't be read.

        Args:
            tenant_id: The tenant, in any state.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        for seen in await self._observe([TenantId(tenant_id)]):
            return None if isinstance(seen, Unreadable) else seen
        return None

    async def _next_of_round(self) -> list[TenantId]:
        ids = await self._reads.next_tenants(after=self._place, limit=ROUND)
        self._place = ids[-1] if len(ids) == ROUND else ""
        return ids

    async def _observe(self, ids: Sequence[TenantId]) -> list[Observation | Unreadable]:
        gates = await self._gates()
        observed: list[Observation | Unreadable] = []
        records = await self._records(ids)
        readable = [record for record in records if not isinstance(record, Unreadable)]
        workers, now = await self._workers(readable), self._now()
        back = self._pulse.seconds_since_back
        shut = any(gate.state is not GateState.UP for gate in gates.values())
        scene = _Scene(
            gates=gates,
            workers=workers,
            now=now,
            database_back=None if back is None else now - timedelta(seconds=back),
            # While the gate is shut, no run points to a worker that was started meanwhile.
            servers_alive=shut and bool(await self._reads.living_workers(now)),
        )
        self._living = frozenset(filter(scene.alive, scene.workers))
        for record in records:
            if isinstance(record, Unreadable):
                observed.append(record)
                continue
            try:
                observed.append(await self._with_deadline(self._one(record, scene), record))
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - one damaged tenant must not hide the others
                observed.append(_unreadable(record.tenant.id, error))
        return observed

    async def _gates(self) -> dict[str, Gate]:
        """Read the gates, and with them the database's time.

        A host whose clock is minutes ahead of the workers' would consider every attempt long
        past its deadline, and call a person for every run under way.
        """
        asked_at = self._now()
        gates = await self._reads.gates()
        told = next((gate.read_at for gate in gates.values() if gate.read_at is not None), None)
        self._now.heard(told, asked_at=asked_at)
        return gates

    async def _records(self, ids: Sequence[TenantId]) -> list[Record | Unreadable]:
        try:
            return list(await self._reads.records(ids))
        except StoreUnavailable:
            raise
        except Exception:  # noqa: BLE001 - whose row it is shows when each is read alone
            return [item for tenant_id in ids for item in await self._alone(tenant_id)]

    async def _alone(self, tenant_id: TenantId) -> list[Record | Unreadable]:
        try:
            return list(await self._reads.records([tenant_id]))
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - becomes a finding of its own
            return [_unreadable(tenant_id, error)]

    async def _workers(self, records: Sequence[Record]) -> dict[str, Worker | None]:
        ids = {
            record.run.worker_id
            for record in records
            if record.run is not None and record.run.worker_id and _is_open(record.run)
        }
        return {worker_id: await self._reads.worker(worker_id) for worker_id in ids | self._living}

    def _one(self, record: Record, scene: _Scene) -> Observation:
        tenant, run = record.tenant, record.run
        entry = self._engines.get(tenant.spec.engine_id)
        blueprint = entry.blueprint if entry else _blueprint_of(run)
        step_types = blueprint_of(run, blueprint).steps_for(tenant.spec)
        gate = scene.gates.get(tenant.site)
        other_site = "" if entry is None else why_other_site(tenant, entry.site)
        return Observation(
            tenant_id=tenant.id,
            revision=tenant.revision,
            stored=tenant.state,
            standing=derive(
                stored=tenant.state,
                run=run,
                steps=record.steps,
                step_types=step_types,
                at=tenant.updated_at,
            ),
            run=None if run is None else _last_run(run, alive=scene.alive(run.worker_id)),
            run_lost=run is None and tenant.run_id is not None,
            failed=tuple(
                _failed(step, blueprint) for step in record.steps if step.state is StepState.FAILED
            ),
            steps_found=len(record.steps),
            steps_expected=len(step_types) if run is None else run.total_steps,
            held=tenant.hold is not None,
            look_at=tenant.look_at,
            heal_count=tenant.heal_count,
            healed_at=tenant.healed_at,
            first_completed_at=tenant.first_completed_at,
            stuck_since=tenant.updated_at,
            engine_configured=entry is not None and not other_site,
            other_site=other_site,
            gate=GateState.UP if gate is None else gate.state,
            gate_since=None if gate is None else gate.since_by(scene.now),
            workers_alive=bool(self._living),
            servers_alive=scene.servers_alive,
            lease_seconds=self._lease_seconds,
            observed_at=scene.now,
            company_name=tenant.spec.company_name,
            abbreviation=next(
                (each for step in record.steps if (each := step.outputs.get("abbreviation", ""))),
                "",
            ),
            hold_by="" if tenant.hold is None else tenant.hold.by,
            hold_reason="" if tenant.hold is None else tenant.hold.reason,
            hold_since=None if tenant.hold is None else tenant.hold.since,
            damage=why_damaged(record, driven=run is not None and scene.alive(run.worker_id)),
            database_back=scene.database_back,
        )

    async def _with_deadline(self, seen: Observation, record: Record) -> Observation:
        """Look up the attempt's deadline, if a living worker has been quiet for a long time."""
        run = seen.run
        if run is None or run.state is not RunState.RUNNING or not run.worker_alive:
            return seen
        quiet = abs(seen.observed_at - seen.stuck_since)
        if quiet <= timedelta(seconds=QUIET_LEASES * self._lease_seconds):
            return seen
        live = await self._reads.live(record.tenant.id)
        if live is None or live.record.tenant.revision != seen.revision:
            return seen
        return replace(seen, run=replace(run, deadline_at=live.deadline_at))


def _unreadable(tenant_id: TenantId, error: Exception) -> Unreadable:
    return Unreadable(tenant_id=tenant_id, error=f"{type(error).__name__}: {error}")


def _is_open(run: Run) -> bool:
    return run.state in OPEN_RUN_STATES


def _blueprint_of(run: Run | None) -> Blueprint:
    """Return the blueprint of a tenant whose engine is not configured here."""
    return ERPNEXT if run is None else BLUEPRINTS.get(run.blueprint, ERPNEXT)


def _last_run(run: Run, *, alive: bool) -> LastRun:
    waiting = run.waiting_for
    return LastRun(
        id=run.id,
        state=run.state,
        order=run.order,
        actor=run.actor,
        finished_at=run.finished_at,
        worker_alive=alive,
        waiting_code=None if waiting is None else waiting.code,
        waiting_until=None if waiting is None else waiting.until,
    )


def _failed(step: Step, blueprint: Blueprint) -> FailedStep:
    kind = blueprint.step(step.key)
    return FailedStep(
        key=step.key,
        error_class=step.error_class,
        code=step.error_code or "",
        last=kind is not None and kind.last,
        message=step.error_message or "",
    )
