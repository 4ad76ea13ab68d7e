"""What a site has to do and how long its steps took, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from server.model.identifiers import AttemptId, WorkerId, new_id
from server.model.records import Attempt
from server.model.states import AttemptOutcome
from tests.server.store.scene import NOON, SITE, creation

if TYPE_CHECKING:
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
    load = (await scene.database.site_loads())[SITE]
    assert load.open_runs == {"QUEUED": 2}
    assert {key: sorted(each) for key, each in load.step_seconds.items()} == {
        "step_2_company": [2.0, 4.5]
    }


async def test_abbreviations_bound_on_a_site_are_known_but_ones_own(scene: Scene) -> None:
    made = creation("One")
    assert made.binding is not None
    await scene.database.submit(replace(made, binding=replace(made.binding, abbreviation="ÓNE")))
    assert await scene.database.bound_abbreviations(SITE) == {"one"}
    assert not await scene.database.bound_abbreviations(SITE, but_of=made.tenant_id)
    assert not await scene.database.bound_abbreviations("http://elsewhere")
