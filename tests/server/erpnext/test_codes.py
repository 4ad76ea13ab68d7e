"""Error codes: each has its sentence and remedy, each one is raised somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import server.erpnext
from server.erpnext.codes import MEANINGS, Code

ROOM = Path(server.erpnext.__file__).parent


def test_every_code_has_one_sentence_of_meaning_and_of_remedy() -> None:
    assert set(MEANINGS) == set(Code)
    for code, row in MEANINGS.items():
        assert row.meaning.endswith("."), code
        assert row.remedy.endswith("."), code
        assert "\n" not in row.meaning + row.remedy


def test_every_code_is_raised_somewhere() -> None:
    text = "".join(
        file.read_text(encoding="utf-8")
        for file in sorted(ROOM.rglob("*.py"))
        if file.name != "codes.py"
    )
    assert set(re.findall(r"Code\.([A-Z_]+)", text)) == {code.value for code in Code}
