"""Finished tenants are looked at, a few a sweep; what was changed by hand is reported."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.drift import DriftCheck
from reconciler.healer import LocalHealer
from reconciler.sweep import Sweeper
from server.commands import EngineEntry, OrderTerms
from server.errors import EngineNotReady, Refused
from server.model.actor import LOCAL
from server.model.blueprint import ENGINE_BLUEPRINTS, ERPNEXT
from server.model.difference import Difference
from server.model.states import GateState, TenantState
from server.model.unreadable import SPEC_UNREADABLE
from server.probing import Prober, Stand, StepLook, Survey
from server.queries.surveys import Surveys
from tests.reconciler.scene import SITE, Scene
from tests.server.executor.conftest import site, still  # noqa: F401 - the fixtures
from tests.server.executor.scene import now
from tools.plain_http import plain_client

if TYPE_CHECKING:
    from datetime import datetime

    from server.model.identifiers import TenantId
    from tests.server.executor.scene import Shop

GONE = Difference(doctype="Customer", name="Walk-In Customer - KS")
MONEY = Difference(doctype="Price List", name="Retail KS", field="currency", have="USD", want="KES")


class Eyes(Prober):
    """A prober that sees what it is told."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.seen: list[str] = []
        self.wrong: dict[str, tuple[Difference, ...]] = {}
        self.error: Exception | None = None

    async def tenant(self, tenant_id: TenantId) -> Survey:
        self.seen.append(tenant_id)
        if self.error:
            raise self.error
        missing = self.wrong.get(tenant_id, ())
        step = StepLook(
            key="step_7_customer",
            title="Customer",
            required=True,
            stand=Stand.MISSING if missing else Stand.OK,
            missing=missing,
        )
        spec = (await self.scene.record(tenant_id)).tenant.spec
        return Survey(
            spec=spec, engine_id="main", looked_at=self.scene.clock(), seconds=0.1, steps=(step,)
        )


@pytest.fixture
def eyes(scene: Scene) -> Eyes:
    return Eyes(scene)


def sweeper(scene: Scene, eyes: Eyes, **options: Any) -> Sweeper:  # Any: of DriftCheck
    check = DriftCheck(scene.database, eyes, sites={SITE}, now=scene.clock, **options)
    return scene.sweeper(drift=check, notify=bool(options.get("notify")))


async def test_a_sweep_looks_at_few_and_at_each_once_a_period(scene: Scene, eyes: Eyes) -> None:
    tenants = [await scene.completed(f"Shop {number}") for number in range(3)]
    scene.clock.forward(days=7)
    two = sweeper(scene, eyes), sweeper(scene, eyes)

    reports = [await each.sweep() for each in (*two, *two)]

    assert sorted(eyes.seen) == sorted(tenants)
    assert len(set(eyes.seen[:2])) == 2
    assert [report.findings for report in reports] == [()] * 4
    assert await scene.sql("SELECT * FROM sweeps") == []
    scene.clock.forward(days=6.9)
    await two[0].sweep()
    assert len(eyes.seen) == 3
    scene.clock.forward(days=0.2)
    await two[0].sweep()
    assert len(eyes.seen) == 5


async def test_who_is_not_due_is_not_looked_at_and_nothing_is_written(
    scene: Scene, eyes: Eyes
) -> None:
    await scene.completed("Fresh")
    before = await scene.everything()

    await sweeper(scene, eyes).sweep()
    scene.clock.forward(days=8)
    await sweeper(scene, eyes, limit=0).sweep()
    await sweeper(scene, eyes).sweep(dry_run=True)

    assert eyes.seen == []
    assert await scene.everything() == before


async def test_what_differs_is_one_finding_that_a_clean_look_ends(scene: Scene, eyes: Eyes) -> None:
    tenant = await scene.completed("Kijani Stores")
    scene.clock.forward(days=7)
    eyes.wrong[tenant] = (GONE,)
    record, sweeps = await scene.record(tenant), sweeper(scene, eyes, notify=True)

    report = await sweeps.sweep()

    [found] = await scene.findings(tenant)
    assert (found["cause"], found["severity"]) == ("DRIFT", "PERSON")
    assert "Customer Walk-In Customer - KS" in found["message"]
    assert f"provisioner verify {tenant}" in found["message"]
    assert f"provisioner retry {tenant}" in found["message"]
    assert report.recorded == 1
    assert await scene.record(tenant) == record
    # It stands though the tenant is at rest, and later looks say what they see.
    eyes.wrong[tenant] = (MONEY, GONE)
    scene.clock.forward(hours=1)
    await sweeps.sweep()
    [found] = await scene.findings(tenant)
    assert found["ended_at"] is None
    assert "currency is 'USD', wanted 'KES'" in found["message"]
    eyes.wrong.clear()
    scene.clock.forward(hours=1)
    await sweeps.sweep()
    [found] = await scene.findings(tenant)
    assert (found["ended_as"], found["ended_at"]) == ("MENDED", scene.clock())
    kinds = await scene.sql("SELECT kind FROM outbox ORDER BY created_at")
    assert [row["kind"] for row in kinds] == ["needs_person", "healed"]
    # Changed once more: found once more, though no order came between.
    eyes.wrong[tenant] = (GONE,)
    scene.clock.forward(days=7)
    await sweeps.sweep()
    assert len(await scene.findings(tenant)) == 2


async def drifted(scene: Scene, eyes: Eyes, sweeps: Sweeper) -> TenantId:
    tenant = await scene.completed("Kijani Stores")
    scene.clock.forward(days=7)
    eyes.wrong[tenant] = (GONE,)
    await sweeps.sweep()
    scene.clock.forward(minutes=1)
    assert [each["ended_at"] for each in await scene.findings(tenant)] == [None]
    return tenant


async def test_a_run_that_repaired_it_is_looked_at_in_the_next_sweep(
    scene: Scene, eyes: Eyes
) -> None:
    sweeps = sweeper(scene, eyes, limit=1, notify=True)
    tenant = await drifted(scene, eyes, sweeps)
    waiting = await scene.completed("Long due")
    await scene.sql("UPDATE tenants SET verify_at = '2020-01-01' WHERE id = :id", id=waiting)

    await scene.commands.retry(LOCAL, tenant, OrderTerms())
    await sweeps.sweep()  # it is in motion: whoever is due by time gets the look
    scene.clock.forward(minutes=1)
    await scene.end_run(tenant)
    scene.clock.forward(minutes=1)
    # Looked at, and still wrong: once, not in every sweep.
    looks = len(eyes.seen)
    for _ in range(3):
        await sweeps.sweep()
        scene.clock.forward(minutes=1)
    assert eyes.seen[looks:] == [tenant]
    await scene.commands.retry(LOCAL, tenant, OrderTerms())
    await scene.end_run(tenant)
    eyes.wrong.clear()

    await sweeps.sweep()

    [found] = await scene.findings(tenant)
    assert (found["ended_as"], found["ended_at"]) == ("MENDED", scene.clock())


async def test_a_persons_verify_that_finds_all_well_ends_it_at_once(
    scene: Scene, eyes: Eyes
) -> None:
    check = DriftCheck(scene.database, eyes, sites={SITE}, now=scene.clock, notify=True)
    tenant = await drifted(scene, eyes, scene.sweeper(drift=check, notify=True))
    surveys = Surveys(
        scene.database,
        eyes,
        engine_ids={"main"},
        default_engine="main",
        seen_clean=LocalHealer(scene.sweeper(), check).seen_clean,
    )

    still_wrong = await surveys.verify(LOCAL, tenant)
    [found] = await scene.findings(tenant)
    assert (still_wrong.survey.clean, found["ended_at"]) == (False, None)
    eyes.wrong.clear()
    await surveys.verify(LOCAL, tenant)

    [found] = await scene.findings(tenant)
    assert (found["ended_as"], found["ended_at"]) == ("MENDED", scene.clock())
    kinds = await scene.sql("SELECT kind FROM outbox ORDER BY created_at")
    assert [row["kind"] for row in kinds] == ["needs_person", "healed"]


async def test_a_site_that_is_shut_and_a_held_tenant_are_left_alone(
    scene: Scene, eyes: Eyes
) -> None:
    tenant = await scene.completed("Kijani Stores")
    scene.clock.forward(days=7)
    await scene.gate(GateState.DOWN)
    await sweeper(scene, eyes).sweep()
    assert eyes.seen == []
    await scene.sql("DELETE FROM engines")
    await scene.sql("UPDATE tenants SET hold_reason = 'mine' WHERE id = :id", id=tenant)
    await sweeper(scene, eyes).sweep()
    assert eyes.seen == []


async def test_a_pause_from_a_clock_that_was_set_back_since_keeps_nobody_from_looking(
    scene: Scene, eyes: Eyes
) -> None:
    """No tenant of the site would have been looked at until the wrong time came."""
    await scene.completed("Kijani Stores")
    scene.clock.forward(days=7)
    await scene.gate(GateState.UP)
    paused = "UPDATE engines SET paused_until = :at"
    await scene.sql(paused, at=await scene.shared_now() + timedelta(minutes=10))
    await sweeper(scene, eyes).sweep()
    assert eyes.seen == []
    await scene.sql(paused, at=await scene.shared_now() + timedelta(days=3650))
    await sweeper(scene, eyes).sweep()
    assert len(eyes.seen) == 1


async def test_a_site_with_tenants_to_make_comes_first(scene: Scene, eyes: Eyes) -> None:
    await scene.completed("Kijani Stores")
    scene.clock.forward(days=7)
    await scene.gate(GateState.UP)
    await scene.sql(
        "UPDATE engines SET slot_tenant_id = 'another', slot_expires_at = :at",
        at=await scene.shared_now() + timedelta(minutes=1),
    )
    await sweeper(scene, eyes).sweep()
    assert eyes.seen == []
    await scene.forward(minutes=2)
    await sweeper(scene, eyes).sweep()
    assert len(eyes.seen) == 1


async def test_a_slot_that_a_wrong_clock_left_keeps_no_check_off_its_site(
    scene: Scene, eyes: Eyes
) -> None:
    """If no tenant is made there any more, nobody takes it."""
    await scene.completed("Kijani Stores")
    scene.clock.forward(days=7)
    await scene.gate(GateState.UP)
    ahead = await scene.shared_now() + timedelta(days=40)
    await scene.sql(
        "UPDATE engines SET slot_tenant_id = 'another', slot_sent_at = :at, slot_expires_at = :at",
        at=ahead,
    )
    await sweeper(scene, eyes).sweep()
    assert len(eyes.seen) == 1


async def test_a_site_with_tenants_in_line_for_its_slot_is_left_to_them(
    scene: Scene, eyes: Eyes
) -> None:
    await scene.completed("Kijani Stores")
    other = await scene.start("Next In Line")
    scene.clock.forward(days=7)
    await scene.sql(
        "UPDATE runs SET state = 'WAITING', waiting_code = 'SITE_SLOT' WHERE tenant_id = :other",
        other=other,
    )
    await sweeper(scene, eyes).sweep()
    assert eyes.seen == []
    await scene.end_run(other)
    await sweeper(scene, eyes).sweep()
    assert len(eyes.seen) == 1


@pytest.mark.parametrize(
    "error", [EngineNotReady("It is away.", code="ENGINE_DOWN"), ZeroDivisionError()]
)
async def test_a_look_that_came_to_nothing_is_tried_again_in_an_hour(
    scene: Scene, eyes: Eyes, error: Exception
) -> None:
    tenant = await scene.completed("Kijani Stores")
    scene.clock.forward(days=7)
    eyes.error = error
    sweeps = sweeper(scene, eyes)
    await sweeps.sweep()
    await sweeps.sweep()
    assert eyes.seen == [tenant]
    assert await scene.findings(tenant) == []
    scene.clock.forward(hours=1)
    await sweeps.sweep()
    assert eyes.seen == [tenant, tenant]


async def test_a_finished_tenant_whose_spec_can_not_be_read_is_a_finding(
    scene: Scene, eyes: Eyes
) -> None:
    tenant = await scene.completed("Kijani Stores")
    scene.clock.forward(days=7)
    eyes.error = Refused(
        "Of the tenant's stored spec currency can't be read.", code=SPEC_UNREADABLE
    )
    sweeps = sweeper(scene, eyes)
    await sweeps.sweep()
    [found] = await scene.findings(tenant)
    assert (found["cause"], found["severity"]) == ("DRIFT", "PERSON")
    assert "currency can't be read" in found["message"]
    assert (await scene.record(tenant)).tenant.state is TenantState.COMPLETED
    eyes.error = None
    scene.clock.forward(hours=1)
    await sweeps.sweep()
    [found] = await scene.findings(tenant)
    assert found["ended_as"] == "MENDED"


async def test_a_customer_deleted_at_the_site_is_reported_until_it_is_mended(
    still: Shop,  # noqa: F811 - the fixture
) -> None:
    store = await still.drive()
    tenant = await still.completed("Kijani Stores", till_user=None)
    entries = {"main": EngineEntry(site=store.engine.site, blueprint=ERPNEXT)}
    ahead = timedelta(days=8)

    def clock() -> datetime:
        return now() + ahead

    sweeps = Sweeper(
        store.database,
        still.commands,
        engines=entries,
        now=clock,
        lease_seconds=2.0,
        drift=DriftCheck(
            store.database,
            Prober(store.database, {"main": store.engine}, ENGINE_BLUEPRINTS, now=clock),
            sites={store.engine.site},
            now=clock,
            seconds=60,
        ),
    )
    customer = "Walk-In Customer - KS"
    url = f"{still.site.url}/api/resource"
    async with plain_client(headers={"Authorization": "token key:secret"}) as client:
        # The site keeps a Customer that a POS Profile names.
        for document in ("POS Profile/POS KS", f"Customer/{customer}"):
            assert (await client.delete(f"{url}/{document}")).status_code == 202
    before = await still.writes()

    await sweeps.sweep()

    [found] = await store.database.reads.findings(limit=9, tenant_id=tenant)
    assert (found["cause"], found["ended_at"]) == ("DRIFT", None)
    assert customer in found["message"]
    assert "step_7_customer" in str(found["evidence"])
    assert await still.state(tenant) is TenantState.COMPLETED
    assert await still.writes() == before
    # Only an order makes again what is gone, and only another look ends the finding.
    await still.again(tenant)
    await still.must_complete(tenant)
    await sweeps.sweep()
    [found] = await store.database.reads.findings(limit=9, tenant_id=tenant)
    assert found["ended_at"] is None
    ahead += timedelta(hours=2)
    await sweeps.sweep()
    [found] = await store.database.reads.findings(limit=9, tenant_id=tenant)
    assert found["ended_as"] == "MENDED"
