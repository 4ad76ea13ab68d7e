"""docs/proof.md: every row is of a proof that is there, and no good word outlives its proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT
from tests.support import proof
from tests.support.proof import BEGUN, FAILED, NOT_RUN, PASSED

if TYPE_CHECKING:
    from pathlib import Path

STORM, WALK, BUG = "tests/a.py::test_storm[2]", "tests/a.py::test_walk", "tests/b.py::test_bug[a|b]"


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page of its own, with three proofs that have passed."""
    file = tmp_path / "proof.md"
    monkeypatch.setattr(proof, "PAGE", file)
    # These tests may be shared among processes; they write no page but their own.
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    proof.knows([STORM, WALK, BUG])
    for test in (STORM, WALK, BUG):
        run(test)
    return file


def run(test: str, *, failed: bool = False, **counts: object) -> None:
    """Run a proof, as pytest tells of it."""
    proof.begins(test)
    proof.hears(failed=False, ended=False)
    proof.note(**counts)
    proof.hears(failed=failed, ended=False)
    proof.hears(failed=False, ended=True)


def results() -> list[str]:
    return [proof.read()[test].result for test in (STORM, WALK, BUG)]


def test_a_run_of_some_proofs_renews_their_rows_and_leaves_the_others(page: Path) -> None:
    before = proof.read()
    run(WALK, points=7, seed="x")
    after = proof.read()
    assert (after[WALK].counted, after[WALK].result) == ("points 7, seed x", PASSED)
    assert {**after, WALK: before[WALK]} == before
    assert "3 proofs, 3 passed." in page.read_text()


def test_a_proof_that_fails_says_so_where_it_had_passed(page: Path) -> None:
    run(WALK, failed=True, points=7)
    assert results() == [PASSED, FAILED, PASSED]
    assert proof.read()[WALK].counted == "points 7"
    assert "3 proofs, 2 passed." in page.read_text()


def test_a_proof_that_was_killed_has_not_passed(page: Path) -> None:
    proof.begins(STORM)
    assert results() == [BEGUN, PASSED, PASSED]


def test_a_proof_that_never_ran_has_a_row_and_one_that_is_gone_has_none(page: Path) -> None:
    proof.knows([STORM, BUG, "tests/c.py::test_new"])
    assert {test: row.result for test, row in proof.read().items()} == {
        STORM: PASSED,
        BUG: PASSED,
        "tests/c.py::test_new": NOT_RUN,
    }


def test_every_row_is_of_a_test_that_is_there() -> None:
    rows = proof.read()
    assert rows
    for test in rows:
        file, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(encoding="utf-8"), test
