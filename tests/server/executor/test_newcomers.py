"""A tenant ordered here is claimed from what was written, as long as that is true."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from server.commands import Commands, EngineEntry
from server.commands.asked import OrderTerms
from server.executor.claiming import COMPANY_STEP
from server.executor.newcomers import Newcomers
from server.model.actor import LOCAL
from server.model.blueprint import NOOP
from server.validation import RawSpec

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from server.store.database import Database


@pytest.fixture
def commands(database: Database) -> Commands:
    entries = {"noop": EngineEntry(site="site", blueprint=NOOP)}
    return Commands(database, engines=entries, default_engine="noop", now=lambda: datetime.now(UTC))


@pytest.fixture
def newcomers(database: Database) -> Newcomers:
    made = Newcomers(database.reads)
    database.on_applied(made.heard)
    return made


async def ordered(commands: Commands, name: str) -> TenantId:
    return await commands.start(LOCAL, RawSpec(company_name=name))


async def test_what_was_written_is_what_would_be_read(
    database: Database, commands: Commands, newcomers: Newcomers
) -> None:
    tenant = await ordered(commands, "Kijani Stores")
    known = await newcomers.claims({tenant})
    read = await database.reads.claims({tenant}, passed_step=COMPANY_STEP)
    # When it was read matters only where documents are in quarantine.
    assert known[tenant] == replace(read[tenant], read_at=None)


async def test_it_is_given_once_and_of_others_nothing_is_known(
    commands: Commands, newcomers: Newcomers
) -> None:
    tenant = await ordered(commands, "Kijani Stores")
    assert (await newcomers.claims({tenant, "another"})).keys() == {tenant}
    assert await newcomers.claims({tenant}) == {}


async def test_a_tenant_that_was_changed_since_is_read(
    commands: Commands, newcomers: Newcomers
) -> None:
    tenant = await ordered(commands, "Kijani Stores")
    await commands.cancel(LOCAL, tenant, OrderTerms())
    assert await newcomers.claims({tenant}) == {}


async def test_a_name_that_another_tenant_without_a_binding_has_is_read(
    database: Database, commands: Commands, newcomers: Newcomers
) -> None:
    first = await ordered(commands, "Kijani Stores")
    await database.in_transaction(
        lambda connection: connection.exec_driver_sql("DELETE FROM bindings")
    )
    second = await ordered(commands, "KIJANI Stores")
    assert await newcomers.claims({first, second}) == {}
    read = await database.reads.claims({second}, passed_step=COMPANY_STEP)
    assert not read[second].only_tenant_of_name
    assert replace(read[second], only_tenant_of_name=True) != read[second]
