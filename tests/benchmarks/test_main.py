"""Which runs of the benchmarks are kept."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from benchmarks import __main__ as program
from benchmarks import rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.shelf import Shelf


def shared(shelf: Shelf, *, quick: bool) -> Iterator[rows.Row]:
    yield rows.Row(name="shared", unit="s", ours=1.0)


def alone(*, quick: bool) -> Iterator[rows.Row]:
    yield rows.Row(name="alone", unit="s", ours=3.0 if quick else 2.0)


def broken(error: Exception) -> Callable[..., Iterator[rows.Row]]:
    def bench(*, quick: bool) -> Iterator[rows.Row]:
        yield rows.Row(name="before it broke", unit="s", ours=1.0)
        raise error

    return bench


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(rows, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(program, "FILLED", {"core": shared})
    monkeypatch.setattr(program, "OTHERS", {"fleet": alone})
    monkeypatch.setattr(program, "_compile", lambda: None)
    return tmp_path / "results"


def test_a_whole_run_is_kept(results: Path) -> None:
    assert program.main([]) == 0
    kept = json.loads((results / "latest.json").read_text())
    assert [row["name"] for row in kept["rows"]] == ["shared", "alone"]
    assert kept["machine"]["took"] == "0 s"
    assert "| alone | s | 2 |" in (results / "latest.md").read_text()


@pytest.mark.parametrize("given", [["--quick"], ["--only", "core"], ["--only", "fleet"]])
def test_a_short_run_and_a_part_are_printed_only(
    results: Path, capsys: pytest.CaptureFixture[str], given: list[str]
) -> None:
    assert program.main(given) == 0
    assert not results.exists()
    printed = capsys.readouterr().out
    assert ("| alone | s |" in printed) == (given != ["--only", "core"])
    assert ("not kept" in printed) == (given == ["--quick"])


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("a program ended\nthe site was gone"), "the site was gone"),
        (AssertionError("a program ended early"), "a program ended early"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_a_part_that_breaks_is_named_and_the_others_are_measured(
    results: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    monkeypatch.setattr(program, "OTHERS", {"fleet": broken(error), "living": alone})
    assert program.main([]) == 1
    kept = json.loads((results / "latest.json").read_text())
    assert [row["name"] for row in kept["rows"]] == ["shared", "before it broke", "alone"]
    assert kept["machine"]["fleet did not end"] == said
