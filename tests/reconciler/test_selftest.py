"""The selftest heals every kind it plants, and says so where one is not healed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler import selftest
from reconciler.judge import NOTHING

if TYPE_CHECKING:
    import pytest


async def test_every_kind_of_stuck_tenant_is_healed() -> None:
    report = await selftest.selftest()

    assert report.passed, selftest.as_text(report)
    assert len(report.trials) == 8
    assert all(trial.seconds_to_heal is not None for trial in report.trials)
    assert selftest.as_facts(report)["passed"] is True
    assert selftest.as_text(report).endswith("Nothing but a throwaway database was touched.")


async def test_a_healer_that_does_nothing_does_not_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.sweep.judge", lambda _seen: NOTHING)
    kind = "record lost (PARTIAL, 0 of 10 steps)"
    monkeypatch.setattr(selftest, "_KINDS", {kind: selftest._KINDS[kind]})

    report = await selftest.selftest(patience_seconds=0.3)

    assert not report.passed
    assert report.trials[0].seconds_to_heal is None
    assert "NOT HEALED" in selftest.as_text(report)
