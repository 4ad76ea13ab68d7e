"""Who calls: made from a call's metadata, before anything else is done for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, Self
from urllib.parse import unquote

import grpc.aio

from server.model.actor import LOCAL, Actor

if TYPE_CHECKING:
    from server.access.authenticator import Authenticator

# Any: the stubs type a context by the messages of its method, which nobody here needs.
Context = grpc.aio.ServicerContext[Any, Any]


class Introduced(Protocol):
    """What tells who calls: a call's context, or what was kept of it."""

    def peer(self) -> str:
        """Return the other end of the connection."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return what was sent before the request."""


Identify = Callable[[Introduced], Awaitable[Actor]]
"""Tells who calls, or raises `NotSignedIn`."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """How a caller introduced himself, to be asked again later.

    A context is the call's own: asked in mid-stream and by another task, the C code under it
    once met a call that was not there any more, and ended the process (grpcio 1.85.1,
    `ServicerContext.peer`).
    """

    _peer: str
    _metadata: tuple[tuple[str, str | bytes], ...]

    @classmethod
    def of(cls, context: Context) -> Self:
        """Keep what a call that has just begun was made with."""
        return cls(context.peer(), tuple(context.invocation_metadata() or ()))

    def peer(self) -> str:
        """Return the other end of the connection."""
        return self._peer

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return what was sent before the request."""
        return self._metadata


_METADATA_KEY = "authorization"


def by_token(authenticator: Authenticator) -> Identify:
    """Tell callers by the token or the machine's key in `authorization: Bearer …`."""

    async def identify(context: Introduced) -> Actor:
        return await authenticator.actor(_authorization(context), origin=origin_of(context))

    return identify


async def local_caller(_context: Introduced) -> Actor:
    """Tell that the caller is on this machine: authentication is off."""
    return LOCAL


def origin_of(context: Introduced) -> str:
    """Return where a call comes from, without its port: it names the caller for limits."""
    return _origin(context.peer())


# A connection makes many calls.
@lru_cache(maxsize=4096)
def _origin(peer: str) -> str:
    # Like ipv4:127.0.0.1:50000, ipv6:%5B::1%5D:50000, unix:/run/provisioner.sock
    kind, _, rest = unquote(peer).partition(":")
    if kind in {"ipv4", "ipv6"}:
        return f"grpc {rest.rpartition(':')[0].strip('[]')}"
    if kind == "http":
        # `/v1` calls the same methods (server.rest.transcoding).
        return f"http {rest}"
    return f"grpc {kind}"


def _authorization(context: Introduced) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == _METADATA_KEY:
            return value if isinstance(value, str) else None
    return None
