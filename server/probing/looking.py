"""What a step may do during a look: read. Nothing is written, anywhere.

The same probes run here as in a run, so a dry run, a check of a finished tenant and a
diagnosis can only say what a run would find. What earlier steps "left" is what this
very look found; nothing stored is taken to be true.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from server.errors import EngineError
from server.model.ownership import CompanyRecord, had_till, resource_key
from server.model.states import ErrorClass
from server.model.undo import Removal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from server.model.ownership import Resource
    from server.model.spec import TenantSpec
    from server.model.step_context import Answer, Engine, Intent, Request
    from server.probing.subject import Subject

# A read that failed for a moment is repeated in place, since it changes nothing.
_READ_TRIES = 3
_READ_PAUSE_SECONDS = 0.3


class WroteWhileLooking(AssertionError):  # noqa: N818 - a bug of a step, not an answer
    """A step's probe tried to write."""


class LookingContext:
    """The context of a look: `server.model.step_context.StepContext` without the writes.

    Attributes:
        requests: How many requests were sent, repeated ones included.
        notes: What the steps noted, in order.
    """

    def __init__(self, engine: Engine, subject: Subject, *, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._subject = subject
        self._now = now
        self._abbreviation = subject.abbreviation
        self._outputs: dict[str, Mapping[str, str]] = {}
        self.requests = 0
        self.notes: list[str] = []

    @property
    def spec(self) -> TenantSpec:
        """What the tenant should have."""
        return self._subject.spec

    @property
    def abbreviation(self) -> str | None:
        """The bound abbreviation, or the one that would be chosen."""
        return self._abbreviation

    def named(self, error: EngineError) -> EngineError:
        """Put the tenant's id, if it has one, into the commands that an error names.

        Returns:
            The same error.
        """
        tenant_id = self._subject.tenant_id
        return error.for_tenant(tenant_id) if tenant_id else error

    @property
    def company_record(self) -> CompanyRecord:
        """What the record says about the tenant's Company."""
        subject = self._subject
        return CompanyRecord(
            resource=self.resource("Company", subject.spec.company_name),
            abbreviation=subject.abbreviation,
            passed_company_step=subject.passed_company_step,
            completed_once=subject.completed_once,
            only_tenant_of_name=subject.only_tenant_of_name,
            # A look orders nothing.
            ordered_to_make_again=False,
            had_till=had_till(subject.resources.values()),
        )

    @property
    def completed_once(self) -> bool:
        """Whether the tenant was ever COMPLETED: a live shop."""
        return self._subject.completed_once

    @property
    def removal(self) -> Removal:
        """Nothing but how documents are judged: a look removes nothing."""
        return Removal(restored_to=self._subject.restored_to)

    def resource(self, doctype: str, name: str) -> Resource | None:
        """Return what the record says about a document; None if nothing, or in a spec's look."""
        return self._subject.resources.get(resource_key(doctype, name))

    def outputs(self, step_key: str) -> Mapping[str, str]:
        """Return what this look found for an earlier step; empty if it was not looked at."""
        return self._outputs.get(step_key, {})

    def take(self, step_key: str, outputs: Mapping[str, str]) -> None:
        """Keep what a look found, for the steps after it.

        Args:
            step_key: The step that was looked at.
            outputs: What `outputs` returns for it from now on.
        """
        self._outputs[step_key] = outputs

    def now(self) -> datetime:
        """Return the time, in UTC."""
        return self._now()

    async def read(self, request: Request) -> Answer:
        """Send a request that changes nothing, up to three times if it fails for a moment.

        Raises:
            EngineError: every answer that is neither OK nor MISSING. One that may mean that the
                whole engine is down is not asked for again.
            WroteWhileLooking: the request is no GET; nothing was sent.
        """
        if request.method != "GET":
            raise WroteWhileLooking(f"{request.method} {request.path}")
        for last in range(_READ_TRIES - 1, -1, -1):
            self.requests += 1
            try:
                return await self._engine.send(request)
            except EngineError as error:
                passing = error.error_class in {ErrorClass.TRANSIENT, ErrorClass.RACE}
                if not passing or error.ask_prober or not last:
                    raise
            await asyncio.sleep(_READ_PAUSE_SECONDS)
        raise AssertionError("unreachable")  # the loop returns or raises

    async def write(self, intent: Intent, request: Request) -> Answer:
        """Refuse: a look changes nothing.

        Raises:
            WroteWhileLooking: always; nothing was sent.
        """
        raise WroteWhileLooking(f"{request.method} {intent.doctype} {intent.name!r}")

    async def bind_abbreviation(self, abbreviation: str) -> bool:
        """Tell whether no other tenant of the site has it; nothing is stored.

        Returns:
            Whether it would be this tenant's; then the rest of the look takes it to be.

        Raises:
            StoreUnavailable: the database can't be read.
        """
        if await self._subject.is_bound_elsewhere(abbreviation):
            return False
        self._abbreviation = abbreviation
        return True

    async def note(self, message: str) -> None:
        """Keep a line for the person who asked."""
        self.notes.append(message)
