"""`python -m reconciler` and `python -m server` do one thing each, and take no options."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from reconciler import __main__ as program
from server.program import EXIT_WRONG_USE

if TYPE_CHECKING:
    from pathlib import Path


def test_it_sweeps_with_the_settings_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[dict[str, Any]] = []

    def reconcile(**options: Any) -> int:
        called.append(options)
        return 3

    monkeypatch.setattr(program, "reconcile", reconcile)
    monkeypatch.setattr(sys, "argv", ["reconciler"])

    with pytest.raises(SystemExit) as ended:
        program.main()

    assert ended.value.code == 3
    assert called == [
        {"config": None, "overrides": {}, "once": False, "dry_run": False, "as_json": False}
    ]


@pytest.mark.parametrize(("module", "command"), [("reconciler", "reconcile"), ("server", "serve")])
def test_options_are_refused_and_not_passed_over(module: str, command: str, tmp_path: Path) -> None:
    """A `--dry-run` that nobody reads would heal."""
    ended = subprocess.run(
        [sys.executable, "-m", module, "--once", "--dry-run"],
        env={"HOME": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == EXIT_WRONG_USE
    assert ended.stderr == (
        "provisioner: python -m takes no options here, and was given --once --dry-run.\n"
        f"Next: provisioner {command} --help\n"
    )
    assert not list(tmp_path.iterdir())
