"""Statuses of tenants, kept for as long as they are true: the answers of GetStatus and WatchStatus.

Every question glances at the tenant's rows first (`server.store.glances`), so an answer is never
older than its call, whoever changed the rows. Whatever changes with time alone (a heartbeat that
expires, a pause that ends, STALLED, the estimate) is kept only until then. An answer can carry
its own encoding, made by whoever sends it first.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from server.model.states import OPEN_RUN_STATES, GateState
from server.queries.motion import turns_at
from server.queries.outlook import WAITING_SECONDS
from server.queries.status import status_of
from server.store.found import Live

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Sequence
    from datetime import datetime

    from server.model.blueprint import StepType
    from server.model.identifiers import TenantId
    from server.model.records import Record
    from server.queries.outlook import Outlooks
    from server.queries.status import Status
    from server.store.glances import Glances

# About 3 KiB each, and 2 KiB more if the old API asks for it.
MOST_KEPT = 4096


@dataclass(slots=True, kw_only=True, eq=False)
class Answer:
    """The status of a tenant, with its encodings; shared by all who ask.

    Attributes:
        wire: Its encoded message, once somebody has made it.
        json: Its encoded object of the old API, likewise.
        mark: Identifies the version of the rows it was made from.
        until: When it may change although no row does; None for never.
    """

    status: Status
    mark: Hashable = field(repr=False)
    until: datetime | None
    wire: bytes | None = field(default=None, repr=False)
    json: bytes | None = field(default=None, repr=False)


class StatusBoard:
    """The latest answer for each tenant that was asked about."""

    def __init__(
        self,
        glances: Glances,
        steps_for: Callable[[Record], Sequence[StepType]],
        *,
        not_here: Callable[[Record], str] = lambda _: "",
        now: Callable[[], datetime],
        lease_seconds: float,
        outlooks: Outlooks | None = None,
    ) -> None:
        """Take what an answer is made from.

        Args:
            glances: Looks at the rows.
            steps_for: Returns the steps that a run for a tenant has, also for a damaged record.
            not_here: Says why no worker of this server reaches a tenant; "" if one does.
            now: The clock, by which what stands still is told from what moves.
            lease_seconds: The lease of this installation's workers.
            outlooks: What estimates are made from; None to estimate nothing.
        """
        self._outlooks = outlooks
        self._glances = glances
        self._steps_for = steps_for
        self._not_here = not_here
        self._now = now
        self._lease_seconds = lease_seconds
        self._kept: OrderedDict[TenantId, Answer] = OrderedDict()

    async def answer(self, tenant_id: TenantId) -> Answer | None:
        """Return the status of a tenant now; None if there is no such tenant.

        Raises:
            StoreUnavailable: the database can't be read now.
        """
        mark = await self._glances.mark(tenant_id)
        return await self._for(tenant_id, mark)

    async def newcomer(self, record: Record) -> Status:
        """Return the status of a tenant that was made a moment ago, before a worker took it up.

        Args:
            record: As the operation wrote it; it is not read again, nor is the answer kept.

        Raises:
            StoreUnavailable: the database can't be read now.
        """
        gate = await self._glances.gate(record.tenant.site)
        live = Live(record=record, gate=gate, worker=None, deadline_at=None)
        return (await self._made(live, mark=None)).status

    async def answers(self, tenant_ids: Collection[TenantId]) -> dict[TenantId, Answer | None]:
        """Return the statuses of many tenants now; None for those that do not exist.

        Raises:
            StoreUnavailable: the database can't be read now.
        """
        marks = await self._glances.marks(tenant_ids)
        return {
            tenant_id: await self._for(tenant_id, marks.get(tenant_id)) for tenant_id in tenant_ids
        }

    async def _for(self, tenant_id: TenantId, mark: Hashable | None) -> Answer | None:
        if mark is None:
            self._kept.pop(tenant_id, None)
            return None
        now = self._now()
        kept = self._kept.get(tenant_id)
        if kept is not None and kept.mark == mark and (kept.until is None or now < kept.until):
            self._kept.move_to_end(tenant_id)
            return kept
        # Read after the mark, so it is not older; if it is newer, the next mark will differ.
        live = await self._glances.live(tenant_id)
        if live is None:
            return None
        answer = await self._made(live, mark)
        self._kept[tenant_id] = answer
        self._kept.move_to_end(tenant_id)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return answer

    async def _made(self, live: Live, mark: Hashable) -> Answer:
        kinds = self._steps_for(live.record)
        eta = await self._eta(live, kinds)
        now = self._now()
        until = turns_at(live, now, self._lease_seconds)
        if self._outlooks is not None and _may_be_estimated(live):
            # An estimate is only as good as the data it was made from.
            stale = now + timedelta(seconds=WAITING_SECONDS)
            until = stale if until is None else min(until, stale)
        not_here = self._not_here(live.record)
        status = status_of(live, kinds, now, self._lease_seconds, not_here=not_here)
        return Answer(status=replace(status, eta=eta), mark=mark, until=until)

    async def _eta(self, live: Live, kinds: Sequence[StepType]) -> datetime | None:
        record, outlooks = live.record, self._outlooks
        if outlooks is None or not _may_be_estimated(live):
            return None
        site, run, steps = record.tenant.site, record.run, record.steps
        outlook = await outlooks.latest()
        eta = outlook.eta(site, run, steps, kinds, self._now())
        if eta is None or not outlook.knows(run, steps, kinds):
            outlook = await outlooks.anew()
            if run is not None and not outlook.knows(run, steps, kinds):
                outlook = outlooks.with_newcomer(run, site)
            eta = outlook.eta(site, run, steps, kinds, self._now())
        return eta


def _may_be_estimated(live: Live) -> bool:
    run, gate = live.record.run, live.gate
    if run is None or run.state not in OPEN_RUN_STATES or run.cancellation is not None:
        return False
    # Nobody knows how long an engine will be away.
    return gate is None or gate.state is GateState.UP
