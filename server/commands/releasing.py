"""The order Release: lift a hold, or take a run from a worker that is dead.

It does not drive anything itself: a tenant that is no longer held is moved by the reconciler or
by Continue, and a run that no longer has a worker is taken over by the next one, which probes
before it sends anything.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from server.commands.asked import Asked, OrderTerms, ask, demand_person
from server.commands.audited import audited
from server.commands.desk import OrderDesk, check_revision, refused
from server.model.actor import Right
from server.model.records import reason_told
from server.model.states import LogLevel, RunState
from server.store.operations import LogDraft, RunRow, TenantOperation

if TYPE_CHECKING:
    from datetime import datetime

    from server.model.actor import Actor
    from server.model.identifiers import TenantId
    from server.model.records import Hold
    from server.store.found import Live
    from server.store.operations import RequestOperation

# An attempt ends itself at its deadline; one that is this long past it never will.
_PAST_DEADLINE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """What keeps a tenant from being moved.

    Attributes:
        hold: Its hold, or None.
        worker_id: The worker that its run points to, or "".
        heartbeat_at: When that worker last gave a sign of life; None if never.
        alive: Whether that worker's lease is still valid.
        stuck: Whether its attempt is long past its deadline although the worker is alive.
    """

    hold: Hold | None
    worker_id: str = ""
    heartbeat_at: datetime | None = None
    alive: bool = False
    stuck: bool = False

    @property
    def dead(self) -> bool:
        """Whether the run points to a worker that will not continue it."""
        return bool(self.worker_id) and (not self.alive or self.stuck)


def holder_of(live: Live, now: datetime) -> Holder:
    """Return what keeps a tenant from being moved."""
    run, worker = live.record.run, live.worker
    hold = live.record.tenant.hold
    if run is None or run.state is not RunState.RUNNING or run.worker_id is None:
        return Holder(hold=hold)
    late = live.deadline_at is not None and now > live.deadline_at + _PAST_DEADLINE
    return Holder(
        hold=hold,
        worker_id=run.worker_id,
        heartbeat_at=None if worker is None else worker.last_sign(now),
        alive=worker is not None and worker.is_alive(now),
        stuck=late,
    )


class Releasing(OrderDesk):
    """Removes holds and dead leases."""

    @audited("Release")
    async def release(self, actor: Actor, tenant_id: str, terms: OrderTerms) -> TenantId:
        """Lift a tenant's hold, and take its run from a worker that is dead.

        Raises:
            InvalidInput, NotAllowed, NotFound, RevisionChanged, StoreUnavailable: as for
                `continue_`.
            Refused: its worker is alive and at work, and there is no hold.
        """
        asked = ask(actor, tenant_id, terms, method="Release", body={}, right=Right.OVERRULE)
        demand_person(actor)

        async def judge(live: Live) -> TenantOperation | RequestOperation | None:
            return self._judge_release(asked, live)

        return await self._carry_out(asked, judge)

    async def holder(
        self, actor: Actor, tenant_id: str, *, expected_revision: int | None = None
    ) -> Holder:
        """Return what Release would lift or take away, and from whom; changes nothing.

        Raises:
            InvalidInput, NotAllowed, NotFound, RevisionChanged, StoreUnavailable: as for
                `release`.
        """
        terms = OrderTerms(expected_revision=expected_revision)
        asked = ask(actor, tenant_id, terms, method="Release", body={}, right=Right.OVERRULE)
        live = await self._live(asked.tenant_id)
        check_revision(live.record, terms)
        return holder_of(live, self._now())

    def _judge_release(self, asked: Asked, live: Live) -> TenantOperation | RequestOperation | None:
        record, now = live.record, self._now()
        holder = holder_of(live, now)
        if not holder.dead and holder.hold is None:
            if holder.worker_id:
                raise refused(
                    f"Tenant {asked.tenant_id} is driven by worker {holder.worker_id}, which is "
                    "alive. There is no hold to lift and no dead lease. To stop the run",
                    then=f"provisioner cancel {asked.tenant_id}",
                    code="LEASE_ALIVE",
                )
            return self._remember(asked)
        said = []
        runs: tuple[RunRow, ...] = ()
        if holder.hold is not None:
            said.append(f"lifted the hold of {holder.hold.by} ({holder.hold.reason.rstrip('.')})")
        if holder.dead and record.run is not None:
            said.append(
                f"took the run from worker {holder.worker_id}, last heard of "
                f"{_ago(holder.heartbeat_at, now)}"
            )
            free = replace(
                record.run, state=RunState.QUEUED, worker_id=None, due_at=now, waiting_for=None
            )
            runs = (RunRow(run=free, site=record.tenant.site),)
        why = reason_told(asked.terms.reason)
        return TenantOperation(
            tenant_id=asked.tenant_id,
            at=now,
            revision=record.tenant.revision,
            raise_token=holder.dead,
            lift_hold=holder.hold is not None,
            runs=runs,
            log=(
                LogDraft(
                    level=LogLevel.WARNING,
                    event="tenant.released",
                    run_id="" if record.run is None else record.run.id,
                    message=f"{asked.actor.name} {' and '.join(said)}.{why}",
                    fields={"actor": asked.actor.name},
                ),
            ),
            request=asked.key,
        )


def _ago(time: datetime | None, now: datetime) -> str:
    return "never" if time is None else f"{max((now - time).total_seconds(), 0):.0f} s ago"
