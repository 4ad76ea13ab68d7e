"""Runs in any state, and the question which of them are due."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from server.model.identifiers import TenantId, WorkerId
from server.store.due import DueAsked
from tests.server.store.scene import NOON, OTHER_SITE, SITE, creation, run_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from server.model.states import RunState
    from tests.server.store.scene import Scene


HORIZON = timedelta(hours=1)
ME = WorkerId("me")
SECOND = timedelta(seconds=1)


async def due(
    scene: Scene,
    *,
    now: datetime = NOON,
    alone: bool = False,
    closed_sites: Collection[str] = (),
    driving: Collection[str] = (),
    limit: int = 10,
    begun: bool = False,
    left: bool = True,
) -> list[TenantId]:
    asked = DueAsked(
        now=await scene.at(now),
        worker_id=ME,
        alone=alone,
        sites={SITE, OTHER_SITE} - set(closed_sites),
        driving=driving,
        horizon=HORIZON,
        limit=limit,
        begun=begun,
        left=left,
    )
    return [run.tenant_id for run in await scene.database.reads.due_runs(asked)]


async def with_run(
    scene: Scene,
    state: RunState,
    *,
    due_at: datetime = NOON,
    worker_id: str | None = None,
    site: str = SITE,
) -> TenantId:
    opened = partial(run_of, state=state, due_at=due_at, worker_id=worker_id)
    name = f"{state} {due_at} {worker_id}"
    operation = creation(name, site=site, run=opened)
    await scene.written(operation)
    return operation.tenant_id
