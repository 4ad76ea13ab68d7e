"""What `make` needs on a fresh machine, and what it says where that is missing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def setup_with(folder: Path, *pythons: str) -> subprocess.CompletedProcess[str]:
    """Say what `make setup` would run where only these commands are there."""
    for name in ("sh", "env"):
        (folder / name).symlink_to(found(name))
    for name in pythons:
        command = folder / name
        command.write_text("#!/bin/sh\nexit 0\n")
        command.chmod(0o755)
    return subprocess.run(
        [found("make"), "--dry-run", "--always-make", "setup"],
        cwd=ROOT,
        env={"PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def found(name: str) -> str:
    path = shutil.which(name)
    assert path is not None
    return path


@pytest.mark.parametrize("python", ["python3.11", "python3.12", "python3.13"])
def test_any_python_that_the_readme_names_will_do(tmp_path: Path, python: str) -> None:
    first, last = "3.11", "3.13"
    assert f"Python {first} to {last}" in (ROOT / "README.md").read_text()
    assert f"\n{python} -m venv .venv\n" in setup_with(tmp_path, "python3.10", python).stdout


def test_the_oldest_one_is_taken_as_the_lock_was_made_for_it(tmp_path: Path) -> None:
    told = setup_with(tmp_path, "python3.13", "python3.11").stdout
    assert "\npython3.11 -m venv .venv\n" in told


def test_a_placeholder_that_does_not_work_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "python3.11"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    assert "\npython3.12 -m venv .venv\n" in setup_with(tmp_path, "python3.12").stdout


def test_a_machine_without_python_is_told_what_to_install(tmp_path: Path) -> None:
    assert '[ -n "" ] || { echo "Install Python' in setup_with(tmp_path).stdout
