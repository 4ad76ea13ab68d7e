"""What claiming a new tenant's run needs, kept since this process wrote it, to save a read.

A claim is judged at the revision it names, so one that is out of date is refused like any other;
what somebody changed by SQL meanwhile is seen at the next write. The database is asked only
whether another tenant has the company name too: one whose binding was lost would not have been
in the way of the new tenant.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING

from server.store.claims import Claim
from server.store.found import DueRun
from server.store.written import record_of_new

if TYPE_CHECKING:
    from collections.abc import Collection

    from server.store.operations import Outcome, TenantOperation
    from server.store.reads import Reads

# A tenant whose run waits longer than this for a place is read again.
_MOMENT_SECONDS = 1.0
# As many as the runs that a process may drive.
_MOST = 1024


class Newcomers:
    """The tenants that were ordered through this process a moment ago.

    Used on the event loop's thread only.
    """

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._written: OrderedDict[str, tuple[float, Claim]] = OrderedDict()

    def heard(self, operation: TenantOperation, outcome: Outcome) -> None:
        """Hear of an operation that this process wrote.

        Args:
            operation: Of any tenant. Any later one makes what is known of its tenant out of date.
            outcome: What the database made of it.
        """
        self._written.pop(operation.tenant_id, None)
        claim = _claim(operation, outcome)
        if claim is not None:
            self._written[operation.tenant_id] = asyncio.get_running_loop().time(), claim
            if len(self._written) > _MOST:
                self._written.popitem(last=False)

    def knows(self, tenant_id: str) -> bool:
        """Tell whether a tenant was ordered here and is not claimed yet."""
        return tenant_id in self._written

    def due(self) -> list[DueRun]:
        """Return the runs of all tenants ordered here and not claimed yet, the earliest first."""
        return [
            DueRun(
                run_id=run.id,
                tenant_id=run.tenant_id,
                site=claim.record.tenant.site,
                since=run.created_at,
                token=run.token,
            )
            for _, claim in self._written.values()
            if (run := claim.record.run) is not None
        ]

    async def claims(self, tenant_ids: Collection[str]) -> dict[str, Claim]:
        """Return what is known about these tenants, by id, and forget it.

        Args:
            tenant_ids: The tenants, known here or not. One that was ordered more than a moment ago,
                or shares its name with another tenant of its site, is not returned.

        Returns:
            What is known; the rest must be read from the database.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        now = asyncio.get_running_loop().time()
        found: dict[str, Claim] = {}
        for tenant_id in tenant_ids:
            at, claim = self._written.pop(tenant_id, (0.0, None))
            if claim is not None and now - at < _MOMENT_SECONDS:
                found[tenant_id] = claim
        if not found:
            return found
        tenants = [claim.record.tenant for claim in found.values()]
        shared = await self._reads.shared_names(
            {(tenant.site, tenant.spec.company_name) for tenant in tenants}
        )
        for tenant in tenants:
            if (tenant.site, tenant.spec.company_name) in shared:
                del found[tenant.id]
        return found


def _claim(operation: TenantOperation, outcome: Outcome) -> Claim | None:
    record = record_of_new(operation, outcome)
    if record is None:
        return None
    return Claim(
        record=record,
        attempts=operation.attempts,
        resources=(),
        abbreviation=None if operation.binding is None else operation.binding.abbreviation,
        passed_step=operation.completed_at is not None,
        only_tenant_of_name=True,
    )
