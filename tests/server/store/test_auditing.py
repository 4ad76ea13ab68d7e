"""An order's audit row goes with it, and keeps nobody waiting where nothing can be written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from server.errors import StoreUnavailable
from server.model.access import AuditEntry
from server.store.auditing import trail
from server.store.operations import AuditOperation, Outcome
from tests.server.store.scene import NOON
from tests.support.waiting import until

if TYPE_CHECKING:
    from server.store.operations import Operation


async def test_who_could_not_be_written_for_hears_of_it_before_his_audit_row_is_written() -> None:
    """Behind a locked table the row waits as long again: the caller's time was over by then."""
    came: list[str] = []
    go_on = asyncio.Event()

    async def submit(operation: Operation) -> Outcome:
        assert isinstance(operation, AuditOperation)
        came.append("asked")
        await go_on.wait()
        came.append(operation.entry.outcome)
        return Outcome()

    entry = AuditEntry(
        id="1", at=NOON, actor="me", role="", origin="", action="Start", target="", outcome="OK"
    )

    async def order() -> None:
        with pytest.raises(StoreUnavailable):
            async with trail(submit, entry):
                raise StoreUnavailable("locked")
        came.append("told")

    ordered = asyncio.create_task(order())
    await until(lambda: "asked" in came)
    go_on.set()
    await ordered
    await until(lambda: len(came) == 3)
    assert came == ["told", "asked", "STORE_UNAVAILABLE"]
