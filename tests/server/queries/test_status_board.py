"""Answers that are kept as long as they are true, and what is news to who watches."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from server.model.identifiers import TenantId
from server.model.states import GateState, RunState
from server.queries import board, status_of
from server.queries.board import StatusBoard
from server.queries.motion import turns_at
from server.queries.status_hub import is_news
from tests.server.queries.scene import (
    KINDS,
    LEASE,
    NOW,
    SLOT_WAIT,
    TENANT,
    after,
    before,
    live,
    paused,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable
    from datetime import datetime

    from server.store.found import Gate, Live


class Looks:
    """Rows that a test changes, and how often they were read whole."""

    def __init__(self, rows: Live | None) -> None:
        self.rows = rows
        self.current: Hashable = 1
        self.reads = 0

    async def mark(self, tenant_id: TenantId) -> Hashable | None:
        return None if self.rows is None else self.current

    async def marks(self, tenant_ids: Collection[TenantId]) -> dict[TenantId, Hashable]:
        return {one: self.current for one in tenant_ids if self.rows is not None}

    async def live(self, tenant_id: TenantId) -> Live | None:
        self.reads += 1
        return self.rows

    async def gate(self, site: str) -> Gate | None:
        return None if self.rows is None else self.rows.gate

    def there(self, there: bool) -> None:
        return None

    async def close(self) -> None:
        return None


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time


def made(looks: Looks, clock: Clock | None = None) -> StatusBoard:
    return StatusBoard(looks, lambda _record: KINDS, now=clock or Clock(), lease_seconds=LEASE)


async def test_an_answer_is_kept_until_its_rows_change() -> None:
    looks = Looks(live(RunState.COMPLETED))
    asked = made(looks)
    first = await asked.answer(TENANT)
    assert first is not None
    first.wire = b"bytes"
    assert await asked.answer(TENANT) is first
    assert looks.reads == 1
    looks.current = 2
    second = await asked.answer(TENANT)
    assert second is not None
    assert second is not first
    assert second.wire is None
    assert looks.reads == 2


async def test_an_answer_is_kept_only_until_time_changes_it() -> None:
    clock = Clock()
    looks = Looks(live(RunState.RUNNING, heartbeat_at=NOW, deadline_at=after(60)))
    asked = made(looks, clock)
    first = await asked.answer(TENANT)
    assert first is not None
    assert first.until == after(LEASE)
    clock.time = after(LEASE - 0.1)
    assert await asked.answer(TENANT) is first
    clock.time = after(LEASE)
    assert await asked.answer(TENANT) is not first


async def test_a_tenant_that_is_gone_is_not_remembered() -> None:
    looks = Looks(live(RunState.COMPLETED))
    asked = made(looks)
    await asked.answer(TENANT)
    looks.rows = None
    assert await asked.answer(TENANT) is None
    assert await asked.answers([TENANT]) == {TENANT: None}
    assert not asked._kept


async def test_so_many_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board, "MOST_KEPT", 3)
    asked = made(Looks(live(RunState.COMPLETED)))
    for number in range(6):
        await asked.answer(TenantId(str(number)))
        await asked.answer(TenantId("0"))
    assert set(asked._kept) == {"4", "5", "0"}


STANDINGS = [
    pytest.param(live(None), id="no run"),
    pytest.param(live(RunState.FAILED, updated_at=before(500)), id="closed"),
    pytest.param(live(RunState.QUEUED), id="queued"),
    pytest.param(live(RunState.QUEUED, gate=GateState.DOWN), id="gate"),
    pytest.param(live(RunState.WAITING, due_at=after(7)), id="waiting"),
    pytest.param(paused(live(RunState.QUEUED), after(40)), id="paused"),
    pytest.param(paused(live(RunState.WAITING, due_at=after(7)), after(40)), id="then paused"),
    pytest.param(live(RunState.RUNNING, heartbeat_at=NOW, deadline_at=after(35)), id="driven"),
    pytest.param(
        live(RunState.RUNNING, heartbeat_at=before(5), waiting_for=SLOT_WAIT), id="at the slot"
    ),
    pytest.param(live(RunState.RUNNING, heartbeat_at=before(25)), id="dead worker"),
    pytest.param(live(RunState.RUNNING, heartbeat_at=NOW, stopped_at=before(2)), id="stopped"),
    pytest.param(live(RunState.RUNNING, updated_at=before(3)), id="no worker"),
]


@pytest.mark.parametrize("rows", STANDINGS)
def test_between_two_turns_a_status_stays_the_same(rows: Live) -> None:
    """Second by second for two minutes: what is kept until a turn is still what is so."""
    at, kept, until = NOW, status_of(rows, KINDS, NOW, LEASE), turns_at(rows, NOW, LEASE)
    turns = 0
    while at < after(120):
        at += timedelta(seconds=0.5)
        fresh = status_of(rows, KINDS, at, LEASE)
        if until is None or at < until:
            assert fresh == kept
            continue
        kept, until = fresh, turns_at(rows, at, LEASE)
        turns += 1
        assert turns < 12


def test_an_estimate_that_hardly_moves_is_no_news() -> None:
    status = status_of(live(RunState.QUEUED), KINDS, NOW, LEASE)
    at = replace(status, eta=after(100))
    assert is_news(status, at)
    assert is_news(at, status)
    assert not is_news(at, replace(status, eta=after(110)))
    assert is_news(at, replace(status, eta=after(200)))
    assert not is_news(replace(status, eta=after(2)), replace(status, eta=after(3)))
    assert is_news(at, replace(at, next_command="x"))
