"""After the provisioner's own database was restored: nothing in it is assumed to be current.

Tokens and revisions jump ahead, so that workers, orders and sign-ins from before the restore no
longer match anything. Every open run is replaced by one that probes every step, as after a lost
record; a removal stays a removal, and leaves alone what was made since under a name of ours.
Companies that no tenant is bound to are listed: their tenants were started after the backup was
made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.access.policy import demand_any
from server.commands.audited import audited
from server.commands.deprovisioning import run_options
from server.commands.desk import OrderDesk
from server.commands.opening import run_in_place_of_last
from server.erpnext.companies import CompanyThere, companies_of
from server.errors import EngineError
from server.model.actor import Right
from server.model.blueprint import ERPNEXT
from server.model.identifiers import TenantId
from server.model.naming import fold_name
from server.model.states import (
    OPEN_RUN_STATES,
    AttemptOutcome,
    ErrorClass,
    LogLevel,
    Order,
    RunState,
)
from server.model.undo import UndoOptions, made_since
from server.store import backup
from server.store.operations import LogDraft, RunRow, TenantOperation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from server.model.actor import Actor
    from server.model.records import Attempt, Record
    from server.store.bound import BoundCompany

_REASON = "the provisioner's database was restored from a backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was done after a restore.

    Attributes:
        tenants: How many tenants had their tokens and revisions moved ahead.
        probed: Tenants whose open run was replaced by one that probes everything.
        left: Tenants with an open run whose engine is not configured here.
        unbound: Companies that no tenant is bound to, by engine.
        gone: Companies that tenants at rest had at the backup and that are gone, by engine.
        made_anew: Those that it has again, made after the backup, by engine.
        unasked: Why an engine could not be asked, by engine.
    """

    tenants: int
    probed: tuple[str, ...]
    left: tuple[str, ...]
    unbound: Mapping[str, tuple[CompanyThere, ...]]
    gone: Mapping[str, tuple[BoundCompany, ...]]
    made_anew: Mapping[str, tuple[BoundCompany, ...]]
    unasked: Mapping[str, str]


def _lost(attempt: Attempt, now: datetime) -> Attempt:
    return replace(
        attempt,
        ended_at=now,
        outcome=AttemptOutcome.LOST,
        error_class=ErrorClass.LOST,
        error_code="WORKER_LOST",
        message=f"It was under way at the backup; {_REASON}.",
    )


class Restoring(OrderDesk):
    """Makes a restored database safe to drive from."""

    @audited("AfterRestore", of_all=True)
    async def after_restore(self, actor: Actor) -> Restored:
        """Do what a restored database needs before any worker drives runs from it.

        Raises:
            NotAllowed: the caller may not give this order.
            StoreUnavailable: the database can't be read or written.
        """
        demand_any(actor, Right.ADMINISTER)
        tenants = await self._database.in_transaction(backup.leap)
        probed: list[str] = []
        left: list[str] = []
        for tenant_id in await self._database.in_transaction(backup.with_open_runs):
            done = await self._probe_again(actor, TenantId(tenant_id))
            (probed if done else left).append(tenant_id)
        companies, unasked = await self._companies()
        return Restored(
            tenants=tenants,
            probed=tuple(probed),
            left=tuple(left),
            unbound={engine: each.unbound for engine, each in companies.items()},
            gone={engine: each.gone for engine, each in companies.items()},
            made_anew={engine: each.made_anew for engine, each in companies.items()},
            unasked=unasked,
        )

    async def _probe_again(self, actor: Actor, tenant_id: TenantId) -> bool:
        record = (await self._live(tenant_id)).record
        if record.run is None or record.run.state not in OPEN_RUN_STATES:
            return True  # not the tenant's last run: the executor closes it
        if record.tenant.spec.engine_id not in self._engines:
            return False
        if record.run.cancellation is not None:
            # Whoever drives it looks what became of its last request, and closes it.
            await self._database.submit(self._handed_back(record))
            return True
        under_way = await self._database.reads.attempts(record.run.id)
        if record.run.order is Order.DEPROVISION:
            options = run_options(
                UndoOptions.read(record.run.options),
                record,
                self._now(),
                await self._database.restored_to(),
            )
            operation = self._begun_anew(actor, record, under_way, Order.DEPROVISION, options)
        else:
            operation = self._begun_anew(actor, record, under_way, Order.REBUILD)
        await self._database.submit(operation)
        return True

    def _begun_anew(
        self,
        actor: Actor,
        record: Record,
        attempts: Sequence[Attempt],
        order: Order,
        options: Mapping[str, str] | None = None,
    ) -> TenantOperation:
        now = self._now()
        operation = run_in_place_of_last(
            record,
            order=order,
            entry=self._entry(record),
            actor=actor,
            reason=_REASON,
            now=now,
            options=options,
        )
        lost = tuple(_lost(each, now) for each in attempts if each.outcome is None)
        return replace(operation, attempts=lost)

    def _handed_back(self, record: Record) -> TenantOperation:
        tenant, now = record.tenant, self._now()
        if record.run is None:
            raise ValueError("no run to hand back")
        run = replace(
            record.run, state=RunState.QUEUED, worker_id=None, waiting_for=None, due_at=now
        )
        return TenantOperation(
            tenant_id=tenant.id,
            at=now,
            revision=tenant.revision,
            raise_token=True,
            runs=(RunRow(run=run, site=tenant.site),),
            log=(
                LogDraft(
                    level=LogLevel.WARNING,
                    event="run.handed_back",
                    run_id=run.id,
                    message=f"It was cancelled before the backup, and ends: {_REASON}.",
                ),
            ),
        )

    async def _companies(self) -> tuple[dict[str, _Companies], dict[str, str]]:
        found: dict[str, _Companies] = {}
        unasked: dict[str, str] = {}
        restored_to = await self._database.restored_to()
        for engine_id, adapter in self._adapters.items():
            if adapter.blueprint_name != ERPNEXT.name:
                continue
            try:
                there = await companies_of(adapter.send)
            except EngineError as error:
                unasked[engine_id] = error.message
                continue
            bound = await self._database.bound_companies(adapter.site)
            found[engine_id] = _compared(there, bound, restored_to)
        return found, unasked


@dataclass(frozen=True, slots=True, kw_only=True)
class _Companies:
    unbound: tuple[CompanyThere, ...]
    gone: tuple[BoundCompany, ...]
    made_anew: tuple[BoundCompany, ...]


def _compared(
    there: Sequence[CompanyThere],
    bound: Mapping[str, BoundCompany],
    restored_to: Sequence[datetime],
) -> _Companies:
    """Compare a site's Companies with those of the record."""
    by_name = {fold_name(company.name): company for company in there}

    def is_new(name: str, seen_at: datetime) -> bool:
        made_at = by_name[name].made_utc if name in by_name else None
        return made_since(seen_at, made_at, restored_to)

    seen = {name: each for name, each in sorted(bound.items()) if each.seen_at is not None}
    return _Companies(
        unbound=tuple(each for name, each in by_name.items() if name not in bound),
        gone=tuple(each for name, each in seen.items() if name not in by_name),
        made_anew=tuple(
            each for name, each in seen.items() if each.seen_at and is_new(name, each.seen_at)
        ),
    )
