"""`bundle` takes out what looks like a secret, wherever it stands."""

from __future__ import annotations

import pytest

from clients.cli.bundling import HIDDEN, without_secrets


@pytest.mark.parametrize(
    "text",
    [
        "provisioner_6b07029f7a77c0a6_CANARY0123456789012345678901234567890123456",
        "eyJhbGciOiJIUzI1NiJ9.CANARY.CANARY",
        "Authorization: Bearer CANARY0123456789",
        "Authorization: token CANARY01:CANARY02",
        "postgresql://user:CANARY@db/x",
        'password="CANARY"',
        "{'api_secret': 'CANARY'}",
        "pwd=CANARY",
    ],
)
def test_a_secret_is_taken_out_of_any_depth(text: str) -> None:
    cleaned = without_secrets({"log": [{"message": f"before {text} after"}]})
    assert "CANARY" not in str(cleaned)
    assert HIDDEN in str(cleaned)


def test_what_is_no_secret_stays() -> None:
    value = {"message": "step_2_company: Company 'Acme' is there", "count": 3, "none": None}
    assert without_secrets(value) == value
