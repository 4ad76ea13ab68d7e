"""What an old tenant is imported as: the engine decides, the record is a hint."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.model.blueprint import ERPNEXT
from server.model.legacy import ImportedAs, LegacyStep, LegacyTenant, Look, decide, with_draft_tills

REQUIRED = frozenset(kind.key for kind in ERPNEXT.steps if kind.required)
ALL = frozenset(kind.key for kind in ERPNEXT.steps) - {"step_10_post_sale_updates", "step_6_items"}
DONE = {key: LegacyStep(status="completed") for key in ALL}


def old(word: str = "", run: str = "", **more: Any) -> LegacyTenant:
    given: dict[str, Any] = {"id": "x", "code": "", "name": "A", "country_code": "KE"}
    return LegacyTenant(**given, engine="erpnext", word=word, onboarding_word=run, **more)


def seen(*wrong: str, company: bool = True, conflict: str = "") -> Look:
    lacking = ALL - {"step_0_engine_check", "step_1_platform_setup"} if not company else set(wrong)
    return Look(
        company=company,
        wrong=dict.fromkeys(sorted(lacking), "Missing."),
        conflict_code=conflict,
        conflict="It is somebody else's." if conflict else "",
    )


UNFINISHED = ("STOPPED", "IMPORTED_UNFINISHED", True)
TABLE = [
    (old(), seen(company=False), ("PENDING", "", False)),
    (old(), seen("step_9_pos_session"), ("HELD", "IMPORT_NEEDS_BINDING", False)),
    (old("PROVISIONED", "COMPLETED"), seen(), ("COMPLETED", "", False)),
    (old("PROVISIONED"), seen("step_9_pos_session"), ("COMPLETED", "", False)),
    (old("", "COMPLETED"), seen("step_7_customer"), ("COMPLETED", "", False)),
    (old("PROVISIONED"), seen(company=False), ("HELD", "IMPORT_COMPANY_GONE", False)),
    (
        old("PROVISIONED"),
        seen("step_8_pos_profile"),
        ("STOPPED", "IMPORT_NOT_AS_RECORDED", False),
    ),
    # The case that started all this: PARTIAL, no step, no error.
    (old("PARTIAL", "PARTIAL"), seen("step_9_pos_session"), UNFINISHED),
    (old("PARTIAL", "PARTIAL"), seen(), ("COMPLETED", "", False)),
    (old("PARTIAL", "PARTIAL"), seen(company=False), UNFINISHED),
    (old("FAILED", "FAILED"), seen("step_4_warehouses"), UNFINISHED),
    (old("PROVISIONING", "IN_PROGRESS"), seen("step_8_pos_profile"), UNFINISHED),
    (
        old("FAILED"),
        seen("step_2_company", conflict="COMPANY_NOT_OURS"),
        ("HELD", "IMPORT_CONFLICT", False),
    ),
    (old("", "", steps=DONE), seen("step_9_pos_session"), UNFINISHED),
]


@pytest.mark.parametrize(("tenant", "look", "wanted"), TABLE)
def test_the_table_of_decisions(
    tenant: LegacyTenant, look: Look, wanted: tuple[str, str, bool]
) -> None:
    decision = decide(tenant, look, required=REQUIRED, alone=True)
    assert (decision.imported_as, decision.code, decision.resumes) == wanted
    assert decision.why


@pytest.mark.parametrize("tenant", [old(), old("PARTIAL"), old("PROVISIONED", "COMPLETED")])
def test_a_company_that_several_tenants_may_own_is_nobodys(tenant: LegacyTenant) -> None:
    decision = decide(tenant, seen(), required=REQUIRED, alone=False)
    assert (decision.imported_as, decision.code) == ("HELD", "IMPORT_CONFLICT")


@pytest.mark.parametrize(
    ("tenant", "look", "why"),
    [
        (old("PARTIAL"), seen(), "Everything is there and right. The record was lost."),
        (old("PARTIAL", steps=DONE), seen(), "Everything is there and right."),
        (
            old("PARTIAL", steps={"step_9_pos_session": LegacyStep(status="failed")}),
            seen(),
            "Everything is there and right. The record was lost.",
        ),
        (old("PARTIAL"), seen(company=False), "The engine holds nothing of it, so it begins anew."),
        (
            old("FAILED"),
            seen("step_7_customer", "step_4_warehouses"),
            "Not there or not right yet: step_4_warehouses, step_7_customer.",
        ),
        (
            old("", "IN_PROGRESS"),
            seen("step_7_customer"),
            "Not there or not right yet: step_7_customer. The old run was interrupted.",
        ),
    ],
)
def test_the_reason_says_what_was_found_and_how_the_old_run_ended(
    tenant: LegacyTenant, look: Look, why: str
) -> None:
    assert decide(tenant, look, required=REQUIRED, alone=True).why == why


@pytest.mark.parametrize(
    ("tenant", "passed"),
    [
        (old("PARTIAL"), True),
        (old("", "PARTIAL"), True),
        (old("PROVISIONED"), True),
        (old("FAILED"), False),
        (old("FAILED", steps={"step_2_company": LegacyStep(status="failed")}), False),
        (old("FAILED", steps={"step_2_company": LegacyStep(status="exists")}), True),
        (old("FAILED", steps={"step_4_warehouses": LegacyStep(status="completed")}), False),
    ],
)
def test_a_record_that_got_past_the_company_is_told_by_its_words_or_that_step(
    tenant: LegacyTenant, *, passed: bool
) -> None:
    assert tenant.passed_company is passed


def test_both_words_of_the_old_record_are_a_note() -> None:
    assert old("PARTIAL", "FAILED").words == "tenant PARTIAL, run FAILED"
    assert old().words == "tenant none, run none"


def test_drafts_of_a_till_are_named_up_to_five() -> None:
    decision = decide(old("PARTIAL"), seen(), required=REQUIRED, alone=True)
    assert with_draft_tills(decision, []) == decision
    two = with_draft_tills(decision, ["POS-OPE-1", "POS-OPE-2"]).why
    assert two.startswith(decision.why)
    assert "only drafted (POS-OPE-1, POS-OPE-2):" in two
    assert "(T0, T1, T2, T3, T4):" in with_draft_tills(decision, [f"T{n}" for n in range(5)]).why
    assert "T4 and more)" in with_draft_tills(decision, [f"T{n}" for n in range(6)]).why


words = st.sampled_from(["", "PROVISIONING", "PROVISIONED", "FAILED", "PARTIAL", "Ünknown"])
runs = st.sampled_from(["", "IN_PROGRESS", "COMPLETED", "FAILED", "PARTIAL"])
looks = st.builds(
    lambda wrong, company, conflict: seen(
        *wrong, company=company, conflict="COMPANY_NOT_OURS" if conflict else ""
    ),
    st.sets(st.sampled_from(sorted(ALL - {"step_2_company"}))),
    st.booleans(),
    st.booleans(),
)


@given(words, runs, st.booleans(), looks, st.booleans())
def test_any_record_gets_a_decision_that_does_no_harm(
    word: str, run: str, has_steps: bool, look: Look, alone: bool
) -> None:
    tenant = old(word, run, steps=DONE if has_steps else {})
    decision = decide(tenant, look, required=REQUIRED, alone=alone)
    if look.company and not alone:
        assert decision.imported_as is ImportedAs.HELD
    if tenant.was_done:
        # A shop that sold is never driven by itself.
        assert not decision.resumes
    if decision.imported_as is ImportedAs.COMPLETED:
        assert look.company
        assert set(look.wrong) == set(decision.drift) or not look.wrong
