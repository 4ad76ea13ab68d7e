"""docs/states.md and docs/operations.md list the words of the code, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.judge import Verdict
from reconciler.remedies import RemedyOutcome
from server.model.blueprint import ERPNEXT
from server.model.causes import Severity
from server.model.states import (
    OPEN_RUN_STATES,
    AttemptOutcome,
    ErrorClass,
    GateState,
    LogLevel,
    Order,
    ResourceState,
    RunState,
    StepState,
    TenantState,
    WaitingCode,
    Word,
)
from tests.docs.pages import ROOT, section_words, table, words

if TYPE_CHECKING:
    from enum import Enum

_STATES = ROOT / "docs" / "states.md"
_OPERATIONS = ROOT / "docs" / "operations.md"
_SECTIONS: tuple[tuple[str, type[Word]], ...] = (
    ("Tenant", TenantState),
    ("Run", RunState),
    ("Order", Order),
    ("Step", StepState),
    ("Attempt", AttemptOutcome),
    ("Error class", ErrorClass),
    ("What a run waits for", WaitingCode),
    ("Gate of an engine", GateState),
    ("Document at the engine", ResourceState),
    ("Log level", LogLevel),
)


@pytest.mark.parametrize(("heading", "kind"), _SECTIONS)
def test_a_section_lists_the_words_of_the_code(heading: str, kind: type[Word]) -> None:
    assert sorted(section_words(_STATES, heading)) == sorted(word.value for word in kind)


def test_every_list_of_words_has_a_section() -> None:
    assert {kind for _, kind in _SECTIONS} == {
        kind for kind in Word.__subclasses__() if kind.__module__ == "server.model.states"
    }


def test_the_open_runs_are_the_open_ones() -> None:
    rows = table(_STATES, "word", "open")
    said = {words(row["word"])[0]: row["open"] == "yes" for row in rows}
    assert said == {state.value: state in OPEN_RUN_STATES for state in RunState}


def test_the_required_steps_are_those_that_are_named() -> None:
    required = [position for position, step in enumerate(ERPNEXT.steps) if step.required]
    assert required == [0, 1, 2, 3, 4, 5, 7, 8]
    assert "Steps 0 to 5, 7 and 8 are required." in _STATES.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("column", "kind"),
    [("severity", Severity), ("verdict", Verdict), ("outcome", RemedyOutcome)],
)
def test_the_runbook_lists_the_reconcilers_words(column: str, kind: type[Enum]) -> None:
    rows = table(_OPERATIONS, column, "means")
    assert sorted(words(row[column])[0] for row in rows) == sorted(word.value for word in kind)


def test_the_runbook_says_what_each_wait_means() -> None:
    rows = table(_OPERATIONS, "waits for")
    assert {words(row["waits for"])[0] for row in rows} == {code.value for code in WaitingCode}
