"""The engine that does nothing, which benchmarks drive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.model.blueprint import NOOP
from server.model.states import GateState
from server.noop import NoopEngine
from tests.server.erpnext.context import MemoryContext, kenyan

if TYPE_CHECKING:
    from server.model.step_context import Engine


async def test_every_noop_step_is_undone_then_applied_then_done() -> None:
    engine: Engine = NoopEngine()
    assert engine.blueprint_name == NOOP.name
    context = MemoryContext(engine=engine, spec=kenyan())
    for round_ in range(2):
        for each in NOOP.steps:
            step = engine.step(each.key)
            found = await step.probe(context)
            assert not found.done, round_
            await step.apply(context, found)
            assert (await step.probe(context)).done
    assert (await engine.check()).state is GateState.UP
    assert not context.sent
    await engine.close()
