"""Whom a sweep looks at: every tenant that is not settled, when it is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.server.store.due import SECOND
from tests.server.store.scene import NOON

if TYPE_CHECKING:
    from datetime import datetime

    from server.model.identifiers import TenantId
    from server.store.found import SweepMark
    from tests.server.store.scene import Scene


async def unsettled(scene: Scene) -> list[TenantId]:
    marks = await scene.database.reads.unsettled(NOON, after=None, limit=100)
    return [mark.id for mark in marks]


@pytest.mark.parametrize(
    ("state", "seen"),
    [
        ("PENDING", True),
        ("IN_PROGRESS", True),
        ("PARTIAL", True),
        ("FAILED", True),
        ("NONSENSE", True),
        ("", True),
        ("COMPLETED", False),
        ("CANCELLED", False),
        ("DEPROVISIONING", False),
        ("DEPROVISIONED", False),
    ],
)
async def test_a_sweep_sees_a_state_that_was_changed_by_sql(
    scene: Scene, state: str, seen: bool
) -> None:
    tenant_id = await scene.tenant()
    await scene.change_tenant(tenant_id, state="PARTIAL" if state == "COMPLETED" else "COMPLETED")
    await scene.change_tenant(tenant_id, state=state)
    assert await unsettled(scene) == ([tenant_id] if seen else [])


@pytest.mark.parametrize(
    ("look_at", "seen"),
    [(None, True), (NOON, True), (NOON - SECOND, True), (NOON + SECOND, False)],
)
async def test_a_sweep_looks_when_it_is_due(
    scene: Scene, look_at: datetime | None, seen: bool
) -> None:
    tenant_id = await scene.tenant()
    await scene.change_tenant(tenant_id, look_at=look_at)
    assert await unsettled(scene) == ([tenant_id] if seen else [])


async def test_the_pages_of_a_sweep_cover_every_tenant_once(scene: Scene) -> None:
    ids = sorted([await scene.tenant(f"Shop {number}") for number in range(7)])
    await scene.change_tenant(ids[0], look_at=NOON)
    await scene.change_tenant(ids[1], look_at=NOON - SECOND)
    await scene.change_tenant(ids[3], look_at=NOON)
    await scene.change_tenant(ids[4], look_at=NOON + SECOND)
    seen: list[SweepMark] = []
    read = scene.database.reads.unsettled
    while page := await read(NOON, after=seen[-1] if seen else None, limit=2):
        seen += page
    never, put_off = [ids[2], ids[5], ids[6]], [ids[1], ids[0], ids[3]]
    assert [mark.id for mark in seen] == never + put_off
    assert await scene.database.reads.next_tenants(after=ids[2], limit=3) == ids[3:6]
