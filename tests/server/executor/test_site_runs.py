"""An engine can have a limit of runs of its own, below that of the process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from server.model.states import RunState

if TYPE_CHECKING:
    import pytest

    from tests.server.executor.scene import Shop

_PATIENCE_SECONDS = 60.0


async def test_no_more_runs_of_a_site_are_driven_than_its_limit(
    still: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await still.open()
    site = store.engine.site
    await still.leave(store)
    store = await still.drive(site_runs={site: 1})
    await still.faults({"method": "GET", "doctype": "UOM", "hang_seconds": 600, "times": 1})
    first = await still.order("First Traders")
    await still.site.arrived("GET", "UOM")
    looked = asyncio.Event()
    room = store.executor._gates.room

    def watched(of: str, driving: int) -> bool:
        if driving:
            looked.set()
        return room(of, driving)

    monkeypatch.setattr(store.executor._gates, "room", watched)
    second = await still.order("Second Traders")
    async with asyncio.timeout(_PATIENCE_SECONDS):
        for _ in range(5):
            looked.clear()
            await looked.wait()
    # Several passes later it still waits, though the process has thirty places free.
    run = (await still.record(second)).run
    assert run is not None
    assert run.state is RunState.QUEUED
    assert still.site.arrivals("GET", "UOM") == 1

    still.site.hurry()

    await still.must_complete(first, second)
