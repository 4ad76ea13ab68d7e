"""An engine whose steps do nothing, or fail for good where a test says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.errors import EngineError
from server.model.blueprint import NOOP
from server.model.states import ErrorClass
from server.noop import NoopEngine, NoopStep

if TYPE_CHECKING:
    from server.model.step_context import Found, StepContext


class ScriptedEngine(NoopEngine):
    """The no-op engine with steps that can be broken, by company name."""

    def __init__(self) -> None:
        super().__init__("site")
        self.broken: dict[str, str] = {}
        self._steps = {kind.key: _BreakableStep(kind.key, self.broken) for kind in NOOP.steps}


class _BreakableStep(NoopStep):
    def __init__(self, key: str, broken: dict[str, str]) -> None:
        super().__init__(key)
        self._broken = broken

    async def probe(self, context: StepContext) -> Found:
        if self._broken.get(context.spec.company_name) == self.key:
            raise EngineError(ErrorClass.PERMANENT, "VALIDATION_FAILED", "It is broken.")
        return await super().probe(context)
