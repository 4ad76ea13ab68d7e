"""`python -m reconciler` is the composition root's `reconcile`, and nothing else."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable


def root(reconcile: Callable[..., Any]) -> ModuleType:
    module = ModuleType("server.__main__")
    module.reconcile = reconcile  # type: ignore[attr-defined]  # a stand-in module
    return module


def test_it_sweeps_with_the_settings_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[dict[str, Any]] = []

    def reconcile(**options: Any) -> int:
        called.append(options)
        return 3

    monkeypatch.setitem(sys.modules, "server.__main__", root(reconcile))

    with pytest.raises(SystemExit) as ended:
        main()

    assert ended.value.code == 3
    assert called == [
        {"config": None, "overrides": {}, "once": False, "dry_run": False, "as_json": False}
    ]
