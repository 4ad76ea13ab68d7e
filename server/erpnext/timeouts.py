"""Applies one engine's time limits to its steps' requests: some sites are slower than others.

The limit must be part of a request before the executor sees it, because the site's slot is kept
for as long as the request may be out. That is why limits are set here, and not where the request
is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from server.model.step_context import DEFAULT_TIMEOUT_SECONDS, Foreseeing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from server.model.ownership import CompanyRecord
    from server.model.spec import TenantSpec
    from server.model.step_context import Answer, Found, Intent, Request, Step, StepContext
    from server.model.undo import Removal


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """The limits in the engines file, in seconds.

    Attributes:
        seconds: For requests without a limit of their own; None for the usual limit.
        company_seconds: The least for making a Company; None for what its step says.
    """

    seconds: float | None = None
    company_seconds: float | None = None

    def laid_on(self, request: Request) -> Request:
        """Return the request with this engine's limit."""
        limit = request.timeout_seconds
        if limit == DEFAULT_TIMEOUT_SECONDS and self.seconds is not None:
            limit = self.seconds
        if request.method == "POST" and request.doctype == "Company":
            limit = max(limit, self.company_seconds or 0.0)
        return replace(request, timeout_seconds=limit)


class TimedStep:
    """A step whose requests have the engine's limits."""

    def __init__(self, step: Step, timeouts: Timeouts) -> None:
        """Take the step and the limits."""
        self._step = step
        self._timeouts = timeouts

    @property
    def key(self) -> str:
        """The step's key in the blueprint."""
        return self._step.key

    async def probe(self, context: StepContext) -> Found:
        """Look at what exists, as the step does.

        Raises:
            EngineError: as the step.
        """
        return await self._step.probe(_TimedContext(context, self._timeouts))

    async def apply(self, context: StepContext, found: Found) -> None:
        """Make what is missing, as the step does.

        Raises:
            EngineError: as the step.
        """
        await self._step.apply(_TimedContext(context, self._timeouts), found)

    async def foresee(self, context: StepContext, found: Found) -> Found:
        """Return what a look would see afterwards; `found` if the step can't tell.

        Raises:
            EngineError: as the step.
        """
        if isinstance(self._step, Foreseeing):
            return await self._step.foresee(_TimedContext(context, self._timeouts), found)
        return found


class _TimedContext:
    """A step's context that applies the limits to the step's requests."""

    def __init__(self, context: StepContext, timeouts: Timeouts) -> None:
        self._context = context
        self._timeouts = timeouts

    @property
    def spec(self) -> TenantSpec:
        return self._context.spec

    @property
    def abbreviation(self) -> str | None:
        return self._context.abbreviation

    @property
    def company_record(self) -> CompanyRecord:
        return self._context.company_record

    @property
    def completed_once(self) -> bool:
        return self._context.completed_once

    def outputs(self, step_key: str) -> Mapping[str, str]:
        return self._context.outputs(step_key)

    @property
    def removal(self) -> Removal:
        return self._context.removal

    def now(self) -> datetime:
        return self._context.now()

    async def read(self, request: Request) -> Answer:
        return await self._context.read(self._timeouts.laid_on(request))

    async def write(self, intent: Intent, request: Request) -> Answer:
        return await self._context.write(intent, self._timeouts.laid_on(request))

    async def bind_abbreviation(self, abbreviation: str) -> bool:
        return await self._context.bind_abbreviation(abbreviation)

    async def note(self, message: str) -> None:
        await self._context.note(message)
