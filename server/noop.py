"""An engine whose steps do nothing: what the machinery itself costs (benchmarks, selftest).

Each step is found undone, applied, and found done, so that it counts as applied; nothing is
sent and nothing is remembered but the tenants whose step was applied and not looked at again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.model.blueprint import NOOP, NOOP_UNDO
from server.model.difference import Difference
from server.model.states import GateState
from server.model.step_context import Answer, AnswerKind, EngineHealth, Found

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
        """Say "undone" before it was applied, and "done" once afterwards."""
        tenant = context.spec.company_name
        if tenant in self._applied:
            self._applied.discard(tenant)
            return _DONE
        return _UNDONE

    async def apply(self, context: StepContext, found: Found) -> None:  # noqa: ARG002 - the protocol's
        """Do nothing."""
        self._applied.add(context.spec.company_name)


class NoopEngine:
    """The engine of the blueprint `noop`."""

    def __init__(self, site: str = "noop") -> None:
        """Take a name; two engines may not share it."""
        self._site = site
        self._steps = {step.key: NoopStep(step.key) for step in (*NOOP.steps, *NOOP_UNDO.steps)}

    @property
    def site(self) -> str:
        """Its name."""
        return self._site

    @property
    def blueprint_name(self) -> str:
        """Name of the blueprint its steps belong to."""
        return NOOP.name

    def step(self, key: str) -> Step:
        """Return the step of that key.

        Raises:
            KeyError: if the blueprint has none of that key.
        """
        return self._steps[key]

    async def send(self, request: Request) -> Answer:  # noqa: ARG002 - the protocol's
        """Answer as if it were done."""
        return Answer(kind=AnswerKind.OK)

    async def check(self) -> EngineHealth:
        """Always up."""
        return EngineHealth(state=GateState.UP)

    async def identity(self) -> str | None:
        """There is nothing that could be another one."""
        return None

    async def missing_companies(self, names: Collection[str]) -> frozenset[str]:  # noqa: ARG002 - the protocol's
        """Nothing is kept, so nothing is missed."""
        return frozenset()

    async def close(self) -> None:
        """Nothing is open."""
