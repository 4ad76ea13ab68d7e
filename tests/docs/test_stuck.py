"""docs/stuck.md names every way tenants got stuck, and a story that is there tells each."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import ROOT, tables, words

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE = ROOT / "docs" / "stuck.md"
_STORIES = ROOT / "tests" / "scenarios" / "stuck"
# The list this product was made against: eleven, eleven and nineteen ways.
_WAYS = [
    *(f"A{number}" for number in range(1, 12)),
    *(f"B{number}" for number in range(1, 12)),
    *(f"C{number}" for number in range(1, 20)),
]
_ROWS = [row for rows in tables(_PAGE) for row in rows]


def _tests(*folders: str) -> Iterator[tuple[str, str]]:
    """Give each test by its file's name and its own."""
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("test_*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield file.name, node.name


def test_every_way_is_on_the_page_once_and_says_what_becomes_of_it() -> None:
    assert [row["no"] for row in _ROWS if "no" in row] == _WAYS
    assert all(all(row.values()) for row in _ROWS)


@pytest.mark.parametrize("row", [row for row in _ROWS if "no" in row], ids=lambda row: row["no"])
def test_a_story_tells_it(row: dict[str, str]) -> None:
    (told,) = words(row["told in"])
    if told.endswith(".py"):
        mine = row["no"].lower()
        names = [name for file, name in _tests("tests/scenarios/stuck") if file == told]
        assert any(mine in name.split("_") for name in names), f"{told} tells no {row['no']}"
        return
    # Told where it belongs: it can't happen to a tenant of this product's town.
    assert told in {name for _, name in _tests("tests/server")}, told


def test_every_story_of_a_way_is_on_the_page() -> None:
    listed = {(row["no"], words(row["told in"])[0]) for row in _ROWS if "no" in row}
    told = {
        (word.upper(), file)
        for file, name in _tests("tests/scenarios/stuck")
        for word in name.split("_")
        if word.upper() in _WAYS
    }
    assert told <= listed


def test_what_many_have_is_told_in_a_file_that_is_there() -> None:
    for row in _ROWS:
        told = words(row["told in"])[0]
        assert not told.endswith(".py") or (_STORIES / told).exists(), told
