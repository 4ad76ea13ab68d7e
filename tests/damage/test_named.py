"""A damage that keeps a tenant from being moved is named where people look, with what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.commands import OrderTerms
from server.diagnosis import Diagnoser
from server.errors import Refused
from server.model.actor import LOCAL
from server.model.causes import Cause, Severity
from server.model.damaged import ROW_DAMAGED
from server.model.states import TenantState
from server.queries import Queries
from tests.damage.test_every_column import claimable
from tests.reconciler.conftest import scene
from tests.reconciler.scene import ENGINES, LEASE, of_its_own

if TYPE_CHECKING:
    from server.diagnosis import Diagnosis
    from server.queries import Status
    from tests.reconciler.scene import Scene

__all__ = ["scene"]

COUNTERS = ("log_seq", "revision", "fencing_token")


async def diagnosed(scene: Scene, tenant_id: str) -> Diagnosis:
    diagnoser = Diagnoser(scene.database, engines=ENGINES, now=scene.clock, lease_seconds=LEASE)
    return await diagnoser.diagnose(LOCAL, tenant_id)


async def status(scene: Scene, tenant_id: str) -> Status:
    queries = Queries(scene.database, engines=ENGINES, now=scene.clock, lease_seconds=LEASE)
    return await queries.status(LOCAL, tenant_id)


@pytest.mark.parametrize("column", ["site", "tenant_id"])
async def test_an_open_run_that_no_worker_finds_is_named_and_another_run_mends_it(
    scene: Scene, column: str
) -> None:
    tenant_id = await scene.start()
    await scene.sql(f"UPDATE runs SET {column} = 'elsewhere'")  # noqa: S608 - of this test
    assert await claimable(scene, {tenant_id}) == set()

    seen = await status(scene, tenant_id)
    assert [error.code for error in seen.errors] == [ROW_DAMAGED]
    assert seen.waiting_for is None
    assert seen.next_command == f"provisioner diagnose {tenant_id}"
    (cause,) = (await diagnosed(scene, tenant_id)).causes
    assert (cause.code, cause.severity) == (ROW_DAMAGED, Severity.PERSON)
    assert f"runs.{column}" in cause.message
    assert cause.remedy.command == f"provisioner cancel {tenant_id} --reason diagnosed"

    report = await scene.sweeper(notify=True).sweep()
    assert [found.finding.cause for found in report.findings] == [Cause.ROW_DAMAGED]
    assert len(await scene.findings(tenant_id)) == 1
    # Told once, however many look.
    await scene.sweeper(notify=True).sweep()
    assert len(await scene.findings(tenant_id)) == 1
    assert len(await scene.sql("SELECT id FROM outbox")) == 1

    await scene.commands.cancel(LOCAL, tenant_id, OrderTerms())
    await scene.continue_(tenant_id)
    assert await claimable(scene, {tenant_id}) == {tenant_id}
    assert (await status(scene, tenant_id)).errors == ()


async def test_a_run_under_way_is_not_called_lost_for_a_row_its_worker_read_before(
    scene: Scene,
) -> None:
    tenant_id = await scene.start()
    await scene.beat("w")
    await scene.sql("UPDATE runs SET state = 'RUNNING', worker_id = 'w', site = 'elsewhere'")
    assert (await status(scene, tenant_id)).errors == ()
    report = await scene.sweeper().sweep()
    assert report.findings == ()


@pytest.mark.parametrize("column", COUNTERS)
async def test_a_counter_that_nothing_can_be_counted_on_is_named_and_orders_say_how_to_mend_it(
    scene: Scene, column: str
) -> None:
    tenant_id = await scene.stopped("Acme", of_its_own(1))
    await scene.sql(f"UPDATE tenants SET {column} = 9223372036854775807")  # noqa: S608 - of this test

    with pytest.raises(Refused, match="A damaged row") as refused:
        await scene.continue_(tenant_id)
    assert refused.value.code == ROW_DAMAGED
    first = (await diagnosed(scene, tenant_id)).causes[0]
    assert (first.code, first.remedy.method) == (ROW_DAMAGED, "")
    assert f"tenants.{column}" in first.message
    report = await scene.sweeper().sweep()
    assert [found.finding.cause for found in report.findings] == [Cause.ROW_DAMAGED]

    # As docs/operations.md has it.
    await scene.sql(
        "UPDATE tenants SET log_seq = (SELECT coalesce(max(cursor), 0) FROM log_entries "
        "WHERE tenant_id = :id), revision = 1000000, fencing_token = 1000000 WHERE id = :id",
        id=tenant_id,
    )
    await scene.sweeper().sweep()
    assert await scene.state(tenant_id) is TenantState.IN_PROGRESS
