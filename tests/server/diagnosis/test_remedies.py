"""The order that is named for a cause: it helps, it can be given as it stands, or there is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from server.diagnosis import StepSeen
from server.model.causes import Severity
from server.model.records import Hold
from server.model.states import ErrorClass, TenantState
from server.store.operations import TenantOperation
from tests.server.diagnosis.situations import (
    closed_without_reason,
    diagnosed,
    finished,
    half_removed,
    imported_held,
    lost,
    passing,
    seeing,
    vanished,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.diagnosis.causes import Remedy
    from server.model.identifiers import TenantId
    from tests.reconciler.scene import Scene


async def test_a_removal_that_a_sold_shop_stopped_is_given_with_the_option(scene: Scene) -> None:
    tenant_id = await half_removed(scene)
    await scene.sql(
        "UPDATE steps SET error_code = 'SHOP_HAS_SOLD' "
        "WHERE tenant_id = :id AND error_code IS NOT NULL",
        id=tenant_id,
    )
    remedy = (await diagnosed(scene, tenant_id)).causes[0].remedy
    assert remedy.command == f"provisioner deprovision {tenant_id} --even-if-sold --watch"
    assert remedy.request["even_if_sold"] is True


async def test_a_finished_tenant_whose_spec_can_not_be_read_says_how_to_say_it_again(
    scene: Scene,
) -> None:
    """Findings and refusals send people here for the command."""
    tenant_id = await finished(scene)
    assert (await diagnosed(scene, tenant_id)).causes == ()
    await scene.sql("UPDATE tenants SET spec = '{}' WHERE id = :id", id=tenant_id)
    [cause] = (await diagnosed(scene, tenant_id)).causes
    assert (cause.code, cause.severity.value) == ("SPEC_UNREADABLE", "PERSON")
    assert cause.remedy.command.startswith("provisioner start ")
    assert f"--tenant-id {tenant_id}" in cause.remedy.command


async def test_a_spec_that_was_said_again_is_not_asked_for_once_more(scene: Scene) -> None:
    tenant_id = await scene.stopped(
        "Kijani Stores", {"step_2_company": (ErrorClass.PERMANENT, "SPEC_UNREADABLE")}
    )
    (cause,) = (await diagnosed(scene, tenant_id)).causes
    assert cause.remedy.command == f"provisioner continue {tenant_id} --watch"


async def test_the_order_of_a_remedy_can_be_given_as_it_stands(scene: Scene) -> None:
    tenant_id = await lost(scene)
    remedy = (await diagnosed(scene, tenant_id)).causes[0].remedy

    assert remedy.call == "provisioner.v1.ProvisioningService/Continue"
    assert f'"tenant_id": "{tenant_id}"' in remedy.request_json
    assert remedy.command == f"provisioner continue {tenant_id} --watch"


async def test_no_retry_is_named_after_a_final_check_that_it_would_not_get_past(
    scene: Scene,
) -> None:
    """Somebody disabled a document in the middle of the run. Only the final check is not done."""
    tenant_id = await scene.stopped(
        "Disabled", {"step_10_post_sale_updates": (ErrorClass.PERMANENT, "FINAL_CHECK_FAILED")}
    )
    gone = StepSeen(key="step_5_settings", done=False, missing=("Price List Retail KS",))
    disabled = StepSeen(
        key="step_4_warehouses", done=False, missing=("disabled is 1, wanted 0",), by_hand=True
    )

    async def remedy(*seen: StepSeen) -> Remedy:
        (cause,) = (await diagnosed(scene, tenant_id, probe_all=seeing(*seen))).causes
        return cause.remedy

    assert (await remedy(gone)).command == f"provisioner retry {tenant_id} --watch"
    assert (await remedy(disabled)).command == f"provisioner continue {tenant_id} --watch"
    assert (await remedy(disabled)).says.startswith("Correct in ERPNext what differs")
    both = await remedy(disabled, gone)
    assert (both.method, both.command) == ("", f"provisioner verify {tenant_id}")


async def test_it_is_said_when_the_reconciler_drives_it_on_and_it_does_then(scene: Scene) -> None:
    tenant_id = await passing(scene)
    at_once = (await diagnosed(scene, tenant_id)).causes[0].remedy.says
    await scene.sql("UPDATE tenants SET heal_count = 2 WHERE id = :id", id=tenant_id)
    due = scene.clock() + timedelta(minutes=5)
    later = (await diagnosed(scene, tenant_id)).causes[0].remedy.says
    scene.clock.forward(seconds=299)
    await scene.sweeper().sweep()
    waiting = await scene.state(tenant_id)
    scene.clock.forward(seconds=1)
    now = (await diagnosed(scene, tenant_id)).causes[0].remedy.says
    await scene.sweeper().sweep()
    assert f"It will be driven on automatically at {due:%H:%M:%S} UTC." in later
    assert "automatically" not in at_once
    assert "automatically" not in now
    assert waiting is TenantState.FAILED
    assert await scene.state(tenant_id) is TenantState.IN_PROGRESS


async def test_continue_is_named_for_a_vanished_company_only_where_it_is_back(
    scene: Scene,
) -> None:
    """Continue makes none: it would stop there again, and the third one shuts the site's gate."""
    tenant_id = await vanished(scene)
    company = "step_2_company"
    gone = StepSeen(key=company, done=False, missing=("gone",), code="COMPANY_VANISHED")
    back = StepSeen(key=company, done=True, holds=("Company 'Kijani Stores'",))
    unknown = StepSeen(key=company, done=None, error="not looked at")

    async def remedy(*seen: StepSeen) -> Remedy:
        found = await diagnosed(scene, tenant_id, probe_all=seeing(*seen))
        assert [cause.code for cause in found.causes] == ["COMPANY_VANISHED", "HELD"]
        return found.causes[0].remedy

    wanted = f"provisioner retry {tenant_id} --step {company} --watch"
    # `fix` gives orders that have a call; an empty Company in a live shop is a person's to order.
    assert ((await remedy(gone)).command, (await remedy(gone)).call) == (wanted, "")
    assert f"provisioner continue {tenant_id}. Only" in (await remedy(gone)).says
    for seen in (back, unknown):
        assert (await remedy(seen)).command == f"provisioner continue {tenant_id} --watch"


@pytest.mark.parametrize("stand", [passing, lost, closed_without_reason])
async def test_nothing_is_said_to_go_on_by_itself_of_a_held_tenant(
    scene: Scene, stand: Callable[[Scene], Awaitable[TenantId]]
) -> None:
    tenant_id = await stand(scene)
    hold = Hold(reason="the owner asked", by="jane", since=scene.clock())
    await scene.database.submit(TenantOperation(tenant_id=tenant_id, at=scene.clock(), hold=hold))

    found = await diagnosed(scene, tenant_id)

    assert len(found.causes) > 1
    for cause in found.causes:
        assert cause.severity is Severity.PERSON
        assert "reconciler" not in cause.remedy.says
        assert cause.remedy.command == f"provisioner continue {tenant_id} --watch"


async def test_of_one_that_was_imported_held_only_what_settles_its_hold_is_named(
    scene: Scene,
) -> None:
    """Continue lifts the hold, and stops at the Company that is there, or makes a second one."""
    gone = StepSeen(key="step_2_company", done=False, missing=("gone",), code="COMPANY_VANISHED")
    for code in ("IMPORT_CONFLICT", "IMPORT_NEEDS_BINDING", "IMPORT_OTHER_NAME"):
        tenant_id = await imported_held(scene, code)
        (cause,) = (await diagnosed(scene, tenant_id)).causes
        assert cause.code == "HELD"
        assert cause.remedy.command == f"provisioner adopt {tenant_id} --watch"
        await scene.sql("DELETE FROM bindings")
    tenant_id = await imported_held(scene, "IMPORT_COMPANY_GONE")
    (cause,) = (await diagnosed(scene, tenant_id, probe_all=seeing(gone))).causes
    assert cause.remedy.command == f"provisioner retry {tenant_id} --step step_2_company --watch"
    assert not cause.remedy.call
    assert any(each.source == "engine" for each in cause.evidence)


async def test_what_an_earlier_step_made_and_is_gone_is_made_again_by_a_retry(
    scene: Scene,
) -> None:
    """Continue takes the step for done, and stops at the same reference again."""
    tenant_id = await scene.stopped(
        "Kijani Stores", {"step_8_pos_profile": (ErrorClass.PERMANENT, "REFERENCE_MISSING")}
    )

    async def command(*seen: StepSeen) -> str:
        found = await diagnosed(scene, tenant_id, probe_all=seeing(*seen))
        return found.causes[0].remedy.command

    customer = StepSeen(key="step_7_customer", done=False, missing=("Customer 'Walk-In'",))
    prices = StepSeen(key="step_5_settings", done=False, missing=("Price List 'Retail KS'",))
    profile = StepSeen(key="step_8_pos_profile", done=False, missing=("POS Profile 'POS KS'",))
    differs = replace(prices, by_hand=True)
    retry = f"provisioner retry {tenant_id}"
    assert await command(customer, profile) == f"{retry} --step step_7_customer --watch"
    assert await command(prices, customer, profile) == f"{retry} --watch"
    # What nobody made yet, or only a person mends, is made by hand; then the run goes on.
    assert await command(profile, differs) == f"provisioner continue {tenant_id} --watch"
    assert await command() == f"provisioner continue {tenant_id} --watch"


async def test_a_race_over_a_row_that_leads_nowhere_says_what_to_do_if_it_stays(
    scene: Scene,
) -> None:
    tenant_id = await scene.stopped(
        "Baraka Stores", {"step_8_pos_profile": (ErrorClass.RACE, "ENGINE_LINK_RACE")}
    )
    (cause,) = (await diagnosed(scene, tenant_id)).causes
    assert cause.remedy.says.startswith("Continue it now, with fresh tries.")
    assert "If it stops there again" in cause.remedy.says
    assert "Mode of Payment" in cause.remedy.says
    assert cause.remedy.alone
    passed = (await diagnosed(scene, await passing(scene))).causes[0].remedy
    assert "stops there again" not in passed.says


async def test_no_order_is_named_that_would_stop_a_working_shop(scene: Scene) -> None:
    """Fix would give it, and turn COMPLETED into FAILED."""
    tenant_id = await scene.completed("Kijani Stores")
    gone = StepSeen(key="step_8_pos_profile", done=False, missing=("POS Profile POS KS",))
    disabled = StepSeen(
        key="step_4_warehouses", done=False, missing=("disabled is 1, wanted 0",), by_hand=True
    )

    found = await diagnosed(scene, tenant_id, probe_all=seeing(disabled, gone))

    (cause,) = found.causes
    assert (cause.code, cause.remedy.method) == ("ENGINE_DIFFERS", "")
    assert cause.remedy.command == f"provisioner verify {tenant_id}"


async def test_no_order_is_named_that_would_put_an_empty_company_in_place_of_a_shop(
    scene: Scene,
) -> None:
    """Fix would give it, and nobody would look for the backup any more."""
    tenant_id = await scene.completed("Kijani Stores")
    gone = StepSeen(
        key="step_2_company", done=False, missing=("It is gone.",), code="COMPANY_VANISHED"
    )
    unknown = StepSeen(key="step_4_warehouses", done=None, error="Not looked at.")

    found = await diagnosed(scene, tenant_id, probe_all=seeing(gone, unknown))

    (cause,) = found.causes
    assert (cause.code, cause.step_key) == ("COMPANY_VANISHED", "step_2_company")
    assert (cause.remedy.method, cause.remedy.call) == ("", "")
    assert cause.remedy.command == f"provisioner verify {tenant_id}"
    assert "restore it from a backup" in cause.remedy.says
    assert f"provisioner retry {tenant_id} --step step_2_company" in cause.remedy.says
    assert cause.remedy.says.endswith("and look again.")
