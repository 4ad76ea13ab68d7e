"""Why a tenant stands where it stands: any state, the right cause, evidence, and an order."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from server.commands import EngineEntry
from server.diagnosis import Diagnoser, Diagnosis, StepSeen
from server.errors import EngineError, InvalidInput, NotFound
from server.model.actor import LOCAL
from server.model.blueprint import ERPNEXT
from server.model.causes import Severity
from server.model.records import Hold
from server.model.states import ErrorClass, GateState, TenantState
from server.store.operations import GateOperation, TenantOperation
from tests.reconciler.scene import (
    ENGINES,
    LEASE,
    OPTIONAL_PASSING,
    PASSING,
    PERMANENT,
    SITE,
    Scene,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from server.diagnosis.causes import Remedy
    from server.model.identifiers import TenantId
    from tests.reconciler.scene import Failures


def diagnoser(scene: Scene, **options: Any) -> Diagnoser:  # Any: the keyword arguments
    given: dict[str, Any] = {"engines": ENGINES, "now": scene.clock, "lease_seconds": LEASE}
    return Diagnoser(scene.database, **(given | options))


async def diagnosed(scene: Scene, tenant_id: str, **options: Any) -> Diagnosis:
    return await diagnoser(scene, **options).diagnose(LOCAL, tenant_id)


async def lost(scene: Scene) -> TenantId:
    tenant_id = await scene.stopped("Kijani Stores", OPTIONAL_PASSING)
    await scene.lose_steps(tenant_id)
    return tenant_id


async def run_gone(scene: Scene) -> TenantId:
    tenant_id = await lost(scene)
    await scene.sql("DELETE FROM runs WHERE tenant_id = :id", id=tenant_id)
    return tenant_id


async def finished(scene: Scene) -> TenantId:
    return await scene.completed("Kijani Stores")


async def passing(scene: Scene) -> TenantId:
    return await scene.stopped("Kijani Stores", PASSING)


async def permanent(scene: Scene) -> TenantId:
    return await scene.stopped("Kijani Stores", PERMANENT)


async def not_ours(scene: Scene) -> TenantId:
    failures: Failures = {"step_2_company": (ErrorClass.PERMANENT, "COMPANY_NOT_OURS")}
    return await scene.stopped("Kijani Stores", failures)


async def spent(scene: Scene) -> TenantId:
    tenant_id = await passing(scene)
    await scene.sql("UPDATE tenants SET heal_count = 5 WHERE id = :id", id=tenant_id)
    return tenant_id


async def closed_without_reason(scene: Scene) -> TenantId:
    tenant_id = await passing(scene)
    await scene.sql(
        "UPDATE steps SET state = 'PENDING', error_code = NULL, error_class = NULL "
        "WHERE tenant_id = :id AND state = 'FAILED'",
        id=tenant_id,
    )
    return tenant_id


async def held(scene: Scene) -> TenantId:
    tenant_id = await passing(scene)
    hold = Hold(reason="the owner asked", by="jane", since=scene.clock())
    await scene.database.submit(TenantOperation(tenant_id=tenant_id, at=scene.clock(), hold=hold))
    return tenant_id


async def imported_held(scene: Scene, code: str) -> TenantId:
    """Leave a tenant as `import-legacy` does where a person must decide: without any run."""
    tenant_id = await passing(scene)
    for table in ("steps", "runs"):
        await scene.sql(f"DELETE FROM {table} WHERE tenant_id = :id", id=tenant_id)  # noqa: S608 - our own names
    await scene.sql(
        "UPDATE tenants SET run_id = NULL, state = 'PENDING', first_completed_at = :at "
        "WHERE id = :id",
        id=tenant_id,
        at=scene.clock(),
    )
    hold = Hold(reason=f"{code}: The record says so.", by="imported", since=scene.clock())
    await scene.database.submit(TenantOperation(tenant_id=tenant_id, at=scene.clock(), hold=hold))
    return tenant_id


async def cancelled(scene: Scene) -> TenantId:
    tenant_id = await passing(scene)
    await scene.sql("UPDATE runs SET state = 'CANCELLED' WHERE tenant_id = :id", id=tenant_id)
    await scene.sql("UPDATE tenants SET state = 'CANCELLED' WHERE id = :id", id=tenant_id)
    return tenant_id


async def deprovisioned(scene: Scene) -> TenantId:
    tenant_id = await passing(scene)
    await scene.sql("DELETE FROM runs WHERE tenant_id = :id", id=tenant_id)
    await scene.sql("UPDATE tenants SET state = 'DEPROVISIONED' WHERE id = :id", id=tenant_id)
    return tenant_id


async def half_removed(scene: Scene) -> TenantId:
    tenant_id = await passing(scene)
    await scene.sql("UPDATE runs SET run_order = 'DEPROVISION' WHERE tenant_id = :id", id=tenant_id)
    await scene.sql("UPDATE tenants SET state = 'DEPROVISIONING' WHERE id = :id", id=tenant_id)
    return tenant_id


async def wrong_word(scene: Scene) -> TenantId:
    tenant_id = await scene.completed("Kijani Stores")
    await scene.sql("UPDATE tenants SET state = 'KAPUTT' WHERE id = :id", id=tenant_id)
    return tenant_id


async def unbound(scene: Scene) -> TenantId:
    tenant_id = await scene.completed("Kijani Stores")
    await scene.sql("DELETE FROM bindings WHERE tenant_id = :id", id=tenant_id)
    return tenant_id


async def queued(scene: Scene) -> TenantId:
    await scene.beat("w1")
    return await scene.start()


async def queued_alone(scene: Scene) -> TenantId:
    return await scene.start()


async def running(scene: Scene) -> TenantId:
    tenant_id = await scene.start()
    await scene.beat("w1")
    await scene.sql(
        "UPDATE runs SET state = 'RUNNING', worker_id = 'w1', "
        "deadline_at = '2026-05-04 12:02:00.000000+00:00' WHERE tenant_id = :id",
        id=tenant_id,
    )
    return tenant_id


async def worker_died(scene: Scene) -> TenantId:
    tenant_id = await running(scene)
    scene.clock.forward(minutes=5)
    return tenant_id


async def hangs(scene: Scene) -> TenantId:
    tenant_id = await running(scene)
    scene.clock.forward(minutes=5)
    await scene.beat("w1")
    return tenant_id


async def trying_again(scene: Scene) -> TenantId:
    tenant_id = await scene.start()
    await scene.sql(
        "UPDATE runs SET state = 'WAITING', waiting_code = 'RETRY', waiting_message = "
        "'Company is tried again.', waiting_until = '2026-05-04 12:01:00.000000+00:00' "
        "WHERE tenant_id = :id",
        id=tenant_id,
    )
    await scene.sql(
        "UPDATE steps SET state = 'RUNNING', error_code = 'ENGINE_NO_ANSWER', tries = 2 "
        "WHERE tenant_id = :id AND position = 0",
        id=tenant_id,
    )
    return tenant_id


async def at_the_slot(scene: Scene) -> TenantId:
    tenant_id = await scene.start()
    await scene.sql(
        "UPDATE runs SET state = 'WAITING', waiting_code = 'SITE_SLOT', waiting_message = "
        "'Another Company is being made.', waiting_until = '2026-05-04 12:01:00.000000+00:00' "
        "WHERE tenant_id = :id",
        id=tenant_id,
    )
    return tenant_id


async def engine_down(scene: Scene) -> TenantId:
    tenant_id = await scene.start()
    await scene.database.submit(
        GateOperation(
            site=SITE,
            at=scene.clock(),
            gate=GateState.DOWN,
            code="ENGINE_UNREACHABLE",
            message="Connection refused.",
        )
    )
    return tenant_id


async def engine_misconfigured(scene: Scene) -> TenantId:
    tenant_id = await scene.stopped("Kijani Stores", PASSING)
    await scene.database.submit(
        GateOperation(
            site=SITE,
            at=scene.clock(),
            gate=GateState.MISCONFIGURED,
            code="ENGINE_CREDENTIALS_REFUSED",
            message="401.",
        )
    )
    return tenant_id


@dataclass(frozen=True)
class Case:
    make: Callable[[Scene], Awaitable[TenantId]]
    codes: tuple[str, ...]
    severity: str = ""
    method: str = ""
    alone: bool = False


CASES = [
    Case(finished, ()),
    Case(lost, ("STEP_RECORD_LOST",), "MOVING", "Continue", alone=True),
    Case(run_gone, ("STEP_RECORD_LOST",), "MOVING", "Continue", alone=True),
    Case(passing, ("ENGINE_DEADLOCK",), "MAY_CLEAR", "Continue", alone=True),
    Case(permanent, ("ENGINE_REFUSED",), "PERSON", "Continue"),
    Case(not_ours, ("COMPANY_NOT_OURS",), "PERSON", "AdoptCompany"),
    Case(half_removed, ("ENGINE_DEADLOCK",), "PERSON", "Deprovision"),
    Case(spent, ("HEALING_BUDGET_SPENT", "ENGINE_DEADLOCK"), "PERSON", "Continue"),
    Case(closed_without_reason, ("STEP_NOT_DONE",), "MOVING", "Continue", alone=True),
    Case(held, ("HELD", "ENGINE_DEADLOCK"), "PERSON", "Continue"),
    Case(cancelled, ("TENANT_CANCELLED",), "PERSON", "Continue", alone=True),
    Case(deprovisioned, ("TENANT_DEPROVISIONED",), "PERSON"),
    Case(wrong_word, ("STATE_DIFFERS",), "MOVING"),
    Case(unbound, ("BINDING_LOST",), "MAY_CLEAR", "Retry", alone=True),
    Case(queued, ("WORKER",), "MOVING"),
    Case(queued_alone, ("NO_WORKER",), "PERSON"),
    Case(running, ("STEP_RUNNING",), "MOVING"),
    Case(worker_died, ("STALLED",), "PERSON"),
    Case(hangs, ("STALLED",), "PERSON"),
    Case(trying_again, ("ENGINE_NO_ANSWER",), "MAY_CLEAR"),
    Case(at_the_slot, ("SITE_SLOT",), "MOVING"),
    Case(engine_down, ("ENGINE_UNREACHABLE",), "MAY_CLEAR"),
    Case(engine_misconfigured, ("ENGINE_CREDENTIALS_REFUSED", "ENGINE_DEADLOCK"), "PERSON"),
]


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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.make.__name__)
async def test_each_situation_has_its_causes_the_likeliest_first(scene: Scene, case: Case) -> None:
    tenant_id = await case.make(scene)
    before = await scene.everything()

    found = await diagnosed(scene, tenant_id)

    assert tuple(cause.code for cause in found.causes) == case.codes
    assert await scene.everything() == before
    for cause in found.causes:
        assert cause.message
        assert cause.evidence, "a cause is concluded from something"
        assert cause.remedy.says
    if found.causes:
        first = found.causes[0]
        assert first.severity.value == case.severity
        assert first.remedy.method == case.method or not case.method
        assert first.remedy.alone is case.alone
        if first.remedy.method:
            assert first.remedy.command.startswith("provisioner ")
            assert tenant_id in first.remedy.command
            assert first.remedy.request["expected_revision"] == found.revision


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


async def test_the_final_check_is_no_cause_beside_what_made_it_fail(scene: Scene) -> None:
    final: Failures = {"step_10_post_sale_updates": (ErrorClass.PERMANENT, "FINAL_CHECK_FAILED")}
    both = await scene.stopped("Both", {**OPTIONAL_PASSING, **final})
    alone = await scene.stopped("Alone", final)
    assert [cause.code for cause in (await diagnosed(scene, both)).causes] == ["ENGINE_NO_ANSWER"]
    assert [cause.code for cause in (await diagnosed(scene, alone)).causes] == [
        "FINAL_CHECK_FAILED"
    ]


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


@pytest.mark.parametrize("stand", [passing, finished])
async def test_a_tenant_of_an_engine_that_is_not_configured_says_so(
    scene: Scene, stand: Callable[[Scene], Awaitable[TenantId]]
) -> None:
    """A finished one, too: whatever is ordered of it is refused."""
    tenant_id = await stand(scene)
    other = {"other": EngineEntry(site="http://other", blueprint=ERPNEXT)}

    found = await diagnosed(scene, tenant_id, engines=other)

    assert found.causes[0].code == "ENGINE_NOT_CONFIGURED"
    assert "[engines.main]" in found.causes[0].remedy.says


async def test_an_unknown_tenant_and_a_wrong_id_are_refused(scene: Scene) -> None:
    with pytest.raises(NotFound):
        await diagnosed(scene, "01900000-0000-7000-8000-000000000001")
    with pytest.raises(InvalidInput):
        await diagnosed(scene, "kijani")


def seeing(*steps: StepSeen) -> Callable[[str], Awaitable[Sequence[StepSeen]]]:
    async def probe_all(tenant_id: str) -> Sequence[StepSeen]:
        return steps

    return probe_all


ALL_THERE = tuple(
    StepSeen(key=kind.key, done=True, holds=(f"Company {kind.key}",)) for kind in ERPNEXT.steps
)


async def test_what_the_engine_holds_is_compared_with_a_lost_record(scene: Scene) -> None:
    tenant_id = await lost(scene)

    found = await diagnosed(scene, tenant_id, probe_all=seeing(*ALL_THERE))

    cause = found.causes[0]
    assert cause.code == "STEP_RECORD_LOST"
    assert "11 of 11 steps are done there" in cause.message
    facts = [each.fact for each in cause.evidence if each.source == "engine"]
    assert any(
        "step_2_company: the record says not done, the engine has all of it" in fact
        for fact in facts
    )


async def test_of_a_removed_tenant_the_engine_is_not_asked(scene: Scene) -> None:
    """Somebody else may have its name by now: that one's Company was counted as its own."""
    tenant_id = await deprovisioned(scene)

    found = await diagnosed(scene, tenant_id, probe_all=seeing(*ALL_THERE))

    assert found.engine.startswith("The engine was not asked")


async def vanished(scene: Scene) -> TenantId:
    tenant_id = await scene.stopped(
        "Kijani Stores", {"step_2_company": (ErrorClass.PERMANENT, "COMPANY_VANISHED")}
    )
    reason = (await diagnosed(scene, tenant_id)).causes[0].message.partition(": ")[2]
    hold = Hold(reason=reason, by="provisioner", since=scene.clock())
    await scene.database.submit(TenantOperation(tenant_id=tenant_id, at=scene.clock(), hold=hold))
    return tenant_id


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


async def test_what_a_finished_tenant_lacks_at_the_engine_is_named(scene: Scene) -> None:
    tenant_id = await scene.completed("Kijani Stores")
    gone = StepSeen(key="step_4_warehouses", done=False, missing=("Warehouse 'Main Store - KS'",))
    closed_till = StepSeen(key="step_9_pos_session", done=False, missing=("an open till",))

    found = await diagnosed(scene, tenant_id, probe_all=seeing(gone, closed_till))

    assert [cause.code for cause in found.causes] == ["ENGINE_DIFFERS"]
    assert "Main Store - KS" in found.causes[0].message
    assert found.causes[0].remedy.request["step_key"] == "step_4_warehouses"


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


async def test_a_till_closed_by_night_is_no_cause(scene: Scene) -> None:
    tenant_id = await scene.completed("Kijani Stores")
    closed_till = StepSeen(key="step_9_pos_session", done=False, missing=("an open till",))

    assert (await diagnosed(scene, tenant_id, probe_all=seeing(closed_till))).causes == ()


async def test_an_engine_that_does_not_answer_is_evidence_and_no_failure(scene: Scene) -> None:
    tenant_id = await lost(scene)

    async def silent(tenant_id: str) -> Sequence[StepSeen]:
        await asyncio.Event().wait()
        return ()

    async def refuses(tenant_id: str) -> Sequence[StepSeen]:
        raise EngineError(ErrorClass.ENGINE_DOWN, "ENGINE_UNREACHABLE", "Connection refused.")

    async def bug(tenant_id: str) -> Sequence[StepSeen]:
        raise ZeroDivisionError

    late = await diagnosed(scene, tenant_id, probe_all=silent, engine_seconds=0.01)
    away = await diagnosed(scene, tenant_id, probe_all=refuses)
    broken = await diagnosed(scene, tenant_id, probe_all=bug)

    assert "did not answer within 0.01 s" in late.engine
    assert "ENGINE_UNREACHABLE" in away.engine
    assert "bug of ours" in broken.engine
    assert {found.causes[0].code for found in (late, away, broken)} == {"STEP_RECORD_LOST"}


@pytest.mark.parametrize(
    "engines", [ENGINES, {"odoo": EngineEntry(site="http://x", blueprint=ERPNEXT)}]
)
async def test_a_tenant_of_another_kind_of_engine_is_not_said_to_be_continued(
    scene: Scene, engines: dict[str, EngineEntry]
) -> None:
    tenant_id = await scene.commands.register_elsewhere(
        LOCAL, name="Kijani Stores", country_code="UG", kind="odoo", facts={}
    )

    found = await diagnosed(scene, tenant_id, engines=engines)

    (cause,) = found.causes
    assert (cause.code, cause.remedy.call) == ("ENGINE_ELSEWHERE", "")
    assert cause.remedy.command == "provisioner start 'Kijani Stores' --country UG"
