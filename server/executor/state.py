"""What a worker holds in memory about the run it drives, and the operations it writes.

It is held under the fencing token: as long as its writes are accepted, memory and rows are the
same. Each operation carries the standing that `derive` gives for the rows as they are after it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from server.errors import Replaced
from server.model.derive import derive
from server.model.ownership import resource_key
from server.model.states import LogLevel
from server.store.operations import (
    LogDraft,
    Refusal,
    ResourceRow,
    RunRow,
    SlotFree,
    TenantOperation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from server.model.blueprint import Blueprint, StepType
    from server.model.ownership import Resource
    from server.model.records import Attempt, Cancellation, Run, Step, Tenant
    from server.store.database import Database
    from server.store.operations import Outcome

_log = structlog.get_logger("server.executor")
_METHODS = {level: level.value.lower() for level in LogLevel}


class DrivenRun:
    """One claimed run: its rows in memory, and the rows that wait for the next write.

    `put_*` and `say` collect rows and `write` writes them together, so that the end of one step and
    the beginning of the next are one operation.

    Attributes:
        kinds: The run's steps in the blueprint's order.
        resources: What is known of the tenant's documents, by `resource_key`.
        attempt_numbers: The number of the latest attempt, by step.
        rate_limited: How many attempts in a row have ended at the site's rate limit, by step.
        deadline_at: When the attempt under way is cut off, in UTC; None if none is.
        unknown: Whether the outcome of some request of this tenant may be unknown.
        now: Returns the time, in UTC.
    """

    def __init__(
        self,
        database: Database,
        *,
        tenant: Tenant,
        run: Run,
        steps: Mapping[str, Step],
        blueprint: Blueprint,
        resources: Mapping[tuple[str, str], Resource],
        attempt_numbers: Mapping[str, int],
        rate_limited: Mapping[str, int],
        token: int,
        now: Callable[[], datetime],
    ) -> None:
        self.tenant = tenant
        self.run = run
        self.steps = dict(steps)
        self.blueprint = blueprint
        self.kinds: tuple[StepType, ...] = blueprint.steps_for(tenant.spec)
        self.resources = dict(resources)
        self.attempt_numbers = dict(attempt_numbers)
        # By step, how many attempts in a row have ended at the site's rate limit.
        self.rate_limited = rate_limited
        self.deadline_at: datetime | None = None
        # Whether the outcome of some request of this tenant may be unknown.
        self.unknown = any(resource.outcome_unknown for resource in self.resources.values())
        self.now = now
        self._database = database
        # Bound once: binding costs more than a line that the log level drops.
        self._lines = _log.bind(tenant=tenant.id)
        self._token = token
        # The tenant's revision at which the run is claimed, until that is written.
        self._claiming: int | None = None
        self._steps: dict[str, Step] = {}
        self._attempts: dict[str, Attempt] = {}
        self._resources: dict[tuple[str, str], ResourceRow] = {}
        self._log: list[LogDraft] = []
        self._slot_free: SlotFree | None = None

    @property
    def token(self) -> int:
        """The fencing token under which the run is driven."""
        return self._token

    def claim(self, revision: int) -> None:
        """Make the run its worker's with the next write, if the tenant still has that revision.

        Of two workers, one gets the run, and drives it under the token that this write returns. The
        first write claims, whatever it writes: nothing is sent before it. Refused, it raises
        `Replaced`.
        """
        self._claiming = revision

    @property
    def unwritten(self) -> bool:
        """Whether rows were collected that are not written yet."""
        return bool(self._steps or self._attempts or self._resources or self._log)

    def put_step(self, step: Step) -> None:
        """Change a step, with the next write."""
        self.steps[step.key] = step
        self._steps[step.key] = step

    def put_attempt(self, attempt: Attempt) -> None:
        """Add or end an attempt, with the next write."""
        self._attempts[attempt.id] = attempt

    def put_resource(self, resource: Resource, *, step_key: str, shared: bool) -> None:
        """Change what is known of a document, with the next write.

        Args:
            resource: What is known now.
            step_key: The step to which the document belongs.
            shared: Whether the document belongs to the site.
        """
        key = resource_key(resource.doctype, resource.name)
        self.resources[key] = resource
        self._resources[key] = ResourceRow(
            resource=resource, shared=shared, run_id=self.run.id, step_key=step_key
        )

    def noted(self, doctype: str, name: str) -> tuple[Resource | None, ResourceRow | None]:
        """Return what is known of a document, and what of it waits for the next write.

        Returns:
            The document's record and row, each None if there is none.
        """
        key = resource_key(doctype, name)
        return self.resources.get(key), self._resources.get(key)

    def take_back(
        self, doctype: str, name: str, before: tuple[Resource | None, ResourceRow | None]
    ) -> None:
        """Restore what was known of a document before changes that were never written.

        Args:
            doctype: The document's kind.
            name: Its name.
            before: What `noted` returned before the changes.
        """
        key = resource_key(doctype, name)
        known, row = before
        _put_back(self.resources, key, known)
        _put_back(self._resources, key, row)

    def free_slot(self, about: tuple[tuple[str, str], ...] = ()) -> None:
        """Give the site's slot back, if the tenant holds it, with the next write.

        Args:
            about: Only if it was taken for one of these doctypes and names, or for one that was
                named since the last write; empty for any.
        """
        before = self._slot_free
        if before is not None:
            about = (*before.about, *about) if before.about and about else ()
        self._slot_free = SlotFree(site=self.tenant.site, about=about)

    async def slot_until(self) -> datetime | None:
        """Return until when a request of this tenant keeps the site's slot; None if none does.

        Returns:
            The time, in UTC.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        gate = (await self._database.reads.gates()).get(self.tenant.site)
        if gate is None or gate.slot_tenant_id != self.tenant.id:
            return None
        return gate.slot_until(self.now())

    async def cancellation(self) -> Cancellation | None:
        """Return the order to cancel the run that the database has now; None if there is none.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        return (await self._database.reads.cancellations([self.run.id])).get(self.run.id)

    async def holds_slot(self) -> bool:
        """Tell whether the tenant holds the site's slot, for a request whose answer was lost.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        gate = (await self._database.reads.gates()).get(self.tenant.site)
        return gate is not None and gate.slot_tenant_id == self.tenant.id

    def say(
        self,
        message: str,
        *,
        event: str,
        level: LogLevel = LogLevel.INFO,
        step_key: str = "",
        attempt: int = 0,
        **fields: str,
    ) -> None:
        """Add a line to the tenant's log, with the next write.

        Args:
            message: What happened, for whoever sees the tenant: no secrets, no names of others.
            event: Its stable name, for programs.
            level: Its level.
            step_key: The step it is about; "" if none.
            attempt: The attempt it is about; 0 if none.
            fields: Further facts, for programs.
        """
        self._log.append(
            LogDraft(
                level=level,
                message=message,
                event=event,
                run_id=self.run.id,
                step_key=step_key,
                attempt=attempt,
                fields=fields,
            )
        )

    async def write(self, **changes: Any) -> None:
        """Write everything collected, and `changes`, as one operation.

        It is written even if the caller is cancelled meanwhile.

        Args:
            changes: Further fields of the TenantOperation.

        Raises:
            Replaced: another worker has the run, or the write was refused; nothing was written.
            StoreUnavailable: the database can't be written; what was collected is kept.
        """
        refusal = await self.try_write(**changes)
        if refusal is not None:
            raise Replaced(f"run {self.run.id} was refused: {refusal.name}")

    async def try_write(self, **changes: Any) -> Refusal | None:
        """Write like `write`, but return a refusal other than REPLACED instead of raising.

        What was collected is kept if it was refused.

        Args:
            changes: Further fields of the TenantOperation.

        Returns:
            The refusal; None if everything was written.

        Raises:
            Replaced: another worker has the run; nothing was written.
            StoreUnavailable: the database can't be written; what was collected is kept.
        """
        now = self.now()
        fields: dict[str, Any] = {
            "tenant_id": self.tenant.id,
            "at": now,
            "token": self._token if self._claiming is None else None,
            "revision": self._claiming,
            "raise_token": self._claiming is not None,
            "standing": derive(
                stored=None,
                run=self.run,
                steps=tuple(self.steps.values()),
                step_types=self.kinds,
                at=now,
            ),
            "runs": (RunRow(run=self.run, site=self.tenant.site, deadline_at=self.deadline_at),),
            "steps": tuple(self._steps.values()),
            "attempts": tuple(self._attempts.values()),
            "resources": tuple(self._resources.values()),
            "slot": self._slot_free,
            "log": tuple(self._log),
        }
        operation = TenantOperation(**fields | changes)
        writing = asyncio.ensure_future(self._database.submit(operation))
        try:
            outcome = await asyncio.shield(writing)
        except asyncio.CancelledError:
            # It is written all the same, and memory has to follow before anybody goes on.
            self._follow(await writing)
            raise
        refusal = self._follow(outcome)
        # If the number of steps itself was damaged, there is nothing more to write.
        whole = len(self.steps) >= self.run.total_steps
        if refusal is None and outcome.steps_lost and whole:
            await self._write_steps_again()
        return refusal

    async def _write_steps_again(self) -> None:
        """Give the run back the step rows that somebody deleted while it was driven."""
        for step in self.steps.values():
            self.put_step(step)
        self.say(
            "Step rows of this run were deleted while it was driven. They are written again.",
            event="record.rebuilt",
            level=LogLevel.WARNING,
        )
        await self.write()

    def _follow(self, outcome: Outcome) -> Refusal | None:
        if outcome.refusal is Refusal.REPLACED:
            raise Replaced(f"run {self.run.id} is driven by somebody else now")
        if outcome.refusal is not None:
            return outcome.refusal
        self._token = outcome.token
        self._claiming = None
        self._publish()
        return None

    def _publish(self) -> None:
        """Write to the process's own log what is durable now, and forget what was collected."""
        for entry in self._log:
            getattr(self._lines, _METHODS[entry.level])(
                entry.event,
                run=entry.run_id,
                step=entry.step_key,
                attempt=entry.attempt,
                message=entry.message,
            )
        self._steps.clear()
        self._attempts.clear()
        self._resources.clear()
        self._log.clear()
        self._slot_free = None


def _put_back(held: dict[tuple[str, str], Any], key: tuple[str, str], value: object | None) -> None:
    if value is None:
        held.pop(key, None)
    else:
        held[key] = value
