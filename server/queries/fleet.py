"""The status of the engines, from the database alone: gates, slots, queues, measured times."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from server.access.policy import demand_any
from server.model.actor import Right
from server.store.fleet import SiteLoad

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from server.commands import EngineEntry
    from server.model.actor import Actor
    from server.store.database import Database
    from server.store.found import Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """How long a step took recently.

    Attributes:
        attempts: How many attempts were measured: those that did the step, of the newest runs.
    """

    step_key: str
    attempts: int
    median_seconds: float
    longest_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStanding:
    """The status of one configured engine.

    Attributes:
        gate: None if it has no row yet.
        open_runs: How many open runs there are, by state.
        max_runs: The most runs at once in one process; 0 if it has no limit of its own.
        step_times: How long its steps took, in the blueprint's order.
    """

    engine_id: str
    entry: EngineEntry
    is_default: bool
    gate: Gate | None
    open_runs: Mapping[str, int]
    max_runs: int
    step_times: Sequence[StepTime]


class Fleet:
    """Answers questions about the whole installation."""

    def __init__(
        self,
        database: Database,
        *,
        engines: Mapping[str, EngineEntry],
        default_engine: str,
        max_runs: Mapping[str, int],
    ) -> None:
        """Take the parts.

        Args:
            database: The store of gates, runs and attempts.
            engines: The configured engines, by id.
            default_engine: The engine of tenants that name none.
            max_runs: The limits of engines that have one, by id.
        """
        self._database = database
        self._engines = engines
        self._default_engine = default_engine
        self._max_runs = max_runs

    async def engines(self, actor: Actor) -> list[EngineStanding]:
        """Return the status of every configured engine, by their ids in order; no engine is asked.

        Raises:
            NotAllowed: the caller may not see it.
            StoreUnavailable: the database can't be read now.
        """
        demand_any(actor, Right.READ_FLEET)
        gates = await self._database.reads.gates()
        loads = await self._database.site_loads({each.site for each in self._engines.values()})
        return [
            self._standing(engine_id, entry, gates.get(entry.site), loads.get(entry.site))
            for engine_id, entry in sorted(self._engines.items())
        ]

    def _standing(
        self, engine_id: str, entry: EngineEntry, gate: Gate | None, load: SiteLoad | None
    ) -> EngineStanding:
        found = load or SiteLoad()
        return EngineStanding(
            engine_id=engine_id,
            entry=entry,
            is_default=engine_id == self._default_engine,
            gate=gate,
            open_runs=found.open_runs,
            max_runs=self._max_runs.get(engine_id, 0),
            step_times=[
                StepTime(
                    step_key=step.key,
                    attempts=len(seconds),
                    median_seconds=median(seconds),
                    longest_seconds=max(seconds),
                )
                for step in entry.blueprint.steps
                if (seconds := found.step_seconds.get(step.key))
            ],
        )
