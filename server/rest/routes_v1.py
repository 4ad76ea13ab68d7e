"""The table of `/v1`: which path is which rpc. The contract says what the rpcs do."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pool
from google.protobuf.message_factory import GetMessageClass

from provisioner.v1 import tenant_pb2

if TYPE_CHECKING:
    from collections.abc import Collection

    from google.protobuf.message import Message

    # Any: protobuf has two implementations of descriptors without a common type.
    MethodDescriptor = Any

_PACKAGE = "provisioner.v1"
_IN_MOTION = frozenset(
    {tenant_pb2.TENANT_STATE_IN_PROGRESS, tenant_pb2.TENANT_STATE_DEPROVISIONING}
)
_TENANTS = "/v1/tenants"
_TENANT = f"{_TENANTS}/{{tenant_id}}"
PROVISIONING = "ProvisioningService"
FLEET = "FleetService"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resume:
    """How a stream is resumed after the event in `Last-Event-ID`.

    Attributes:
        asked: The request's field for that id; "" if the rpc has none, and events that the reader
            knows are left out instead.
        told: The event's field that is its id; a dot leads into a message.
        moving: States in which an event with a known id may still say something new: the status of
            a tenant in motion also changes while its revision does not.
    """

    asked: str
    told: str
    moving: frozenset[int] = frozenset()

    def is_known(self, event: Message, last: int) -> bool:
        """Tell whether an event is nothing new to a reader whose last event had the id `last`."""
        if self.position(event) > last:
            return False
        status: Any = event  # Any: only a status has a state
        return not self.moving or status.status.state not in self.moving

    def position(self, event: Message) -> int:
        """Return an event's id: the number from which to resume after it."""
        value: Any = event  # Any: a message, then its field
        for name in self.told.split("."):
            value = getattr(value, name)
        return int(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One path and method.

    Attributes:
        verb: GET takes the request's fields from the query, POST from a JSON body.
        event: The name of a stream's events; "" if this is not a stream.
        each: The field of a stream's message whose items are the events; "" if each message is one.
    """

    verb: str
    path: str
    rpc: str
    service: str = PROVISIONING
    event: str = ""
    each: str = ""
    resume: Resume | None = None

    @property
    def method(self) -> MethodDescriptor:
        """The rpc in the contract.

        Raises:
            KeyError: the contract has no such service or rpc.
        """
        found = descriptor_pool.Default().FindServiceByName(f"{_PACKAGE}.{self.service}")
        return found.methods_by_name[self.rpc]

    @property
    def can_follow(self) -> bool:
        """Whether the rpc can be told to follow or not."""
        return "follow" in self.method.input_type.fields_by_name

    def request(self) -> Message:
        """Return an empty request."""
        made: Message = GetMessageClass(self.method.input_type)()
        return made

    def answer(self, said: Message | bytes) -> Message:
        """Return the rpc's answer as a message; some rpcs answer with the bytes that are sent."""
        if not isinstance(said, bytes):
            return said
        read: Message = GetMessageClass(self.method.output_type).FromString(said)
        return read


# What pages and scripts need. A path whose rpc is not in this version's contract is not served.
_TABLE: tuple[Route, ...] = (
    Route(verb="GET", path=_TENANTS, rpc="ListTenants"),
    Route(verb="POST", path=_TENANTS, rpc="StartProvisioning"),
    Route(verb="GET", path=_TENANT, rpc="GetStatus"),
    Route(
        verb="GET",
        path=f"{_TENANT}/logs",
        rpc="StreamLogs",
        event="log",
        each="entries",
        resume=Resume(asked="after_cursor", told="cursor"),
    ),
    Route(
        verb="GET",
        path=f"{_TENANT}/watch",
        rpc="WatchStatus",
        event="status",
        resume=Resume(asked="", told="status.revision", moving=_IN_MOTION),
    ),
    Route(verb="POST", path=f"{_TENANT}/continue", rpc="Continue"),
    Route(verb="POST", path=f"{_TENANT}/retry", rpc="Retry"),
    Route(verb="POST", path=f"{_TENANT}/skip", rpc="SkipStep"),
    Route(verb="POST", path=f"{_TENANT}/cancel", rpc="Cancel"),
    Route(verb="POST", path=f"{_TENANT}/deprovision", rpc="Deprovision"),
    Route(verb="POST", path=f"{_TENANT}/adopt", rpc="AdoptCompany"),
    Route(verb="POST", path=f"{_TENANT}/release", rpc="Release"),
    Route(verb="POST", path=f"{_TENANT}/plan", rpc="Plan"),
    # For a spec that no tenant has yet.
    Route(verb="POST", path="/v1/plan", rpc="Plan"),
    Route(verb="POST", path=f"{_TENANT}/verify", rpc="Verify"),
    Route(verb="POST", path=f"{_TENANT}/diagnose", rpc="Diagnose"),
    Route(verb="POST", path="/v1/sweeps", rpc="Sweep", service=FLEET),
    Route(verb="GET", path="/v1/sweeps", rpc="ListSweeps", service=FLEET),
    Route(verb="GET", path="/v1/findings", rpc="ListFindings", service=FLEET),
    Route(verb="GET", path="/v1/report", rpc="GetHealingReport", service=FLEET),
    Route(verb="GET", path="/v1/engines", rpc="ListEngines", service=FLEET),
    Route(verb="POST", path="/v1/engines/{engine_id}/accept-site", rpc="AcceptSite", service=FLEET),
)


def routes_of(services: Collection[str]) -> tuple[Route, ...]:
    """Return the routes of the services that are there."""
    return tuple(route for route in _TABLE if route.service in services and _is_in_contract(route))


def fields_in_path(path: str) -> tuple[str, ...]:
    """Return the names of the fields in a path."""
    return tuple(re.findall(r"{(\w+)}", path))


def _is_in_contract(route: Route) -> bool:
    try:
        _ = route.method
    except KeyError:
        return False
    return True
