"""Plants each bug in a copy of the tree and shows that the tests catch it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.planted.bugs import BUGS, Bug
from tests.support import proof

ROOT = Path(__file__).resolve().parents[2]
# What a copy needs: the product, its contract, its tests.
PARTS = ("server", "reconciler", "clients", "proto", "tests", "tools", "pyproject.toml")
TESTS_FAILED = 1


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_can_be_planted(bug: Bug) -> None:
    """The patch fits the code as it is, once; the tests that shall catch it are there."""
    assert (ROOT / bug.file).read_text(encoding="utf-8").count(bug.before) == 1
    for test in bug.caught_by:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")
    assert 1 <= bug.promise <= 12


@pytest.mark.prove
@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_caught(bug: Bug, tmp_path: Path) -> None:
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy2
        copy(ROOT / part, tmp_path / part)
    file = tmp_path / bug.file
    file.write_text(
        file.read_text(encoding="utf-8").replace(bug.before, bug.after), encoding="utf-8"
    )
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *bug.caught_by],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{tmp_path / 'proto'}"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == TESTS_FAILED, f"not caught:\n{ended.stdout[-3000:]}"
    caught = [line for line in ended.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    assert caught, ended.stdout[-3000:]
    proof.note(promise=bug.promise, caught_by=caught[0].split(" - ")[0].split()[1])
