"""`deprovision --dry-run` looks at the engine like every other look: tenants come first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from server.model.actor import LOCAL
from server.probing import Prober, Survey, probe_all

if TYPE_CHECKING:
    import pytest

    from server.model.blueprint import Blueprint
    from server.model.step_context import Engine
    from server.probing import Subject
    from tests.server.executor.scene import Shop


async def test_it_waits_for_its_turn_at_the_site(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any number of them used to ask a site at once, beside the tenants that are being made."""
    tenant = await shop.completed("Kijani Stores")
    others = [await shop.completed(name) for name in ("Acacia Foods", "Baobab Foods")]
    looking, go_on, in_line = asyncio.Semaphore(0), asyncio.Event(), asyncio.Event()
    check_gate = Prober.check_gate

    async def look(engine: Engine, kind: Blueprint, subject: Subject, **more: Any) -> Survey:
        looking.release()
        await go_on.wait()
        return await probe_all(engine, kind, subject, **more)

    async def checked(prober: Prober, site: str) -> None:
        await check_gate(prober, site)
        # From here to its place in the line a look does not pause.
        in_line.set()

    monkeypatch.setattr("server.probing.probe_all", look)
    monkeypatch.setattr("server.probing._REMOVAL_SECONDS", 60.0)
    commands = shop.commands
    prober = commands._prober
    assert prober is not None
    looks = [asyncio.ensure_future(prober.tenant(other)) for other in others]
    for _ in looks:
        await looking.acquire()
    monkeypatch.setattr(Prober, "check_gate", checked)
    asked = (await shop.look())["requests"]

    foretold = asyncio.ensure_future(commands.foreseen(LOCAL, tenant))
    await in_line.wait()
    assert (await shop.look())["requests"] == asked
    assert not foretold.done()

    go_on.set()
    await asyncio.gather(*looks)
    assert {each.why for each in await foretold if each.removed} == {
        "made by us",
        "goes with the Company",
    }
