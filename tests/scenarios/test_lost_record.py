"""The seed's case: PARTIAL, 0 of 10, no error. The reconciler heals it; nobody does anything."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.scenarios.fleet import all_completed, check_each_once, order
from tests.support.waiting import until

if TYPE_CHECKING:
    from tools.installation import Installation

NAME = "Kijani Stores"
# What is gone besides the step rows.
LOSSES = {
    "steps": (),
    "steps, runs and attempts": ("runs", "attempts"),
    "everything but the tenant": ("runs", "attempts", "bindings", "resources"),
}


def damage(shop: Installation, tables: tuple[str, ...]) -> None:
    """Make the record the old system left behind, at once: a sweep may come at any moment."""
    with contextlib.closing(sqlite3.connect(shop.database, timeout=30)) as connection, connection:
        for table in tables:
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 - ours
        connection.execute("UPDATE runs SET state = 'PARTIAL'")
        connection.execute("DELETE FROM steps")
        connection.execute(
            "UPDATE tenants SET state = 'PARTIAL', current_step = 'step_0_engine_check',"
            " steps_completed = 0, error_code = NULL, first_completed_at = NULL"
        )


@pytest.mark.parametrize("loss", LOSSES)
async def test_a_lost_record_is_healed_by_one_sweep_and_one_drive(
    shop: Installation, loss: str
) -> None:
    await shop.start_site()
    await shop.start_server("--with-reconciler")
    tenant = await order(shop, NAME, "order-1")
    await until(lambda: all_completed(shop, 1))
    before = await shop.site_state()

    damage(shop, LOSSES[loss])
    await until(lambda: shop.sql("SELECT id FROM findings"))
    await until(lambda: all_completed(shop, 1))

    after = await shop.site_state()
    assert after["documents"] == before["documents"]
    check_each_once(after, [NAME])
    assert shop.sql("SELECT tenant_id, cause, verdict, outcome FROM findings") == [
        (tenant, "STEP_RECORD_LOST", "REBUILD_RECORD", "ORDERED")
    ]
    assert shop.sql("SELECT count(*), sum(acted) FROM sweeps") == [(1, 1)]
    runs = shop.sql("SELECT run_order, actor, state FROM runs WHERE run_order = 'REBUILD'")
    assert runs == [("REBUILD", "reconciler", "COMPLETED")]
    adopted = shop.sql("SELECT key FROM steps WHERE adopted = 1")
    assert ("step_2_company",) in adopted
    status = await shop.call_json("status", tenant)
    status = status.get("status", status)
    assert (status["state"], status["steps_completed"], status["errors"]) == ("COMPLETED", 10, [])
