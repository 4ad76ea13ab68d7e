"""Who silences a check says why, on the line: else nobody knows when it may go again."""

from __future__ import annotations

import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("server", "reconciler", "clients", "tools", "benchmarks", "tests")
FILES = sorted(
    file for room in ROOMS for file in (ROOT / room).rglob("*.py") if "_pb2" not in file.name
)

_SILENCES = re.compile(r"noqa\b|type: ignore\b")
# The codes that are silenced, and then words.
_WITH_REASON = re.compile(
    r"noqa: [A-Z0-9]+(, [A-Z0-9]+)*( -|  ?#) [\w`].*|type: ignore\[[a-z, -]+\]  # [\w`].*"
)


def without_reason(file: Path) -> list[str]:
    """Return the lines of a file that silence a check, and say no more."""
    with tokenize.open(file) as source:
        comments = [
            token
            for token in tokenize.generate_tokens(source.readline)
            if token.type == tokenize.COMMENT and _SILENCES.search(token.string)
        ]
    return [
        f"{file}:{comment.start[0]}: {comment.string}"
        for comment in comments
        if not _WITH_REASON.search(comment.string)
    ]


def test_every_check_that_is_silenced_is_silenced_for_a_reason() -> None:
    assert len(FILES) > 100
    assert "\n".join(line for file in FILES for line in without_reason(file)) == ""


@pytest.mark.parametrize(
    ("line", "tells"),
    [
        ("x = 1  # noqa", False),
        ("x = 1  # noqa: S101", False),
        ("x = 1  # noqa: S101 - registered for it alone", True),
        ("x = 1  # type: ignore[misc]", False),
        ("x = 1  # type: ignore  # whatever", False),
        ("x = 1  # type: ignore[misc]  # the stubs do not know it", True),
        ("x = '# noqa'", True),
    ],
)
def test_a_reason_is_words_after_the_codes(tmp_path: Path, line: str, tells: bool) -> None:
    file = tmp_path / "one.py"
    file.write_text(line, encoding="utf-8")
    assert (without_reason(file) == []) is tells
