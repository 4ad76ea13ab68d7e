"""What a site has to do and how long its steps took, on both databases."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy.dialects import sqlite

from server.model.identifiers import AttemptId, WorkerId, new_id
from server.model.records import Attempt
from server.model.states import AttemptOutcome
from server.store import fleet
from tests.server.store.scene import NOON, SITE, creation
from tests.support.stores import copied_store

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from server.model.states import AttemptOutcome as Outcome
    from server.store.operations import TenantOperation
    from tests.server.store.scene import Scene


def attempt(
    made: TenantOperation, seconds: float, outcome: Outcome | None, key: str = "step_2_company"
) -> Attempt:
    return Attempt(
        id=AttemptId(new_id(NOON)),
        tenant_id=made.tenant_id,
        run_id=made.runs[0].run.id,
        step_key=key,
        number=1,
        worker_id=WorkerId("worker"),
        started_at=NOON,
        deadline_at=NOON,
        ended_at=None if outcome is None else NOON + timedelta(seconds=seconds),
        outcome=outcome,
    )


async def test_open_runs_are_counted_and_done_attempts_measured(scene: Scene) -> None:
    first, second = creation("One"), creation("Two")
    measured = [
        attempt(first, 2.0, AttemptOutcome.APPLIED),
        attempt(first, 60.0, AttemptOutcome.RETRY),
        attempt(first, 0.0, None),
    ]
    await scene.database.submit(replace(first, attempts=tuple(measured)))
    await scene.database.submit(
        replace(second, attempts=(attempt(second, 4.5, AttemptOutcome.ADOPTED),))
    )
    load = (await scene.database.site_loads([SITE]))[SITE]
    assert load.open_runs == {"QUEUED": 2}
    assert {key: sorted(each) for key, each in load.step_seconds.items()} == {
        "step_2_company": [2.0, 4.5]
    }


async def test_a_busy_site_does_not_crowd_out_the_times_of_a_quiet_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each site's own newest runs are measured, found by an index."""
    monkeypatch.setattr(fleet, "_MEASURED_RUNS", 2)
    quiet = creation("Quiet", site="http://quiet")
    await scene.database.submit(
        replace(quiet, attempts=(attempt(quiet, 9.0, AttemptOutcome.APPLIED),))
    )
    for number in range(5):
        busy = creation(f"Busy {number}")
        await scene.database.submit(
            replace(busy, attempts=(attempt(busy, float(number), AttemptOutcome.APPLIED),))
        )
    loads = await scene.database.site_loads([SITE, "http://quiet", "http://nobody"])
    assert loads["http://quiet"].step_seconds == {"step_2_company": (9.0,)}
    assert len(loads[SITE].step_seconds["step_2_company"]) == 2
    assert loads["http://nobody"] == fleet.SiteLoad()


async def test_on_sqlite_the_newest_runs_of_a_site_are_read_from_an_index(tmp_path: Path) -> None:
    file = tmp_path / "plan.db"
    await copied_store(file)
    kwargs = {"literal_binds": True}
    measured = fleet.measured("s").compile(dialect=sqlite.dialect(), compile_kwargs=kwargs)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        plan = connection.execute(f"EXPLAIN QUERY PLAN {measured}").fetchall()
    steps = " ".join(str(row[-1]) for row in plan)
    assert "ix_runs_site (site=?)" in steps
    assert "ix_attempts_run_id (run_id=?)" in steps
    assert "TEMP B-TREE" not in steps
