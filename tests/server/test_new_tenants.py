"""What a Start answers is made of what it wrote: it is what a read right after it finds."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from server.commands import Commands, EngineEntry
from server.errors import NotFound
from server.model.actor import LOCAL, Actor, Role
from server.model.blueprint import ERPNEXT
from server.model.states import GateState, WaitingCode
from server.queries import Queries
from server.store.operations import GateOperation
from server.validation import RawSpec

if TYPE_CHECKING:
    from server.model.records import Record
    from server.store.database import Database

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ENGINES = {"main": EngineEntry(site="site", blueprint=ERPNEXT)}


@pytest.fixture
def commands(database: Database) -> Commands:
    return Commands(database, engines=ENGINES, default_engine="main", now=lambda: NOW)


@pytest.fixture
def queries(database: Database) -> Queries:
    return Queries(database, engines=ENGINES, now=lambda: NOW, lease_seconds=10.0)


async def gate(database: Database, state: GateState) -> None:
    down = state is not GateState.UP
    await database.submit(
        GateOperation(
            site="site",
            at=NOW,
            gate=state,
            code="ENGINE_UNREACHABLE" if down else "",
            message="Nobody answers there." if down else "",
            next_probe_at=NOW + timedelta(seconds=30) if down else None,
        )
    )


async def made_of(commands: Commands, raw: RawSpec, *, request_id: str = "") -> list[Record]:
    made: list[Record] = []
    await commands.start(LOCAL, raw, request_id=request_id, made=made.append)
    return made


@pytest.mark.parametrize("state", [None, GateState.UP, GateState.DOWN, GateState.MISCONFIGURED])
async def test_what_was_written_says_what_a_read_says(
    database: Database, commands: Commands, queries: Queries, state: GateState | None
) -> None:
    if state is not None:
        await gate(database, state)
    raw = RawSpec(
        company_name="Café Ñandú 🏪",
        payment_methods=("Cash", "Cheque"),
        opening_amount=12.5,
        till_user="till@example.com",
    )
    (record,) = await made_of(commands, raw, request_id="one")
    told = await queries.status_of_new(LOCAL, record)
    assert told == await queries.status(LOCAL, record.tenant.id)
    assert told.tenant.revision == 1
    waits = told.waiting_for
    assert waits is not None
    if state is GateState.DOWN:
        assert (waits.code, waits.until) == (
            WaitingCode.ENGINE_DOWN,
            NOW + timedelta(seconds=30),
        )


async def test_each_new_tenant_is_told_of_the_gate_as_it_is_by_then(
    database: Database, commands: Commands, queries: Queries
) -> None:
    codes = []
    for number, state in enumerate((GateState.UP, GateState.DOWN, GateState.UP)):
        await gate(database, state)
        (record,) = await made_of(commands, RawSpec(company_name=f"Shop {number}"))
        status = await queries.status_of_new(LOCAL, record)
        codes.append(None if status.waiting_for is None else status.waiting_for.code)
    assert codes == [WaitingCode.WORKER, WaitingCode.ENGINE_DOWN, WaitingCode.WORKER]


async def test_many_at_once_are_each_told_their_own(commands: Commands, queries: Queries) -> None:
    async def one(number: int) -> None:
        (record,) = await made_of(commands, RawSpec(company_name=f"Shop {number}"))
        told = await queries.status_of_new(LOCAL, record)
        assert told.tenant.spec.company_name == f"Shop {number}"
        assert told == await queries.status(LOCAL, record.tenant.id)

    await asyncio.gather(*(one(number) for number in range(20)))


async def test_a_repeated_order_made_nothing_and_must_be_read(commands: Commands) -> None:
    raw = RawSpec(company_name="Kijani Stores")
    assert len(await made_of(commands, raw, request_id="one")) == 1
    assert await made_of(commands, raw, request_id="one") == []


async def test_who_may_not_see_it_is_not_told(commands: Commands, queries: Queries) -> None:
    (record,) = await made_of(commands, RawSpec(company_name="Kijani Stores"))
    stranger = Actor(name="jane@example.com", role=Role.ADMIN, tenants={})
    with pytest.raises(NotFound):
        await queries.status_of_new(stranger, record)
