"""Rows that tenants share: each column with each value that may stand there.

Whose row it is may suffer. No sweep, list, delivery or deletion of the others does; and what a
site's row or a herd's keeps from moving goes on, whatever stands there.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Boolean, Float, Integer

from reconciler.judge import Verdict
from server.access.api_keys import ApiKeys
from server.healing import History
from server.model.actor import LOCAL, Role
from server.model.states import GateState, TenantState
from server.queries.fleet import Fleet
from server.store.access import AccessStore
from server.store.columns import UtcTime
from server.store.operations import OutboxRow, SlotTake, SweepOperation, TenantOperation
from server.store.retention import Kept, Retention
from server.store.tables import METADATA
from server.webhook import Courier, WebhookTarget
from tests.damage.rows import SHARED, copy_row, shared_damages, strike
from tests.damage.test_every_column import YEARS, patiently
from tests.reconciler.conftest import scene
from tests.reconciler.scene import ENGINES, PASSING, SITE, herd, moving, of_its_own
from tests.server.test_webhook import receiving

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection

    from tests.damage.rows import Damage
    from tests.reconciler.scene import Scene

__all__ = ["scene"]

# The short form takes every so many-th damage.
STEP = 13


def base_value(column: Column[Any], key: str, at: datetime) -> object:
    if column.name == key:
        return "base"
    if column.nullable:
        return None
    if isinstance(column.type, UtcTime):
        return at
    if isinstance(column.type, Boolean):
        return False
    return 1 if isinstance(column.type, Integer | Float) else "x"


async def with_damages(scene: Scene, *, step: int) -> int:
    """Make a row for each damage of each shared table, and damage it."""
    at = scene.clock()

    def work(connection: Connection) -> int:
        taken = 0
        for name, key in SHARED.items():
            table = METADATA.tables[name]
            row = {each.name: base_value(each, key, at) for each in table.columns}
            connection.execute(table.insert().values(row))
            chosen = list(shared_damages(name, key, sqlite=scene.database.is_sqlite))[::step]
            for number, each in enumerate(chosen):
                copy_row(connection, name, key, f"own-{number}")
                taken += strike(connection, each, f"own-{number}")
        return taken

    return await scene.database.in_transaction(work)


async def nobody_suffers(scene: Scene, *, step: int) -> int:
    taken = await with_damages(scene, step=step)
    healthy = await scene.stopped("Healthy", of_its_own(1))
    database = scene.database
    for sweeper in (scene.sweeper(notify=True), scene.sweeper(notify=True)):
        await patiently(sweeper.sweep)
        await patiently(sweeper.sweep)
    assert await scene.state(healthy) is TenantState.IN_PROGRESS

    history = History(database, now=scene.clock)
    await patiently(partial(history.findings, LOCAL, page_size=1000, include_members=True))
    await patiently(partial(history.sweeps, LOCAL, page_size=1000))
    await patiently(partial(history.report, LOCAL))
    access = AccessStore(database)
    keys = ApiKeys(access, now=scene.clock)
    made = await patiently(partial(keys.create, LOCAL, name="signup", role=Role.OPERATOR))
    assert await patiently(partial(keys.verify, made.text.get_secret_value())) is not None
    await patiently(access.users)
    await patiently(partial(access.audit, limit=10_000))
    await patiently(partial(access.members, "x"))
    await messages_arrive(scene)
    retention = Retention(database, Kept(), now=lambda: scene.clock() + YEARS, pause_seconds=0.0)
    await patiently(retention.round)
    return taken


async def messages_arrive(scene: Scene) -> None:
    """A message that is written last arrives, though all that is damaged is due before."""
    scene.clock.forward(hours=1)
    at = scene.clock()
    await scene.database.submit(
        SweepOperation(
            id="last",
            started_at=at,
            finished_at=at,
            observed=0,
            acted=0,
            skipped_passes=0,
            findings=(),
            outbox=(OutboxRow(id="last", kind="healed", body={}, created_at=at),),
        )
    )
    async with receiving() as receiver:
        target = WebhookTarget(
            url=f"http://127.0.0.1:{receiver.port}/hook", secret=SecretStr("secret")
        )
        courier = Courier(scene.database.outbox, target, now=scene.clock)
        for _ in range(100):
            await patiently(courier.deliver_due)
            scene.clock.forward(minutes=5)
            if any(headers["provisioner-delivery"] == "last" for headers, _ in receiver.got):
                return
    pytest.fail("The last message never arrived.")


async def test_some_damages_of_shared_rows_make_nobody_else_suffer(scene: Scene) -> None:
    assert await nobody_suffers(scene, step=STEP) > 40


@pytest.mark.prove
async def test_every_damage_of_shared_rows_makes_nobody_else_suffer(scene: Scene) -> None:
    assert await nobody_suffers(scene, step=1) > 400


def of_the_site(scene: Scene) -> list[Damage]:
    return [
        each
        for each in shared_damages("engines", "site", sqlite=scene.database.is_sqlite)
        # Then it is another site's, and this one's is made at the next start.
        if not each.what.startswith("engines.site:")
    ]


async def site_goes_on(scene: Scene, *, step: int) -> int:
    """Damage a site's row column by column: its tenants are judged, its slot is had."""
    taken = 0
    await scene.gate(GateState.UP)
    (whole,) = await scene.sql("SELECT * FROM engines")
    fleet = Fleet(scene.database, engines=ENGINES, default_engine="main", max_runs={})
    for number, damage in enumerate(of_the_site(scene)[::step]):
        tenant_id = await scene.stopped(f"Shop {number}", of_its_own(number))
        await scene.sql(
            "UPDATE engines SET slot_tenant_id = 'gone', slot_token = 1, "
            "slot_sent_at = gate_since, slot_expires_at = gate_since, wave = 2"
        )

        def work(connection: Connection, damage: Damage = damage) -> bool:
            return strike(connection, damage, SITE)

        if not await scene.database.in_transaction(work):
            continue
        taken += 1
        for sweeper in (scene.sweeper(), scene.sweeper()):
            report = await patiently(sweeper.sweep)
            assert "SWEEP_ERROR" not in {each.finding.cause.value for each in report.findings}
        assert await scene.state(tenant_id) is TenantState.IN_PROGRESS, damage.what
        await patiently(partial(fleet.engines, LOCAL))
        (gate,) = (await patiently(scene.database.reads.gates)).values()
        assert gate.state is GateState.UP
        assert gate.wave is None or gate.wave > 0, damage.what
        await slot_is_had(scene, tenant_id, damage)
        await scene.sql("DELETE FROM engines")
        await scene.database.in_transaction(
            lambda connection: connection.execute(
                METADATA.tables["engines"].insert().values(_as_times(whole))
            )
        )
    return taken


def _as_times(row: Any) -> dict[str, Any]:  # Any: what SQLite holds
    return {
        name: datetime.fromisoformat(value)
        if isinstance(value, str) and isinstance(METADATA.tables["engines"].c[name].type, UtcTime)
        else value
        for name, value in row.items()
    }


async def slot_is_had(scene: Scene, tenant_id: str, damage: Damage) -> None:
    """Whatever its row says of a request that is out, a site's slot is had two hours later."""
    scene.clock.forward(hours=2)
    if not scene.database.is_sqlite:
        # Its own clock tells; nobody sets that.
        await scene.sql(
            "UPDATE engines SET slot_sent_at = slot_sent_at - CAST('2 hours' AS interval) "
            "WHERE isfinite(slot_sent_at)"
        )
    record = await scene.record(tenant_id)
    took = await scene.database.submit(
        TenantOperation(
            tenant_id=record.tenant.id,
            at=scene.clock(),
            token=record.tenant.fencing_token,
            slot=SlotTake(site=SITE, doctype="Company", name="A", seconds=60.0, repeatable=False),
        )
    )
    assert took.applied, damage.what
    await scene.end_run(record.tenant.id)


async def test_some_damages_of_a_sites_row_keep_none_of_its_tenants(scene: Scene) -> None:
    assert await site_goes_on(scene, step=STEP) > 3


@pytest.mark.prove
async def test_every_damage_of_a_sites_row_keeps_none_of_its_tenants(scene: Scene) -> None:
    assert await site_goes_on(scene, step=1) > 50


@pytest.mark.parametrize("column", ["alerted_at", "released_at", "ordered_at", "opened_at"])
async def test_a_herd_whose_time_is_none_keeps_its_tenants_from_moving_for_no_longer(
    scene: Scene, column: str
) -> None:
    ids = await herd(scene, PASSING)
    await scene.sweeper().sweep()
    (canary,) = await moving(scene, ids)
    await scene.end_run(canary)
    await scene.sql(
        f"UPDATE herds SET {column} = "  # noqa: S608 - of this test
        + ("'no time'" if scene.database.is_sqlite else "'infinity'")
    )
    for _ in range(3):
        scene.clock.forward(hours=3)
        for sweeper in (scene.sweeper(), scene.sweeper()):
            await sweeper.sweep()
    left = set(ids) - {canary}
    assert set(await moving(scene, ids)) == left


async def test_a_herd_of_words_stops_no_sweep_and_two_sweepers_write_no_more_of_it(
    scene: Scene,
) -> None:
    ids = await herd(scene, PASSING)
    healthy = await scene.stopped("Healthy", of_its_own(1))
    await scene.sweeper(limit=0).sweep()
    await scene.sql("UPDATE herds SET tries = -1, tenants = -1, canary_revision = -1")
    pair = scene.sweeper(), scene.sweeper()
    for sweeper in pair:
        await sweeper.sweep()
    assert await scene.state(healthy) is TenantState.IN_PROGRESS
    assert await moving(scene, ids)
    before = await scene.everything()
    for sweeper in pair:
        report = await sweeper.sweep()
        assert Verdict.CALL_OPERATOR not in {each.verdict for each in report.findings}
    assert await scene.everything() == before
