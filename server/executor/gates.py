"""The engine gate of each site, and the one prober that closes and opens it.

While a gate is shut no attempt is counted and no tenant fails; runs wait and say so.
One tenant's error never shuts it by itself: an answer that may mean the engine is down
makes the attempt ask here, and the prober's own look decides (promise 6). When a gate
opens, load comes back in growing waves: one run, then two, four, …
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from server.errors import StoreUnavailable
from server.model.states import GateState
from server.model.step_context import EngineHealth
from server.store.operations import GateOperation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from server.model.step_context import Engine
    from server.store.database import Database
    from server.store.reads import Gate

_log = structlog.get_logger(__name__)

PROBE_PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0)
_FULL = 1_000_000


class Gates:
    """What this process knows of the sites' gates, and its probers."""

    def __init__(
        self, database: Database, engines: Mapping[str, Engine], now: Callable[[], datetime]
    ) -> None:
        self._database = database
        self._engines = engines  # by site
        self._now = now
        self._gates: dict[str, Gate] = {}
        self._asking: dict[str, asyncio.Task[EngineHealth]] = {}
        self._probers: dict[str, asyncio.Task[None]] = {}
        self._ramp: dict[str, int] = {}
        self._on_open: list[Callable[[], None]] = []

    def on_open(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a gate opens here."""
        self._on_open.append(callback)

    async def refresh(self) -> None:
        """Read the gates anew; see that each shut gate of a configured site has a prober."""
        before = self._gates
        self._gates = await self._database.reads.gates()
        for site, gate in self._gates.items():
            if gate.state is not GateState.UP and site in self._engines:
                self._probe_until_up(site)
            elif site in before and before[site].state is not GateState.UP:
                self._ramp[site] = 1

    async def stop(self) -> None:
        """End the probers; the gates stay as they are."""
        tasks = [*self._probers.values(), *self._asking.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def shut(self) -> set[str]:
        """Return the sites whose gate is shut."""
        return {site for site, gate in self._gates.items() if gate.state is not GateState.UP}

    def slot_holders(self) -> set[str]:
        """Return the tenants that hold the slot of an open site."""
        return {
            gate.slot_tenant_id
            for gate in self._gates.values()
            if gate.slot_tenant_id is not None and gate.state is GateState.UP
        }

    def gate(self, site: str) -> Gate | None:
        """Return a site's gate as last read."""
        return self._gates.get(site)

    def room(self, site: str, driving: int) -> bool:
        """Tell whether one more run of a site may be driven now."""
        return driving < self._ramp.get(site, _FULL)

    def came_through(self, site: str) -> None:
        """Note an attempt that the engine answered: the next wave may be twice as large."""
        if site in self._ramp:
            self._ramp[site] *= 2
            if self._ramp[site] > _FULL:
                del self._ramp[site]

    async def ask(self, site: str) -> EngineHealth:
        """Ask the prober for its word; callers at the same time share one look.

        Returns:
            What it found. Where that is not UP, the gate is shut when this returns.
        """
        task = self._asking.get(site)
        if task is None:
            task = asyncio.create_task(self._look(site), name=f"prober-asked {site}")
            self._asking[site] = task
            task.add_done_callback(lambda _: self._asking.pop(site, None))
        return await asyncio.shield(task)

    async def _look(self, site: str) -> EngineHealth:
        health = await self._check(site)
        if health.state is not GateState.UP:
            await self._write(site, health, pause=PROBE_PAUSES_SECONDS[0])
            self._probe_until_up(site)
        return health

    async def _check(self, site: str) -> EngineHealth:
        try:
            return await self._engines[site].check()
        except Exception as error:  # noqa: BLE001 - no look is no proof that it is up; recorded
            _log.exception("gate.check_bug", tenant="", site=site)
            return EngineHealth(
                state=GateState.DOWN,
                code="ENGINE_CHECK_FAILED",
                message=(
                    f"The engine could not be looked at: the provisioner met a bug "
                    f"({type(error).__name__}). The server's log has the traceback."
                ),
            )

    def _probe_until_up(self, site: str) -> None:
        prober = self._probers.get(site)
        if prober is None or prober.done():
            self._probers[site] = asyncio.create_task(self._probe(site), name=f"prober {site}")

    async def _probe(self, site: str) -> None:
        """Ask after 1, 2, 4, 8, then every 15 s, until the site takes work."""
        looks = 0
        while True:
            await asyncio.sleep(_pause(looks))
            looks += 1
            try:
                health = await self._check(site)
                await self._write(site, health, pause=_pause(looks))
            except StoreUnavailable as error:
                _log.warning("gate.write_failed", tenant="", site=site, error=error.message)
                continue
            except Exception:  # noqa: BLE001 - a gate without prober stays shut; recorded
                _log.exception("gate.bug", tenant="", site=site)
                continue
            if health.state is GateState.UP:
                return

    async def _write(self, site: str, health: EngineHealth, *, pause: float) -> None:
        now = self._now()
        up = health.state is GateState.UP
        known = self._gates.get(site)
        await self._database.submit(
            GateOperation(
                site=site,
                at=now,
                gate=health.state,
                code=health.code,
                message=health.message,
                next_probe_at=None if up else now + timedelta(seconds=pause),
            )
        )
        if known is None or known.state is not health.state:
            _log.warning(
                "gate.changed",
                tenant="",
                site=site,
                gate=health.state.value,
                code=health.code,
                reason=health.message,
            )
        if up:
            self._ramp[site] = 1
        self._gates = await self._database.reads.gates()
        if up:
            for callback in self._on_open:
                callback()


def _pause(looks: int) -> float:
    return PROBE_PAUSES_SECONDS[min(looks, len(PROBE_PAUSES_SECONDS) - 1)]
