"""Who calls: made from a call's metadata, before anything else is done for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import grpc.aio

from server.model.actor import LOCAL, Actor

if TYPE_CHECKING:
    from server.access.authenticator import Authenticator

# Any: the stubs type a context by the messages of its method, which nobody here needs.
Context = grpc.aio.ServicerContext[Any, Any]

Identify = Callable[[Context], Awaitable[Actor]]
"""Tells who calls, or raises `NotSignedIn`."""

_METADATA_KEY = "authorization"


def by_token(authenticator: Authenticator) -> Identify:
    """Tell callers by the token or the machine's key in `authorization: Bearer …`."""

    async def identify(context: Context) -> Actor:
        return await authenticator.actor(_authorization(context), origin=origin_of(context))

    return identify


async def local_caller(_context: Context) -> Actor:
    """Tell that the caller is on this machine: authentication is off."""
    return LOCAL


def origin_of(context: Context) -> str:
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


def _authorization(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == _METADATA_KEY:
            return value if isinstance(value, str) else None
    return None
