"""One reason has one fingerprint, whoever's names are in the message."""

from __future__ import annotations

import pytest

from server.model.fingerprint import Failure, normalised


@pytest.mark.parametrize(
    ("mine", "yours"),
    [
        ("Could not find Warehouse 'Main - KS'", "Could not find Warehouse 'Main - AB'"),
        ("Could not find Main Store - KS", "Could not find Main Store - ABC2"),
        ("Company Kijani Stores is gone", "Company Mama Njeri is gone"),
        ("Took 12.5 s of 30", "Took 3 s of  30"),
        (
            "tenant 01900000-0000-7000-8000-000000000001 lost",
            "tenant 01900000-0000-7000-8000-00000000ABCD lost",
        ),
    ],
)
def test_what_is_one_tenants_own_does_not_count(mine: str, yours: str) -> None:
    assert normalised(mine, names=("Kijani Stores", "")) == normalised(yours, names=("Mama Njeri",))


def test_another_step_code_or_message_is_another_reason() -> None:
    one = Failure(step_key="step_2_company", code="ENGINE_REFUSED", message="no")
    others = [
        Failure(step_key="step_3_chart_of_accounts", code="ENGINE_REFUSED", message="no"),
        Failure(step_key="step_2_company", code="ENGINE_FAULT", message="no"),
        Failure(step_key="step_2_company", code="ENGINE_REFUSED", message="never"),
    ]
    assert len({each.fingerprint for each in (one, *others)}) == 4


def test_a_long_or_odd_message_has_a_fingerprint_too() -> None:
    odd = normalised("\udcff" + "x" * 10_000)
    assert len(odd) == 200
    assert Failure(step_key="", code="", message=odd).fingerprint
