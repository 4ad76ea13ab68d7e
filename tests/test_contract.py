"""The committed stubs are those of the committed contract."""

from __future__ import annotations

from tools import generate


def test_the_committed_stubs_match_the_contract() -> None:
    assert generate.stale() == [], "run `make generate` and commit the result"
