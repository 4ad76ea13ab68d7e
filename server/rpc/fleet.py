"""Answers the calls of FleetService: what concerns the whole fleet rather than one tenant."""

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
    """The service over the fleet."""

    def __init__(
        self,
        history: History,
        *,
        fleet: Fleet,
        commands: SiteOrders,
        identify: Identify,
        healer: Healer | None,
    ) -> None:
        """Take the parts.

        Args:
            history: What sweeps found.
            fleet: How engines stand.
            commands: The orders about sites.
            identify: Tells who calls.
            healer: Makes sweeps; None in a process that was put together without one.
        """
        self._history = history
        self._fleet = fleet
        self._commands = commands
        self._identify = identify
        self._healer = healer

    def watch(self) -> Watch | None:
        """Say how the sweeps of this process come; None where it makes none by itself."""
        return None if self._healer is None else self._healer.watch()
