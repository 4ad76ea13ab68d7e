"""Answers the calls of FleetService, which are about the whole fleet rather than one tenant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.v1.fleet_pb2_grpc import FleetServiceServicer
from server.rpc.engines import Engines
from server.rpc.healing import Healing

if TYPE_CHECKING:
    from server.commands.sites import SiteOrders
    from server.healing import Healer, History, Watch
    from server.queries.fleet import Fleet
    from server.rpc.identity import Identify


class FleetService(Engines, Healing, FleetServiceServicer):
    """The service for the whole fleet."""

    def __init__(
        self,
        history: History,
        *,
        fleet: Fleet,
        commands: SiteOrders,
        identify: Identify,
        healer: Healer | None,
    ) -> None:
        """Take the parts that answers need.

        Args:
            history: What sweeps have found.
            fleet: How engines are doing.
            commands: The orders about sites.
            identify: Tells who calls.
            healer: Makes sweeps; None in a process that was put together without a reconciler.
        """
        self._history = history
        self._fleet = fleet
        self._commands = commands
        self._identify = identify
        self._healer = healer

    def watch(self) -> Watch | None:
        """Return how this process's sweeps are going; None if it makes none by itself."""
        return None if self._healer is None else self._healer.watch()
