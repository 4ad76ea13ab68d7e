"""What a claim brings, who has a name, and where logs end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Insert, Text, cast, insert, literal, select, true

from server.store.tables import RUNS
from tests.server.store.scene import NOON, OTHER_SITE, SITE, whole_change

if TYPE_CHECKING:
    from server.model.identifiers import TenantId
    from server.store.claims import Claim
    from tests.server.store.scene import Scene


async def claim(scene: Scene, tenant_id: TenantId) -> Claim:
    claims = await scene.database.reads.claims([tenant_id, "unknown"], passed_step="step_2_company")
    assert list(claims) == [tenant_id]
    return claims[tenant_id]


async def test_who_passed_a_step_is_told_by_runs_and_by_rows(scene: Scene) -> None:
    tenant_id = await scene.tenant()
    assert not (await claim(scene, tenant_id)).passed_step
    await scene.sql("UPDATE steps SET state = 'COMPLETED' WHERE key = 'step_2_company'")
    assert (await claim(scene, tenant_id)).passed_step
    await scene.sql("DELETE FROM steps")
    assert not (await claim(scene, tenant_id)).passed_step
    await scene.change_run(tenant_id, previous_state="PARTIAL")
    assert (await claim(scene, tenant_id)).passed_step
    await scene.change_run(tenant_id, previous_state="", state="COMPLETED")
    assert (await claim(scene, tenant_id)).passed_step
    await scene.change_run(tenant_id, state="FAILED")
    await scene.change_tenant(tenant_id, first_completed_at=NOON)
    assert (await claim(scene, tenant_id)).passed_step


# More than the levels that SQLite compares a row with, and than most processes claim at once.
_REMOVED = 1100


def _many_removals() -> Insert:
    """Return what writes, by an existing run, that many other tenants were removed before."""
    number = select(literal(1).label("number")).cte("many", recursive=True)
    number = number.union_all(
        select(number.c.number + 1).where(number.c.number < literal(_REMOVED))
    )
    text = cast(number.c.number, Text)
    theirs = {
        "id": "removal " + text,
        "tenant_id": "removed " + text,
        "run_order": literal("DEPROVISION"),
        "state": literal("COMPLETED"),
    }
    one = select(RUNS).limit(1).subquery()
    rows = select(*(theirs.get(column.name, column) for column in one.c)).select_from(
        one.join(number, true())
    )
    return insert(RUNS).from_select([column.name for column in one.c], rows)


async def test_any_number_of_tenants_that_were_removed_before_are_claimed_at_once(
    scene: Scene,
) -> None:
    again, before = await scene.tenant("Again"), await scene.tenant("Before")
    await scene.change_run(again, state="PARTIAL")
    await scene.change_run(before, state="COMPLETED", run_order="DEPROVISION")
    await scene.execute(_many_removals())
    claims = await scene.database.reads.claims(
        [again, *(f"removed {number}" for number in range(1, _REMOVED + 1)), before],
        passed_step="step_2_company",
    )
    assert {tenant_id: claim.passed_step for tenant_id, claim in claims.items()} == {
        again: True,
        before: False,
    }


async def test_a_claim_brings_all_that_driving_a_run_needs(scene: Scene) -> None:
    tenant_id = await scene.tenant()
    record = await scene.record(tenant_id)
    await scene.written(whole_change(record, token=1, revision=None))
    claimed = await claim(scene, tenant_id)
    assert claimed.record == await scene.record(tenant_id)
    assert claimed.abbreviation == "KS"
    assert list(claimed.resources) == await scene.database.reads.resources(tenant_id)
    assert claimed.attempts == ()


async def test_tenants_of_one_name_are_found_as_the_engine_compares_names(scene: Scene) -> None:
    tenant_id = await scene.tenant("Café")
    elsewhere = await scene.tenant("Cafe", site=OTHER_SITE)
    for each in (tenant_id, elsewhere):
        assert (await claim(scene, each)).only_tenant_of_name
    bound = await scene.database.reads.bound_to(SITE, "cafe")
    assert bound is not None
    assert bound.tenant_id == tenant_id
    # A second one of the site, as an import behind our back could make it.
    await scene.sql("DELETE FROM bindings")
    second = await scene.tenant("CAFE")
    assert not (await claim(scene, tenant_id)).only_tenant_of_name
    assert (await claim(scene, elsewhere)).only_tenant_of_name
    await scene.change_tenant(second, state="DEPROVISIONED")
    assert (await claim(scene, tenant_id)).only_tenant_of_name


async def test_followers_are_told_the_end_of_each_log_and_whether_it_moves(scene: Scene) -> None:
    moving = await scene.tenant("Acme", log_count=3)
    resting = await scene.tenant("Bidii", log_count=2)
    await scene.change_tenant(resting, state="COMPLETED")
    assert await scene.database.reads.log_ends([moving, resting, "unknown"]) == {
        moving: (3, True),
        resting: (2, False),
    }
    assert await scene.database.reads.log_tail("unknown") is None
