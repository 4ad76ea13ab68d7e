"""Reads how long steps took lately, and which runs wait for a site's serial step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, literal_column, select

from server.model.forecast import StepTime, Waiting
from server.model.states import AttemptOutcome, StepState
from server.store.conditions import OPEN_RUN
from server.store.snapshot import snapshot
from server.store.tables import ATTEMPTS, RUNS, STEPS

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncEngine

# Attempts' ids are in the order of time, so these are the latest: those of fifty tenants on all
# sites together.
_LATEST = 500
# More than this many wait only while an engine is down, and then there is no estimate.
_MOST_WAITING = 2048
_OPEN: ColumnElement[bool] = literal_column(OPEN_RUN)
_SUCCESSES = (AttemptOutcome.APPLIED.value, AttemptOutcome.ADOPTED.value)
_DONE = (StepState.COMPLETED.value, StepState.SKIPPED.value, StepState.FAILED.value)


class History:
    """What happened lately in one store.

    Every method raises `StoreUnavailable` if the database can't be read.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def step_times(self) -> list[StepTime]:
        """Return how long steps took lately: those that the latest 500 attempts did, on all sites.

        One whose begin or end can't be read is left out.
        """
        latest = (
            select(
                ATTEMPTS.c.run_id,
                ATTEMPTS.c.step_key,
                ATTEMPTS.c.started_at,
                ATTEMPTS.c.ended_at,
                ATTEMPTS.c.outcome,
            )
            .order_by(ATTEMPTS.c.id.desc())
            .limit(_LATEST)
            .subquery()
        )
        query = (
            select(
                RUNS.c.site, RUNS.c.id, latest.c.step_key, latest.c.started_at, latest.c.ended_at
            )
            .join(RUNS, RUNS.c.id == latest.c.run_id)
            .where(latest.c.outcome.in_(_SUCCESSES))
        )
        async with snapshot(self._engine) as connection:
            rows = (await connection.execute(query)).all()
        return [
            StepTime(site=site, run_id=run, step_key=key, started_at=started, ended_at=ended)
            for site, run, key, started, ended in rows
            if started is not None and ended is not None
        ]

    async def waiting(self, serial_keys: Collection[str]) -> list[Waiting]:
        """Return the open runs whose serial step is still to be done, those due longest first.

        Args:
            serial_keys: The keys of such steps, of all blueprints.

        Returns:
            At most 2048 of them; one whose time of order can't be read is left out.
        """
        query = (
            select(RUNS.c.id, RUNS.c.site, RUNS.c.created_at)
            .join(STEPS, and_(STEPS.c.run_id == RUNS.c.id, STEPS.c.key.in_(serial_keys)))
            .where(_OPEN, STEPS.c.state.not_in(_DONE))
            .order_by(RUNS.c.due_at, RUNS.c.id)
            .limit(_MOST_WAITING)
        )
        async with snapshot(self._engine) as connection:
            rows = (await connection.execute(query)).all()
        return [
            Waiting(run_id=run_id, site=site, created_at=created)
            for run_id, site, created in rows
            if created is not None
        ]
