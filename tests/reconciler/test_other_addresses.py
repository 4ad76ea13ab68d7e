"""Tenants whose site is not that of their engine: its address was changed, or their row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from server.commands import Commands, EngineEntry, OrderTerms
from server.diagnosis import Diagnoser
from server.errors import Refused
from server.model.actor import LOCAL
from server.model.blueprint import ERPNEXT
from tests.reconciler.scene import LEASE, PASSING, SITE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from server.model.identifiers import TenantId
    from tests.reconciler.scene import Scene

NEW = "https://site"
MOVED = {"main": EngineEntry(site=NEW, blueprint=ERPNEXT)}
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


async def stopped(scene: Scene) -> TenantId:
    return await scene.stopped("Kijani Stores", PASSING)


async def queued(scene: Scene) -> TenantId:
    tenant_id = await scene.start()
    await scene.forward(minutes=1)
    await scene.beat("alive")
    return tenant_id


async def finished(scene: Scene) -> TenantId:
    return await scene.completed("Kijani Stores")


def ordering(scene: Scene) -> Commands:
    return Commands(scene.database, engines=MOVED, default_engine="main", now=scene.clock)


@pytest.mark.parametrize("made", [stopped, queued])
async def test_a_tenant_of_another_site_is_named_and_not_ordered_to_where_nobody_drives(
    scene: Scene, made: Callable[[Scene], Awaitable[TenantId]]
) -> None:
    tenant_id = await made(scene)
    runs = await scene.runs(tenant_id)

    # The second one knows who lives.
    sweeper = scene.sweeper(engines=MOVED)
    await sweeper.sweep()
    await sweeper.sweep()

    found = {row["cause"]: row for row in await scene.findings(tenant_id)}
    assert found.keys() == {"ENGINE_NOT_CONFIGURED"}
    said = found["ENGINE_NOT_CONFIGURED"]
    assert said["severity"] == "PERSON"
    assert repr(SITE) in said["message"]
    assert repr(NEW) in said["message"]
    assert await scene.runs(tenant_id) == runs


async def test_a_queued_run_of_an_engine_that_nobody_has_is_named(scene: Scene) -> None:
    tenant_id = await queued(scene)
    other = {"other": EngineEntry(site=NEW, blueprint=ERPNEXT)}
    sweeper = scene.sweeper(engines=other)
    await sweeper.sweep()
    await sweeper.sweep()

    found = [(row["cause"], row["severity"]) for row in await scene.findings(tenant_id)]
    assert found == [("ENGINE_NOT_CONFIGURED", "MAY_CLEAR")]


@pytest.mark.parametrize("made", [stopped, queued, finished])
async def test_its_diagnosis_says_so_first(
    scene: Scene, made: Callable[[Scene], Awaitable[TenantId]]
) -> None:
    tenant_id = await made(scene)
    diagnoser = Diagnoser(
        scene.database, engines=MOVED, now=scene.clock, lease_seconds=LEASE, probe_all=None
    )
    first = (await diagnoser.diagnose(LOCAL, tenant_id)).causes[0]
    assert first.code == "ENGINE_NOT_CONFIGURED"
    assert repr(SITE) in first.message
    assert "Another address" in first.message


async def test_a_persons_order_is_refused_until_the_rows_are_corrected_as_the_page_says(
    scene: Scene,
) -> None:
    tenant_id = await stopped(scene)
    commands = ordering(scene)
    with pytest.raises(Refused, match="Another address") as refused:
        await commands.continue_(LOCAL, tenant_id, OrderTerms())
    assert refused.value.code == "ENGINE_NOT_CONFIGURED"

    section = OPERATIONS.read_text("utf-8").partition("### Another address")[2]
    statements = section.partition("```text\n")[2].partition("```")[0].strip().splitlines()
    assert len(statements) == 3
    for statement in statements:
        await scene.sql(statement.rstrip(";").replace("NEW", NEW).replace("OLD", SITE))

    await commands.continue_(LOCAL, tenant_id, OrderTerms())
    assert (await scene.runs(tenant_id))[-1]["site"] == NEW
    assert await scene.sql("SELECT site FROM bindings") == [{"site": NEW}]
