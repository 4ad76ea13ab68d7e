"""What is looked for in a history is found where it is: the storms' judge is judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.chaos.history import FORBIDDEN, findings, out_of_turn
from tests.crash.lives import NAME, world

if TYPE_CHECKING:
    from typing import Any

T, RUN = "tenant", "run"
# A worker is replaced in the second step; another one goes on.
REPLACED = (
    ("step.began", "step_0", 1),
    ("step.done", "step_0", 1),
    ("step.began", "step_1", 1),
    ("attempt.lost", "step_1", 1),
    ("step.began", "step_1", 2),
    ("document.made", "step_1", 2),
    ("step.done", "step_1", 2),
    ("run.closed", "", 0),
)


def entries(*events: tuple[str, str, int]) -> list[tuple[str, str, str, int, str]]:
    return [(T, RUN, step, number, json.dumps({"event": event})) for event, step, number in events]


def test_a_takeover_is_in_turn() -> None:
    assert out_of_turn(entries(*REPLACED)) == []


@pytest.mark.parametrize(
    ("late", "told"),
    [
        (("step.done", "step_1", 1), "which was not under way"),
        (("step.retry", "step_1", 1), "which was not under way"),
        (("step.began", "step_2", 1), "began beside"),
    ],
)
def test_what_a_replaced_worker_wrote_is_found(late: tuple[str, str, int], told: str) -> None:
    found = out_of_turn(entries(*REPLACED[:5], late, *REPLACED[5:]))
    assert found
    assert told in found[0]


DAMAGES = {
    "a tenant does not come to COMPLETED": "UPDATE tenants SET state = 'PARTIAL'",
    "a cursor is missing or there twice": "DELETE FROM log_entries WHERE cursor = 5",
    "an attempt has no end": "UPDATE attempts SET outcome = NULL WHERE step_key = 'step_2_company'",
    "an attempt is there twice": (
        "UPDATE attempts SET step_key = 'step_2_company' WHERE step_key = 'step_7_customer'"
    ),
    "a run is open": "UPDATE runs SET state = 'RUNNING'",
    "a step of a last run is not done": "UPDATE steps SET state = 'FAILED' WHERE position = 3",
    "a tenant has no step rows": "DELETE FROM steps",
    "a document was asked for and never looked at": (
        "UPDATE resources SET state = 'INTENDED' WHERE doctype = 'Company'"
    ),
    "a slot outlived its request": "UPDATE engines SET slot_tenant_id = 'x'",
}


async def test_every_broken_promise_is_found_and_a_good_history_has_none() -> None:
    async with world() as here:
        await here.live(None)

        async def sql(statement: str) -> list[tuple[Any, ...]]:
            return here.shop.sql(statement)

        site = await here.shop.look()
        assert await findings(sql, site, [NAME]) == {}
        assert set(DAMAGES) == set(FORBIDDEN)
        for promise, damage in DAMAGES.items():
            kept = here.shop.file.read_bytes()
            here.shop.sql(damage)
            assert promise in await findings(sql, site, [NAME])
            here.shop.sql("PRAGMA wal_checkpoint(TRUNCATE)")
            here.shop.file.write_bytes(kept)
        twice = {**site, "documents": {**site["documents"]}}
        twice["documents"]["Customer"] = site["documents"]["Customer"] * 2
        assert "an effect is there twice, or not at all" in await findings(sql, twice, [NAME])
