"""An engine whose steps do nothing, for what the machinery itself costs (benchmarks, selftest).

Each step is found undone, then applied, then found done, so that it counts as applied. Nothing is
sent, and nothing is remembered except the tenants whose step was applied and not yet probed again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.model.blueprint import NOOP, NOOP_UNDO
from server.model.difference import Difference
from server.model.states import GateState
from server.model.step_context import (
    DEFAULT_TIMEOUT_SECONDS,
    Answer,
    AnswerKind,
    EngineHealth,
    Found,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from server.model.step_context import Request, Step, StepContext

_UNDONE = Found(done=False, missing=(Difference(doctype="Nothing", name="at all"),))
_DONE = Found(done=True)


class NoopStep:
    """A step that does nothing."""

    def __init__(self, key: str) -> None:
        """Take the key it has in the blueprint."""
        self.key = key
        self._applied: set[str] = set()

    async def probe(self, context: StepContext) -> Found:
        """Return "undone" before it was applied, and "done" once afterwards."""
        tenant = context.spec.company_name
        if tenant in self._applied:
            self._applied.discard(tenant)
            return _DONE
        return _UNDONE

    async def apply(self, context: StepContext, found: Found) -> None:  # noqa: ARG002 - the protocol's
        """Do nothing, except remember it for the next probe."""
        self._applied.add(context.spec.company_name)


class NoopEngine:
    """The engine of the blueprint `noop`."""

    def __init__(self, site: str = "noop") -> None:
        """Take a name.

        Args:
            site: What stands for the site in rows; two engines may not share it.
        """
        self._site = site
        self._steps = {step.key: NoopStep(step.key) for step in (*NOOP.steps, *NOOP_UNDO.steps)}

    @property
    def site(self) -> str:
        """The engine's name."""
        return self._site

    @property
    def blueprint_name(self) -> str:
        """The name of the blueprint that its steps belong to."""
        return NOOP.name

    @property
    def timeout_seconds(self) -> float:
        """The usual limit; every answer comes at once."""
        return DEFAULT_TIMEOUT_SECONDS

    def step(self, key: str) -> Step:
        """Return the step with that key.

        Raises:
            KeyError: the blueprint has no such step.
        """
        return self._steps[key]

    async def send(self, request: Request) -> Answer:  # noqa: ARG002 - the protocol's
        """Answer as if the request had been carried out."""
        return Answer(kind=AnswerKind.OK)

    async def check(self) -> EngineHealth:
        """Return that it is up, as always."""
        return EngineHealth(state=GateState.UP)

    async def identity(self) -> str | None:
        """Return None: there is nothing to identify."""
        return None

    async def missing_companies(self, names: Collection[str]) -> frozenset[str]:  # noqa: ARG002 - the protocol's
        """Return none: nothing is kept, so nothing is missing."""
        return frozenset()

    async def close(self) -> None:
        """Do nothing, because nothing is open."""
