"""Clocks that jump and heartbeats that are lost: nobody drives twice, and nobody stands still."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from server.errors import StoreUnavailable
from server.executor import lease
from server.store.operations import WorkerOperation
from tests.server.executor import scene
from tests.server.executor.scene import COMPANY, PATIENCE_SECONDS, WHOLE
from tests.server.executor.test_takeover import hang
from tests.support.waiting import until

if TYPE_CHECKING:
    from datetime import datetime

    from server.store.operations import Operation, Outcome
    from tests.server.executor.scene import Shop

NAME = "Kijani Stores"


class Clock:
    """The process's clock, which can be set."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return scene.now() + self.ahead


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock()


async def drive_by(still: Shop, clock: Clock) -> None:
    """Let an executor drive whose clock can be set."""
    await still.drive(clock=clock)


@pytest.mark.parametrize("jump", [timedelta(days=-2), timedelta(days=2)], ids=["back", "forward"])
async def test_a_clock_that_is_set_in_mid_run_stops_nobody(
    still: Shop, clock: Clock, jump: timedelta
) -> None:
    await drive_by(still, clock)
    tenant = await hang(still, "Company")
    clock.ahead = jump
    await asyncio.sleep(0)
    still.site.hurry()
    await still.must_complete(tenant)
    assert (await still.outcomes(tenant))[COMPANY] == ["APPLIED"]
    assert await still.belongings(NAME) == WHOLE


async def test_a_pause_that_a_clock_set_back_made_endless_ends(still: Shop, clock: Clock) -> None:
    """The due time was stored by a clock two days ahead; then it was set right."""
    clock.ahead = timedelta(days=2)
    await drive_by(still, clock)
    await still.faults(
        {"method": "POST", "doctype": "Company", "status": 500, "exc_type": "QueryDeadlockError"}
    )
    shut = asyncio.Event()
    claim_due = still.store.executor._claim_due

    executor = still.store.executor

    async def held() -> None:
        # The pause may be a moment: no second claim before the clock is set right.
        if not shut.is_set():
            await claim_due()
            if executor._driving:
                shut.set()

    executor._claim_due = held  # type: ignore[method-assign]  # the test decides when
    tenant = await still.order(NAME)

    async def pauses() -> bool:
        return await still.waits_for(tenant) == "RETRY"

    await still.until(pauses)
    clock.ahead = timedelta()
    shut.clear()
    await still.must_complete(tenant)


async def test_a_host_ahead_of_the_site_takes_the_company_whose_answer_it_lost(
    still: Shop, clock: Clock
) -> None:
    """It seemed to be made before it was asked for: the tenant failed, and kept the slot."""
    clock.ahead = timedelta(seconds=90)
    await drive_by(still, clock)
    await still.faults({"method": "POST", "doctype": "Company", "action": "cut", "when": "after"})
    tenant = await still.order(NAME)
    await still.must_complete(tenant)
    assert (await still.outcomes(tenant))[COMPANY] == ["RETRY", "ADOPTED"]
    assert await still.belongings(NAME) == WHOLE
    # Nobody can tell that it is ours to delete.
    state = still.sql("SELECT state FROM resources WHERE doctype = 'Company'")
    assert state == [("ADOPTED",)]
    assert still.sql("SELECT slot_tenant_id FROM engines") == [(None,)]


async def test_heartbeats_that_are_lost_while_work_lives_stop_it_from_sending(
    still: Shop,
) -> None:
    """The database takes no heartbeat; the worker stops sending before others may take over."""
    store = await still.drive(lease_seconds=1.0)
    tenant = await hang(still, "Company")
    database, submit = store.database, store.database.submit
    lost = True

    async def no_beats(operation: Operation) -> Outcome:
        if lost and isinstance(operation, WorkerOperation):
            raise StoreUnavailable("The connection was cut.")
        return await submit(operation)

    database.submit = no_beats  # type: ignore[method-assign]  # the outage
    await until(lambda: not store.executor._lease.holds(), seconds=PATIENCE_SECONDS)
    sent: list[str] = []
    send = store.engine.send

    async def watched(request):  # type: ignore[no-untyped-def]  # as it is
        sent.append(f"{request.method} {request.doctype}")
        return await send(request)

    store.engine.send = watched  # type: ignore[method-assign]  # the test looks on
    still.site.hurry()

    async def answered() -> bool:
        return bool(
            still.sql("SELECT 1 FROM resources WHERE doctype='Company' AND state='CREATED'")
        )

    await still.until(answered)
    assert sent == []

    lost = False
    await still.must_complete(tenant)
    assert await still.belongings(NAME) == WHOLE


async def test_a_lease_is_measured_on_a_clock_that_counts_suspension() -> None:
    assert lease.boot_seconds() == pytest.approx(lease.boot_seconds(), abs=5.0)
    assert lease.boot_seconds() >= time.monotonic() - 1.0
