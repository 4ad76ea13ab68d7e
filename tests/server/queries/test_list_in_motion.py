"""A list says of a tenant that is under way what its status says: what it waits for, or STALLED."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from server.commands import Commands
from server.model.actor import LOCAL
from server.model.states import GateState
from server.store.operations import GateOperation
from server.store.tables import ENGINES as SITES
from server.store.tables import RUNS, TENANTS
from server.validation import RawListing, RawSpec
from tests.server.queries.scene import ENGINES, NOW, after, before, running

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Update

    from server.store.database import Database


DOWN = update(SITES).values(gate="DOWN", gate_message="It does not answer.")
RETRYING = update(RUNS).values(
    state="WAITING", waiting_code="RETRY", waiting_until=after(30), due_at=after(30)
)
DRIVEN = update(RUNS).values(state="RUNNING")
LONG_AGO = update(TENANTS).values(updated_at=before(500))
CASES = [
    pytest.param([], "WORKER", "", id="queued"),
    pytest.param([DOWN], "ENGINE_DOWN", "", id="its site is down"),
    pytest.param([DOWN, RETRYING], "ENGINE_DOWN", "", id="its site is down meanwhile"),
    pytest.param([RETRYING], "RETRY", "", id="between two tries"),
    pytest.param([DRIVEN], "", "", id="just taken up"),
    pytest.param([DRIVEN, LONG_AGO], "", "STALLED", id="not driven"),
    pytest.param([update(RUNS).values(site="other")], "", "ROW_DAMAGED", id="damaged"),
    pytest.param([update(TENANTS).values(engine_id="gone")], "WORKER", "", id="engine not known"),
    pytest.param(
        [update(TENANTS).values(site="other"), update(RUNS).values(site="other")],
        "WORKER",
        "",
        id="of another site",
    ),
    pytest.param([update(RUNS).values(state="FAILED")], "", "", id="over"),
]


@pytest.mark.parametrize(("changes", "waits_for", "error"), CASES)
async def test_a_list_says_what_a_status_says(
    database: Database, changes: Sequence[Update], waits_for: str, error: str
) -> None:
    site = GateOperation(site=ENGINES["main"].site, at=NOW, gate=GateState.UP)
    await database.register_engines([site])
    commands = Commands(database, engines=ENGINES, default_engine="main", now=lambda: NOW)
    tenant = await commands.start(LOCAL, RawSpec(company_name="Acme"))
    await database.in_transaction(lambda connection: [connection.execute(each) for each in changes])
    async with running(database) as queries:
        (listed,) = (await queries.tenants(LOCAL, RawListing())).tenants
        status = await queries.status(LOCAL, tenant)
    assert listed.waiting_for == status.waiting_for
    said = "" if listed.waiting_for is None else listed.waiting_for.code
    assert (said, listed.error_code) == (waits_for, error)
    if error:
        assert error in {each.code for each in status.errors}
