"""docs/judge.md is what the judge says."""

from __future__ import annotations

from reconciler.judge import Verdict
from tests.docs.pages import table, words
from tools.judge_table import PAGE, page, situations


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: make generate"


def test_the_page_shows_every_verdict_and_each_situation_once() -> None:
    rows = table(PAGE, "situation", "verdict")
    assert {words(row["verdict"])[0] for row in rows} == {verdict.value for verdict in Verdict}
    said = [(situation.says, situation.seen) for situation in situations()]
    assert len({repr(seen) for _, seen in said}) == len(said) == len(rows)
