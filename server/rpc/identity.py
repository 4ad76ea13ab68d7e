"""Finds out who calls, from the call's metadata, before anything else is done for the call."""

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

# Any: the stubs type a context by its method's messages, which nobody needs here.
Context = grpc.aio.ServicerContext[Any, Any]


class Introduced(Protocol):
    """Something that tells who calls: a call's context, or what was kept of it."""

    def peer(self) -> str:
        """Return the address of the connection's other end."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return the metadata that was sent before the request."""


Identify = Callable[[Introduced], Awaitable[Actor]]
"""Tells who calls, or raises `NotSignedIn`."""


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a call was made with, kept so that the caller can be checked again later.

    A context belongs to its call: when another task asked it in mid-stream, the C code below once
    met a call that no longer existed, and ended the process (grpcio 1.85.1,
    `ServicerContext.peer`). So `of` must be called by the call's own handler, before anything else
    runs.
    """

    _peer: str
    _metadata: tuple[tuple[str, str | bytes], ...]

    @classmethod
    def of(cls, context: Context) -> Self:
        """Return what a call was made with that has just begun."""
        return cls(context.peer(), tuple(context.invocation_metadata() or ()))

    def peer(self) -> str:
        """Return the address of the connection's other end."""
        return self._peer

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """Return the metadata that was sent before the request."""
        return self._metadata


_METADATA_KEY = "authorization"


def by_token(authenticator: Authenticator) -> Identify:
    """Return what tells callers by the token, or machine's key, in `authorization: Bearer …`.

    Returns:
        A function that raises `NotSignedIn` if there is none or it is not valid (any more), and
        `StoreUnavailable` if the database can't be asked.
    """

    async def identify(context: Introduced) -> Actor:
        return await authenticator.actor(_authorization(context), origin=origin_of(context))

    return identify


async def local_caller(_context: Introduced) -> Actor:
    """Return the local actor for every call, for servers without authentication."""
    return LOCAL


def origin_of(context: Introduced) -> str:
    """Return where a call comes from, without the port: limits count callers by it.

    Returns:
        The interface and the address, such as "grpc 10.1.2.3"; "http 10.1.2.3" for a call over
        `/v1`, "grpc unix" for one over a socket.
    """
    return _origin(context.peer())


# Cached, because one connection makes many calls.
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
